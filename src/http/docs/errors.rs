//! The errors that a route can return: derived from what it takes and who may call it, each with an example of its body.
//!
//! What can't be derived is a bare line in the annotation of the handler, such as `(status = 409)`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{Components, ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use uuid::Uuid;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::anthropic::Anthropic;
use crate::dialect::legacy::Legacy;
use crate::dialect::ollama::Ollama;
use crate::dialect::openai::OpenAi;
use crate::dialect::{DIALECTS, Dialect, ManageRequest, Route, Serves, wire};
use crate::http::account::TokenError;
use crate::http::{GUARDED, ROUTES, Who};

/// An error as the document shows it.
struct ErrorAnswer {
    status: u16,
    name: &'static str,
    description: &'static str,
    example: fn() -> Error,
}

impl ErrorAnswer {
    fn error_has_a_wait(&self) -> bool {
        (self.example)().retry_after().is_some()
    }
}

const INVALID: ErrorAnswer = ErrorAnswer {
    status: 400,
    name: "Invalid",
    description: "A field or a parameter is wrong; `param` names it",
    example: || Error::invalid("limit", "`limit` must be from 1 to 500"),
};
const UNAUTHENTICATED: ErrorAnswer = ErrorAnswer {
    status: 401,
    name: "Unauthenticated",
    description: "No valid credential",
    example: || Error::bad_token("none was sent; send `Authorization: Bearer …`"),
};
const FORBIDDEN: ErrorAnswer = ErrorAnswer {
    status: 403,
    name: "Forbidden",
    description: "Not allowed",
    example: || Error::forbidden("only an admin may do this"),
};
const FOREIGN_NETWORK: ErrorAnswer = ErrorAnswer {
    status: 403,
    name: "ForeignNetwork",
    description: "The client's network is not served",
    example: || {
        Error::forbidden("this gateway serves its own network alone; an admin can add yours to `allow_networks`")
    },
};
const NOT_FOUND: ErrorAnswer = ErrorAnswer {
    status: 404,
    name: "NotFound",
    description: "Not found",
    example: || Error::NotFound { what: "such user".into() },
};
const MODEL_NOT_FOUND: ErrorAnswer = ErrorAnswer {
    status: 404,
    name: "ModelNotFound",
    description: "The model is not served, or you may not use it",
    example: || Error::ModelNotFound { model: "llama9".into() },
};
const CONFLICT: ErrorAnswer = ErrorAnswer {
    status: 409,
    name: "Conflict",
    description: "Conflicts with the current state",
    example: || Error::conflict("ann@example.org is disabled; enable it instead"),
};
const TOO_LARGE: ErrorAnswer = ErrorAnswer {
    status: 413,
    name: "TooLarge",
    description: "The body is too large",
    example: || Error::TooLarge { field: None, limit: 16 << 20 },
};
const ENCODED: ErrorAnswer = ErrorAnswer {
    status: 415,
    name: "EncodedBody",
    description: "Compressed bodies are not accepted",
    example: || Error::EncodedBody { encoding: "gzip".into() },
};
const MISDIRECTED: ErrorAnswer = ErrorAnswer {
    status: 421,
    name: "Misdirected",
    description: "The `Host` header does not name this gateway",
    example: || Error::Misdirected { host: "gateway.example.org".into() },
};
const TOO_MANY: ErrorAnswer = ErrorAnswer {
    status: 429,
    name: "TooMany",
    description: "Too many requests, or a quota is used up; `Retry-After` says when to try again",
    example: || Error::RateLimited {
        message: "10 requests per minute are allowed; try again in 6 s".into(),
        retry_after: Duration::from_secs(6),
    },
};
const INTERNAL: ErrorAnswer = ErrorAnswer {
    status: 500,
    name: "Internal",
    description: "Internal error of the gateway",
    example: || Error::internal(anyhow!("")),
};
const UPSTREAM_FAILED: ErrorAnswer = ErrorAnswer {
    status: 502,
    name: "UpstreamFailed",
    description: "The model server failed, or can't be reached",
    example: || Error::UpstreamDown { cause: anyhow!("") },
};
const UNAVAILABLE: ErrorAnswer = ErrorAnswer {
    status: 503,
    name: "Unavailable",
    description: "Busy, or the record can't be written; `Retry-After` says when to try again",
    example: || Error::audit(anyhow!("")),
};
const OVERLOADED: ErrorAnswer = ErrorAnswer {
    status: 529,
    name: "Overloaded",
    description: "Busy, or the record can't be written; `Retry-After` says when to try again",
    example: || Error::HostBusy {
        message: "the queue is full; try again in 30 s".into(),
        retry_after: Duration::from_secs(30),
    },
};
const UPSTREAM_TIMEOUT: ErrorAnswer = ErrorAnswer {
    status: 504,
    name: "UpstreamTimeout",
    description: "The model server took too long",
    example: || Error::Timeout { message: "the model server did not begin to answer within 300 s".into() },
};

