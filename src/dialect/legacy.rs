//! `POST /chat`, the gateway's first contract: credentials in the body, and Ollama's chat JSON field for field.
//!
//! What it takes beyond the first version works as in Ollama's own API, except for what would change the model server
//! for all users: such options are refused.

use serde::Serialize;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{
    Continuation, Decoded, Delivery, Dialect, Head, Reply, Route, Serves, json, plain_path, surrogates, wire,
};
use crate::model::credential::Credential;
use crate::model::rights::Scope;
use crate::model::work::Work;

mod answer;
mod message;
mod options;
mod request;

use answer::LegacyAnswer;

pub struct Legacy;

/// Fields that hold client data.
const OWN: &[&str] = &["arguments", "format", "parameters"];

const ROUTES: &[Route] = &[Route { method: "POST", path: "/chat", serves: Serves::Inference(Scope::Chat) }];

impl Dialect for Legacy {
    fn root(&self) -> &'static str {
        "/chat"
    }

    /// What is below is not meant: an OpenAI client looks for `/chat/completions` when its base URL lacks `/v1`.
    fn is_read_by(&self, head: &dyn Head) -> bool {
        plain_path(head.path()) == self.root()
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let body = surrogates::mended(body);
        let mut asked = request::read(json::read(&body, OWN)?, head)?;
        // Who shows a token is identified by it; credentials in the body are then without effect.
        if asked.credential.is_some() && wire::bearer(head)?.is_some() {
            asked.credential = None;
            asked.ignored.add("auth");
        }
        let answer = LegacyAnswer::of(asked.chat.model.as_str().to_owned());
        let delivery = if asked.stream { Delivery::Stream { content_type: wire::NDJSON } } else { Delivery::Whole };
        Ok(Decoded {
            work: Work::Chat(asked.chat),
            reply: Box::new(answer),
            delivery,
            ignored: asked.ignored.into_names(),
            credential: asked.credential,
            continuation: Continuation::default(),
        })
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        Reply { status: status(error), ..wire::plain_error(error, &WireError::of(error)) }
    }
}

/// Returns the status as in the other dialects, except for the 403 that the first version promised.
fn status(error: &Error) -> u16 {
    match error {
        Error::Unauthenticated { .. } => 403,
        other => wire::status(other),
    }
}

#[derive(Serialize)]
struct WireError {
    error: String,
}

impl WireError {
    /// Returns the error body. Scripts compare two texts of the first version, so these are kept.
    fn of(error: &Error) -> Self {
        let text = match error {
            Error::Unauthenticated { .. } => "unauthorized".to_owned(),
            Error::RateLimited { .. } => "rate limit exceeded".to_owned(),
            other => other.to_string(),
        };
        WireError { error: text }
    }
}

#[cfg(test)]
mod tests;
