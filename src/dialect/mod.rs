//! How clients speak to us: the trait of a dialect with its routes, and the table of them.
//!
//! A dialect is a pure translator between bytes and values: no network, no clock, no `await`.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::catalog::{LoadedCard, ModelCard, ModelDescription};
use crate::model::chat::{ChatEvent, ChatReply};
use crate::model::credential::Credential;
use crate::model::kept::{KeptAnswer, KeptReply, missing_answer};
use crate::model::manage::{BlobDigest, ChangeStep, ModelChange};
use crate::model::rights::Scope;
use crate::model::work::Work;

pub mod anthropic;
pub mod calls;
pub mod choice;
pub mod data;
pub mod effort;
pub mod image;
pub mod json;
pub mod legacy;
pub mod models;
pub mod native;
pub mod ollama;
pub mod openai;
pub mod surrogates;
pub mod wire;

/// The head of a request: what is known before its body is read.
pub trait Head {
    fn path(&self) -> &str;
    /// Returns what follows the path's `?`, as it was sent; empty: nothing.
    fn query(&self) -> &str {
        ""
    }
    /// Returns the value of a header if it was sent once and is text.
    fn header(&self, name: &str) -> Option<&str>;
    fn request_id(&self) -> RequestId;
    fn received_at(&self) -> Timestamp;
    /// Returns the model of a request that names none.
    fn default_model(&self) -> &str;
}

pub trait Dialect: Sync {
    /// Returns the path below which the routes are. It also names them in the record's rows of refusals.
    fn root(&self) -> &'static str;
    /// Returns the routes and what each serves. `decode` distinguishes those of inference by `head.path()`.
    fn routes(&self) -> &'static [Route];
    /// Returns whether the client that sent this head reads this dialect: by the path, and where dialects have the same path,
    /// by a header. The first of `DIALECTS` for which this is true answers.
    fn is_read_by(&self, head: &dyn Head) -> bool {
        is_below(&plain_path(head.path()), self.root())
    }
    /// Reads the credential of the head. `None`: it shows none (`/chat` then looks into its body).
    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error>;
    /// Translates the body of an inference request, or returns an error that names the field.
    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error>;
    /// Translates the body of a request that has parts of earlier answers by their id (`Continuation::refers`), with these at hand.
    fn decode_referring(&self, head: &dyn Head, body: &[u8], _: &[KeptReply]) -> Result<Decoded, Error> {
        self.decode(head, body)
    }
    /// Puts an earlier answer with its conversation before the messages of the request that goes on from it.
    fn follow(&self, _: KeptAnswer, _: &Continuation, _: &mut Work) -> Result<(), Error> {
        Err(missing_answer())
    }
    /// Returns status, headers and body of an error before the answer has begun.
    fn error(&self, error: &Error, id: &RequestId) -> Reply;
    /// Returns what the base URL of its clients must be, for one that looks for a route at another path.
    fn base_url(&self) -> Option<&'static str> {
        None
    }
    /// Returns the name of the header that reports the processing time in milliseconds, if clients read one.
    fn spent_ms_header(&self) -> Option<&'static str> {
        None
    }
    /// Returns the name of the header that has the request's id beside `x-request-id`, if clients read another one.
    fn request_id_header(&self) -> Option<&'static str> {
        None
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// May hold `{id}`, and `{id:.*}` at its end for several steps.
    pub path: &'static str,
    pub serves: Serves,
}

