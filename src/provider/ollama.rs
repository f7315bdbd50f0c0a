//! The provider for upstreams that speak Ollama's native API.

use serde_json::json;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::model::catalog::{LoadedModel, ModelCard, ModelDescription, Skills};
use crate::model::kept::Conversation;
use crate::model::manage::{BlobDigest, ModelChange};
use crate::model::model_name::ModelName;
use crate::model::work::Work;
use crate::provider::ollama::answer::TextDecoder;
use crate::provider::ollama::embed::EmbedDecoder;
use crate::provider::{Call, ChangeCall, ChangeDecoder, ChangeReading, Decoder, Provider, Query, Reading};

mod answer;
mod complete;
mod count;
mod embed;
mod failure;
pub mod grammar;
mod loaded;
mod manage;
mod models;
mod naming;
mod read_back;
mod refs;
mod request;
mod schema;
mod stops;

pub struct OllamaProvider;

impl Provider for OllamaProvider {
    fn canonical(&self, model: &ModelName) -> String {
        naming::canonical(model)
    }

    fn call(&self, work: &Work) -> Result<Call, Error> {
        match work {
            Work::Chat(chat) => request::call(chat, work.prompt_field()),
            Work::Complete(complete) => Ok(complete::call(complete, work.prompt_field())),
            Work::Embed(embed) => Ok(embed::call(embed, work.prompt_field())),
            Work::Load(model) => Ok(complete::load(model, work.prompt_field())),
        }
    }

    fn decoder(&self, reading: &Reading) -> Box<dyn Decoder> {
        match reading {
            Reading::Chat { must_call, one_call, stops } => {
                Box::new(TextDecoder::chat(must_call.clone(), *one_call, stops.clone()))
            }
            Reading::Completion => Box::new(TextDecoder::completion()),
            Reading::Embeddings { texts, dimensions } => Box::new(EmbedDecoder::new(*texts, *dimensions)),
        }
    }

    fn conversation(&self, body: &[u8]) -> Result<Conversation, Error> {
        read_back::conversation(body)
    }

    fn failure(&self, status: u16, body: &[u8]) -> Error {
        failure::failure(status, body)
    }

    /// Returns a bearer token. Ollama itself asks for none; a proxy in front of it may.
    fn credential(&self, secret: &Secret<String>) -> (&'static str, Secret<String>) {
        ("authorization", Secret::new(format!("Bearer {}", secret.expose())))
    }

    fn models_query(&self) -> Query {
        Query::get("/api/tags")
    }

    fn models(&self, body: &[u8]) -> Result<Vec<ModelCard>, Error> {
        models::models(body)
    }

    fn skills_query(&self, model: &ModelName) -> Option<Query> {
        Some(Query::post("/api/show", json!({ "model": model.as_str() }).to_string()))
    }

    fn skills(&self, body: &[u8]) -> Result<Skills, Error> {
        models::skills(body)
    }

    fn description(&self, body: &[u8]) -> Result<ModelDescription, Error> {
        models::description(body)
    }

    fn version_query(&self) -> Option<Query> {
        Some(Query::get("/api/version"))
    }

    fn version(&self, body: &[u8]) -> Result<String, Error> {
        models::version(body)
    }

    fn loaded_query(&self) -> Option<Query> {
        Some(Query::get("/api/ps"))
    }

    fn loaded(&self, body: &[u8]) -> Result<Vec<LoadedModel>, Error> {
        loaded::loaded(body)
    }

    fn change(&self, change: &ModelChange) -> ChangeCall {
        manage::change(change)
    }

    fn blob_query(&self, digest: &BlobDigest) -> Query {
        manage::blob_query(digest)
    }

    fn change_decoder(&self, reading: ChangeReading) -> Box<dyn ChangeDecoder> {
        match reading {
            ChangeReading::Steps => Box::new(manage::StepDecoder::default()),
            ChangeReading::Status => Box::new(manage::StatusDecoder),
        }
    }

    fn passes_on(&self, model: &ModelName) -> bool {
        naming::is_cloud(model)
    }
}
