//! The models of an Ollama and what they can do.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::catalog::{ModelCard, ModelDescription, ModelDetails, Skills};
use crate::model::model_name::ModelName;
use crate::provider::ollama::failure::refused;
use crate::provider::ollama::naming;

#[derive(Deserialize)]
struct Tags {
    models: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tag {
    name: Option<String>,
    modified_at: Option<String>,
    size: Option<u64>,
    remote_host: Option<String>,
    remote_model: Option<String>,
    digest: Option<String>,
    details: Option<TagDetails>,
    /// Some versions report them in the list.
    capabilities: Option<Vec<String>>,
}

/// What else Ollama tells is not read: `parent_model` may be the path of a file on its host.
#[derive(Deserialize, Default)]
#[serde(default)]
struct TagDetails {
    format: Option<String>,
    family: Option<String>,
    families: Option<Vec<String>>,
    parameter_size: Option<String>,
    quantization_level: Option<String>,
    context_length: Option<u64>,
    embedding_length: Option<u64>,
}

#[derive(Deserialize)]
struct Shown {
    capabilities: Vec<String>,
}

fn skills_of(capabilities: &[String]) -> Skills {
    let has = |skill: &str| capabilities.iter().any(|word| word == skill);
    Skills { thinks: has("thinking"), sees: has("vision"), calls_tools: has("tools") }
}

/// Returns the models that this Ollama runs itself. Those that it would send prompts for to other servers are left out, and so
/// are names that no request could contain.
pub fn models(body: &[u8]) -> Result<Vec<ModelCard>, Error> {
    let tags: Tags =
        serde_json::from_slice(body).map_err(|_| refused("the model server's list of models is not understood"))?;
    Ok(tags.models.unwrap_or_default().into_iter().filter_map(card).collect())
}

fn card(tag: Tag) -> Option<ModelCard> {
    let is_remote = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
    if is_remote(tag.remote_host) || is_remote(tag.remote_model) {
        return None;
    }
    let name = ModelName::parse(&tag.name?).ok().filter(|name| !naming::is_cloud(name))?;
    let modified_at = tag.modified_at.and_then(|text| Timestamp::parse(&text)).unwrap_or(Timestamp(0));
    let canonical = naming::canonical(&name);
    let skills = tag.capabilities.as_deref().map(skills_of);
    let details = Arc::new(details(tag.details.unwrap_or_default(), tag.digest, tag.capabilities));
    Some(ModelCard { name, canonical, modified_at, skills, bytes: tag.size, details })
}

fn details(told: TagDetails, digest: Option<String>, capabilities: Option<Vec<String>>) -> ModelDetails {
    ModelDetails {
        digest: digest.unwrap_or_default(),
        format: told.format.unwrap_or_default(),
        family: told.family.unwrap_or_default(),
        families: told.families.unwrap_or_default(),
        parameter_size: told.parameter_size.unwrap_or_default(),
        quantization_level: told.quantization_level.unwrap_or_default(),
        context_length: told.context_length,
        embedding_length: told.embedding_length,
        capabilities,
    }
}

/// Parses the answer of `/api/show`: what one model can do.
pub fn skills(body: &[u8]) -> Result<Skills, Error> {
    let shown: Shown =
        serde_json::from_slice(body).map_err(|_| refused("the model server's account of a model is not understood"))?;
    Ok(skills_of(&shown.capabilities))
}

/// What is read of `/api/show`. Its `modelfile`, `system`, `messages` and `license` are not: they hold paths of the host's files,
/// and prompts that the model's maker did not write for its users.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Described {
    parameters: Option<String>,
    template: Option<String>,
    model_info: Option<Map<String, Value>>,
    capabilities: Option<Vec<String>>,
}

/// Parses the answer of `/api/show` into what those may know who may use the model.
pub fn description(body: &[u8]) -> Result<ModelDescription, Error> {
    let described: Described =
        serde_json::from_slice(body).map_err(|_| refused("the model server's account of a model is not understood"))?;
    Ok(ModelDescription {
        parameters: described.parameters.unwrap_or_default(),
        template: described.template.unwrap_or_default(),
        facts: described.model_info.unwrap_or_default(),
        capabilities: described.capabilities.unwrap_or_default(),
    })
}

/// The longest version that is passed on.
const VERSION_BYTES_MAX: usize = 64;

/// Parses the answer of `/api/version`.
pub fn version(body: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Told {
        version: String,
    }
    let told = serde_json::from_slice::<Told>(body).ok();
    let is_version =
        |text: &String| text.len() <= VERSION_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    let version = told.map(|told| told.version).filter(is_version);
    version.ok_or_else(|| refused("the model server's version is not understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_keeps_to_itself_is_not_read() {
        let shown = r#"{"license":"MIT","modelfile":"FROM /models/blobs/sha256-1","parameters":"num_ctx 2048","template":"{{ .Prompt }}",
            "system":"secret","messages":[{"role":"user","content":"secret"}],"details":{"parent_model":"/models/blobs/sha256-1"},
            "model_info":{"llama.context_length":8192,"tokenizer.ggml.tokens":null},"capabilities":["completion"],"tensors":[{}]}"#;

        let description = description(shown.as_bytes()).unwrap();

        assert_eq!((description.parameters.as_str(), description.template.as_str()), ("num_ctx 2048", "{{ .Prompt }}"));
        assert_eq!((&description.facts["llama.context_length"], description.facts.len()), (&Value::from(8192), 2));
        let all = format!("{description:?}");
        assert!(!all.contains("secret") && !all.contains("/root") && !all.contains("MIT"), "{all}");
        assert!(super::description(b"{}").unwrap().facts.is_empty());
        assert!(super::description(b"[]x").is_err());
    }

    #[test]
    fn a_version_is_a_short_word() {
        let told = |text: &str| version(format!(r#"{{"version":"{text}"}}"#).as_bytes());

        assert_eq!(told("0.24.0-rc1").unwrap(), "0.24.0-rc1");
        assert!(told(&"1".repeat(64)).is_ok());
        for wrong in [&"1".repeat(65), "0.24 x", "ü"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
        assert!(version(b"{}").is_err() && version(b"<html>").is_err());
    }

    #[test]
    fn models_that_leave_the_lan_are_not_listed() {
        let tags = r#"{"models":[
            {"name":"a:1","modified_at":"2026-11-24T03:12:38.2+02:00"},
            {"name":"b:cloud"},
            {"name":"c","remote_host":"https://ollama.com"},
            {"name":"d","remote_model":"d"},
            {"name":"e","remote_host":"","remote_model":null},
            {"name":"sp ace"},
            {"modified_at":"x"}]}"#;

        let cards = models(tags.as_bytes()).unwrap();

        let names: Vec<_> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names, ["a:1", "e"]);
        assert_eq!(cards[0].modified_at.rfc3339(), "2026-11-24T01:12:38.2Z");
        assert_eq!(models(br#"{"models":null}"#).unwrap().len(), 0);
        assert!(models(b"<html>").is_err());
    }
}