/// What a route of a dialect serves.
#[derive(Debug, Clone, Copy)]
pub enum Serves {
    /// Answers of a model, to tokens that have this scope.
    Inference(Scope),
    /// The list of the models that the caller may use.
    List(fn(&dyn Head, &[ModelCard]) -> Result<Reply, Error>),
    /// One of these models.
    Lookup(Lookup),
    /// Changes of the models of an upstream, to tokens that may make them.
    Manage(&'static Manage),
    /// One of these models, with what its upstream tells of it.
    Description(Description),
    /// Those of these models that are in the memory of an upstream, each as often as it is loaded.
    Loaded(fn(&dyn Head, &[LoadedCard]) -> Result<Reply, Error>),
    /// The version of the upstream; `None`: it tells none.
    Version(fn(&dyn Head, Option<&str>) -> Result<Reply, Error>),
    /// An answer that the record keeps for the caller.
    Kept(KeptRoute),
}

/// A route about an answer of the past, by the `{id}` of the path.
#[derive(Debug, Clone, Copy)]
pub struct KeptRoute {
    /// The route by which such answers are made.
    pub api: &'static str,
    /// Returns the request whose answer has this id; `None`: none has it.
    pub request: fn(id: &str) -> Option<RequestId>,
    /// Shows it, as the query of the request asks.
    pub shown: fn(KeptAnswer, query: &str) -> Result<Reply, Error>,
    /// Afterwards it is gone for its clients. The record keeps it.
    pub deletes: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// Returns the name that is asked for: the path's `{id}`, decoded, or a field of the body.
    pub name: fn(&dyn Head, id: &str, body: &[u8]) -> Result<String, Error>,
    pub found: fn(&dyn Head, &ModelCard) -> Result<Reply, Error>,
}

/// How a dialect speaks of changes of models.
#[derive(Debug)]
pub struct Manage {
    pub asks: ManageRequest,
    /// Appends a step of a change that is under way.
    pub step: fn(&ChangeStep, &mut BytesMut),
    /// Appends an error after the answer has begun.
    pub error: fn(&Error, &mut BytesMut),
    pub content_type: &'static str,
}

/// What a request about models asks for.
#[derive(Debug)]
pub enum ManageRequest {
    /// The change that its body describes.
    Change(fn(&[u8]) -> Result<DecodedChange, Error>),
    /// The upload of its body, under the digest that is the path's `{id}`.
    Upload(fn(id: &str) -> Result<BlobDigest, Error>),
    /// Whether there is such a file.
    HasFile(fn(id: &str) -> Result<BlobDigest, Error>),
}

/// A change of models as a client asked for it.
#[derive(Debug)]
pub struct DecodedChange {
    pub change: ModelChange,
    pub answer: ChangeAnswer,
    /// Fields without effect, known or unknown.
    pub ignored: Vec<String>,
}

/// How the client wants to hear of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeAnswer {
    /// Each step when it is made.
    Stream,
    /// The last step, when all is done.
    Last,
    /// The status alone, when all is done.
    Status,
}

#[derive(Debug, Clone, Copy)]
pub struct Description {
    pub asked: fn(body: &[u8]) -> Result<AskedModel, Error>,
    pub found: fn(&dyn Head, &ModelCard, ModelDescription) -> Result<Reply, Error>,
}

/// What a body says that asks about one model.
pub struct AskedModel {
    pub name: String,
    /// Fields without effect, for `x-ignored-parameters`.
    pub ignored: Vec<String>,
}

impl Route {
    /// Returns the scope that a token needs here. Those for `chat` may see models, too.
    pub fn scope(&self) -> Scope {
        match self.serves {
            Serves::Inference(scope) => scope,
            Serves::List(_) | Serves::Lookup(_) | Serves::Description(_) | Serves::Loaded(_) | Serves::Version(_) => {
                Scope::Models
            }
            Serves::Manage(_) => Scope::ManageModels,
            Serves::Kept(_) => Scope::Chat,
        }
    }

    pub fn is_inference(&self) -> bool {
        matches!(self.serves, Serves::Inference(_))
    }
}

pub struct Decoded {
    pub work: Work,
    pub reply: Box<dyn Encoder>,
    pub delivery: Delivery,
    /// Fields without effect, known or unknown, for `x-ignored-parameters` and the record.
    pub ignored: Vec<String>,
    /// The credentials in the body, which only `/chat` may have.
    pub credential: Option<Credential>,
    pub continuation: Continuation,
}

/// How a request is tied to others, in a dialect whose clients refer to earlier answers by their ids.
#[derive(Debug, Default)]
pub struct Continuation {
    /// The answer that it goes on from: its conversation and itself come before the messages of this request.
    pub follows: Option<RequestId>,
    /// The answers of which it has parts by their id, each once. They are left out until `decode_referring` has the answers.
    pub refers: Vec<RequestId>,
    /// How many messages of this request stay in front of those that it goes on from.
    pub leading: usize,
    /// What a later request for this answer needs besides the record's contents: JSON of the dialect's own, kept with them.
    pub settings: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    /// The number of tokens in the prompt, as the model counts them, or an estimate that says so.
    Count,
    Stream {
        content_type: &'static str,
    },
}

