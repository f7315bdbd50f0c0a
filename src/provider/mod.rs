//! How the gateway speaks to upstreams: the trait of a provider. It is the counterpart of a dialect, and as pure.

use std::borrow::Cow;

use bytes::Bytes;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::model::catalog::{LoadedModel, ModelCard, ModelDescription, Skills};
use crate::model::chat::ChatEvent;
use crate::model::kept::Conversation;
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange};
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::model::work::Work;

pub mod ollama;
pub mod wire;

/// Names in a provider's errors of the fields that hold the prompt and the schema. The caller's names for them depend on the
/// request; `Call` holds these, and they are put in their place.
pub const PROMPT_FIELD: &str = "messages";
pub const SCHEMA_FIELD: &str = "format";

/// Returns the provider that speaks to upstreams of this kind.
pub fn of(kind: ProviderKind) -> &'static dyn Provider {
    match kind {
        ProviderKind::Ollama => &ollama::OllamaProvider,
    }
}

/// Returns the canonical name of `model` by the rules of the provider of this name, as a row of the record names it.
pub fn canonical(provider: &str, model: &ModelName) -> String {
    let kind = ProviderKind::NAMED.iter().find(|(name, _)| *name == provider);
    kind.map_or_else(|| model.as_str().to_owned(), |(_, kind)| of(*kind).canonical(model))
}

/// Returns whether two names mean one model to upstreams of at least one of these kinds.
pub fn is_same(kinds: &[ProviderKind], one: &ModelName, other: &ModelName) -> bool {
    kinds.iter().any(|kind| of(*kind).canonical(one) == of(*kind).canonical(other))
}

pub trait Provider: Sync {
    /// Returns a name that is the same for all spellings of one model: for comparison, sums and the record.
    fn canonical(&self, model: &ModelName) -> String;

    /// Translates a request into the bytes to forward. Fails when the provider can't express what changes the meaning.
    fn call(&self, work: &Work) -> Result<Call, Error>;

    /// Returns a decoder for the answer to a call.
    fn decoder(&self, reading: &Reading) -> Box<dyn Decoder>;

    /// Reads back the conversation of a chat from the body of its call, as the record has it.
    fn conversation(&self, body: &[u8]) -> Result<Conversation, Error>;

    /// Translates an upstream's error answer to a call.
    fn failure(&self, status: u16, body: &[u8]) -> Error;

