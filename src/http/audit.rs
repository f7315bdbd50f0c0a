//! Pages of the record.

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::http::callers::Admin;
use crate::http::query::{page_size, query};
use crate::http::reply::{ApiResult, answer};
use crate::model::people::People;
use crate::model::record::Kind;
use crate::rules::export::filter::Filter;
use crate::store::Store;
use crate::store::audit::{Row, Wanted};
use crate::store::tokens::Label;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only this user.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// Only this token.
    token_id: Option<String>,
    /// `request`, `refusal` or `act`
    kind: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`
    outcome: Option<String>,
    /// The name of the requested model.
    model: Option<String>,
    /// A route, such as `/v1/chat/completions`.
    api: Option<String>,
    /// RFC 3339: at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Words in prompts and answers: all must occur, quoted ones next to each other; `deploy*` finds every word with this
    /// beginning. Only the last 64 KiB of a long prompt and the first 64 KiB of an answer are searched.
    #[param(max_length = 400)]
    text: Option<String>,
    /// `next` of the previous page.
    cursor: Option<i64>,
    /// Default 50, at most 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

impl AuditQuery {
    fn filter(self) -> Filter {
        let AuditQuery { user_id, token_id, kind, outcome, model, api, from, to, text, .. } = self;
        Filter { user_id, token_id, kind, outcome, model, api, from, to, text }
    }
}

/// A request, a refusal or an act. Fields without a value are absent.
#[derive(Serialize, ToSchema)]
pub struct AuditItem {
    /// The number of the row in the record and in exports.
    log_id: i64,
    /// `request`, `refusal` or `act`
    kind: String,
    #[schema(format = DateTime)]
    at: String,
    #[schema(format = Uuid)]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Details of an act: the values before and after it, or its object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({ "old": { "role": "user" }, "new": { "role": "admin" } }))]
    detail: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// The name of the token that was used, or that the act is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_served: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`; absent while the request is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_ms: Option<i64>,
    /// Number of equal refusals that this row counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<i64>,
}

impl AuditItem {
    fn of(row: &Row, people: &People, tokens: &HashMap<i64, Label>, detail: Option<&String>) -> Self {
        let name = |id: Option<i64>| id.map(|id| people.name_of(id));
        let millis = |value: Option<i64>| value.map(|micros| micros / 1000);
        let token = row.token_id.and_then(|id| tokens.get(&id));
        AuditItem {
            log_id: row.contents_id(),
            kind: row.shown_kind().to_owned(),
            at: Timestamp(row.at_us).rfc3339(),
            request_id: row.request_id().map(|id| id.to_string()),
            user: name(row.user_id),
            act: row.act.clone(),
            subject: name(row.subject_id),
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
            repeat: row.repeat,
        }
    }
}

/// Returns rows as they are shown, with the names that belong to them.
pub async fn audit_items(store: &Store, shown: &[Row]) -> Result<Vec<AuditItem>, Error> {
    let tokens = store.token_labels(shown.iter().filter_map(|row| row.token_id).collect()).await?;
    let acts = shown.iter().filter(|row| row.kind() == Some(Kind::Act)).map(|row| row.log_id).collect();
    let (details, people) = (store.details(acts).await?, store.people());
    Ok(shown.iter().map(|row| AuditItem::of(row, &people, &tokens, details.get(&row.log_id))).collect())
}

#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    items: Vec<AuditItem>,
    /// The cursor of the next page; null on the last.
    next: Option<i64>,
    /// With `text`: the newest row that the search covers. Newer rows are indexed shortly.
    #[serde(skip_serializing_if = "Option::is_none")]
    searched_to: Option<SearchedToView>,
}

#[derive(Serialize, ToSchema)]
pub struct SearchedToView {
    log_id: i64,
    #[schema(format = DateTime)]
    at: String,
}

/// The record, newest first: requests (running ones on the first page, without an outcome), refusals and acts. A search for
/// `text` finds requests that have ended, and leaves an act on the record as every look at contents does.
#[utoipa::path(get, path = "/api/v1/audit", tag = "admin", params(AuditQuery),
    responses((status = 200, body = AuditPage), crate::http::errors::Refusals))]
pub async fn audit(admin: Admin, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let result = async {
        let query: AuditQuery = query(&request)?;
        let (cursor, limit) = (query.cursor, query.limit);
        let wanted = query.filter().wanted(&store).await?;
        let searched = wanted.text.is_some();
        let subject = wanted.user_id;
        let page = audit_page(&store, wanted, cursor, limit).await?;
        if searched {
            store.note_search(admin.0.actor(), subject, page.items.len()).await?;
        }
        Ok(page)
    };
    answer(&request, result.await)
}

/// Returns a page of the record. Running requests come first, on the first page.
pub async fn audit_page(
    store: &Store,
    wanted: Wanted,
    cursor: Option<i64>,
    limit: Option<usize>,
) -> Result<AuditPage, Error> {
    let limit = page_size(limit)?;
    // Read before the search, so that it never claims to cover more than the search did.
    let searched_to = match wanted.text {
        Some(_) => Some(store.searched_to().await?),
        None => None,
    };
    let mut rows = if cursor.is_none() { store.running(&wanted).await? } else { Vec::new() };
    let page = store.record_page(wanted, cursor, limit as i64 + 1).await?;
    let next = if page.len() > limit { page.get(limit - 1).map(|row| row.log_id) } else { None };
    rows.extend(page.into_iter().take(limit));
    let searched_to = searched_to.map(|mark| SearchedToView { log_id: mark.log_id, at: mark.at.rfc3339() });
    Ok(AuditPage { items: audit_items(store, &rows).await?, next, searched_to })
}
