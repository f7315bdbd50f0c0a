//! Error bodies as the OpenAPI document describes them.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// An error: what went wrong and what to do.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
pub struct ErrorDetail {
    message: String,
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: String,
    /// The field at fault, as a path.
    param: Option<String>,
    #[schema(example = "invalid_request")]
    code: Option<String>,
}

/// `/chat` answers errors in one line.
#[derive(Serialize, ToSchema)]
pub struct LegacyError {
    #[schema(example = "unauthorized")]
    error: String,
}

/// Errors that any route may return.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are read by the derive alone")]
pub enum Refusals {
    /// A field is wrong; `param` names it
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorBody),
    /// No valid credential
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorBody),
    /// Not allowed
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// Not found
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
    /// Conflicts with the current state
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// Compressed bodies are not accepted
    #[response(status = 415)]
    Encoded(#[to_schema] ErrorBody),
    /// The `Host` header does not name this gateway
    #[response(status = 421)]
    Misdirected(#[to_schema] ErrorBody),
    /// Too many requests; `Retry-After` says when to try again
    #[response(status = 429)]
    RateLimited(#[to_schema] ErrorBody),
    /// Internal error of the gateway
    #[response(status = 500)]
    Internal(#[to_schema] ErrorBody),
    /// The upstream failed
    #[response(status = 502)]
    Upstream(#[to_schema] ErrorBody),
    /// Busy, or the record can't be written; `Retry-After` says when to try again
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
    /// The upstream took too long
    #[response(status = 504)]
    Timeout(#[to_schema] ErrorBody),
}
