//! Anthropic's messages, streamed and whole, and its list of models.
//!
//! What changes the meaning and can't be honoured is refused by name; what has no effect is named in `ignored`.

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::anthropic::answer::AnthropicAnswer;
use crate::dialect::anthropic::count::TokenCounter;
use crate::dialect::anthropic::request::AskedFor;
use crate::dialect::{
    Continuation, Decoded, Delivery, Dialect, Encoder, Head, Reply, Route, Serves, is_below, json, plain_path,
    surrogates, wire,
};
use crate::model::credential::Credential;
use crate::model::rights::Scope;
use crate::model::work::Work;

mod answer;
mod blocks;
mod count;
mod errors;
mod messages;
mod models;
mod request;
mod tools;

pub use models::AnthropicModels;

pub struct Anthropic;

const MESSAGES: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

/// The header that every client of this dialect sends. It tells them from OpenAI's, which have the same list of models.
const VERSION: &str = "anthropic-version";

/// Names the features of a beta. None of them has an effect here.
const BETA: &str = "anthropic-beta";

/// Fields that hold client data.
const OWN: &[&str] = &["input", "input_schema", "metadata", "schema"];

const ROUTES: &[Route] = &[
    Route { method: "POST", path: MESSAGES, serves: Serves::Inference(Scope::Chat) },
    Route { method: "POST", path: COUNT, serves: Serves::Inference(Scope::Chat) },
    Route { method: "GET", path: "/v1/models", serves: Serves::List(models::list) },
    Route { method: "GET", path: "/v1/models/{id:.*}", serves: Serves::Lookup(models::LOOKUP) },
];

impl Dialect for Anthropic {
    fn root(&self) -> &'static str {
        MESSAGES
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn is_read_by(&self, head: &dyn Head) -> bool {
        let path = plain_path(head.path());
        is_below(&path, MESSAGES) || (is_below(&path, "/v1") && head.header(VERSION).is_some())
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let body = surrogates::mended(body);
        let purpose = if head.path() == COUNT { AskedFor::Count } else { AskedFor::Answer };
        let mut asked = request::read(json::read(&body, OWN)?, purpose)?;
        if head.header(BETA).is_some_and(|names| !names.trim().is_empty()) {
            asked.ignored.add(BETA);
        }
        let (reply, delivery): (Box<dyn Encoder>, _) = match purpose {
            AskedFor::Count => (Box::new(TokenCounter::new(&asked.chat)), Delivery::Count),
            AskedFor::Answer if asked.stream => {
                (Box::new(AnthropicAnswer::new(head, &asked)), Delivery::Stream { content_type: wire::SSE })
            }
            AskedFor::Answer => (Box::new(AnthropicAnswer::new(head, &asked)), Delivery::Whole),
        };
        Ok(Decoded {
            reply,
            work: Work::Chat(asked.chat),
            delivery,
            ignored: asked.ignored.into_names(),
            credential: None,
            continuation: Continuation::default(),
        })
    }

    fn error(&self, error: &Error, id: &RequestId) -> Reply {
        errors::reply(error, id)
    }

    fn base_url(&self) -> Option<&'static str> {
        Some("the base URL of an Anthropic client is this gateway's address alone, without `/v1` or another path")
    }

    fn request_id_header(&self) -> Option<&'static str> {
        Some(errors::REQUEST_ID)
    }
}
