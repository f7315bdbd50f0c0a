//! OpenAI's chat completions, streamed and whole.
//!
//! What changes the meaning and can't be honoured is refused by name; what has no effect is named in `ignored`.

use crate::credential::Credential;
use crate::dialect::openai::answer::Answer;
use crate::dialect::{Decoded, Delivery, Dialect, Head, Reply, Route, Work, json, wire};
use crate::error::Error;
use crate::ids::RequestId;

mod answer;
mod message;
mod request;
mod tools;

pub struct OpenAi;

const ROUTES: &[Route] = &[Route { method: "POST", path: "/v1/chat/completions" }];

impl Dialect for OpenAi {
    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let asked = request::read(json::parse(body)?)?;
        let answer = Answer::new(head, &asked);
        let delivery = if asked.stream { Delivery::Stream { content_type: wire::SSE } } else { Delivery::Whole };
        Ok(Decoded {
            work: Work::Chat(asked.chat),
            reply: Box::new(answer),
            delivery,
            ignored: asked.ignored.into_names(),
            credential: None,
        })
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        wire::error_reply(error)
    }
}
