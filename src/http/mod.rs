//! The edge: HTTP requests and responses. `ROUTES`, the pages' and each dialect's `routes()` are everything that is served.

use std::rc::Rc;

use actix_governor::Governor;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource, Route as ActixRoute};
use utoipa::OpenApi;

use crate::dialect::{DIALECTS, Serves, SharedRoute};
use crate::http::access::{CONTROL, DOCS, MatchedRoute};
use crate::http::head::RequestHead;
use crate::http::pages::dress::dress;
use crate::metrics::LabelValues;

pub mod access;
pub mod account;
pub mod address_quotas;
pub mod audit;
pub mod body;
pub mod callers;
pub mod checkpoints;
pub mod client;
pub mod configuration;
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
pub mod host_view;
pub mod hosts;
pub mod idle_reader;
pub mod incident;
pub mod inference;
pub mod kept;
pub mod manage;
pub mod me;
pub mod metrics;
pub mod models;
pub mod notice_channels;
pub mod pages;
pub mod pulse;
pub mod query;
pub mod queue;
pub mod quotas;
pub mod record_items;
pub mod refusals;
pub mod reply;
pub mod settings;
pub mod stamp;
pub mod standing;
pub mod story;
pub mod stranger_lines;
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

/// Makes `ROUTES`, and the description of those that are part of the API.
macro_rules! routes {
    (
        described { $($method:literal $path:literal $who:ident $file:ident::$handler:ident;)+ }
        undescribed { $($plain_method:literal $plain_path:literal $plain_who:ident $plain_file:ident::$plain_handler:ident;)+ }
    ) => {
        /// Every route besides those of the dialects, which all take a `Bearer` (`/chat` credentials in its body, too).
        pub static ROUTES: &[ApiRoute] = &[
            $(ApiRoute { method: $method, path: $path, who: Who::$who, handler: || web::to($file::$handler) },)+
            $(ApiRoute {
                method: $plain_method,
                path: $plain_path,
                who: Who::$plain_who,
                handler: || web::to($plain_file::$plain_handler),
            },)+
        ];

        #[derive(OpenApi)]
        #[openapi(paths($($file::$handler),+))]
        struct Described;
    };
}

routes! {
    described {
        "POST" "/auth/token" Credentials account::token;
        "POST" "/api/v1/register" Anyone account::register;
        "POST" "/api/v1/password" Credentials account::password;
        "GET" "/api/v1/me" Person me::me;
        "GET" "/api/v1/me/record" Person me::record;
        "GET" "/api/v1/me/record/{request_id}" Person story::own_story;
        "GET" "/api/v1/me/export" Person me::export;
        "GET" "/api/v1/me/quotas" Bearer quotas::of_mine;
        "GET" "/api/v1/me/usage" Bearer usage::of_mine;
        "GET" "/api/v1/tokens" Person tokens::list;
        "POST" "/api/v1/tokens" Person tokens::create;
        "PATCH" "/api/v1/tokens/{id}" Person tokens::change;
        "DELETE" "/api/v1/tokens/{id}" Person tokens::revoke;
        "POST" "/api/v1/tokens/{id}/rotate" Person tokens::rotate;
        "POST" "/api/v1/tokens/{id}/resume" Person tokens::resume;
        "GET" "/api/v1/users" Admin users::list;
        // Before the route whose id could be anything.
        "POST" "/api/v1/users/turn-down" Admin users::turn_down_all;
        "GET" "/api/v1/users/{id}" Admin users::one;
        "PATCH" "/api/v1/users/{id}" Admin users::change;
        "DELETE" "/api/v1/users/{id}" Admin deletion::delete_user;
        "POST" "/api/v1/users/{id}/approve" Admin users::approve;
        "POST" "/api/v1/users/{id}/turn-down" Admin users::turn_down;
        "POST" "/api/v1/users/{id}/disable" Admin users::disable;
        "POST" "/api/v1/users/{id}/enable" Admin users::enable;
        "POST" "/api/v1/users/{id}/reset-password" Admin users::reset_password;
        "GET" "/api/v1/audit" Admin audit::audit;
        // Before the route whose id could be anything.
        "GET" "/api/v1/audit/pulse" Admin pulse::show;
        "GET" "/api/v1/audit/{request_id}" Admin story::story;
        "GET" "/api/v1/usage" Admin usage::of_everybody;
        "GET" "/api/v1/usage/timeline" Admin usage::story;
        "GET" "/api/v1/queue" Bearer queue::show;
        "DELETE" "/api/v1/queue/{request_id}" Admin queue::cancel;
        "GET" "/api/v1/host" Admin host_view::host;
        "GET" "/api/v1/settings" Admin settings::list;
        "PATCH" "/api/v1/settings" Admin settings::change;
        "GET" "/api/v1/settings/file" Admin settings::of_file;
        "GET" "/api/v1/checkpoints" Admin checkpoints::list;
        "GET" "/api/v1/notice-channels" Admin notice_channels::list;
        "POST" "/api/v1/notice-channels" Admin notice_channels::create;
        "PATCH" "/api/v1/notice-channels/{id}" Admin notice_channels::change;
        "DELETE" "/api/v1/notice-channels/{id}" Admin notice_channels::remove;
        "POST" "/api/v1/notice-channels/{id}/test" Admin notice_channels::test;
        "GET" "/api/v1/exports" Admin exports::list;
        "POST" "/api/v1/exports" Admin exports::create_export;
        "POST" "/api/v1/incident-reports" Admin incident::make;
        "GET" "/api/v1/exports/{id}" Admin exports::export;
        "GET" "/metrics" Bearer metrics::show;
        "GET" "/health" Anyone health::health;
        "GET" "/health/live" Anyone health::live;
        "GET" "/health/ready" Anyone health::ready;
    }
    undescribed {
        "GET" "/openapi.json" Anyone docs::openapi_json;
        "GET" "/docs" Anyone docs::to_docs;
    }
}

