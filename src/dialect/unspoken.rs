//! Protocols that are not supported: clients that try them get errors in their own format.

use serde::Serialize;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Decoded, Dialect, Head, Reply, Route, is_below, plain_path, wire};
use crate::model::credential::Credential;

/// A dialect without routes.
pub struct Unspoken {
    root: &'static str,
    error: fn(&Error, &RequestId) -> Reply,
}

/// Anthropic's messages.
pub static ANTHROPIC: Unspoken = Unspoken { root: "/v1/messages", error: anthropic_error };

impl Dialect for Unspoken {
    fn root(&self) -> &'static str {
        self.root
    }

    fn routes(&self) -> &'static [Route] {
        &[]
    }

    fn is_read_by(&self, head: &dyn Head) -> bool {
        let path = plain_path(head.path());
        is_below(&path, self.root)
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, _: &dyn Head, _: &[u8]) -> Result<Decoded, Error> {
        Err(Error::UnknownRoute { message: "this protocol is not spoken here".into() })
    }

    fn error(&self, error: &Error, id: &RequestId) -> Reply {
        (self.error)(error, id)
    }
}

fn anthropic_error(error: &Error, id: &RequestId) -> Reply {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        error: Detail,
        request_id: &'a str,
    }
    #[derive(Serialize)]
    struct Detail {
        r#type: &'static str,
        message: String,
    }
    let id = id.to_string();
    let detail = Detail { r#type: anthropic_type(wire::status(error)), message: error.to_string() };
    let mut reply = wire::plain_error(error, &Body { r#type: "error", error: detail, request_id: &id });
    // Anthropic's SDKs show this one.
    reply.headers.push(("request-id", id));
    reply
}

/// Returns Anthropic's name for a status.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
