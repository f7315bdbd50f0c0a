//! Rows of the record as lists and pages show them, with the names that belong to them.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::http::query::page_size;
use crate::model::people::People;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::audit::{Row, Wanted};
use crate::store::snippets::SnippetPiece;
use crate::store::tokens::Label;

/// A request, a refusal or an act. Fields without a value are absent.
#[derive(Default, Serialize, ToSchema)]
pub struct AuditItem {
    /// The number of the row in the record and in exports.
    pub log_id: i64,
    /// `request`, `refusal` or `act`
    pub kind: String,
    #[schema(format = DateTime)]
    pub at: String,
    #[schema(format = Uuid)]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Absent when the user was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub user_id: Option<String>,
    /// The owner of the delegating token that the user's request came by. Absent: it came by a credential of the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "maria@example.org")]
    pub via: Option<String>,
    /// Absent when the owner was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub via_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Absent when the subject was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub subject_id: Option<String>,
    /// Details of an act: the values before and after it, or its object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({ "old": { "role": "user" }, "new": { "role": "admin" } }))]
    pub detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The name of the token that was used, or that the act is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_served: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`; absent while the request is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<i64>,
    /// Time that the upstream worked, as it reported. For an interrupted answer: the time since it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_ms: Option<i64>,
    /// The part of `gpu_ms` in which the model was loaded. Absent with the next two when the upstream did not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<i64>,
    /// The part of `gpu_ms` in which the prompt was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_ms: Option<i64>,
    /// The part of `gpu_ms` in which the answer was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<i64>,
    /// Why its contents were erased: `retention` (for their age) or `deletion` (of its person). Absent while they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "retention")]
    pub erased: Option<&'static str>,
    /// Number of equal refusals that this row counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<i64>,
    /// When the last of them came; absent: at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// How the last user message begins, with white space as single blanks. Only in your own list; absent for very long requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_start: Option<String>,
    /// With `text`: the text around what was found first, at most 200 characters. Absent for very long requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Vec<SnippetPieceView>>,
    /// Where a refusal without a user came from: an IPv4 address or an IPv6 /64. Other addresses are shown with the request itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "192.168.1.77")]
    pub client_address: Option<String>,
}

impl AuditItem {
    fn of(row: &Row, people: &People, tokens: &HashMap<i64, Label>, detail: Option<&String>) -> Self {
        let name = |id: Option<i64>| id.map(|id| people.name_of(id));
        let public_id = |id: Option<i64>| id.and_then(|id| people.by_id(id)).map(|user| user.public_id.clone());
        let millis = |value: Option<i64>| value.map(|micros| micros / 1000);
        let token = row.token_id.and_then(|id| tokens.get(&id));
        AuditItem {
            log_id: row.contents_id(),
            kind: row.shown_kind().to_owned(),
            at: Timestamp(row.at_us).rfc3339(),
            request_id: row.request_id().map(|id| id.to_string()),
            user: name(row.user_id),
            user_id: public_id(row.user_id),
            via: name(row.via_user_id),
            via_id: public_id(row.via_user_id),
            act: row.act.clone(),
            subject: name(row.subject_id),
            subject_id: public_id(row.subject_id),
            detail: detail.and_then(|json| serde_json::from_str(json).ok()),
            credential: row.credential.clone(),
            token: token.map(|label| label.name().to_owned()),
            token_id: token.map(|label| label.public_id.clone()),
            api: row.api.clone(),
            host: row.host.clone(),
            model_asked: row.model_asked.clone(),
            model_served: row.model_served.clone(),
            outcome: row.outcome.clone(),
            reason: row.reason.clone(),
            status: row.status,
            prompt_tokens: row.prompt_tokens,
            answer_tokens: row.answer_tokens,
            queued_ms: millis(row.queued_us),
            first_token_ms: millis(row.first_token_us),
            total_ms: millis(row.total_us),
            gpu_ms: millis(row.gpu_us),
            load_ms: millis(row.load_us),
            prompt_ms: millis(row.prompt_us),
            answer_ms: millis(row.answer_us),
            erased: None,
            repeat: row.repeat,
            until: row.until_us.map(|until| Timestamp(until).rfc3339()),
            prompt_start: None,
            snippet: None,
            client_address: None,
        }
    }
}

/// Returns why the contents of a request were erased; `None`: they are kept, or it has none.
fn why_erased(row: &Row, erased_to: i64, people: &People) -> Option<&'static str> {
    if row.kind() != Some(Kind::Result) {
        return None;
    }
    let is_deleted = row.user_id.is_some_and(|id| people.by_id(id).is_none());
    (row.log_id <= erased_to).then_some("retention").or(is_deleted.then_some("deletion"))
}

/// Returns rows as they are shown, with the names that belong to them.
pub async fn audit_items(store: &Store, shown: &[Row]) -> Result<Vec<AuditItem>, Error> {
    let tokens = store.token_labels(shown.iter().filter_map(|row| row.token_id).collect()).await?;
    let acts = shown.iter().filter(|row| row.kind() == Some(Kind::Act)).map(|row| row.log_id).collect();
    let (details, people) = (store.details(acts).await?, store.people());
    let strange = shown.iter().filter(|row| row.kind() == Some(Kind::Refusal) && row.user_id.is_none());
    let mut addresses = store.refused_addresses(strange.map(|row| row.log_id).collect()).await?;
    let erased_to = store.contents_erased_to().await?;
    let item = |row: &Row| AuditItem {
        client_address: addresses.remove(&row.log_id),
        erased: why_erased(row, erased_to, &people),
        ..AuditItem::of(row, &people, &tokens, details.get(&row.log_id))
    };
    Ok(shown.iter().map(item).collect())
}

#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    pub items: Vec<AuditItem>,
    /// The cursor of the next page; null on the last.
    pub next: Option<i64>,
    /// Pass it as `after` to get what came later. Absent on pages with a `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<i64>,
    /// With `text`: the newest row that the search covers. Newer rows are indexed shortly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searched_to: Option<SearchedToView>,
}