/// Encodes one answer. It keeps what `decode` learnt (stream, usage wanted, the model's name as requested).
pub trait Encoder {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut);
    /// Appends whole frames only. An `End` writes everything up to and including the dialect's end mark.
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut);
    /// Returns how many answers the request asks for; each is generated separately. The next two are called for any number.
    fn choices(&self) -> u8 {
        1
    }
    /// Encodes all answers, in order. There is at least one.
    fn whole_choices(&mut self, replies: &[ChatReply], out: &mut BytesMut) {
        if let [reply, ..] = replies {
            self.whole(reply, out);
        }
    }
    /// Appends an event of the answer number `choice`, counted from 0. What ends the stream follows the last `End`.
    fn choice_event(&mut self, _choice: usize, event: &ChatEvent, out: &mut BytesMut) {
        self.event(event, out);
    }
    /// Appends an error after the answer has begun. No end mark follows it.
    fn error(&mut self, error: &Error, out: &mut BytesMut);
    /// Appends bytes that keep a connection alive and carry no meaning; nothing if the dialect has none that are safe.
    fn heartbeat(&mut self, out: &mut BytesMut);
}

/// An answer in one piece: an error, or a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// All dialects, in the order in which `is_read_by` is asked.
pub static DIALECTS: &[&dyn Dialect] = &[&legacy::Legacy, &anthropic::Anthropic, &ollama::Ollama, &openai::OpenAi];

/// Returns the dialect that the client of a request reads; `None`: it is none of a dialect's routes.
pub fn of_client(head: &dyn Head) -> Option<&'static dyn Dialect> {
    DIALECTS.iter().copied().find(|dialect| dialect.is_read_by(head))
}

/// A method and a path, with the dialects that have this route.
pub struct SharedRoute {
    pub method: &'static str,
    pub path: &'static str,
    among: Vec<(&'static dyn Dialect, &'static Route)>,
}

impl SharedRoute {
    /// Returns all routes of `dialects`, each once.
    pub fn all(dialects: &[&'static dyn Dialect]) -> Vec<SharedRoute> {
        let mut all: Vec<SharedRoute> = Vec::new();
        for dialect in dialects.iter().copied() {
            for route in dialect.routes() {
                match all.iter_mut().find(|shared| (shared.method, shared.path) == (route.method, route.path)) {
                    Some(shared) => shared.among.push((dialect, route)),
                    None => {
                        let (method, path) = (route.method, route.path);
                        all.push(SharedRoute { method, path, among: vec![(dialect, route)] });
                    }
                }
            }
        }
        all
    }

    /// Returns the dialect that answers a request for this route. A client that none takes for its own gets the last one.
    pub fn answering(&self, head: &dyn Head) -> Option<(&'static dyn Dialect, &'static Route)> {
        let own = self.among.iter().find(|(dialect, _)| dialect.is_read_by(head));
        own.or(self.among.last()).copied()
    }

    pub fn is_inference(&self) -> bool {
        self.among.iter().all(|(_, route)| route.is_inference())
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the path without doubled and trailing slashes.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.ends_with('/') {
        return path.into();
    }
    path.split('/').filter(|step| !step.is_empty()).flat_map(|step| ["/", step]).collect::<String>().into()
}

/// A head for tests, always of the same moment and id.
#[cfg(test)]
pub struct TestHead {
    pub path: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
}

#[cfg(test)]
impl Head for TestHead {
    fn path(&self) -> &str {
        self.path
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn request_id(&self) -> RequestId {
        RequestId(uuid::Uuid::nil())
    }

    fn received_at(&self) -> Timestamp {
        Timestamp(1_795_480_000_123_456)
    }

    fn default_model(&self) -> &str {
        "llama3.2:latest"
    }
}

#[cfg(test)]
mod tests;
