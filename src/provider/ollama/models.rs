//! The models of an Ollama and what they can do.

use serde::Deserialize;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::catalog::{ModelCard, Skills};
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
    /// Some versions report them in the list.
    capabilities: Option<Vec<String>>,
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
    Some(ModelCard { name, canonical, modified_at, skills, bytes: tag.size })
}

/// Parses the answer of `/api/show`: what one model can do.
pub fn skills(body: &[u8]) -> Result<Skills, Error> {
    let shown: Shown =
        serde_json::from_slice(body).map_err(|_| refused("the model server's account of a model is not understood"))?;
    Ok(skills_of(&shown.capabilities))
}

#[cfg(test)]
mod tests {
    use super::*;

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
