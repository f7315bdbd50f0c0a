//! Error bodies as the OpenAPI document describes them.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What went wrong and what to do about it.
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

/// Refusals that any route may answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are read by the derive alone")]
pub enum Refusals {
    /// A field is wrong; `param` names it
    #[response(status = 400)]
    Invalid(#[to_schema] ErrorBody),
    /// No valid credential
    #[response(status = 401)]
    Unauthenticated(#[to_schema] ErrorBody),
    /// Not yours to do
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// Not here
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
    /// It contradicts what is
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// The body is encoded
    #[response(status = 415)]
    Encoded(#[to_schema] ErrorBody),
    /// `Host` is no name of this gateway
    #[response(status = 421)]
    Misdirected(#[to_schema] ErrorBody),
    /// Too often; `Retry-After` says when
    #[response(status = 429)]
    RateLimited(#[to_schema] ErrorBody),
    /// A fault of the gateway
    #[response(status = 500)]
    Internal(#[to_schema] ErrorBody),
    /// The model server failed
    #[response(status = 502)]
    Upstream(#[to_schema] ErrorBody),
    /// Busy, or the record can't be written
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
    /// The model server was too slow
    #[response(status = 504)]
    Timeout(#[to_schema] ErrorBody),
}
