//! Usage sums, by user, token, model or hour.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::sheet::{BYTE_ORDER_MARK, csv_line};
use crate::store::Store;
use crate::store::usage::{Group, Sums, UsageFilter, Used};

/// A query of usage, not yet checked.
#[derive(Debug, Default)]
pub struct Question {
    /// Public id of one user, also of a deleted one.
    pub user_id: Option<String>,
    /// Public id of one token.
    pub token_id: Option<String>,
    /// RFC 3339; 30 days before `to` by default.
    pub from: Option<String>,
    /// RFC 3339; now by default.
    pub to: Option<String>,
    /// `user` by default.
    pub by: Option<String>,
}

/// The usage of one user, token or model, or of one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageItem {
    /// Name of the user, the token or the model, or the hour (UTC).
    pub key: String,
    /// Public id of the user or token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the token's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Requests that reached the upstream or waited for it.
    pub requests: i64,
    /// Those of `requests` that ended in an error.
    pub failed: i64,
    /// Requests that were refused, before they got a place in the queue or while they waited.
    pub refused: i64,
    pub prompt_tokens: i64,
    pub answer_tokens: i64,
    /// Time that the upstream worked, in milliseconds.
    pub gpu_ms: i64,
    /// Time from a request's first row in the record to its last, in milliseconds.
    pub total_ms: i64,
}

/// Days that are summed without `from`.
const DAYS_DEFAULT: i64 = 30;

/// Lines of one answer: more than a year of hours.
pub const LINES_MAX: usize = 10_000;

/// Name of the last line when there would be more lines: the sum of those with the least usage.
const OTHERS: &str = "(others)";

const GROUPS: [(&str, Group); 4] =
    [("user", Group::User), ("token", Group::Token), ("model", Group::Model), ("hour", Group::Hour)];

/// Returns the lines, in the order of hours or of names.
pub async fn lines(store: &Store, asked: Question) -> Result<Vec<UsageItem>, Error> {
    let group = group(asked.by.as_deref().unwrap_or("user"))?;
    let time = |field, text: Option<&str>| text.map(|text| Timestamp::parse_field(field, text)).transpose();
    let to = time("to", asked.to.as_deref())?.unwrap_or_else(Timestamp::now);
    let from = time("from", asked.from.as_deref())?.unwrap_or_else(|| to.plus_seconds(-DAYS_DEFAULT * 24 * 3600));
    let user_id = match asked.user_id {
        Some(id) => Some(store.user_key(id).await?),
        None => None,
    };
    let token_id = match asked.token_id {
        Some(id) => {
            let token = store.token_key(id).await?;
            // A query about one user must not show another's token.
            if user_id.is_some_and(|user_id| user_id != token.user_id) {
                return Err(Error::NotFound { what: "such token".into() });
            }
            Some(token.id)
        }
        None => None,
    };
    let wanted = UsageFilter { user_id, token_id, from, to };
    if group == Group::Hour {
        let used = store.usage(group, wanted, LINES_MAX + 1).await?;
        if used.len() > LINES_MAX {
            let message =
                format!("that makes more than {LINES_MAX} lines; ask for a shorter time, or `by` something else");
            return Err(Error::invalid("from", message));
        }
        return named(store, group, used).await;
    }
    // Users can make any number of tokens. One who made many must not hide the others from an admin.
    let (used, rest) = store.most_used(group, wanted, LINES_MAX - 1).await?;
    let mut items = named(store, group, used).await?;
    items.sort_by(|one, other| (&one.key, &one.user, &one.id).cmp(&(&other.key, &other.user, &other.id)));
    items.extend(rest.map(|rest| item(OTHERS.into(), rest)));
    Ok(items)
}

fn group(name: &str) -> Result<Group, Error> {
    GROUPS
        .into_iter()
        .find(|(word, _)| *word == name)
        .map(|(_, group)| group)
        .ok_or_else(|| Error::invalid("by", "`by` must be user, token, model or hour"))
}

async fn named(store: &Store, group: Group, used: Vec<Used>) -> Result<Vec<UsageItem>, Error> {
    let people = store.people();
    let tokens = match group {
        Group::Token => store.token_labels(used.iter().map(|used| used.number).collect()).await?,
        _ => Default::default(),
    };
    let name = |used: Used| {
        let item = |key: String| item(key, used.sums);
        match group {
            Group::User if used.number == 0 => item("(unknown)".into()),
            Group::User => {
                let id = people.by_id(used.number).map(|user| user.public_id.clone());
                UsageItem { id, ..item(people.name_of(used.number)) }
            }
            Group::Token => match tokens.get(&used.number) {
                None => item("(no token)".into()),
                Some(token) => UsageItem {
                    id: Some(token.public_id.clone()),
                    user: Some(people.name_of(token.user_id)),
                    ..item(token.name().to_owned())
                },
            },
            Group::Model if used.word.is_empty() => item("(no model)".into()),
            Group::Model => item(used.word.clone()),
            Group::Hour => item(Timestamp(used.number).rfc3339()),
            Group::All => item("(all)".into()),
        }
    };
    Ok(used.into_iter().map(name).collect())
}

fn item(key: String, sums: Sums) -> UsageItem {
    UsageItem {
        key,
        id: None,
        user: None,
        requests: sums.requests,
        failed: sums.failed,
        refused: sums.refused,
        prompt_tokens: sums.prompt_tokens,
        answer_tokens: sums.answer_tokens,
        gpu_ms: sums.gpu_us / 1000,
        total_ms: sums.total_us / 1000,
    }
}

pub fn as_csv(items: &[UsageItem], byte_order_mark: bool) -> Vec<u8> {
    let mut out = if byte_order_mark { BYTE_ORDER_MARK.as_bytes().to_vec() } else { Vec::new() };
    let head =
        ["key", "requests", "failed", "refused", "prompt_tokens", "answer_tokens", "gpu_ms", "total_ms", "id", "user"];
    csv_line(&mut out, &head.map(str::to_owned));
    for item in items {
        let numbers = [
            item.requests,
            item.failed,
            item.refused,
            item.prompt_tokens,
            item.answer_tokens,
            item.gpu_ms,
            item.total_ms,
        ];
        let mut cells = vec![item.key.clone()];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.extend([&item.id, &item.user].map(|word| word.clone().unwrap_or_default()));
        csv_line(&mut out, &cells);
    }
    out
}
