//! What is left of what somebody may use.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::gateway::Gateway;
use crate::http::guard::UsageReader;
use crate::http::reply;
use crate::rules::limits::{Account, Left};

/// One thing that is counted.
#[derive(Serialize, ToSchema)]
pub struct LeftView {
    /// Null: none.
    limit: Option<u64>,
    used: u64,
    /// Held for requests that run; what they don't use comes back.
    reserved: u64,
    /// Null where there is no limit.
    left: Option<u64>,
    /// When all of it is there again.
    #[schema(format = DateTime)]
    resets_at: String,
}

impl LeftView {
    fn of(left: Left, now: Timestamp) -> Self {
        LeftView {
            limit: left.limit,
            used: left.used,
            reserved: left.reserved,
            left: left.left(),
            resets_at: now.plus(left.resets_in).rfc3339(),
        }
    }
}

/// All that is counted of one person or token.
#[derive(Serialize, ToSchema)]
pub struct AccountView {
    requests_per_minute: LeftView,
    tokens_per_minute: LeftView,
    requests_per_day: LeftView,
    tokens_per_day: LeftView,
    gpu_seconds_per_day: LeftView,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        let now = Timestamp::now();
        let view = |left| LeftView::of(left, now);
        AccountView {
            requests_per_minute: view(account.requests_per_minute),
            tokens_per_minute: view(account.tokens_per_minute),
            requests_per_day: view(account.requests_per_day),
            tokens_per_day: view(account.tokens_per_day),
            gpu_seconds_per_day: view(account.gpu_seconds_per_day),
        }
    }
}

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
    responses((status = 200, body = QuotasView), crate::http::docs::Refusals))]
pub async fn of_mine(reader: UsageReader, gateway: web::Data<Gateway>) -> HttpResponse {
    let limits = gateway.limits();
    let person = limits.account_of(reader.0.user()).into();
    let token = reader.0.token().map(|token| limits.account_of_token(token).into());
    reply::json(StatusCode::OK, &QuotasView { person, token })
}
