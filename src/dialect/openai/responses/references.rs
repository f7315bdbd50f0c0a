//! Items of earlier answers that a client has by their id alone (`item_reference`).

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::json::At;
use crate::dialect::openai::responses::ids::{ItemKind, item_of};
use crate::dialect::openai::responses::settings::ResponsesSettings;
use crate::model::chat::{ChatReply, ToolCall};
use crate::model::kept::{KeptReply, missing_answer};

/// Each of them is looked for in the record.
const ANSWERS_MAX: usize = 128;

/// The answers that a request refers to.
pub struct References<'k> {
    kept: &'k [KeptReply],
    /// Each once, in the order of the request.
    pub requests: Vec<RequestId>,
}

pub enum KeptItem<'k> {
    Thought(&'k str),
    Text(&'k str),
    Call(&'k ToolCall),
}

impl<'k> References<'k> {
    pub fn to(kept: &'k [KeptReply]) -> Self {
        References { kept, requests: Vec::new() }
    }

    /// Returns the item of this id; `None`: the answers are not at hand yet. An id that no item here has is that of a missing
    /// response.
    pub fn find(&mut self, id: &str, at: &At<'_>) -> Result<Option<KeptItem<'k>>, Error> {
        let (request, kind, index) = item_of(id).ok_or_else(missing_answer)?;
        if !self.requests.contains(&request) {
            if self.requests.len() == ANSWERS_MAX {
                let why = format_args!(
                    "refers to one response more than {ANSWERS_MAX}; send items themselves, or `previous_response_id`"
                );
                return Err(at.invalid(why));
            }
            self.requests.push(request);
        }
        if self.kept.is_empty() {
            return Ok(None);
        }
        let kept = self.kept.iter().find(|kept| kept.request == request).ok_or_else(missing_answer)?;
        ResponsesSettings::kept(&kept.settings)?;
        item(&kept.reply, kind, index).map(Some).ok_or_else(missing_answer)
    }
}

/// Returns an item of an answer. There is one thought and one text at most, before the calls.
fn item(reply: &ChatReply, kind: ItemKind, index: usize) -> Option<KeptItem<'_>> {
    let before = usize::from(!reply.reasoning.is_empty()) + usize::from(!reply.text.is_empty());
    match kind {
        ItemKind::Reasoning => (!reply.reasoning.is_empty()).then_some(KeptItem::Thought(&reply.reasoning)),
        ItemKind::Message => Some(KeptItem::Text(&reply.text)),
        ItemKind::Call => {
            // In a stream whose text came after its only call, the call has a lower index.
            let only = reply.tool_calls.first().filter(|_| reply.tool_calls.len() == 1);
            only.or_else(|| reply.tool_calls.get(index.checked_sub(before)?)).map(KeptItem::Call)
        }
    }
}
