//! A filter for the record, in the words of the API and the command line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::{Kind, Outcome};
use crate::store::Store;
use crate::store::audit::Wanted;
use crate::store::search::Search;

/// Search conditions for the record. All given ones must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Public id of a person, also of a deleted one.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Public id of a token.
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
    /// A route, such as `/v1/chat/completions`.
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
    /// Words in prompts and answers: all must occur, quoted ones next to each other; `deploy*` finds every word with this
    /// beginning. Only the last 64 KiB of a long prompt and the first 64 KiB of an answer are searched.
    #[schema(max_length = 400)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Filter {
    /// Checks the filter and returns it in the store's terms.
    pub async fn wanted(&self, store: &Store) -> Result<Wanted, Error> {
        let user_id = match &self.user_id {
            Some(id) => Some(store.user_key(id.clone()).await?),
            None => None,
        };
        let token_id = match &self.token_id {
            Some(id) => Some(store.token_key(id.clone()).await?.id),
            None => None,
        };
        Ok(Wanted {
            user_id,
            token_id,
            kind: self.kind.as_deref().map(record_kind).transpose()?,
            outcome: self.outcome.as_deref().map(outcome_named).transpose()?,
            model: self.model.clone(),
            api: self.api.clone(),
            from: self.from.as_deref().map(|text| Timestamp::parse_field("from", text)).transpose()?,
            to: self.to.as_deref().map(|text| Timestamp::parse_field("to", text)).transpose()?,
            text: self.text.as_deref().map(Search::parse).transpose()?,
        })
    }
}

fn record_kind(name: &str) -> Result<Kind, Error> {
    Kind::wanted(name).ok_or_else(|| Error::invalid("kind", "`kind` must be request, refusal or act"))
}

fn outcome_named(name: &str) -> Result<Outcome, Error> {
    let unknown = || {
        let all: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        Error::invalid("outcome", format!("`outcome` must be one of {}", all.join(", ")))
    };
    Outcome::parse(name).ok_or_else(unknown)
}
