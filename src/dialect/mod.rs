//! How clients speak to us: the trait of a dialect, and the table of them.
//!
//! A dialect is a pure translator between bytes and values: no network, no clock, no `await`.

use std::borrow::Cow;

use bytes::BytesMut;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::chat::{ChatEvent, ChatReply};
use crate::model::credential::Credential;
use crate::model::rights::Scope;
use crate::model::work::Work;

pub mod data;
pub mod image;
pub mod json;
pub mod legacy;
pub mod models;
pub mod openai;
pub mod surrogates;
pub mod unspoken;
pub mod wire;

/// The head of a request: what is known before its body is read.
pub trait Head {
    fn path(&self) -> &str;
    /// The value of a header, when it is there once and is text.
    fn header(&self, name: &str) -> Option<&str>;
    fn request_id(&self) -> RequestId;
    fn received_at(&self) -> Timestamp;
    /// The model of a request that names none.
    fn default_model(&self) -> &str;
}

pub trait Dialect: Sync {
    /// The routes of this dialect. `decode` tells them apart by `head.path()`.
    fn routes(&self) -> &'static [Route];
    /// `None`: the head shows no credential (`/chat` then looks into its body).
    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error>;
    /// Bytes to meaning, or an error that names the field.
    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error>;
    /// Status, headers and body of an error before the answer has begun.
    fn error(&self, error: &Error, id: &RequestId) -> Reply;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// What a token needs here.
    pub scope: Scope,
}

pub struct Decoded {
    pub work: Work,
    pub reply: Box<dyn Encoder>,
    pub delivery: Delivery,
    /// Fields that were understood or unknown, and have no effect here: named in `x-ignored-parameters` and the record.
    pub ignored: Vec<String>,
    /// `/chat` alone carries its credentials in the body.
    pub credential: Option<Credential>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    Stream { content_type: &'static str },
}

/// Meaning to bytes, for one answer. It keeps what `decode` learnt (stream, usage wanted, the model's name as asked).
pub trait Encoder {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut);
    /// Appends whole frames only. An `End` writes everything up to and including the dialect's end mark.
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut);
    /// An error after the answer has begun. No end mark follows it.
    fn error(&mut self, error: &Error, out: &mut BytesMut);
    /// Bytes that keep a connection awake and mean nothing; nothing where the dialect has no safe ones.
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

/// Every dialect that the gateway speaks.
pub static DIALECTS: &[&dyn Dialect] = &[&legacy::Legacy, &openai::OpenAi];

/// The dialect in which a path is answered when no route matches: by the path's prefix.
pub fn for_path(path: &str) -> &'static dyn Dialect {
    let path = plain_path(path);
    let is_below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if path == "/chat" {
        &legacy::Legacy
    } else if is_below("/v1/messages") {
        &unspoken::Anthropic
    } else if is_below("/api") && !is_below("/api/v1") {
        &unspoken::Ollama
    } else {
        &openai::OpenAi
    }
}

/// The path without slashes that are doubled or at its end.
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
