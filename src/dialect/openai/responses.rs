//! OpenAI's Responses: a request that may go on from an earlier answer, and an answer of items.
//!
//! The settings of a request are kept with it in the record, so that its answer can be shown again and followed.

use crate::base::error::Error;
use crate::dialect::openai::delivery;
use crate::dialect::openai::responses::answer::ResponsesAnswer;
use crate::dialect::{Continuation, Decoded, Head, json};
use crate::model::kept::KeptReply;
use crate::model::work::Work;

pub use follow::follow;
pub use kept::{DELETE, GET, INPUT_ITEMS};

mod answer;
mod content;
mod events;
mod follow;
mod ids;
mod input_items;
mod items;
mod kept;
mod object;
mod output;
mod references;
mod request;
mod settings;
mod tools;

/// Translates a request. `kept` are the answers that its `item_reference`s are about; without them, these are left out.
pub fn decode(head: &dyn Head, body: json::Object<'_>, kept: &[KeptReply]) -> Result<Decoded, Error> {
    let asked = request::read(head, body, kept)?;
    let leading = usize::from(asked.echo.instructions.is_some());
    let settings = asked.echo.settings.to_bytes();
    Ok(Decoded {
        work: Work::Chat(asked.chat),
        reply: Box::new(ResponsesAnswer::new(head, asked.echo)),
        delivery: delivery(asked.stream),
        ignored: asked.ignored.into_names(),
        credential: None,
        continuation: Continuation { follows: asked.follows, refers: asked.refers, leading, settings: Some(settings) },
    })
}
