//! The edge: HTTP requests and responses. `ROUTES` and each dialect's `routes()` are everything that is served.

use std::rc::Rc;

use actix_governor::Governor;
use actix_web::http::Method;
use actix_web::middleware::Condition;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource, Route as ActixRoute};

use crate::dialect::{DIALECTS, SharedRoute};
use crate::http::head::RequestHead;

pub mod account;
pub mod address_quotas;
pub mod audit;
pub mod body;
pub mod callers;
pub mod connections;
pub mod deletion;
pub mod delivery;
pub mod docs;
pub mod entrance;
pub mod errors;
pub mod exports;
pub mod framing;
pub mod head;
pub mod health;
pub mod host;
pub mod hosts;
pub mod idle_reader;
pub mod inference;
pub mod me;
pub mod models;
pub mod query;
pub mod queue;
pub mod quotas;
pub mod refusals;
pub mod reply;
pub mod settings;
pub mod stamp;
pub mod standing;
pub mod story;
pub mod tokens;
pub mod transport;
pub mod unknown;
pub mod usage;
pub mod users;
pub mod views;

use address_quotas::AddressQuotas;

/// Who may use a route; its extractors enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anyone,
    /// Name and password in the request itself.
    Credentials,
    /// A JWT or a token.
    Bearer,
    /// A JWT.
    Person,
    Admin,
}

pub struct ApiRoute {
    pub method: &'static str,
    pub path: &'static str,
    pub who: Who,
    /// Handles every method; `mount` restricts it to the route's own.
    pub(crate) handler: fn() -> ActixRoute,
}

const fn route(method: &'static str, path: &'static str, who: Who, handler: fn() -> ActixRoute) -> ApiRoute {
    ApiRoute { method, path, who, handler }
}

/// Every route besides those of the dialects, which all take a `Bearer` (`/chat` credentials in its body, too).
pub static ROUTES: &[ApiRoute] = &[
    route("POST", "/auth/token", Who::Credentials, || web::to(account::token)),
    route("POST", "/api/v1/register", Who::Anyone, || web::to(account::register)),
    route("POST", "/api/v1/password", Who::Credentials, || web::to(account::password)),
    route("GET", "/api/v1/me", Who::Person, || web::to(me::me)),
    route("GET", "/api/v1/me/record", Who::Person, || web::to(me::record)),
    route("GET", "/api/v1/me/export", Who::Person, || web::to(me::export)),
    route("GET", "/api/v1/me/quotas", Who::Bearer, || web::to(quotas::of_mine)),
    route("GET", "/api/v1/me/usage", Who::Bearer, || web::to(usage::of_mine)),
    route("GET", "/api/v1/tokens", Who::Person, || web::to(tokens::list)),
    route("POST", "/api/v1/tokens", Who::Person, || web::to(tokens::create)),
    route("PATCH", "/api/v1/tokens/{id}", Who::Person, || web::to(tokens::change)),
    route("DELETE", "/api/v1/tokens/{id}", Who::Person, || web::to(tokens::revoke)),
    route("POST", "/api/v1/tokens/{id}/rotate", Who::Person, || web::to(tokens::rotate)),
    route("POST", "/api/v1/tokens/{id}/resume", Who::Person, || web::to(tokens::resume)),
    route("GET", "/api/v1/users", Who::Admin, || web::to(users::list)),
    // Before the route whose id could be anything.
    route("POST", "/api/v1/users/turn-down", Who::Admin, || web::to(users::turn_down_all)),
    route("GET", "/api/v1/users/{id}", Who::Admin, || web::to(users::one)),
    route("PATCH", "/api/v1/users/{id}", Who::Admin, || web::to(users::change)),
    route("DELETE", "/api/v1/users/{id}", Who::Admin, || web::to(deletion::delete_user)),
    route("POST", "/api/v1/users/{id}/approve", Who::Admin, || web::to(users::approve)),
    route("POST", "/api/v1/users/{id}/turn-down", Who::Admin, || web::to(users::turn_down)),
    route("POST", "/api/v1/users/{id}/disable", Who::Admin, || web::to(users::disable)),
    route("POST", "/api/v1/users/{id}/enable", Who::Admin, || web::to(users::enable)),
    route("POST", "/api/v1/users/{id}/reset-password", Who::Admin, || web::to(users::reset_password)),
    route("GET", "/api/v1/audit", Who::Admin, || web::to(audit::audit)),
    route("GET", "/api/v1/audit/{request_id}", Who::Admin, || web::to(story::story)),
    route("GET", "/api/v1/usage", Who::Admin, || web::to(usage::of_everybody)),
    route("GET", "/api/v1/queue", Who::Bearer, || web::to(queue::show)),
    route("DELETE", "/api/v1/queue/{request_id}", Who::Admin, || web::to(queue::cancel)),
    route("GET", "/api/v1/settings", Who::Admin, || web::to(settings::list)),
    route("PATCH", "/api/v1/settings", Who::Admin, || web::to(settings::change)),
    route("POST", "/api/v1/exports", Who::Admin, || web::to(exports::create_export)),
    route("GET", "/api/v1/exports/{id}", Who::Admin, || web::to(exports::export)),
    route("GET", "/health", Who::Anyone, || web::to(health::health)),
    route("GET", "/health/live", Who::Anyone, || web::to(health::live)),
    route("GET", "/health/ready", Who::Anyone, || web::to(health::ready)),
    route("GET", "/openapi.json", Who::Anyone, || web::to(docs::openapi_json)),
    route("GET", "/docs", Who::Anyone, || web::to(docs::to_docs)),
    route("HEAD", "/", Who::Anyone, || web::to(health::probe)),
];

