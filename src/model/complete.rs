//! A text to be continued. The answer consists of the events of a chat.

use crate::model::chat::{Extra, Sampling};
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

#[derive(Debug, Clone)]
pub struct CompleteRequest {
    pub model: ModelName,
    /// Never empty: an upstream would only load the model.
    pub prompt: String,
    /// The text after the gap.
    pub suffix: Option<String>,
    /// The model reads the prompt as it is, not in its template.
    pub raw: bool,
    pub sampling: Sampling,
    /// Limit of the answer in model tokens. The policy sets it when the caller doesn't.
    pub max_tokens: Option<u32>,
    /// Alternatives per model token, the same as in a chat.
    pub logprobs: Option<u8>,
    /// The same as in a chat.
    pub too_long: Option<TooLong>,
    pub extra: Extra,
}
