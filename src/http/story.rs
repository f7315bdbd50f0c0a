//! One request in full, with its contents.

use actix_web::{HttpRequest, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::http::callers::{Admin, Caller};
use crate::http::record_items::{AuditItem, audit_items};
use crate::http::reply::{ApiResult, answer};
use crate::model::people::Actor;
use crate::model::record::Kind;
use crate::rules::export::lines::Contents;
use crate::store::Store;
use crate::store::audit::Row;

/// A request with its contents, as far as they are kept.
#[derive(Serialize, ToSchema)]
pub struct Story {
    #[serde(flatten)]
    pub item: AuditItem,
    /// The request as it was forwarded.
    pub request: String,
    pub answer: String,
    pub reasoning: String,
    pub tool_calls: String,
    /// Ignored fields and clamped values, one per line.
    pub notes: String,
    // As nullable as in `AuditItem`: generators can't merge the two otherwise.
    #[schema(value_type = Option<String>)]
    pub client_address: String,
    /// The next newer request or refusal in the record; in your own record, of yours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub newer: Option<String>,
    /// The next older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub older: Option<String>,
}

/// Returns one request or act in full.
///
/// Viewing contents is recorded.
#[utoipa::path(get, path = "/api/v1/audit/{request_id}", operation_id = "get_request", tag = "record", params(("request_id" = String, Path, format = Uuid)),
    responses((status = 200, body = Story), (status = 503)))]
pub async fn story(admin: Admin, request: HttpRequest, id: web::Path<String>, store: web::Data<Store>) -> ApiResult {
    answer(&request, story_for_admin(&store, admin.0.actor(), &id).await)
}

/// Returns one of your own requests or acts in full.
///
/// A look at your own is not recorded.
#[utoipa::path(get, path = "/api/v1/me/record/{request_id}", operation_id = "get_my_request", tag = "account",
    params(("request_id" = String, Path, format = Uuid)),
    responses((status = 200, body = Story)))]
pub async fn own_story(
    caller: Caller,
    request: HttpRequest,
    id: web::Path<String>,
    store: web::Data<Store>,
) -> ApiResult {
    answer(&request, story_for_owner(&store, caller.0.user_id(), &id).await)
}

/// Returns what an admin sees of a request or act, and records that its contents were viewed.
pub async fn story_for_admin(store: &Store, by: Actor, request_id: &str) -> Result<Story, Error> {
    let rows = found(store, request_id).await?;
    // An act has no contents; the list shows all of it.
    if rows.first.kind() != Some(Kind::Act) {
        store.note_view(by, rows.first.user_id, rows.first.log_id).await?;
    }
    told(store, rows, None).await
}

/// Returns a user's own request or act. Another user's looks as if it did not exist.
pub async fn story_for_owner(store: &Store, user_id: i64, request_id: &str) -> Result<Story, Error> {
    let rows = found(store, request_id).await?;
    if rows.first.user_id != Some(user_id) {
        return Err(missing());
    }
    told(store, rows, Some(user_id)).await
}

fn missing() -> Error {
    Error::NotFound { what: "such request in the record".into() }
}

/// The first and the last row of a request; both are the same for a refusal, an act or a request that is running.
struct RequestRows {
    first: Row,
    last: Row,
}

async fn found(store: &Store, request_id: &str) -> Result<RequestRows, Error> {
    let id = uuid::Uuid::parse_str(request_id).map_err(|_| missing())?;
    let mut rows = store.request_rows(RequestId(id)).await?;
    let last = rows.pop().ok_or_else(missing)?;
    Ok(RequestRows { first: rows.pop().unwrap_or_else(|| last.clone()), last })
}

/// `user_id` is the user in whose record it is read; `None`: the record of all users.
async fn told(store: &Store, rows: RequestRows, user_id: Option<i64>) -> Result<Story, Error> {
    let mut item = audit_items(store, std::slice::from_ref(&rows.last)).await?.remove(0);
    // The story has it for every row.
    item.client_address = None;
    let beside = store.neighbours(rows.last.log_id, user_id).await?;
    let id = |id: Option<RequestId>| id.map(|id| id.to_string());
    let contents = Contents::of(store.contents(rows.first.log_id).await?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Story {
        item,
        request: text(&contents.request),
        answer: text(&contents.answer),
        reasoning: text(&contents.reasoning),
        tool_calls: contents.tool_calls(),
        notes: text(&contents.notes),
        client_address: text(&contents.address),
        newer: id(beside.newer),
        older: id(beside.older),
    })
}