/// Those that a handler may name by their status alone.
const NAMED: [&ErrorAnswer; 7] =
    [&INVALID, &NOT_FOUND, &CONFLICT, &TOO_MANY, &UPSTREAM_FAILED, &UNAVAILABLE, &UPSTREAM_TIMEOUT];

/// The id in examples: always the same, since the document is checked in.
const EXAMPLE_ID: Uuid = Uuid::from_u128(0x0199_4f4a_c1d2_7071_8c3a_0e5b_6c7d_8e9f);

/// The shapes of error bodies. Each has responses of its own in the document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Envelope,
    Chat,
    Ollama,
    Messages,
    SignIn,
}

impl Shape {
    /// Returns the shape of what a route answers. What is refused before the sign-in is looked at has that of every other route.
    fn of(path: &str, answer: &ErrorAnswer) -> Shape {
        match path {
            "/chat" => Shape::Chat,
            "/auth/token" if ![403, 421].contains(&answer.status) => Shape::SignIn,
            path if path.starts_with(Anthropic.root()) => Shape::Messages,
            path if Ollama.routes().iter().any(|route| described_path(route) == path) => Shape::Ollama,
            _ => Shape::Envelope,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Shape::Envelope => "",
            Shape::Chat => "Chat",
            Shape::Ollama => "Ollama",
            Shape::Messages => "Messages",
            Shape::SignIn => "SignIn",
        }
    }

    fn schema(self) -> Ref {
        Ref::from_schema_name(match self {
            Shape::Envelope => "ErrorBody",
            Shape::Chat | Shape::Ollama => "LegacyError",
            Shape::Messages => "AnthropicErrorBody",
            Shape::SignIn => "TokenError",
        })
    }

    /// Returns the body that the gateway itself writes for this error.
    fn body(self, error: &Error) -> Value {
        let id = RequestId(EXAMPLE_ID);
        let bytes = match self {
            Shape::Envelope => OpenAi.error(error, &id).body,
            Shape::Chat => Legacy.error(error, &id).body,
            Shape::Ollama => Ollama.error(error, &id).body,
            Shape::Messages => Anthropic.error(error, &id).body,
            Shape::SignIn => wire::json_bytes(&TokenError::of(error).1),
        };
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

/// Adds to each operation the errors that it can return, and to the components what they refer to.
pub fn describe_errors(document: &mut OpenApi) {
    let mut used = BTreeMap::new();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            for (shape, answer) in errors_of(method, path, operation) {
                let name = format!("{}{}", shape.prefix(), answer.name);
                let reference = RefOr::Ref(Ref::from_response_name(&name));
                operation.responses.responses.insert(answer.status.to_string(), reference);
                used.insert(name, response(shape, answer));
            }
            describe_success(operation);
            if let Some(summary) = &mut operation.summary {
                // A title, where rustdoc has a sentence.
                summary.truncate(summary.trim_end_matches('.').len());
            }
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components.responses.extend(used);
}

/// Returns the operations of a path, with their methods.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, post, patch, delete, head, .. } = item;
    let all = [("GET", get), ("POST", post), ("PATCH", patch), ("DELETE", delete), ("HEAD", head)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn response(shape: Shape, answer: &ErrorAnswer) -> RefOr<utoipa::openapi::Response> {
    let example = shape.body(&(answer.example)());
    let content = ContentBuilder::new().schema(Some(shape.schema())).example(Some(example)).build();
    let mut response = ResponseBuilder::new().description(answer.description).content("application/json", content);
    if answer.error_has_a_wait() {
        let seconds = Object::with_type(Type::Integer);
        let wait = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait before the next try"));
        response = response.header("Retry-After", wait.build());
    }
    response.build().into()
}

/// Returns the errors of a route. A response that the handler describes itself, with a body, stays as it is.
fn errors_of(method: &str, path: &str, operation: &Operation) -> Vec<(Shape, &'static ErrorAnswer)> {
    let mut errors = match (ROUTES.iter().find(|route| (route.method, route.path) == (method, path)), path) {
        (Some(route), _) => own_errors(route.who, method, path, operation),
        (None, _) => dialect_errors(method, path),
    };
    let bare = |answer: &&&ErrorAnswer| match operation.responses.responses.get(&answer.status.to_string()) {
        Some(RefOr::T(response)) => response.content.is_empty(),
        _ => false,
    };
    errors.extend(NAMED.iter().filter(bare));
    // In front of every route.
    errors.extend([&MISDIRECTED, &INTERNAL]);
    let described = |answer: &ErrorAnswer| match operation.responses.responses.get(&answer.status.to_string()) {
        Some(RefOr::T(response)) => !response.content.is_empty(),
        _ => false,
    };
    errors.retain(|answer| !described(answer));
    errors.into_iter().map(|answer| (Shape::of(path, answer), answer)).collect()
}

/// Returns what follows for one of the gateway's own routes from who may call it and what it takes.
fn own_errors(who: Who, method: &str, path: &str, operation: &Operation) -> Vec<&'static ErrorAnswer> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter.name.as_str()),
        RefOr::Ref(_) => None,
    });
    let parameters: Vec<&str> = parameters.collect();
    let in_path = |name: &&str| path.contains(&format!("{{{name}}}"));
    let mut errors = match who {
        Who::Anyone => vec![&FOREIGN_NETWORK],
        // The one 403 of `/auth/token`: a password that must be changed is a 401 there.
        Who::Credentials | Who::Bearer | Who::Person | Who::Admin => vec![&UNAUTHENTICATED, &FORBIDDEN],
    };
    if operation.request_body.is_some() {
        errors.extend([&INVALID, &TOO_LARGE, &ENCODED]);
    }
    if parameters.iter().any(|name| !in_path(name)) {
        errors.push(&INVALID);
    }
    if parameters.iter().any(|name| in_path(name) || name.ends_with("_id")) {
        errors.push(&NOT_FOUND);
    }
    // A change is recorded, or it does not happen.
    if method != "GET" {
        errors.push(&UNAVAILABLE);
    }
    if GUARDED.contains(&path) {
        errors.push(&TOO_MANY);
    }
    errors
}