/// Routes that take passwords, and registration: they have a generous rate limit per address.
const GUARDED: [&str; 3] = ["/auth/token", "/api/v1/register", "/api/v1/password"];
const GUARDED_CHAT: &str = "/chat";

/// Mounts everything that is served.
pub fn mount(config: &mut ServiceConfig, quotas: &AddressQuotas) {
    mount_dialects(config, quotas);
    let mut mounted: Vec<&str> = Vec::new();
    for first in ROUTES {
        if mounted.contains(&first.path) {
            continue;
        }
        mounted.push(first.path);
        let same: Vec<&ApiRoute> = ROUTES.iter().filter(|route| route.path == first.path).collect();
        let allow: Vec<&str> = same.iter().flat_map(|route| methods(route.method)).copied().collect();
        let resource = same.iter().fold(web::resource(first.path), |resource, route| {
            methods(route.method)
                .iter()
                .fold(resource, |resource, name| resource.route((route.handler)().method(method(name))))
        });
        add(config, resource, first.path, &allow.join(", "), quotas);
    }
    docs::mount_swagger_ui(config);
    config.default_service(web::to(unknown::unknown_route));
}

/// Mounts the routes of the dialects. Where several have the same one, the head of a request says which of them answers.
fn mount_dialects(config: &mut ServiceConfig, quotas: &AddressQuotas) {
    let routes: Vec<Rc<SharedRoute>> = SharedRoute::all(DIALECTS).into_iter().map(Rc::new).collect();
    let mut mounted: Vec<&str> = Vec::new();
    for first in &routes {
        if mounted.contains(&first.path) {
            continue;
        }
        mounted.push(first.path);
        let same: Vec<_> = routes.iter().filter(|route| route.path == first.path).collect();
        let allow: Vec<&str> = same.iter().flat_map(|route| methods(route.method)).copied().collect();
        let resource = same.iter().fold(web::resource(first.path), |resource, route| {
            methods(route.method)
                .iter()
                .fold(resource, |resource, name| resource.route(of_dialects(Rc::clone(route)).method(method(name))))
        });
        add(config, resource, first.path, &allow.join(", "), quotas);
    }
}

/// Returns the handler of a route that one or several dialects have.
fn of_dialects(shared: Rc<SharedRoute>) -> ActixRoute {
    web::to(move |request: HttpRequest, payload: web::Payload| {
        let shared = Rc::clone(&shared);
        async move {
            match shared.answering(&RequestHead::of(&request, "")) {
                Some((dialect, route)) if route.is_inference() => {
                    inference::answer(dialect, route, request, payload).await
                }
                Some((dialect, route)) => models::answer(dialect, route, request, payload).await,
                None => unknown::unknown_route(request).await,
            }
        }
    })
}

fn add(config: &mut ServiceConfig, resource: Resource, path: &'static str, allow: &str, quotas: &AddressQuotas) {
    let allow = allow.to_owned();
    let resource =
        resource.default_service(web::to(move |request: HttpRequest| unknown::wrong_method(request, allow.clone())));
    if path == GUARDED_CHAT {
        config.service(resource.wrap(Governor::new(&quotas.chat)));
    } else {
        config.service(resource.wrap(Condition::new(GUARDED.contains(&path), Governor::new(&quotas.accounts))));
    }
}

/// HEAD is served wherever GET is (RFC 9110, 9.1); `framing` removes its content.
fn methods(name: &'static str) -> &'static [&'static str] {
    match name {
        "GET" => &["GET", "HEAD"],
        "POST" => &["POST"],
        "PATCH" => &["PATCH"],
        "DELETE" => &["DELETE"],
        "HEAD" => &["HEAD"],
        _ => &[],
    }
}

fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::POST)
}
