//! Lists and lookups of models in OpenAI's format.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::dialect::{Head, Lookup, Reply, wire};
use crate::model::catalog::ModelCard;

pub const LOOKUP: Lookup = Lookup { name, found };

pub fn list(_: &dyn Head, cards: &[ModelCard]) -> Result<Reply, Error> {
    Ok(wire::json_reply(&ModelList::of(cards)))
}

fn found(_: &dyn Head, card: &ModelCard) -> Result<Reply, Error> {
    Ok(wire::json_reply(&ModelObject::of(card)))
}

/// Returns the name in the path of a lookup.
pub fn name(_: &dyn Head, id: &str, _: &[u8]) -> Result<String, Error> {
    if id.is_empty() {
        let message = "no such route; the list is `/v1/models`, without a slash at the end".to_owned();
        return Err(Error::UnknownRoute { message });
    }
    Ok(id.to_owned())
}

#[derive(Serialize, ToSchema)]
pub struct ModelList {
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<ModelObject>,
}

#[derive(Serialize, ToSchema)]
pub struct ModelObject {
    #[schema(example = "llama3.2:latest")]
    id: String,
    #[schema(example = "model")]
    object: &'static str,
    /// Seconds since the epoch.
    created: i64,
    #[schema(example = "library")]
    owned_by: String,
}

impl ModelList {
    pub fn of(cards: &[ModelCard]) -> Self {
        ModelList { object: "list", data: cards.iter().map(ModelObject::of).collect() }
    }
}

impl ModelObject {
    pub fn of(card: &ModelCard) -> Self {
        let id = card.name.as_str().to_owned();
        // The namespace, as Ollama has it: `user` of `user/model`, else its own library.
        let owned_by = id.rsplit_once('/').map_or("library", |(namespace, _)| namespace).to_owned();
        ModelObject { id, object: "model", created: card.modified_at.seconds(), owned_by }
    }
}
