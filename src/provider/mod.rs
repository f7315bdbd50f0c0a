//! How we speak to upstreams: the trait of a provider. The mirror of a dialect, and as pure.

use bytes::Bytes;

use crate::base::error::Error;
use crate::model::catalog::{ModelCard, Skills};
use crate::model::chat::ChatEvent;
use crate::model::model_name::ModelName;
use crate::model::work::Work;

pub mod ollama;
pub mod wire;

/// In a provider's errors these stand for the fields that hold the prompt and the schema. What a caller names them depends on
/// the request, and the `Call` says it.
pub const PROMPT_FIELD: &str = "messages";
pub const SCHEMA_FIELD: &str = "format";

pub trait Provider: Sync {
    fn name(&self) -> &'static str;
    /// The request as bytes; an error when the provider can't express what changes the meaning.
    fn call(&self, work: &Work) -> Result<Call, Error>;
    /// Reads the answer to a call.
    fn decoder(&self, reading: &Reading) -> Box<dyn Decoder>;
    /// An upstream's error answer to a call, in our words.
    fn failure(&self, status: u16, body: &[u8]) -> Error;
    /// Where its list of models is, and how to read it.
    fn models_path(&self) -> &'static str;
    fn models(&self, body: &[u8]) -> Result<Vec<ModelCard>, Error>;
    /// Where it tells more about one model, the question, and how to read what that model can do.
    fn model_path(&self) -> &'static str;
    fn model_question(&self, model: &ModelName) -> Vec<u8>;
    fn skills(&self, body: &[u8]) -> Result<Skills, Error>;
}

/// A request to an upstream. `body` holds exactly the bytes that are forwarded and recorded.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: &'static str,
    pub body: Bytes,
    /// Where images stand in the body, in order.
    pub images: Vec<ImageAt>,
    /// Hints of the caller that this provider can't pass on, and what was done in their place: for the record.
    pub notes: Vec<String>,
    /// Places in the caller's schemas at which something was left out that this provider can't be bound to.
    pub simplified: Vec<String>,
    pub reading: Reading,
    /// What of the request was too long, if the upstream says that something is.
    pub asks: &'static str,
    /// The field with the schema that binds the answer, if the upstream says that it can't use it.
    pub schema_field: &'static str,
}

impl Call {
    /// What it holds in memory: images stand in the body as text, and once more as they are.
    pub fn bytes_held(&self) -> usize {
        self.body.len() + self.images.iter().map(|image| image.bytes.len()).sum::<usize>()
    }
}

/// How the answer to a call is to be read.
#[derive(Debug, Clone)]
pub enum Reading {
    Chat {
        /// The answer's text is a call of one of these functions. Empty: it is a text.
        must_call: Vec<String>,
        /// Of several calls only the first is given.
        one_call: bool,
    },
    Completion,
    Embeddings {
        /// Texts that were sent: as many answers must come.
        texts: usize,
        /// Numbers that each must have, when the caller said so.
        dimensions: Option<u32>,
    },
}

impl Reading {
    /// Of an answer that is read as it comes.
    pub fn plain_chat() -> Self {
        Reading::Chat { must_call: Vec::new(), one_call: false }
    }
}

/// An image in a body, written as standard base64 with padding.
#[derive(Debug, Clone)]
pub struct ImageAt {
    /// Where its base64 text begins in the body.
    pub offset: usize,
    /// The length of that text.
    pub length: usize,
    /// The decoded bytes.
    pub bytes: Bytes,
}

/// Upstream bytes to events, in any split.
pub trait Decoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error>;
    /// The upstream closed. An error when its own end mark was never seen.
    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Error>;
}
