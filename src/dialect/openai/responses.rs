//! OpenAI's Responses: a request that may go on from an earlier answer, and an answer of items.
//!
//! The settings of a request are kept with it in the record, so that its answer can be shown again and followed.

use crate::base::error::Error;
use crate::dialect::openai::delivery;
use crate::dialect::openai::responses::answer::ResponsesAnswer;
use crate::dialect::{Continuation, Decoded, Head, json};
use crate::model::work::Work;

mod answer;
mod content;
mod events;
mod ids;
mod items;
mod object;
mod output;
mod request;
mod settings;
mod tools;

pub fn decode(head: &dyn Head, body: json::Object<'_>) -> Result<Decoded, Error> {
    let asked = request::read(body)?;
    if asked.follows.is_some() {
        return Err(Error::unsupported(
            "previous_response_id",
            "`previous_response_id` is not offered yet; send the whole conversation",
        ));
    }
    let settings = asked.echo.settings.to_bytes();
    Ok(Decoded {
        work: Work::Chat(asked.chat),
        reply: Box::new(ResponsesAnswer::new(head, asked.echo)),
        delivery: delivery(asked.stream),
        ignored: asked.ignored.into_names(),
        credential: None,
        continuation: Continuation { follows: asked.follows, settings: Some(settings) },
    })
}
