//! OpenAI's chat completions, completions and responses, streamed and whole, its embeddings and its list of models.
//!
//! What changes the meaning and can't be honoured is refused by name; what has no effect is named in `ignored`.

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::openai::answer::OpenAiAnswer;
use crate::dialect::{
    Continuation, Decoded, Delivery, Dialect, Head, Reply, Route, Serves, json, models, surrogates, wire,
};
use crate::model::credential::Credential;
use crate::model::kept::{KeptAnswer, KeptReply};
use crate::model::model_name::ModelName;
use crate::model::rights::Scope;
use crate::model::work::Work;

mod answer;
mod completions;
mod embeddings;
mod message;
mod request;
mod responses;
mod texts;
mod tools;

pub struct OpenAi;

const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
pub const RESPONSES: &str = "/v1/responses";

/// Fields that hold client data.
const OWN: &[&str] = &["arguments", "metadata", "parameters", "schema"];

const ROUTES: &[Route] = &[
    Route { method: "POST", path: "/v1/chat/completions", serves: Serves::Inference(Scope::Chat) },
    Route { method: "POST", path: COMPLETIONS, serves: Serves::Inference(Scope::Chat) },
    Route { method: "POST", path: EMBEDDINGS, serves: Serves::Inference(Scope::Embeddings) },
    Route { method: "POST", path: RESPONSES, serves: Serves::Inference(Scope::Chat) },
    Route { method: "GET", path: "/v1/responses/{id}", serves: Serves::Kept(responses::GET) },
    Route { method: "DELETE", path: "/v1/responses/{id}", serves: Serves::Kept(responses::DELETE) },
    Route { method: "GET", path: "/v1/responses/{id}/input_items", serves: Serves::Kept(responses::INPUT_ITEMS) },
    Route { method: "GET", path: "/v1/models", serves: Serves::List(models::list) },
    Route { method: "GET", path: "/v1/models/{id:.*}", serves: Serves::Lookup(models::LOOKUP) },
];

impl Dialect for OpenAi {
    fn root(&self) -> &'static str {
        "/v1"
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        self.decode_referring(head, body, &[])
    }

    fn decode_referring(&self, head: &dyn Head, body: &[u8], kept: &[KeptReply]) -> Result<Decoded, Error> {
        let body = surrogates::mended(body);
        let body = json::read(&body, OWN)?;
        match head.path() {
            COMPLETIONS => completions::decode(head, body),
            EMBEDDINGS => embeddings::decode(body),
            RESPONSES => responses::decode(head, body, kept),
            _ => chat(head, body),
        }
    }

    fn follow(&self, kept: KeptAnswer, continuation: &Continuation, work: &mut Work) -> Result<(), Error> {
        responses::follow(kept, continuation, work)
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        wire::error_reply(error)
    }

    fn base_url(&self) -> Option<&'static str> {
        Some("the base URL of an OpenAI client is this gateway's address and ends in `/v1`")
    }

    fn spent_ms_header(&self) -> Option<&'static str> {
        Some("openai-processing-ms")
    }
}

fn chat(head: &dyn Head, body: json::Object<'_>) -> Result<Decoded, Error> {
    let asked = request::read(body)?;
    Ok(Decoded {
        reply: Box::new(OpenAiAnswer::new(head, &asked)),
        work: Work::Chat(asked.chat),
        delivery: delivery(asked.stream),
        ignored: asked.ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    })
}

fn delivery(stream: bool) -> Delivery {
    if stream { Delivery::Stream { content_type: wire::SSE } } else { Delivery::Whole }
}

fn parse_model(name: Option<String>) -> Result<ModelName, Error> {
    match name {
        Some(name) => ModelName::parse(&name),
        None => Err(Error::invalid("model", "`model` is missing; name one that `GET /v1/models` lists")),
    }
}
