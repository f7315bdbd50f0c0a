//! A request that goes on from an earlier response: its conversation, without its instructions, and its answer come first.

use crate::base::error::Error;
use crate::dialect::Continuation;
use crate::dialect::calls::name_results;
use crate::dialect::openai::responses::settings::ResponsesSettings;
use crate::model::chat::{ChatReply, Message, Part, Role};
use crate::model::kept::{Conversation, KeptAnswer, missing_answer};
use crate::model::work::Work;

/// Puts the conversation before the messages of this request, after its own instructions.
pub fn follow(kept: KeptAnswer, continuation: &Continuation, work: &mut Work) -> Result<(), Error> {
    let Work::Chat(chat) = work else { return Err(missing_answer()) };
    let settings = ResponsesSettings::kept(&kept.settings)?;
    let (_, mut before) = split(kept.conversation, &settings);
    before.push(answered(kept.reply));
    let mut now = chat.messages.split_off(continuation.leading.min(chat.messages.len()));
    chat.messages.append(&mut before);
    chat.messages.append(&mut now);
    name_results(&mut chat.messages);
    Ok(())
}

/// Returns the instructions and the messages behind them.
pub fn split(conversation: Conversation, settings: &ResponsesSettings) -> (Option<String>, Vec<Message>) {
    let mut messages = conversation.messages;
    let has_instructions =
        settings.instructions_bytes > 0 && messages.first().is_some_and(|first| first.role == Role::System);
    let instructions = has_instructions.then(|| messages.remove(0).text().into_owned());
    (instructions, messages)
}

/// Returns what the model thought, said and called as the assistant's turn.
fn answered(reply: ChatReply) -> Message {
    let mut parts = Vec::new();
    if !reply.reasoning.is_empty() {
        parts.push(Part::Reasoning(reply.reasoning));
    }
    if !reply.text.is_empty() {
        parts.push(Part::Text(reply.text));
    }
    parts.extend(reply.tool_calls.into_iter().map(Part::ToolCall));
    Message { role: Role::Assistant, parts }
}