/// Returns the errors of a route that a dialect serves.
fn dialect_errors(method: &str, path: &str) -> Vec<&'static ErrorAnswer> {
    let routes = DIALECTS.iter().flat_map(|dialect| dialect.routes());
    let found = routes.into_iter().find(|route| route.method == method && described_path(route) == path);
    match found.map(|route| route.serves) {
        Some(Serves::Inference(_)) => {
            let mut errors = vec![
                &INVALID,
                &FORBIDDEN,
                &MODEL_NOT_FOUND,
                &TOO_LARGE,
                &ENCODED,
                &TOO_MANY,
                &UPSTREAM_FAILED,
                &UPSTREAM_TIMEOUT,
            ];
            // Anthropic has a status of its own for it.
            errors.push(if path.starts_with(Anthropic.root()) { &OVERLOADED } else { &UNAVAILABLE });
            // `/chat` says 403 in its place, as the first version did.
            errors.extend((path != "/chat").then_some(&UNAUTHENTICATED));
            errors
        }
        Some(Serves::Description(_)) => vec![
            &INVALID,
            &UNAUTHENTICATED,
            &FORBIDDEN,
            &MODEL_NOT_FOUND,
            &TOO_LARGE,
            &ENCODED,
            &UPSTREAM_FAILED,
            &UNAVAILABLE,
            &UPSTREAM_TIMEOUT,
        ],
        Some(Serves::Version(_)) => vec![&UNAUTHENTICATED, &FORBIDDEN, &UPSTREAM_FAILED, &UPSTREAM_TIMEOUT],
        Some(Serves::List(_) | Serves::Loaded(_)) => vec![&UNAUTHENTICATED, &FORBIDDEN, &UPSTREAM_FAILED],
        Some(Serves::Lookup(_)) => vec![&UNAUTHENTICATED, &FORBIDDEN, &MODEL_NOT_FOUND, &UPSTREAM_FAILED],
        Some(Serves::Manage(manage)) => {
            let mut errors =
                vec![&INVALID, &UNAUTHENTICATED, &FORBIDDEN, &MODEL_NOT_FOUND, &UPSTREAM_FAILED, &UNAVAILABLE];
            if !matches!(manage.asks, ManageRequest::HasFile(_)) {
                errors.extend([&TOO_LARGE, &ENCODED, &TOO_MANY, &UPSTREAM_TIMEOUT]);
            }
            errors
        }
        Some(Serves::Kept(_)) => vec![&UNAUTHENTICATED, &FORBIDDEN, &NOT_FOUND],
        None => Vec::new(),
    }
}

/// Returns the path of a dialect's route as the document has it: `{id:.*}` is `{id}` there.
pub fn described_path(route: &Route) -> String {
    route.path.replace(":.*", "")
}

/// Describes what has no words of its own.
fn describe_success(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            response.description = match status.as_str() {
                "200" => "OK",
                "201" => "Created",
                "202" => "Accepted",
                "204" => "Done; there is no body",
                _ => "Error",
            }
            .into();
        }
    }
}
