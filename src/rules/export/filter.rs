//! What somebody looks for in the record, in the words of API and command line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::store::Store;
use crate::store::audit::{self as rows, Wanted};
use crate::store::search::Search;

/// What is looked for in the record. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// One person alone, deleted ones too.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// One token alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// `request`, `refusal` or `act`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The name of a model, as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A route, as in `/v1/chat/completions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// RFC 3339: at this time or later.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// RFC 3339: before this time.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Words in prompts and answers: all must occur, those in quotes next to each other; `deploy*` is any word that begins
    /// so. Of a long prompt the last 64 KiB are searched, of an answer the first 64 KiB.
    #[schema(max_length = 400)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

const OUTCOMES: [&str; 5] = ["completed", "failed", "refused", "abandoned", "interrupted"];

impl Filter {
    /// The same as the store knows it, checked.
    pub async fn wanted(&self, store: &Store) -> Result<Wanted, Error> {
        let user_id = match &self.user_id {
            Some(id) => Some(store.user_key(id.clone()).await?),
            None => None,
        };
        let token_id = match &self.token_id {
            Some(id) => Some(store.token_key(id.clone()).await?.id),
            None => None,
        };
        if self.outcome.as_deref().is_some_and(|outcome| !OUTCOMES.contains(&outcome)) {
            return Err(Error::invalid("outcome", format!("`outcome` must be one of {}", OUTCOMES.join(", "))));
        }
        Ok(Wanted {
            user_id,
            token_id,
            kind: self.kind.as_deref().map(record_kind).transpose()?,
            outcome: self.outcome.clone(),
            model: self.model.clone(),
            api: self.api.clone(),
            from: self.from.as_deref().map(|text| Timestamp::parse_field("from", text)).transpose()?,
            to: self.to.as_deref().map(|text| Timestamp::parse_field("to", text)).transpose()?,
            text: self.text.as_deref().map(Search::parse).transpose()?,
        })
    }
}

fn record_kind(name: &str) -> Result<&'static str, Error> {
    match name {
        "request" => Ok(rows::RESULT),
        "refusal" => Ok(rows::REFUSAL),
        "act" => Ok(rows::ACT),
        _ => Err(Error::invalid("kind", "`kind` must be request, refusal or act")),
    }
}
