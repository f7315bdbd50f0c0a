//! The rest of a text: what is asked. The answer comes in the events of a chat.

use crate::model::chat::Sampling;
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

#[derive(Debug, Clone)]
pub struct CompleteRequest {
    pub model: ModelName,
    /// Never empty: an upstream would only load the model.
    pub prompt: String,
    /// What follows the text that is to be written.
    pub suffix: Option<String>,
    pub sampling: Sampling,
    /// Tokens of the answer at most. The policy fills it in when the caller leaves it out.
    pub max_tokens: Option<u32>,
    /// As in a chat.
    pub logprobs: Option<u8>,
    /// As in a chat.
    pub too_long: Option<TooLong>,
}
