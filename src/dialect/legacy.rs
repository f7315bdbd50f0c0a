//! `POST /chat`, the gateway's first contract: credentials in the body, and Ollama's chat JSON field for field.
//!
//! What it takes beyond the first version works as in Ollama's own API, except for what would change the model server
//! for all users: such options are refused.

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::native::answer::{ErrorLine, NativeAnswer};
use crate::dialect::{
    Continuation, Decoded, Delivery, Dialect, Head, Reply, Route, Serves, json, plain_path, surrogates, wire,
};
use crate::model::credential::Credential;
use crate::model::rights::Scope;
use crate::model::work::Work;

mod request;

use request::LegacyChat;

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
        let LegacyChat { mut asked, mut credential } = request::read(json::read(&body, OWN)?, head)?;
        // Who shows a token is identified by it; credentials in the body are then without effect.
        if credential.is_some() && wire::bearer(head)?.is_some() {
            credential = None;
            asked.ignored.add("auth");
        }
        let answer = NativeAnswer::chat(&asked.chat, text_of);
        let delivery =
            if asked.stream == Some(true) { Delivery::Stream { content_type: wire::NDJSON } } else { Delivery::Whole };
        Ok(Decoded {
            work: Work::Chat(asked.chat),
            reply: Box::new(answer),
            delivery,
            ignored: asked.ignored.into_names(),
            credential,
            continuation: Continuation::default(),
        })
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        Reply { status: status(error), ..wire::plain_error(error, &ErrorLine { error: text_of(error) }) }
    }
}

/// Returns the status as in the other dialects, except for the 403 that the first version promised.
fn status(error: &Error) -> u16 {
    match error {
        Error::Unauthenticated { .. } => 403,
        other => wire::status(other),
    }
}

/// Returns the text of an error. Scripts compare two texts of the first version, so these are kept.
fn text_of(error: &Error) -> String {
    match error {
        Error::Unauthenticated { .. } => "unauthorized".to_owned(),
        Error::RateLimited { .. } => "rate limit exceeded".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
