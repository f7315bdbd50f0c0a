//! One request in full, with its contents.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::http::audit::{AuditItem, audit_items};
use crate::http::callers::Admin;
use crate::http::reply::{self, ApiError};
use crate::model::record::Kind;
use crate::rules::export::lines::Contents;
use crate::store::Store;

/// A request with its contents, as far as they are kept.
#[derive(Serialize, ToSchema)]
pub struct Story {
    #[serde(flatten)]
    item: AuditItem,
    /// The request as it was forwarded.
    request: String,
    answer: String,
    reasoning: String,
    tool_calls: String,
    /// Ignored fields and clamped values, one per line.
    notes: String,
    client_address: String,
}

/// One request or act in full. Viewing contents is recorded.
#[utoipa::path(get, path = "/api/v1/audit/{request_id}", tag = "admin", params(("request_id" = String, Path, format = Uuid)),
    responses((status = 200, body = Story), crate::http::errors::Refusals))]
pub async fn story(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    store: web::Data<Store>,
) -> Result<HttpResponse, ApiError> {
    let found = async {
        let missing = || Error::NotFound { what: "such request in the record".into() };
        let id = uuid::Uuid::parse_str(&id).map_err(|_| missing())?;
        let found = store.request_rows(RequestId(id)).await?;
        let (first, last) = (found.first().ok_or_else(missing)?, found.last().ok_or_else(missing)?);
        // An act has no contents; the list shows all of it.
        if first.kind() != Some(Kind::Act) {
            store.note_view(admin.0.actor(), first.user_id, first.log_id).await?;
        }
        let item = audit_items(&store, std::slice::from_ref(last)).await?.remove(0);
        let contents = Contents::of(store.contents(first.log_id).await?);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Story {
            item,
            request: text(&contents.request),
            answer: text(&contents.answer),
            reasoning: text(&contents.reasoning),
            tool_calls: contents.tool_calls(),
            notes: text(&contents.notes),
            client_address: text(&contents.address),
        })
    };
    match found.await {
        Ok(story) => Ok(reply::json(StatusCode::OK, &story)),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}
