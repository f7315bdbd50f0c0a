//! Ollama's own API: chats, generated texts, embeddings and the lists of models, as its clients know them.
//!
//! A request is read and sent on like any other, never passed through. What would change the model server for all users is left
//! out and named in `ignored`, since Ollama's clients send it unasked; what changes the answer and can't be honoured is refused.

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::json::Ignored;
use crate::dialect::native::Front;
use crate::dialect::native::answer::{ErrorLine, NativeAnswer};
use crate::dialect::native::request::{self, NativeChat};
use crate::dialect::{
    Continuation, Decoded, Delivery, Dialect, Head, Reply, Route, Serves, is_below, json, plain_path, surrogates, wire,
};
use crate::model::credential::Credential;
use crate::model::model_name::ModelName;
use crate::model::rights::Scope;
use crate::model::work::Work;

mod embed;
mod generate;
mod manage;
pub mod models;

pub struct Ollama;

const GENERATE: &str = "/api/generate";
const EMBED: &str = "/api/embed";
const EMBEDDINGS: &str = "/api/embeddings";

/// The gateway's own API, which is below Ollama's root.
const OWN_ROOT: &str = "/api/v1";

/// Fields that hold client data.
const OWN: &[&str] = &["arguments", "format", "parameters"];

const ROUTES: &[Route] = &[
    Route { method: "POST", path: "/api/chat", serves: Serves::Inference(Scope::Chat) },
    Route { method: "POST", path: GENERATE, serves: Serves::Inference(Scope::Chat) },
    Route { method: "POST", path: EMBED, serves: Serves::Inference(Scope::Embeddings) },
    Route { method: "POST", path: EMBEDDINGS, serves: Serves::Inference(Scope::Embeddings) },
    Route { method: "GET", path: "/api/tags", serves: Serves::List(models::tags) },
    Route { method: "POST", path: "/api/pull", serves: Serves::Manage(&manage::PULL) },
    Route { method: "POST", path: "/api/push", serves: Serves::Manage(&manage::PUSH) },
    Route { method: "POST", path: "/api/create", serves: Serves::Manage(&manage::CREATE) },
    Route { method: "POST", path: "/api/copy", serves: Serves::Manage(&manage::COPY) },
    Route { method: "DELETE", path: "/api/delete", serves: Serves::Manage(&manage::DELETE) },
    Route { method: "POST", path: "/api/blobs/{id}", serves: Serves::Manage(&manage::UPLOAD) },
    Route { method: "HEAD", path: "/api/blobs/{id}", serves: Serves::Manage(&manage::HAS_FILE) },
    Route { method: "POST", path: "/api/show", serves: Serves::Description(models::SHOW) },
    Route { method: "GET", path: "/api/ps", serves: Serves::Loaded(models::ps) },
    Route { method: "GET", path: "/api/version", serves: Serves::Version(models::version) },
];

impl Dialect for Ollama {
    fn root(&self) -> &'static str {
        "/api"
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn is_read_by(&self, head: &dyn Head) -> bool {
        let path = plain_path(head.path());
        is_below(&path, self.root()) && !is_below(&path, OWN_ROOT)
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let body = surrogates::mended(body);
        let body = json::read(&body, OWN)?;
        match head.path() {
            GENERATE => generate::decode(body),
            EMBED => embed::decode(body),
            EMBEDDINGS => embed::decode_legacy(body),
            _ => chat(body),
        }
    }

    fn base_url(&self) -> Option<&'static str> {
        Some("the host of an Ollama client is this gateway's address alone, without `/v1` or another path")
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        let mut reply = wire::plain_error(error, &ErrorLine { error: text_of(error) });
        if matches!(error, Error::Unauthenticated { .. }) {
            reply.headers.push(("WWW-Authenticate", "Bearer".into()));
        }
        reply
    }
}

fn chat(body: json::Object<'_>) -> Result<Decoded, Error> {
    let NativeChat { chat, stream, ignored } = request::read(body, Front::Api)?;
    if chat.messages.is_empty() {
        let answer = NativeAnswer::chat(&chat, text_of);
        return Ok(load(chat.model, answer, stream, ignored));
    }
    Ok(Decoded {
        reply: Box::new(NativeAnswer::chat(&chat, text_of)),
        work: Work::Chat(chat),
        delivery: delivery(stream),
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    })
}

/// Returns a request without a prompt: it loads the model, and its answer says so.
fn load(model: ModelName, answer: NativeAnswer, stream: Option<bool>, ignored: Ignored) -> Decoded {
    Decoded {
        reply: Box::new(answer.of_load()),
        work: Work::Load(model),
        delivery: delivery(stream),
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    }
}

/// Ollama streams unless told otherwise.
fn delivery(stream: Option<bool>) -> Delivery {
    if stream.unwrap_or(true) { Delivery::Stream { content_type: wire::NDJSON } } else { Delivery::Whole }
}

/// Returns the text of an error. Ollama itself asks for no credential, so its clients don't say where to put one.
fn text_of(error: &Error) -> String {
    match error {
        Error::Unauthenticated { .. } => format!(
            "{error} (Ollama's Python and JavaScript packages send a token with \
             `Client(host=…, headers={{\"Authorization\": \"Bearer lgw_…\"}})`, in Python also from the environment variable \
             `OLLAMA_API_KEY`)"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
