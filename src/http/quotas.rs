//! The caller's quotas and what is left of them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::Gateway;
use crate::http::callers::UsageReader;
use crate::http::reply;
use crate::http::views::AccountView;

/// The caller's quotas. A request must fit both the user's and the token's.
#[derive(Serialize, ToSchema)]
pub struct QuotasView {
    /// The user's, for all credentials together.
    person: AccountView,
    /// The calling token's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<AccountView>,
}

/// Returns your quotas and what is left of them.
///
/// A token needs the scope `usage`.
#[utoipa::path(get, path = "/api/v1/me/quotas", operation_id = "get_my_quotas", tag = "account",
    responses((status = 200, body = QuotasView)))]
pub async fn of_mine(reader: UsageReader, gateway: web::Data<Gateway>) -> HttpResponse {
    let limits = gateway.limits();
    let person = limits.account_of(reader.0.user()).into();
    let token = reader.0.token().map(|token| limits.account_of_token(token).into());
    reply::json(StatusCode::OK, &QuotasView { person, token })
}