/// Returns the descriptions of the routes that are part of the API.
pub fn described() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

/// Returns the values that labels of metrics may have.
pub fn label_values(upstreams: Vec<String>) -> LabelValues {
    let shared = || DIALECTS.iter().flat_map(|dialect| dialect.routes());
    let inference: Vec<&str> = shared().filter(|route| route.is_inference()).map(|route| route.path).collect();
    let managing = shared().filter(|route| matches!(route.serves, Serves::Manage(_))).map(|route| route.path);
    let mut apis: Vec<&str> =
        inference.iter().copied().chain(managing).chain(DIALECTS.iter().map(|dialect| dialect.root())).collect();
    apis.extend(GUARDED.iter().copied().chain([OWN_API]));
    apis.sort_unstable();
    apis.dedup();
    let routes = shared().map(|route| route.path).chain(ROUTES.iter().map(|route| route.path));
    let routes = routes.chain(pages::routes::all().map(|route| route.path)).chain([DOCS, CONTROL]).collect();
    LabelValues { apis, inference, routes, upstreams }
}

/// The name in the record of the gateway's own API.
const OWN_API: &str = "/api/v1";

/// Routes that take passwords, and registration: they have a generous rate limit per address.
const GUARDED: [&str; 6] =
    ["/auth/token", "/api/v1/register", "/api/v1/password", "/sign-in", "/register", "/password"];
const GUARDED_CHAT: &str = "/chat";

/// A route as it is mounted.
struct Mounted {
    method: &'static str,
    path: &'static str,
    handler: Rc<dyn Fn() -> ActixRoute>,
}

/// Mounts everything that is served.
pub fn mount(config: &mut ServiceConfig, quotas: &AddressQuotas) {
    let shared = SharedRoute::all(DIALECTS).into_iter().map(Rc::new);
    let dialects = shared.map(|route| Mounted {
        method: route.method,
        path: route.path,
        handler: Rc::new(move || of_dialects(Rc::clone(&route))),
    });
    let api =
        ROUTES.iter().map(|route| Mounted { method: route.method, path: route.path, handler: Rc::new(route.handler) });
    let shown = pages::routes::all().map(|route| Mounted {
        method: route.method,
        path: route.path,
        handler: Rc::new(route.handler),
    });
    for (path, resource) in resources(dialects).into_iter().chain(resources(api)) {
        add(config, resource, path, quotas);
    }
    for (path, resource) in resources(shown) {
        add(config, resource.wrap(from_fn(dress)), path, quotas);
    }
    docs::mount_swagger_ui(config);
    config.default_service(web::to(unknown::unknown_route));
}

/// Returns one resource per path, with all its methods.
fn resources(routes: impl Iterator<Item = Mounted>) -> Vec<(&'static str, Resource)> {
    let mut paths: Vec<(&'static str, Vec<Mounted>)> = Vec::new();
    for route in routes {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, same)) => same.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    paths.into_iter().map(|(path, same)| (path, resource(path, &same))).collect()
}

fn resource(path: &'static str, same: &[Mounted]) -> Resource {
    let mut allow: Vec<&str> = Vec::new();
    let mut resource = web::resource(path);
    for route in same {
        for name in methods(route.method) {
            resource = resource.route((route.handler)().method(method(name)));
            if !allow.contains(name) {
                allow.push(name);
            }
        }
    }
    let allow = allow.join(", ");
    resource.default_service(web::to(move |request: HttpRequest| unknown::wrong_method(request, allow.clone())))
}

/// Returns the handler of a route that one or several dialects have.
fn of_dialects(shared: Rc<SharedRoute>) -> ActixRoute {
    web::to(move |request: HttpRequest, payload: web::Payload| {
        let shared = Rc::clone(&shared);
        async move {
            let Some((dialect, route)) = shared.answering(&RequestHead::of(&request, "")) else {
                return unknown::unknown_route(request).await;
            };
            match route.serves {
                Serves::Inference(_) => inference::answer(dialect, route, request, payload).await,
                Serves::List(_)
                | Serves::Lookup(_)
                | Serves::Description(_)
                | Serves::Loaded(_)
                | Serves::Version(_) => models::answer(dialect, route, request, payload).await,
                Serves::Manage(manage) => manage::answer(dialect, route.path, manage, request, payload).await,
                Serves::Kept(kept) => kept::answer(dialect, kept, request).await,
            }
        }
    })
}

fn add<T, B>(config: &mut ServiceConfig, resource: Resource<T>, path: &'static str, quotas: &AddressQuotas)
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let resource = resource.app_data(MatchedRoute(path));
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
