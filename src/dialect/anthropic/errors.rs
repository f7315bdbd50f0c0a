//! Errors in Anthropic's envelope, before an answer and in the middle of a stream.

use serde::Serialize;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Reply, wire};

/// The header that Anthropic's SDKs show with each answer and error.
pub const REQUEST_ID: &str = "request-id";

/// Anthropic's own status for a server that has too much to do.
const OVERLOADED: u16 = 529;

#[derive(Serialize)]
pub struct AnthropicError {
    r#type: &'static str,
    error: ErrorDetail,
    request_id: String,
}

#[derive(Serialize)]
struct ErrorDetail {
    r#type: &'static str,
    message: String,
}

impl AnthropicError {
    pub fn of(error: &Error, id: &RequestId) -> Self {
        let detail = ErrorDetail { r#type: error_type(status(error)), message: error.to_string() };
        AnthropicError { r#type: "error", error: detail, request_id: id.to_string() }
    }
}

pub fn reply(error: &Error, id: &RequestId) -> Reply {
    let body = AnthropicError::of(error, id);
    let mut reply = wire::plain_error(error, &body);
    reply.status = status(error);
    match error {
        Error::Unauthenticated { .. } => reply.headers.push(("WWW-Authenticate", "Bearer".into())),
        // SDKs try a 409 and a 429 again by themselves, which can't help here.
        Error::QuotaUsedUp { .. } | Error::Conflict { .. } => reply.headers.push(("x-should-retry", "false".into())),
        _ => {}
    }
    reply.headers.push((REQUEST_ID, body.request_id));
    reply
}

fn status(error: &Error) -> u16 {
    match wire::status(error) {
        503 => OVERLOADED,
        other => other,
    }
}

/// Returns Anthropic's name for a status.
fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        OVERLOADED => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
