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

impl NotedEnd {
    fn and(self, other: NotedEnd) -> NotedEnd {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            _ => one.or(other),
        };
        let ended = if self.outcome == Outcome::Completed { &other } else { &self };
        NotedEnd {
            outcome: ended.outcome,
            reason: ended.reason,
            model: self.model,
            queued: self.queued.max(other.queued),
            first_token: self.first_token.into_iter().chain(other.first_token).min(),
            tokens_in: sum(self.tokens_in, other.tokens_in),
            tokens_out: sum(self.tokens_out, other.tokens_out),
        }
    }
}

/// A place where the end of one request is noted. It is empty as long as the request runs, and if it was never forwarded.
#[derive(Debug, Clone, Default)]
pub struct EndNote(Arc<Mutex<Option<NotedEnd>>>);

impl EndNote {
    pub fn told(&self) -> Option<NotedEnd> {
        *self.lock()
    }

    /// Notes an end. A request for several answers has as many ends: the note has the first that is not `completed`, and sums.
    pub fn tell(&self, end: NotedEnd) {
        let mut noted = self.lock();
        *noted = Some(noted.map_or(end, |other| other.and(end)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::metrics;

    #[test]
    fn the_ends_of_several_answers_are_summed_up_and_the_first_that_failed_is_told() {
        let model = metrics().requests.model("m");
        let ms = |ms| Some(Duration::from_millis(ms));
        let end = |outcome, reason, waited, tokens_out| NotedEnd {
            outcome,
            reason,
            model,
            queued: ms(waited),
            first_token: ms(waited + 5),
            tokens_in: Some(5),
            tokens_out,
        };
        let note = EndNote::default();

        note.tell(end(Outcome::Completed, None, 1, Some(3)));
        note.tell(end(Outcome::Failed, Some("timeout"), 7, None));
        note.tell(end(Outcome::Refused, Some("queue_full"), 2, Some(1)));

        let told = note.told().unwrap();
        assert_eq!((told.outcome, told.reason), (Outcome::Failed, Some("timeout")));
        assert_eq!((told.queued, told.first_token), (ms(7), ms(6)));
        assert_eq!((told.tokens_in, told.tokens_out), (Some(15), Some(4)));
    }
}
