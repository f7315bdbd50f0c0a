//! The hosts that serve models and what they serve, as far as the gateway cares.

use crate::base::clock::Timestamp;
use crate::model::model_name::ModelName;

/// A host by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostId(pub usize);

#[derive(Debug, Clone)]
pub struct ModelCard {
    pub name: ModelName,
    /// When the model was last changed on its host.
    pub modified_at: Timestamp,
    /// `None`: its host has not told yet.
    pub skills: Option<Skills>,
}

/// What only some models can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skills {
    /// It thinks before it answers.
    pub thinks: bool,
    /// It takes images.
    pub sees: bool,
}
