//! Deleting a user, after a complete export of their record.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Config;
use crate::http::body;
use crate::http::callers::Admin;
use crate::http::reply::{ApiResult, answer_as};
use crate::rules::accounts::Accounts;

#[derive(Deserialize, ToSchema)]
pub struct Delete {
    /// The code in the last line of a complete export of this user's record, made in the last 15 minutes.
    #[schema(example = "7phswiey2mkqr5tu")]
    receipt: String,
}

#[derive(Serialize, ToSchema)]
pub struct Deleting {
    /// `erasing`: the account is deleted; its contents are erased in the background, and the act `contents_erased` records the end.
    #[schema(example = "erasing")]
    status: &'static str,
}

/// Deletes an account for good.
///
/// A complete export of its record must be made first; its receipt goes into the body.
#[utoipa::path(delete, path = "/api/v1/users/{id}", operation_id = "delete_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    request_body = Delete, responses((status = 202, body = Deleting), (status = 409)))]
pub async fn delete_user(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> ApiResult {
    let deleted = async {
        let asked: Delete = body::json(&request, &mut payload, &config.limits).await?;
        accounts.delete(admin.0.actor(), &id, &asked.receipt).await?;
        Ok(Deleting { status: "erasing" })
    };
    answer_as(StatusCode::ACCEPTED, &request, deleted.await)
}
