//! What is left of what somebody may use.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::Gateway;
use crate::http::callers::UsageReader;
use crate::http::reply;
use crate::http::views::AccountView;

/// What is left to whoever asks: a request has to fit both.
#[derive(Serialize, ToSchema)]
pub struct QuotasView {
    /// Of the person, all credentials together.
    person: AccountView,
    /// Of the token that asks, besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<AccountView>,
}

/// What is left of what you may use. A token needs the scope `usage`.
#[utoipa::path(get, path = "/api/v1/me/quotas", operation_id = "own_quotas", tag = "account",
    responses((status = 200, body = QuotasView), crate::http::errors::Refusals))]
pub async fn of_mine(reader: UsageReader, gateway: web::Data<Gateway>) -> HttpResponse {
    let limits = gateway.limits();
    let person = limits.account_of(reader.0.user()).into();
    let token = reader.0.token().map(|token| limits.account_of_token(token).into());
    reply::json(StatusCode::OK, &QuotasView { person, token })
}
