//! Texts as numbers: what is asked, and one text's numbers.

use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

#[derive(Debug, Clone)]
pub struct EmbedRequest {
    pub model: ModelName,
    /// Never empty, and none of them is.
    pub texts: Vec<String>,
    /// Numbers per text, at most; `None`: as many as the model makes.
    pub dimensions: Option<u32>,
    /// As in a chat, for each text.
    pub too_long: Option<TooLong>,
}

/// The numbers of one text. They are kept as the upstream made them, bit by bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(pub Vec<f32>);

impl Embedding {
    /// Little-endian, one after the other: the form in which clients want them and the record sums them up.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }
}
