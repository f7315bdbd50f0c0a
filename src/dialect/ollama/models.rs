//! Ollama's lists of models, cut to what the caller may use.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::dialect::{Head, Reply, wire};
use crate::model::catalog::{ModelCard, ModelDetails};

pub fn tags(_: &dyn Head, cards: &[ModelCard]) -> Result<Reply, Error> {
    Ok(wire::json_reply(&OllamaModelList { models: cards.iter().map(OllamaModel::of).collect() }))
}

/// The models that you may use.
#[derive(Serialize, ToSchema)]
pub struct OllamaModelList {
    models: Vec<OllamaModel>,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaModel {
    #[schema(example = "llama3.2:latest")]
    name: String,
    /// The same as `name`.
    #[schema(example = "llama3.2:latest")]
    model: String,
    #[schema(format = DateTime)]
    modified_at: String,
    /// Bytes on the disk.
    size: u64,
    digest: String,
    details: OllamaModelDetails,
    /// Absent: the model server has not told them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["completion", "tools"]))]
    capabilities: Option<Vec<String>>,
}

impl OllamaModel {
    fn of(card: &ModelCard) -> Self {
        let name = card.name.as_str().to_owned();
        OllamaModel {
            model: name.clone(),
            name,
            modified_at: card.modified_at.rfc3339(),
            size: card.bytes.unwrap_or_default(),
            digest: card.details.digest.clone(),
            details: OllamaModelDetails::of(&card.details),
            capabilities: card.details.capabilities.clone(),
        }
    }
}

/// What a model is made of.
#[derive(Serialize, ToSchema)]
pub struct OllamaModelDetails {
    /// Always empty: it may be the path of a file on the host, or a model that you may not use.
    parent_model: &'static str,
    #[schema(example = "gguf")]
    format: String,
    #[schema(example = "llama")]
    family: String,
    families: Vec<String>,
    #[schema(example = "3.2B")]
    parameter_size: String,
    #[schema(example = "Q4_K_M")]
    quantization_level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<u64>,
}

impl OllamaModelDetails {
    fn of(details: &ModelDetails) -> Self {
        OllamaModelDetails {
            parent_model: "",
            format: details.format.clone(),
            family: details.family.clone(),
            families: details.families.clone(),
            parameter_size: details.parameter_size.clone(),
            quantization_level: details.quantization_level.clone(),
            context_length: details.context_length,
            embedding_length: details.embedding_length,
        }
    }
}
