//! One account as admins see it, and what they may change in it.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::account::UserView;
use crate::http::admin::{Answer, answer};
use crate::http::body::{self, present};
use crate::http::guard::Admin;
use crate::http::quotas::AccountView;
use crate::model::rights::quotas::Quotas;
use crate::rules::accounts::{Accounts, Edit};
use crate::store::users::User;

/// An account with what only admins see.
#[derive(Serialize, ToSchema)]
pub struct UserDetail {
    #[serde(flatten)]
    user: UserView,
    /// For admins among themselves.
    note: Option<String>,
    left: AccountView,
}

impl UserDetail {
    fn of(user: &User, gateway: &Gateway) -> Self {
        let left = AccountView::from(gateway.limits().account_of(user));
        UserDetail { user: UserView::from(user), note: user.note.clone(), left }
    }
}

/// One account.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserDetail), crate::http::docs::Refusals))]
pub async fn user(
    _: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    gateway: web::Data<Gateway>,
) -> Answer {
    answer(&request, accounts.by_id(&id).map(|user| UserDetail::of(&user, &gateway)))
}

/// What to change. A field that is left out stays as it is; null takes a limit, a list or a note away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// `admin` or `user`
    #[schema(example = "user")]
    role: Option<String>,
    /// For admins among themselves.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 1000)]
    note: Option<Option<String>>,
    /// Null: the gateway's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 30)]
    requests_per_minute: Option<Option<u32>>,
    /// By name; one that is left out stays as it is. Null: the gateway's.
    #[serde(default)]
    #[schema(value_type = Quotas, example = json!({ "tokens_per_day": 200_000, "gpu_seconds_per_day": null }))]
    quotas: BTreeMap<String, Option<u64>>,
    /// The models that this person may use; the others don't exist for them. Null: all.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["llama3.2:latest"]))]
    models: Option<Option<Vec<String>>>,
    /// This person's share of the host beside others who wait.
    #[schema(minimum = 1, maximum = 100, example = 1)]
    weight: Option<u32>,
    /// `interactive`, or `batch`: takes what interactive requests leave. No token is above it.
    #[schema(example = "interactive")]
    class: Option<String>,
}

/// Changes an account; felt on its next request.
#[utoipa::path(patch, path = "/api/v1/users/{id}", operation_id = "change_user", tag = "admin",
    params(("id" = String, Path, format = Uuid)), request_body = UserPatch,
    responses((status = 200, body = UserDetail), crate::http::docs::Refusals))]
pub async fn change(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    gateway: web::Data<Gateway>,
    config: web::Data<Config>,
) -> Answer {
    let changed = async {
        let UserPatch { role, note, requests_per_minute, quotas, models, weight, class } =
            body::json(&request, &mut payload, &config.limits).await?;
        let edit = Edit { role, note, requests_per_minute, quotas, models, weight, class };
        accounts.edit(admin.actor(), &id, edit).await
    };
    answer(&request, changed.await.map(|user| UserDetail::of(&user, &gateway)))
}
