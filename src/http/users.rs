//! Accounts as admins see and change them.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::body::{self, present};
use crate::http::callers::Admin;
use crate::http::query::{page_size, query};
use crate::http::reply::{ApiResult, answer, answer_done};
use crate::http::views::{AccountView, UserFactsView, UserView};
use crate::model::people::{User, UserRole, UserStatus};
use crate::model::rights::Class;
use crate::model::rights::quotas::Quotas;
use crate::model::words::words_schema;
use crate::rules::accounts::lists::{UserCounts, UserFound, UserSort, UsersFound, UsersWanted};
use crate::rules::accounts::{Accounts, ResetMode, UserEdit, Waiting, WaitingWish};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsersQuery {
    /// Part of the name.
    search: Option<String>,
    /// Only accounts in this state.
    #[param(value_type = Option<UserStatus>)]
    status: Option<String>,
    /// Default: `created`, newest first, as with `last_request`.
    #[param(value_type = Option<UserSort>)]
    sort: Option<String>,
    /// `next` of the previous page, which had the same `sort`.
    cursor: Option<String>,
    /// Items of a page.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// An account in a list.
#[derive(Serialize, ToSchema)]
pub struct UserLine {
    #[serde(flatten)]
    user: UserView,
    #[serde(flatten)]
    facts: UserFactsView,
}

/// How many accounts there are, of those whose name was searched for.
#[derive(Serialize, ToSchema)]
pub struct UserCountsView {
    pending: usize,
    active: usize,
    disabled: usize,
}

#[derive(Serialize, ToSchema)]
pub struct UserPage {
    items: Vec<UserLine>,
    counts: UserCountsView,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// Lists accounts.
///
/// Each comes with its last request and the number of its usable tokens.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "list_users", tag = "users", params(UsersQuery),
    responses((status = 200, body = UserPage)))]
pub async fn list(_: Admin, request: HttpRequest, accounts: web::Data<Accounts>) -> ApiResult {
    let page = async {
        let UsersQuery { search, status, sort, cursor, limit } = query(&request)?;
        let wanted = UsersWanted {
            search: search.as_deref(),
            status: status.as_deref().map(UserStatus::parse).transpose()?,
            sort: sort.as_deref().map(UserSort::parse).transpose()?.unwrap_or_default(),
            cursor: cursor.as_deref(),
        };
        let UsersFound { users, counts: UserCounts { pending, active, disabled }, next } =
            accounts.list(wanted, page_size(limit)?).await?;
        let line = |found: UserFound| UserLine { user: UserView::from(&*found.user), facts: found.facts.into() };
        let items = users.into_iter().map(line).collect();
        Ok(UserPage { items, counts: UserCountsView { pending, active, disabled }, next })
    };
    answer(&request, page.await)
}

/// An account with the fields that only admins see.
#[derive(Serialize, ToSchema)]
pub struct UserDetail {
    #[serde(flatten)]
    user: UserView,
    #[serde(flatten)]
    facts: UserFactsView,
    /// Only admins see it.
    note: Option<String>,
    left: AccountView,
}

impl UserDetail {
    pub async fn of(user: &User, accounts: &Accounts, gateway: &Gateway) -> Result<Self, Error> {
        let left = AccountView::from(gateway.limits().account_of(user));
        let facts = accounts.facts(user).await?.into();
        Ok(UserDetail { user: UserView::from(user), facts, note: user.note.clone(), left })
    }
}

/// Returns one account.
#[utoipa::path(get, path = "/api/v1/users/{id}", operation_id = "get_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserDetail)))]
pub async fn one(
    _: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    gateway: web::Data<Gateway>,
) -> ApiResult {
    let found = async { UserDetail::of(&*accounts.by_id(&id)?, &accounts, &gateway).await };
    answer(&request, found.await)
}

/// The fields to change. A field that is left out is not changed; null removes a limit, a list or a note.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    #[schema(value_type = Option<UserRole>)]
    role: Option<String>,
    /// Only admins see it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 1000)]
    note: Option<Option<String>>,
    /// Null: the gateway's limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 30)]
    requests_per_minute: Option<Option<u32>>,
    /// Quotas by name; one that is left out is not changed. Null: the gateway's.
    #[serde(default)]
    #[schema(value_type = Quotas, example = json!({ "tokens_per_day": 200_000, "gpu_seconds_per_day": null }))]
    quotas: BTreeMap<String, Option<u64>>,
    /// The models that this user may use; others are not found for them. Null: all.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["llama3.2:latest"]))]
    models: Option<Option<Vec<String>>>,
    /// Queue weight: a higher weight gets more GPU time while others wait.
    #[schema(minimum = 1, maximum = 100, example = 1)]
    weight: Option<u32>,
    /// `interactive`, or `batch`, which runs when no interactive request waits. Tokens can't have a higher class.
    #[schema(value_type = Option<Class>)]
    class: Option<String>,
}

