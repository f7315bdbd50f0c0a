//! Ids that leave the process: of requests and of things. Row numbers stay inside.

use std::fmt;

use uuid::Uuid;

/// The id of one request: a UUIDv7, so ids sort by time. It is ours alone; a client never chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub Uuid);

impl RequestId {
    pub fn fresh() -> Self {
        RequestId(Uuid::now_v7())
    }

    /// The id of an answer: a dialect's prefix and the request's id without hyphens, as in `chatcmpl-0190…`.
    pub fn with_prefix(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.0.simple())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random id for a user, an export, a token: it says nothing about when or how many.
pub fn public_id() -> String {
    Uuid::new_v4().to_string()
}
