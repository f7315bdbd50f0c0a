//! Requests for unknown routes: 404 or 405 in the shape that the client reads, with a hint at the right one.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{DIALECTS, Dialect, Head, json, of_client, plain_path};
use crate::http::ROUTES;
use crate::http::head::RequestHead;
use crate::http::pages::dress::{add_headers, missing_page};
use crate::http::pages::visit::Visit;
use crate::http::refusals::{refuse, refuse_in};

pub async fn unknown_route(request: HttpRequest) -> HttpResponse {
    if is_for_a_browser(&request) {
        let mut page = missing_page(&Visit::of(&request));
        add_headers(page.headers_mut());
        return page;
    }
    let head = RequestHead::of(&request, "");
    let meant = meant(&head);
    let message = format!("no such route; {}", hint(request.path(), meant.as_ref()));
    let dialect = meant.map_or_else(|| of_client(&head), |meant| meant.dialect);
    refuse_in(dialect, &request, Error::UnknownRoute { message })
}

pub async fn wrong_method(request: HttpRequest, allow: String) -> HttpResponse {
    let error =
        Error::MethodNotAllowed { method: request.method().to_string(), path: request.path().to_owned(), allow };
    refuse(&request, error)
}

/// Returns whether a person looks at the answer: browsers ask for HTML, and clients of the API don't.
pub fn is_for_a_browser(request: &HttpRequest) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_page = ["/admin", "/me", "/live"].iter().any(|root| request.path().starts_with(root));
    request.method() == Method::GET && (is_page || accepts.is_some_and(|accept| accept.starts_with("text/html")))
}

/// A route that a client looks for at a wrong path, and the dialect that the client reads.
struct Meant {
    path: String,
    dialect: Option<&'static dyn Dialect>,
}

/// Returns the route that is meant by a path: what a wrong base URL puts in front is left out, and `/v1` added where it lacks.
fn meant(head: &dyn Head) -> Option<Meant> {
    let plain = plain_path(head.path());
    let starts = plain.match_indices('/').map(|(at, _)| &plain[at..]).take(STEPS_IN_FRONT_MAX);
    let as_sent = |rest: &str| rest.len() == plain.len();
    for rest in starts.filter(|rest| rest.len() > 1) {
        for path in [rest.to_owned(), format!("{OPENAI_BASE}{rest}")] {
            let serves = |dialect: &&dyn Dialect| {
                // What stands in front of `/chat` is never a base URL: its clients name the whole path.
                (as_sent(&path) || dialect.root() != CHAT) && has_route(*dialect, &path)
            };
            let dialects: Vec<_> = DIALECTS.iter().copied().filter(serves).collect();
            let looked_for = MeantHead { head, path: &path };
            let dialect = dialects.iter().find(|dialect| dialect.is_read_by(&looked_for)).or(dialects.last()).copied();
            if dialect.is_some() || ROUTES.iter().any(|route| matches(route.path, &path)) {
                return Some(Meant { path, dialect });
            }
        }
    }
    None
}

/// What an OpenAI client's base URL ends in.
const OPENAI_BASE: &str = "/v1";

const CHAT: &str = "/chat";

/// Steps of a path at which the route that is meant may begin.
const STEPS_IN_FRONT_MAX: usize = 6;

/// A head with the path that is meant.
struct MeantHead<'a> {
    head: &'a dyn Head,
    path: &'a str,
}

impl Head for MeantHead<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    fn request_id(&self) -> RequestId {
        self.head.request_id()
    }

    fn received_at(&self) -> Timestamp {
        self.head.received_at()
    }

    fn default_model(&self) -> &str {
        self.head.default_model()
    }
}

/// Returns what to do instead. Base URLs are the usual mistake: each client wants another one.
fn hint(path: &str, meant: Option<&Meant>) -> String {
    let plain = plain_path(path);
    let is_below = |root: &str| plain.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    match meant {
        Some(meant) if meant.path == plain => {
            return format!("it is `{}`, without slashes that are doubled or at the end", json::shown(&meant.path));
        }
        Some(Meant { path, dialect }) => {
            let path = json::shown(path);
            return match dialect.and_then(Dialect::base_url) {
                Some(base_url) => format!("it is `{path}`: {base_url}"),
                None => format!("it is `{path}`"),
            };
        }
        None => {}
    }
    if is_below("/v1/v1") {
        "the base URL of a client already ends in `/v1`: take one away"
    } else if is_below("/v1/messages") {
        "Anthropic's API is served at /v1/messages; batches are not offered"
    } else if is_below("/v1/responses") {
        "OpenAI's responses are served at /v1/responses; GET /openapi.json lists what is offered of them"
    } else if is_below("/api") && !is_below("/api/v1") {
        "this is no part of Ollama's own API that is offered; GET /openapi.json lists those that are"
    } else {
        "GET /openapi.json lists the routes, /docs/ shows them"
    }
    .to_owned()
}

fn has_route(dialect: &dyn Dialect, path: &str) -> bool {
    dialect.routes().iter().any(|route| matches(route.path, path))
}

/// Returns whether a path matches a route with `{id}` in it. `{id:.*}` at a route's end matches several segments.
fn matches(route: &str, path: &str) -> bool {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(step), Some(_)) if step.ends_with(":.*}") => return true,
            (Some(step), Some(given)) if step == given || (step.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
