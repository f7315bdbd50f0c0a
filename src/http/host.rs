//! The API on the control socket: the routes of admins, and those that only the operator of the host has.

use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Route as ActixRoute};
use serde::Deserialize;

use crate::auth::Auth;
use crate::auth::jwt::OldKeys;
use crate::base::secret::Secret;
use crate::config::Config;
use crate::dialect::{DIALECTS, SharedRoute};
use crate::gateway::Gateway;
use crate::http::callers::{Admin, HostDoor};
use crate::http::reply::{ApiResult, answer, answer_as, answer_done};
use crate::http::users::UserDetail;
use crate::http::views::{FreshToken, UserView};
use crate::http::{ApiRoute, ROUTES, Who, body, method, of_dialects, unknown};
use crate::rules::accounts::Accounts;
use crate::rules::tokens::{Tokens, Wish};
use crate::store::Store;
use crate::store::backup::BackupNote;

/// A route that exists on the control socket only: neither over TCP nor in the OpenAPI document.
pub struct HostRoute {
    pub method: &'static str,
    pub path: &'static str,
    handler: fn() -> ActixRoute,
}

const fn route(method: &'static str, path: &'static str, handler: fn() -> ActixRoute) -> HostRoute {
    HostRoute { method, path, handler }
}

/// Every route that only the host has. The routes of admins are in `ROUTES`, lists of models are those of the dialects; both are served here, too.
pub static HOST_ROUTES: &[HostRoute] = &[
    route("POST", "/host/users", || web::to(add)),
    route("GET", "/host/users/{name}", || web::to(find)),
    route("POST", "/host/users/{id}/unlock", || web::to(unlock)),
    route("POST", "/host/users/{id}/password", || web::to(set_password)),
    route("POST", "/host/users/{id}/tokens", || web::to(create_token)),
    route("POST", "/host/keys/rotate", || web::to(rotate_keys)),
    route("POST", "/host/backups", || web::to(note_backup)),
];

/// Mounts the services of the control socket, whose callers are the operator of the host.
pub fn mount(config: &mut ServiceConfig) {
    config.app_data(HostDoor);
    for route in ROUTES.iter().filter(|route| is_for_the_host(route)) {
        config.route(route.path, (route.handler)().method(method(route.method)));
    }
    for route in SharedRoute::all(DIALECTS).into_iter().filter(|route| !route.is_inference()) {
        let (path, method) = (route.path, method(route.method));
        config.route(path, of_dialects(Rc::new(route)).method(method));
    }
    for route in HOST_ROUTES {
        config.route(route.path, (route.handler)().method(method(route.method)));
    }
    config.default_service(web::to(unknown::unknown_route));
}

/// Returns whether a route works without an account and without a password.
fn is_for_the_host(route: &ApiRoute) -> bool {
    match route.who {
        Who::Admin => true,
        Who::Person | Who::Bearer => !route.path.starts_with("/api/v1/me"),
        Who::Anyone | Who::Credentials => false,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    password: Secret<String>,
    must_change: bool,
}

/// Creates an account that needs no approval.
async fn add(
    host: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> ApiResult {
    let made = async {
        let NewUser { email, password, must_change } = body::json(&request, &mut payload, &config.limits).await?;
        accounts.add(host.0.actor(), &email, password, must_change).await
    };
    answer_as(StatusCode::CREATED, &request, made.await.map(|user| UserView::from(&user)))
}

/// Shows the account with this name.
async fn find(
    _: Admin,
    request: HttpRequest,
    name: web::Path<String>,
    accounts: web::Data<Accounts>,
    gateway: web::Data<Gateway>,
) -> ApiResult {
    let found = async { UserDetail::of(&*accounts.find(&name)?, &accounts, &gateway).await };
    answer(&request, found.await)
}

/// Forgets the failed sign-ins of an account.
async fn unlock(_: Admin, request: HttpRequest, id: web::Path<String>, accounts: web::Data<Accounts>) -> ApiResult {
    let unlocked = accounts.by_id(&id).and_then(|user| accounts.unlock(user.name()));
    answer(&request, unlocked.map(|user| UserView::from(&*user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: Secret<String>,
    must_change: bool,
}

/// Sets the password of an account.
async fn set_password(
    host: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> ApiResult {
    let set = async {
        let NewPassword { password, must_change } = body::json(&request, &mut payload, &config.limits).await?;
        accounts.set_password(host.0.actor(), &id, password, must_change).await
    };
    answer(&request, set.await.map(|user| UserView::from(&user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    end_older: bool,
}

/// Signs JWTs with a new key from now on.
async fn rotate_keys(
    host: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    auth: web::Data<Auth>,
    config: web::Data<Config>,
) -> ApiResult {
    let rotated = async {
        let Rotation { end_older } = body::json(&request, &mut payload, &config.limits).await?;
        auth.rotate_keys(host.0.actor(), if end_older { OldKeys::Drop } else { OldKeys::Keep }).await
    };
    answer_done(&request, rotated.await)
}

/// Creates a token for a user's machine.
async fn create_token(
    host: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> ApiResult {
    let made = async {
        let wish: Wish = body::json(&request, &mut payload, &config.limits).await?;
        let fresh = tokens.create(host.0.actor(), &id, wish).await?;
        Ok(FreshToken::of(&fresh, tokens.owner(&fresh.token).as_deref()))
    };
    answer_as(StatusCode::CREATED, &request, made.await)
}

/// Writes the row that tells of a backup, which a command has made.
async fn note_backup(
    _: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> ApiResult {
    let noted = async {
        let note: BackupNote = body::json(&request, &mut payload, &config.limits).await?;
        store.note_backup(note).await
    };
    answer_as(StatusCode::CREATED, &request, noted.await)
}
