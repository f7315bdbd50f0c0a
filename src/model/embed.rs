//! Embeddings: the request, and one text's numbers.

use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

#[derive(Debug, Clone)]
pub struct EmbedRequest {
    pub model: ModelName,
    /// Neither the list nor a text is empty.
    pub texts: Vec<String>,
    /// Limit of numbers per text; `None`: as many as the model makes.
    pub dimensions: Option<u32>,
    /// What to do with a text that is longer than the context: the same as in a chat, for each text.
    pub too_long: Option<TooLong>,
    /// The caller's name of the field with the texts, for error messages.
    pub prompt_field: &'static str,
}

/// The embedding of one text, with the bits that the upstream sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(pub Vec<f32>);

impl Embedding {
    /// Returns little-endian bytes: the form that clients want and that the record's digest covers.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}
