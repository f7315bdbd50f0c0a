//! What a response tells of its request, besides the conversation.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::dialect::wire;
use crate::model::chat::Think;
use crate::model::kept::missing_answer;

/// The settings of a request as its response repeats them. They are kept in the record as JSON, so a field may be added, but
/// none may change its meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponsesSettings {
    /// Seconds since the epoch.
    pub created_at: i64,
    /// The response can be fetched and followed later.
    pub store: bool,
    /// Length of the instructions, with which the conversation begins. They are not carried over to a response that follows.
    #[serde(default)]
    pub instructions_bytes: usize,
    /// Names of namespaces: a function `search` of the namespace `docs` is `docs.search` for the model.
    #[serde(default)]
    pub namespaces: Vec<String>,
    pub previous_response_id: Option<String>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    pub tool_choice: Value,
    pub parallel_tool_calls: bool,
    pub max_output_tokens: Option<u32>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    #[serde(default)]
    pub top_logprobs: u8,
    /// Whether the probabilities of tokens were asked for.
    #[serde(default)]
    pub logprobs: bool,
    pub format: FormatSettings,
    pub effort: Option<String>,
    pub cuts: bool,
}

/// The format of the text. A schema itself is in the request as it was forwarded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FormatSettings {
    Text,
    JsonObject,
    JsonSchema { name: Option<String> },
}

impl ResponsesSettings {
    /// Reads the settings of a response that is kept. One that was not to be stored is missing.
    pub fn kept(bytes: &[u8]) -> Result<Self, Error> {
        let settings: ResponsesSettings = serde_json::from_slice(bytes).map_err(Error::internal)?;
        if settings.store { Ok(settings) } else { Err(missing_answer()) }
    }

    pub fn to_bytes(&self) -> Bytes {
        wire::json_bytes(self).into()
    }

    /// Returns the name of a function as the client knows it, with its namespace.
    pub fn name_of<'a>(&self, called: &'a str) -> (Option<&'a str>, &'a str) {
        let of_namespace = |namespace: &String| {
            let name = called.strip_prefix(namespace.as_str())?.strip_prefix('.')?;
            Some((&called[..namespace.len()], name))
        };
        let longest = self.namespaces.iter().filter_map(of_namespace).max_by_key(|(namespace, _)| namespace.len());
        longest.map_or((None, called), |(namespace, name)| (Some(namespace), name))
    }
}

/// Returns OpenAI's word for how hard a model thinks.
pub fn effort(think: Think) -> &'static str {
    match think {
        Think::Off => "none",
        Think::Low => "low",
        Think::On | Think::Medium => "medium",
        Think::High => "high",
        Think::Max => "max",
    }
}
