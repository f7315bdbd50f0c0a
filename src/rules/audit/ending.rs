//! How a request ended, with its reason.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::metrics::ModelIndex;
use crate::model::record::Outcome;

/// An outcome with its reason, a code of `base::error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Failed(&'static str),
    Refused(&'static str),
    Abandoned,
    Interrupted(&'static str),
}

impl Ending {
    pub fn outcome(self) -> Outcome {
        match self {
            Ending::Completed => Outcome::Completed,
            Ending::Failed(_) => Outcome::Failed,
            Ending::Refused(_) => Outcome::Refused,
            Ending::Abandoned => Outcome::Abandoned,
            Ending::Interrupted(_) => Outcome::Interrupted,
        }
    }

    pub fn reason(self) -> Option<&'static str> {
        match self {
            Ending::Failed(code) | Ending::Refused(code) | Ending::Interrupted(code) => Some(code),
            Ending::Completed | Ending::Abandoned => None,
        }
    }
}

/// How a forwarded request ended, as far as its line in the log says it.
#[derive(Debug, Clone, Copy)]
pub struct NotedEnd {
    pub outcome: Outcome,
    pub reason: Option<&'static str>,
    pub model: ModelIndex,
    pub queued: Option<Duration>,
    pub first_token: Option<Duration>,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
}

/// A place where the end of one request is noted. It is empty as long as the request runs, and if it was never forwarded.
#[derive(Debug, Clone, Default)]
pub struct EndNote(Arc<Mutex<Option<NotedEnd>>>);

impl EndNote {
    pub fn told(&self) -> Option<NotedEnd> {
        *self.lock()
    }

    pub fn tell(&self, end: NotedEnd) {
        *self.lock() = Some(end);
    }

    /// Notes that the client got an error, whatever the model did.
    pub fn has_failed(&self, code: &'static str) {
        if let Some(end) = &mut *self.lock() {
            (end.outcome, end.reason) = (Outcome::Failed, Some(code));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<NotedEnd>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