/// Changes an account.
///
/// The change holds from the next request of the account on.
#[utoipa::path(patch, path = "/api/v1/users/{id}", operation_id = "change_user", tag = "users",
    params(("id" = String, Path, format = Uuid)), request_body = UserPatch,
    responses((status = 200, body = UserDetail), (status = 409)))]
pub async fn change(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    gateway: web::Data<Gateway>,
    config: web::Data<Config>,
) -> ApiResult {
    let changed = async {
        let UserPatch { role, note, requests_per_minute, quotas, models, weight, class } =
            body::json(&request, &mut payload, &config.limits).await?;
        let edit = UserEdit { role, note, requests_per_minute, quotas, models, weight, class, made_from: None };
        UserDetail::of(&accounts.edit(admin.0.actor(), &id, edit).await?, &accounts, &gateway).await
    };
    answer(&request, changed.await)
}

/// Approves a pending account.
#[utoipa::path(post, path = "/api/v1/users/{id}/approve", operation_id = "approve_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), (status = 409)))]
pub async fn approve(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> ApiResult {
    answer(&request, accounts.approve(admin.0.actor(), &id).await.map(|user| UserView::from(&user)))
}

/// Rejects and removes a pending account.
///
/// It has no record, so no export is needed first.
#[utoipa::path(post, path = "/api/v1/users/{id}/turn-down", operation_id = "reject_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    responses((status = 204, description = "Turned down"), (status = 409)))]
pub async fn turn_down(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> ApiResult {
    answer_done(&request, accounts.turn_down(admin.0.actor(), &id).await)
}

#[derive(Serialize, ToSchema)]
pub struct TurnedDown {
    /// Number of accounts removed.
    turned_down: usize,
}

/// Rejects all pending accounts that match.
///
/// Removes every pending account that meets all given conditions. At least one condition is needed.
#[utoipa::path(post, path = "/api/v1/users/turn-down", operation_id = "reject_users", tag = "users",
    request_body = WaitingWish, responses((status = 200, body = TurnedDown)))]
pub async fn turn_down_all(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> ApiResult {
    let result = async {
        let which = Waiting::parse(body::json(&request, &mut payload, &config.limits).await?)?;
        let turned_down = accounts.turn_down_all(admin.0.actor(), &which).await?;
        Ok(TurnedDown { turned_down })
    };
    answer(&request, result.await)
}

/// Disables an account.
///
/// Its sessions and tokens stop working at once.
#[utoipa::path(post, path = "/api/v1/users/{id}/disable", operation_id = "disable_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), (status = 409)))]
pub async fn disable(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> ApiResult {
    answer(&request, accounts.disable(admin.0.actor(), &id).await.map(|user| UserView::from(&user)))
}

/// Enables a disabled account.
#[utoipa::path(post, path = "/api/v1/users/{id}/enable", operation_id = "enable_user", tag = "users", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), (status = 409)))]
pub async fn enable(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> ApiResult {
    answer(&request, accounts.enable(admin.0.actor(), &id).await.map(|user| UserView::from(&user)))
}

words_schema! {
    /// `initial` sets `admin123`; `code` sets a random code, which is shown once.
    ResetModeWord: ["initial", "code"]
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    /// Default: `initial`.
    #[schema(value_type = Option<ResetModeWord>)]
    mode: Option<String>,
    /// Revokes the account's tokens. Otherwise they are suspended until the new password is set.
    revoke_tokens: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ResetDone {
    #[serde(flatten)]
    user: UserView,
    /// The code, in mode `code`. It is not shown again.
    one_time_code: Option<String>,
}

/// Sets a temporary password.
///
/// It is valid for an hour and only allows changing it. Sessions and tokens stop working at once.
#[utoipa::path(post, path = "/api/v1/users/{id}/reset-password", operation_id = "reset_password", tag = "users", params(("id" = String, Path, format = Uuid)),
    request_body = Option<Reset>, responses((status = 200, body = ResetDone), (status = 409)))]
pub async fn reset_password(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> ApiResult {
    let result = async {
        let bytes = body::read_own(&request, &mut payload, &config.limits).await?;
        let asked = if bytes.is_empty() { Reset::default() } else { body::parse(&bytes)? };
        let mode = match asked.mode.as_deref() {
            None | Some("initial") => ResetMode::Initial,
            Some("code") => ResetMode::Code,
            Some(_) => return Err(Error::invalid("mode", "`mode` must be \"initial\" or \"code\"")),
        };
        let (user, one_time_code) = accounts.reset_password(admin.0.actor(), &id, mode, asked.revoke_tokens).await?;
        Ok(ResetDone { user: UserView::from(&user), one_time_code })
    };
    answer(&request, result.await)
}
