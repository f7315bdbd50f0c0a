//! Ollama's lists of models, cut to what the caller may use.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::dialect::json::{self, Ignored, NoEffect};
use crate::dialect::{AskedModel, Description, Head, Reply, wire};
use crate::model::catalog::{LoadedCard, ModelCard, ModelDescription, ModelDetails};

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

pub fn ps(_: &dyn Head, loaded: &[LoadedCard]) -> Result<Reply, Error> {
    let models = loaded.iter().map(OllamaLoadedModel::of).collect();
    Ok(wire::json_reply(&OllamaLoadedList { models }))
}

/// The models in memory that you may use.
#[derive(Serialize, ToSchema)]
pub struct OllamaLoadedList {
    models: Vec<OllamaLoadedModel>,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaLoadedModel {
    #[schema(example = "llama3.2:latest")]
    name: String,
    /// The same as `name`.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Bytes of memory, of the host and the GPU together.
    size: u64,
    digest: String,
    details: OllamaModelDetails,
    /// When it is unloaded unless another request comes; far away: it stays.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Bytes of these in the memory of the GPU.
    size_vram: u64,
    /// The context that it was loaded with, in model tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
}

/// What Ollama itself writes for a model that stays is about as far away. Its clients expect a time.
const FAR_AWAY: &str = "2318-01-01T00:00:00Z";

impl OllamaLoadedModel {
    fn of(LoadedCard { card, loaded: model }: &LoadedCard) -> Self {
        let name = model.name.as_str().to_owned();
        OllamaLoadedModel {
            model: name.clone(),
            name,
            size: model.bytes.unwrap_or_default(),
            digest: card.details.digest.clone(),
            details: OllamaModelDetails::of(&card.details),
            expires_at: model.until.map_or_else(|| FAR_AWAY.to_owned(), Timestamp::rfc3339),
            size_vram: model.gpu_bytes.unwrap_or_default(),
            context_length: model.context,
        }
    }
}

pub fn version(_: &dyn Head, version: Option<&str>) -> Result<Reply, Error> {
    // Clients parse it, and take this for a build of somebody's own, as Ollama does.
    Ok(wire::json_reply(&OllamaVersion { version: version.unwrap_or("0.0.0").to_owned() }))
}

/// The version of the Ollama behind the gateway: clients decide by it what they may send.
#[derive(Serialize, ToSchema)]
pub struct OllamaVersion {
    #[schema(example = "0.24.0")]
    version: String,
}

pub const SHOW: Description = Description { asked, found: show };

/// `system`, `template` and `options` would only change how Ollama prints the model's file, and `verbose` adds megabytes.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ShowBody {
    model: Option<String>,
    /// The older name of `model`.
    name: Option<String>,
    options: NoEffect,
    system: NoEffect,
    template: NoEffect,
    verbose: Option<bool>,
}

fn asked(body: &[u8]) -> Result<AskedModel, Error> {
    let mut ignored = Ignored::default();
    let body: ShowBody = json::read_body(json::read(body, &[])?, &mut ignored)?;
    if body.verbose == Some(true) {
        ignored.add("verbose");
    }
    let name = match (body.model, body.name) {
        (Some(model), Some(name)) if model != name => {
            return Err(Error::invalid("name", "`model` and `name` differ; send one of them"));
        }
        (model, name) => model.or(name),
    };
    let name =
        name.ok_or_else(|| Error::invalid("model", "`model` is missing; name one that `GET /api/tags` lists"))?;
    Ok(AskedModel { name, ignored: ignored.into_names() })
}

fn show(_: &dyn Head, card: &ModelCard, description: ModelDescription) -> Result<Reply, Error> {
    Ok(wire::json_reply(&OllamaShown {
        parameters: description.parameters,
        template: description.template,
        details: OllamaModelDetails::of(&card.details),
        model_info: description.facts,
        capabilities: description.capabilities,
        modified_at: card.modified_at.rfc3339(),
    }))
}

/// A model. Ollama's `modelfile`, `system`, `messages` and `license` are left out.
#[derive(Serialize, ToSchema)]
pub struct OllamaShown {
    /// Its own settings, a line each.
    #[schema(example = "stop \"<|eot_id|>\"")]
    parameters: String,
    /// How a conversation is written for it.
    template: String,
    details: OllamaModelDetails,
    #[schema(value_type = Object, example = json!({ "general.architecture": "llama", "llama.context_length": 131072 }))]
    model_info: Map<String, Value>,
    #[schema(example = json!(["completion", "tools"]))]
    capabilities: Vec<String>,
    #[schema(format = DateTime)]
    modified_at: String,
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
