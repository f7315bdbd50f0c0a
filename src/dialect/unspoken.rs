//! Protocols whose clients come here although they are not spoken yet: they are told so in the shape that they read.

use serde::Serialize;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Decoded, Dialect, Head, Reply, Route, wire};
use crate::model::credential::Credential;

/// Ollama's own API, below `/api`.
pub struct Ollama;

/// Anthropic's messages, below `/v1/messages`.
pub struct Anthropic;

impl Dialect for Ollama {
    fn routes(&self) -> &'static [Route] {
        &[]
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, _: &dyn Head, _: &[u8]) -> Result<Decoded, Error> {
        Err(not_spoken())
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        reply(error, wire::json_bytes(&Body { error: error.to_string() }))
    }
}

impl Dialect for Anthropic {
    fn routes(&self) -> &'static [Route] {
        &[]
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, _: &dyn Head, _: &[u8]) -> Result<Decoded, Error> {
        Err(not_spoken())
    }

    fn error(&self, error: &Error, id: &RequestId) -> Reply {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            error: Told,
            request_id: &'a str,
        }
        #[derive(Serialize)]
        struct Told {
            r#type: &'static str,
            message: String,
        }
        let id = id.to_string();
        let told = Told { r#type: anthropic_type(wire::status(error)), message: error.to_string() };
        let mut reply = reply(error, wire::json_bytes(&Body { r#type: "error", error: told, request_id: &id }));
        // Anthropic's SDKs show this one.
        reply.headers.push(("request-id", id));
        reply
    }
}

fn not_spoken() -> Error {
    Error::UnknownRoute { message: "this protocol is not spoken here".into() }
}

fn reply(error: &Error, body: Vec<u8>) -> Reply {
    let mut headers = wire::retry_headers(error);
    if let Error::MethodNotAllowed { allow, .. } = error {
        headers.push(("Allow", allow.clone()));
    }
    Reply { status: wire::status(error), headers, content_type: wire::JSON, body }
}

/// Anthropic's names for statuses.
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
