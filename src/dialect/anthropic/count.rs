//! The number of tokens in a prompt.

use bytes::BytesMut;
use serde::Serialize;

use crate::base::error::Error;
use crate::dialect::{Encoder, wire};
use crate::model::chat::{ChatEvent, ChatReply, ChatRequest};
use crate::model::work::guess_prompt_tokens;

/// Writes what the model counted, or an estimate if it has not.
pub struct TokenCounter {
    estimate: u64,
}

impl TokenCounter {
    pub fn new(chat: &ChatRequest) -> Self {
        TokenCounter { estimate: guess_prompt_tokens(chat) }
    }
}

#[derive(Serialize)]
struct TokenCount {
    input_tokens: u64,
}

impl Encoder for TokenCounter {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let counted = Some(reply.end.usage.prompt_tokens).filter(|tokens| *tokens > 0);
        wire::put_json(out, &TokenCount { input_tokens: counted.unwrap_or(self.estimate) });
    }

    // A count is never streamed.
    fn event(&mut self, _: &ChatEvent, _: &mut BytesMut) {}

    fn error(&mut self, _: &Error, _: &mut BytesMut) {}

    fn heartbeat(&mut self, _: &mut BytesMut) {}
}
