//! Requests for unknown routes: 404 or 405 in the shape that the client reads, with a hint at the right one.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};

use crate::base::error::Error;
use crate::dialect::{DIALECTS, json, plain_path};
use crate::http::ROUTES;
use crate::http::pages::dress::{add_headers, missing_page};
use crate::http::pages::visit::Visit;
use crate::http::refusals::refuse;

pub async fn unknown_route(request: HttpRequest) -> HttpResponse {
    if is_for_a_browser(&request) {
        let mut page = missing_page(&Visit::of(&request));
        add_headers(page.headers_mut());
        return page;
    }
    let message = format!("no such route; {}", hint(request.path()));
    refuse(&request, Error::UnknownRoute { message })
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

/// Returns what to do instead. Base URLs are the usual mistake: each client wants another one.
fn hint(path: &str) -> String {
    let plain = plain_path(path);
    let is_below = |root: &str| plain.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if plain != path && is_served(&plain) {
        return format!("it is `{}`, without slashes that are doubled or at the end", json::shown(&plain));
    }
    if is_below("/v1/v1") {
        "the base URL of a client already ends in `/v1`: take one away"
    } else if ["/chat/completions", "/completions", "/models", "/embeddings"].contains(&plain.as_ref()) {
        "the base URL of an OpenAI client must end in `/v1`"
    } else if is_below("/v1/messages") {
        "Anthropic's API is served at POST /v1/messages; batches are not offered"
    } else if is_below("/messages") {
        "it is `/v1/messages`: the base URL of an Anthropic client must not hold a path"
    } else if is_below("/v1/responses") || is_below("/responses") {
        "OpenAI's Responses API is not offered; let the client use `/v1/chat/completions` (in n8n, switch off \
         `Use Responses API` of the model)"
    } else if (is_below("/api") && !is_below("/api/v1")) || is_below("/v1/api") {
        "Ollama's own API is not passed through; use POST /chat, or an OpenAI client with a base URL that ends in `/v1`"
    } else {
        "GET /openapi.json lists the routes, /docs/ shows them"
    }
    .to_owned()
}

fn is_served(path: &str) -> bool {
    let of_dialects = DIALECTS.iter().flat_map(|dialect| dialect.routes()).map(|route| route.path);
    ROUTES.iter().map(|route| route.path).chain(of_dialects).any(|route| matches(route, path))
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
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_are_told_with_the_path_that_is_meant() {
        for (path, meant) in [
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("/v1/chat/completions///", "/v1/chat/completions"),
            ("//v1/chat/completions", "/v1/chat/completions"),
            ("/v1//embeddings", "/v1/embeddings"),
            ("/v1/completions/", "/v1/completions"),
            ("/chat/", "/chat"),
            ("//chat", "/chat"),
            ("/auth/token/", "/auth/token"),
            ("/api//v1/tokens/7/rotate/", "/api/v1/tokens/7/rotate"),
            ("/health/", "/health"),
        ] {
            assert!(hint(path).starts_with(&format!("it is `{meant}`")), "{path}: {}", hint(path));
        }
        for path in ["/nope/", "//", "/v1//nope", "/api/v1/"] {
            assert!(!hint(path).starts_with("it is"), "{path}: {}", hint(path));
        }
    }

    #[test]
    fn a_wrong_base_url_is_told() {
        for (path, words) in [
            ("/v1/v1/models", "take one away"),
            ("/chat/completions", "must end in `/v1`"),
            ("/models/", "must end in `/v1`"),
            ("/api/nope", "Ollama's own API"),
            ("/api", "Ollama's own API"),
            ("//api/tags/", "it is `/api/tags`"),
            ("/v1/api/chat", "Ollama's own API"),
            ("/v1/messages/batches", "Anthropic's API"),
            ("/messages", "`/v1/messages`"),
            ("/v1/v1/messages", "take one away"),
            ("/v1/responses", "`/v1/chat/completions`"),
            ("/v1/responses/resp_1/cancel", "`/v1/chat/completions`"),
            ("/responses", "`/v1/chat/completions`"),
            ("/v1/responsesx", "GET /openapi.json"),
            ("/apiary", "GET /openapi.json"),
            ("/v1/messagesx", "GET /openapi.json"),
            ("/api/v1/nope", "GET /openapi.json"),
        ] {
            assert!(hint(path).contains(words), "{path}: {}", hint(path));
        }
    }
}
