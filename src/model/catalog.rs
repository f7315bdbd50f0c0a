//! The upstreams and the models that they serve.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::model::model_name::ModelName;

/// An upstream by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

#[derive(Debug, Clone)]
pub struct ModelCard {
    pub name: ModelName,
    /// The same for all spellings of the name, by the rules of its upstream's kind.
    pub canonical: String,
    /// When the model was last changed on its upstream.
    pub modified_at: Timestamp,
    /// `None`: its upstream has not reported them yet.
    pub skills: Option<Skills>,
    /// Its size on the disk of its upstream. `None`: not told.
    pub bytes: Option<u64>,
    /// Shared by the copies of a card.
    pub details: Arc<ModelDetails>,
}

/// What a model is made of, as far as its upstream tells. An empty text: not told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModelDetails {
    pub digest: String,
    pub format: String,
    pub family: String,
    pub families: Vec<String>,
    pub parameter_size: String,
    pub quantization_level: String,
    /// The longest context that it was made for, in model tokens.
    pub context_length: Option<u64>,
    pub embedding_length: Option<u64>,
    /// The upstream's words for what it can do.
    pub capabilities: Option<Vec<String>>,
}

/// What an upstream tells of one model when it is asked about it, without what its maker may keep private.
#[derive(Debug, Clone, Default)]
pub struct ModelDescription {
    /// Its own settings, a line each.
    pub parameters: String,
    /// How a conversation is written for it.
    pub template: String,
    /// Facts of its file, by the names that they have there.
    pub facts: Map<String, Value>,
    /// The upstream's words for what it can do.
    pub capabilities: Vec<String>,
}

/// Capabilities that only some models have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skills {
    /// It reasons before it answers.
    pub thinks: bool,
    /// It accepts images.
    pub sees: bool,
    /// It calls tools.
    pub calls_tools: bool,
}

/// A model that is in the memory of an upstream, with what is known of it besides.
#[derive(Debug, Clone)]
pub struct LoadedCard {
    pub card: ModelCard,
    pub loaded: LoadedModel,
}

/// A model in the memory of an upstream, as far as the upstream describes it.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    pub name: ModelName,
    /// Bytes of memory, of the host and the GPU together.
    pub bytes: Option<u64>,
    /// Bytes of these in the memory of the GPU.
    pub gpu_bytes: Option<u64>,
    /// When it is unloaded unless another request comes. `None`: not told, or it stays.
    pub until: Option<Timestamp>,
    /// Model tokens of the context that it was loaded with.
    pub context: Option<u64>,
}
