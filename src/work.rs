//! What a model can be asked for: an answer in a conversation, the rest of a text, or texts as numbers.

use crate::chat::{ChatRequest, ModelName, Think};
use crate::complete::CompleteRequest;
use crate::embed::EmbedRequest;

#[derive(Debug, Clone)]
pub enum Work {
    Chat(ChatRequest),
    Complete(CompleteRequest),
    Embed(EmbedRequest),
}

impl Work {
    pub fn model(&self) -> &ModelName {
        match self {
            Work::Chat(chat) => &chat.model,
            Work::Complete(complete) => &complete.model,
            Work::Embed(embed) => &embed.model,
        }
    }

    /// What holds the prompt.
    pub fn asks(&self) -> &'static str {
        match self {
            Work::Chat(_) => "messages",
            Work::Complete(_) => "prompt",
            Work::Embed(_) => "input",
        }
    }

    /// Bytes of text that a model would read.
    pub fn prompt_bytes(&self) -> usize {
        match self {
            Work::Chat(chat) => chat.prompt_bytes(),
            Work::Complete(complete) => complete.prompt.len() + complete.suffix.as_ref().map_or(0, String::len),
            Work::Embed(embed) => embed.texts.iter().map(String::len).sum(),
        }
    }

    /// The caller's name for a wish that a model which does not think leaves out.
    pub fn think_wish(&self) -> Option<&'static str> {
        match self {
            // Not to think is within everybody's power.
            Work::Chat(chat) if chat.think != Some(Think::Off) => chat.think_wish,
            _ => None,
        }
    }

    pub fn leave_out_thinking(&mut self) {
        if let Work::Chat(chat) = self {
            chat.think = None;
        }
    }

    /// Tokens of the answer at most, as the caller asked; `None` where no tokens are made.
    pub fn max_tokens(&mut self) -> Option<&mut Option<u32>> {
        match self {
            Work::Chat(chat) => Some(&mut chat.max_tokens),
            Work::Complete(complete) => Some(&mut complete.max_tokens),
            Work::Embed(_) => None,
        }
    }
}
