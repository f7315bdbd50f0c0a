//! Error bodies as the OpenAPI document describes them.

use serde::Serialize;
use utoipa::ToSchema;

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

/// The error body of `/chat` and of Ollama's own API.
#[derive(Serialize, ToSchema)]
pub struct LegacyError {
    #[schema(example = "unauthorized")]
    error: String,
}