    /// Returns the header that carries the upstream's secret.
    fn credential(&self, secret: &Secret<String>) -> (&'static str, Secret<String>);

    /// Returns the query for the list of models.
    fn models_query(&self) -> Query;

    /// Parses the list of models, without those whose prompts the upstream would send to other servers.
    fn models(&self, body: &[u8]) -> Result<Vec<ModelCard>, Error>;

    /// Returns the query for what one model can do. `None`: the list of models says all there is to know.
    fn skills_query(&self, model: &ModelName) -> Option<Query>;

    /// Parses the answer to `skills_query`.
    fn skills(&self, body: &[u8]) -> Result<Skills, Error>;

    /// Parses the answer to `skills_query` for those who want to know more about the model.
    fn description(&self, body: &[u8]) -> Result<ModelDescription, Error>;

    /// Returns the query for the upstream's version. `None`: upstreams of this kind don't tell.
    fn version_query(&self) -> Option<Query>;

    /// Parses the answer to `version_query`.
    fn version(&self, body: &[u8]) -> Result<String, Error>;

    /// Returns the query for the models in the upstream's memory. `None`: upstreams of this kind don't tell.
    fn loaded_query(&self) -> Option<Query>;

    /// Parses the answer to `loaded_query`.
    fn loaded(&self, body: &[u8]) -> Result<Vec<LoadedModel>, Error>;

    /// Translates a change of an upstream's models into the bytes to forward.
    fn change(&self, change: &ModelChange) -> ChangeCall;

    /// Returns the query that finds out whether an upstream has an uploaded file.
    fn blob_query(&self, digest: &BlobDigest) -> Query;

    /// Returns a decoder for what an upstream reports of a change.
    fn change_decoder(&self, reading: ChangeReading) -> Box<dyn ChangeDecoder>;

    /// Returns whether an upstream would send prompts for a model of this name to other servers.
    fn passes_on(&self, model: &ModelName) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
    Head,
}

/// Headers that a provider adds to a request. None of them is secret; the secret's header comes from `Provider::credential`.
pub type Headers = Vec<(&'static str, String)>;

/// A request to an upstream about itself, with a short answer.
#[derive(Debug, Clone)]
pub struct Query {
    pub method: Method,
    pub path: Cow<'static, str>,
    pub headers: Headers,
    pub body: Bytes,
}

impl Query {
    pub fn get(path: impl Into<Cow<'static, str>>) -> Self {
        Query { method: Method::Get, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn post(path: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Query { method: Method::Post, path: path.into(), headers: Vec::new(), body: body.into() }
    }
}

/// A request for a model's answer. `body` holds exactly the bytes that are forwarded and recorded.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: Cow<'static, str>,
    pub headers: Headers,
    pub body: Bytes,
    /// The places of images in the body, in order.
    pub images: Vec<ImageAt>,
    /// Notes for the record: the caller's hints that this provider can't express, and what was done instead.
    pub notes: Vec<String>,
    /// Places in the caller's schemas at which a constraint was left out that this provider can't enforce.
    pub simplified: Vec<String>,
    pub reading: Reading,
    /// The caller's name of the field that holds the prompt, for errors about its length.
    pub prompt_field: &'static str,
    /// The caller's name of the field with the schema that binds the answer, for errors about it.
    pub schema_field: &'static str,
}

impl Call {
    /// Returns a call without images, schemas and additional headers.
    pub fn post(
        path: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
        reading: Reading,
        prompt_field: &'static str,
    ) -> Self {
        Call {
            method: Method::Post,
            path: path.into(),
            headers: Vec::new(),
            body: body.into(),
            images: Vec::new(),
            notes: Vec::new(),
            simplified: Vec::new(),
            reading,
            prompt_field,
            schema_field: SCHEMA_FIELD,
        }
    }

    /// Returns the bytes that it holds in memory: each image is in the body as base64, and decoded beside it.
    pub fn bytes_held(&self) -> usize {
        self.body.len() + self.images.iter().map(|image| image.bytes.len()).sum::<usize>()
    }
}

/// A request for a change of an upstream's models.
#[derive(Debug, Clone)]
pub struct ChangeCall {
    pub method: Method,
    pub path: Cow<'static, str>,
    /// `None`: the body is a file, which is passed through.
    pub body: Option<Bytes>,
    pub reading: ChangeReading,
}

/// How the answer to a change is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeReading {
    /// Steps, of which the last one says that the change is done.
    Steps,
    /// The status says that the change is done.
    Status,
}

/// How the answer to a call is to be read.
#[derive(Debug, Clone)]
pub enum Reading {
    Chat {
        /// The answer's text is a call of one of these functions. Empty: it is plain text.
        must_call: Vec<String>,
        /// Only the first of several calls is passed on.
        one_call: bool,
        /// Texts at which the answer ends, and is told to have ended. The upstream does not know them.
        stops: Vec<String>,
    },
    Completion,
    Embeddings {
        /// The number of texts that were sent; as many embeddings must come.
        texts: usize,
        /// The length of each embedding, if the caller set it.
        dimensions: Option<u32>,
    },
}

impl Reading {
    /// Returns how a chat is read that is not bound to a call.
    pub fn plain_chat() -> Self {
        Reading::Chat { must_call: Vec::new(), one_call: false, stops: Vec::new() }
    }
}

/// An image in a body, written as standard base64 with padding.
#[derive(Debug, Clone)]
pub struct ImageAt {
    /// The offset of its base64 text in the body.
    pub offset: usize,
    /// The length of that text.
    pub length: usize,
    /// The decoded bytes.
    pub bytes: Bytes,
}

/// Translates an upstream's bytes into events, however they are split.
pub trait Decoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error>;
    /// Handles the end of the connection. Fails if the upstream's own end mark was never seen.
    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Error>;
    /// Returns whether the answer has ended before its upstream did, whose connection is then to be closed.
    fn has_ended_early(&self) -> bool {
        false
    }
}

/// Translates an upstream's report of a change into steps, however its bytes are split.
pub trait ChangeDecoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChangeStep>) -> Result<(), Error>;
    /// Handles the end of the connection. Fails if the upstream never said that the change is done.
    fn end(&mut self, out: &mut Vec<ChangeStep>) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_upstreams_decide_which_spellings_mean_one_model() {
        let name = |text| ModelName::parse(text).unwrap();
        let ollama = [ProviderKind::Ollama];

        assert!(is_same(&ollama, &name("Fake"), &name("fake:latest")));
        assert!(!is_same(&ollama, &name("fake:1b"), &name("fake")));
        assert!(!is_same(&[], &name("fake"), &name("fake")), "nothing serves it");
        assert_eq!(canonical("ollama", &name("Fake")), "fake:latest");
        assert_eq!(canonical("one of the past", &name("Fake")), "Fake");
    }
}
