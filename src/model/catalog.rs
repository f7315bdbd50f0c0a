//! The upstreams and the models that they serve.

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
}

/// Capabilities that only some models have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skills {
    /// It reasons before it answers.
    pub thinks: bool,
    /// It accepts images.
    pub sees: bool,
}