/// A part of a snippet, as plain text.
#[derive(Serialize, ToSchema)]
pub struct SnippetPieceView {
    #[schema(example = "pump controller")]
    pub text: String,
    /// Whether it was searched for.
    pub hit: bool,
}

#[derive(Serialize, ToSchema)]
pub struct SearchedToView {
    pub log_id: i64,
    #[schema(format = DateTime)]
    pub at: String,
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageQuery {
    /// Older rows than this.
    pub cursor: Option<i64>,
    /// Newer rows than this.
    pub after: Option<i64>,
    pub limit: Option<usize>,
}

/// Returns a page of the record, newest first, running requests before all others on the first page. With `after` it is what came
/// later, oldest first, and without running requests: each comes when it has ended.
pub async fn audit_page(store: &Store, wanted: Wanted, place: PageQuery) -> Result<AuditPage, Error> {
    let limit = page_size(place.limit)?;
    let PageQuery { cursor, after, .. } = place;
    if cursor.is_some() && after.is_some() {
        return Err(Error::invalid("after", "`after` and `cursor` exclude each other"));
    }
    for (name, place) in [("after", after), ("cursor", cursor)] {
        if place.is_some_and(|place| place < 0) {
            return Err(Error::invalid(name, format!("`{name}` must be 0 or more")));
        }
    }
    // Both are read before the rows, so that a page never claims to cover more than it does.
    let searched = match wanted.text {
        Some(_) => Some(store.searched_to().await?),
        None => None,
    };
    let search = wanted.text.clone();
    let mut newest = store.newest_row().await?;
    let (mut rows, mut next) = (Vec::new(), None);
    if let Some(after) = after {
        rows = store.record_matching(wanted, after, i64::MAX - 1, limit as i64).await?;
        newest = match rows.last() {
            // There may be more.
            Some(last) if rows.len() == limit => last.log_id,
            last => newest.max(last.map_or(after, |last| last.log_id)),
        };
    } else {
        if cursor.is_none() {
            rows = store.running(&wanted).await?;
        }
        let page = store.record_page(wanted, cursor, limit as i64 + 1).await?;
        newest = newest.max(page.first().map_or(0, |first| first.log_id));
        if page.len() > limit {
            next = page.get(limit - 1).map(|row| row.log_id);
        }
        rows.extend(page.into_iter().take(limit));
    }
    // A search sees new rows only once they are indexed.
    let newest = searched.map_or(newest, |searched| newest.min(searched.log_id.max(after.unwrap_or(0))));
    let searched_to = searched.map(|mark| SearchedToView { log_id: mark.log_id, at: mark.at.rfc3339() });
    let mut items = audit_items(store, &rows).await?;
    if let Some(search) = search {
        let mut snippets = store.snippets(search, items.iter().map(|item| item.log_id).collect()).await?;
        let view = |piece: SnippetPiece| SnippetPieceView { text: piece.text, hit: piece.hit };
        for item in &mut items {
            item.snippet = snippets.remove(&item.log_id).map(|pieces| pieces.into_iter().map(view).collect());
        }
    }
    Ok(AuditPage { items, next, newest: Some(newest).filter(|_| cursor.is_none()), searched_to })
}

/// Returns a page of a person's own record, with the beginnings of their prompts.
pub async fn own_page(store: &Store, wanted: Wanted, place: PageQuery) -> Result<AuditPage, Error> {
    let mut page = audit_page(store, wanted, place).await?;
    let requests = page.items.iter().filter(|item| item.kind == Kind::Result.shown()).map(|item| item.log_id).collect();
    let mut starts = store.prompt_starts(requests).await?;
    page.items.iter_mut().for_each(|item| item.prompt_start = starts.remove(&item.log_id));
    Ok(page)
}
