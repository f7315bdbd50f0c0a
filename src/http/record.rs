//! One request's full story, and the end of a person's contents.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config::Config;
use crate::http::audit::{AuditItem, audit_items};
use crate::http::body;
use crate::http::guard::Admin;
use crate::http::reply::{self, ApiError};
use crate::model::record::Kind;
use crate::rules::accounts::Accounts;
use crate::rules::export::lines::Contents;
use crate::store::Store;

/// A request with its contents, as far as they are kept.
#[derive(Serialize, ToSchema)]
pub struct Story {
    #[serde(flatten)]
    item: AuditItem,
    /// What was forwarded, as it was forwarded.
    request: String,
    answer: String,
    reasoning: String,
    tool_calls: String,
    /// Ignored fields and clamped values, a line each.
    notes: String,
    client_address: String,
}

/// One request's full story, or an act's. A look at contents leaves a row.
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
        // An act has no contents; all of it stands in the list.
        if first.kind() != Some(Kind::Act) {
            store.note_view(admin.0.user_id(), first.user_id, first.log_id).await?;
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

#[derive(Deserialize, ToSchema)]
pub struct Delete {
    /// The code in the last line of a complete export of this person's record, made in the last 15 minutes.
    #[schema(example = "7phswiey2mkqr5tu")]
    receipt: String,
}

#[derive(Serialize, ToSchema)]
pub struct Deleting {
    /// `erasing`: the account is gone; its contents go in the background, which an act `contents_erased` ends.
    #[schema(example = "erasing")]
    status: &'static str,
}

/// Deletes an account for good, after a complete export of its record.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "admin", params(("id" = String, Path, format = Uuid)),
    request_body = Delete, responses((status = 202, body = Deleting), crate::http::errors::Refusals))]
pub async fn delete_user(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let deleted = async {
        let asked: Delete = body::json(&request, &mut payload, &config.limits).await?;
        accounts.delete(admin.actor(), &id, &asked.receipt).await
    };
    match deleted.await {
        Ok(()) => Ok(reply::json(StatusCode::ACCEPTED, &Deleting { status: "erasing" })),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}
