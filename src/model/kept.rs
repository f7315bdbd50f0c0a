//! Answers that the record keeps, for clients that refer to them later.

use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::chat::{ChatReply, Message};

/// A complete answer with the conversation that it belongs to.
pub struct KeptAnswer {
    pub request: RequestId,
    /// The model, as it was asked for.
    pub model: String,
    /// `Continuation::settings` of its request.
    pub settings: Vec<u8>,
    pub conversation: Conversation,
    pub reply: ChatReply,
}

/// A complete answer alone.
pub struct KeptReply {
    pub request: RequestId,
    /// `Continuation::settings` of its request.
    pub settings: Vec<u8>,
    pub reply: ChatReply,
}

/// What an upstream was sent in a chat, read back.
#[derive(Debug)]
pub struct Conversation {
    pub messages: Vec<Message>,
    pub tools: Vec<KeptTool>,
    /// The schema that the answer was bound to.
    pub schema: Option<Box<RawValue>>,
}

#[derive(Debug)]
pub struct KeptTool {
    pub name: String,
    pub description: Option<String>,
    pub parameters: Option<Box<RawValue>>,
}

/// Returns the one error for ids that are malformed, unknown, deleted, expired, not stored, or somebody else's.
pub fn missing_answer() -> Error {
    Error::NotFound { what: "response of that id".into() }
}
