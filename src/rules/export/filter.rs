//! A filter for the record, in the words of the API and the command line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::{Act, Kind, Outcome};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Kind>)]
    pub kind: Option<String>,
    /// One or several of `completed`, `failed`, `refused`, `abandoned` and `interrupted`, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "failed,interrupted")]
    pub outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Act>)]
    pub act: Option<String>,
    /// Public id of a person: acts about them.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<String>,
    /// Public id of a person: acts about them, and acts of theirs.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_of: Option<String>,
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
        let user_id = user_key(store, &self.user_id).await?;
        let subject_id = user_key(store, &self.subject_id).await?;
        let history_of = user_key(store, &self.history_of).await?;
        let token_id = match &self.token_id {
            Some(id) => Some(store.token_key(id.clone()).await?.id),
            None => None,
        };
        Ok(Wanted {
            user_id,
            token_id,
            kind: self.kind.as_deref().map(record_kind).transpose()?,
            outcomes: self.outcome.as_deref().map_or(Ok(Vec::new()), outcomes_named)?,
            act: self.act.as_deref().map(act_named).transpose()?,
            subject_id,
            history_of,
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

/// Reads outcomes that are separated by commas.
fn outcomes_named(names: &str) -> Result<Vec<Outcome>, Error> {
    let unknown = || {
        let all: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        Error::invalid(
            "outcome",
            format!("`outcome` must be one or several of {}, separated by commas", all.join(", ")),
        )
    };
    let mut outcomes = Vec::new();
    for name in names.split(',') {
        let outcome = Outcome::parse(name.trim()).ok_or_else(unknown)?;
        if !outcomes.contains(&outcome) {
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn act_named(name: &str) -> Result<Act, Error> {
    Act::parse(name).ok_or_else(|| Error::invalid("act", "`act` must be an act of the record, such as user_approved"))
}

async fn user_key(store: &Store, public_id: &Option<String>) -> Result<Option<i64>, Error> {
    match public_id {
        Some(id) => store.user_key(id.clone()).await.map(Some),
        None => Ok(None),
    }
}
