//! Decides whether a token has run away: a pure core, without clock, key or store. `now` is an argument.
//!
//! For each token it keeps the last requests that reached a model, and the failures since the last success: a bounded list of
//! digests and times, at most some 40 KiB a token. Behind a delegating token each person is watched apart, and is slowed but
//! never paused: a pause would stop all people behind the token.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::base::ids::RequestId;
use crate::config::settings::Settings;
use crate::model::runaway::Runaway;

/// Digest of a request's content under a key of this process. Equal contents have equal digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

/// Whose requests are compared: those of a token, or of one person behind a delegating token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchedSender {
    pub token: i64,
    pub person: Option<i64>,
}

impl From<i64> for WatchedSender {
    fn from(token: i64) -> Self {
        WatchedSender { token, person: None }
    }
}

/// The thresholds that an admin has set; `None` turns one off.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// How far back requests are compared.
    pub window: Duration,
    /// A slowed token may send one request in this time.
    pub pace: Duration,
    pub repeats: Steps,
    pub errors: Steps,
}

/// How many requests pass at once, and how many pass at all.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    pub free: Option<usize>,
    pub most: Option<usize>,
}

impl Thresholds {
    pub fn of(settings: &Settings) -> Thresholds {
        let bound = |number: usize| Some(number).filter(|number| *number > 0);
        Thresholds {
            window: Duration::from_secs(settings.breaker_seconds.into()),
            pace: Duration::from_secs(settings.slowed_seconds.into()),
            repeats: Steps { free: bound(settings.repeats_free), most: bound(settings.repeats_max) },
            errors: Steps { free: bound(settings.errors_free), most: bound(settings.errors_max) },
        }
    }
}

impl Steps {
    fn step(&self, count: usize) -> Step {
        if let Some(most) = self.most.filter(|most| count >= *most) {
            Step::Over { most }
        } else if self.free.is_some_and(|free| count >= free) {
            Step::Slow
        } else {
            Step::Free
        }
    }
}

enum Step {
    Free,
    Slow,
    Over { most: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    /// Refused for now. `count` is the number of requests or failures before this one.
    Slowed {
        retry_after: Duration,
        count: usize,
    },
    /// Refused until the token is resumed. A person behind a delegating token never is.
    RanAway {
        count: usize,
    },
}

/// A token that is slowed, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowedSince {
    pub sender: WatchedSender,
    pub way: Runaway,
    pub since: Duration,
    /// Equal requests, or failures in a row.
    pub count: usize,
    /// The last of them, where it is known.
    pub example: Option<RequestId>,
}

#[derive(Default)]
pub struct BreakerCore {
    senders: HashMap<WatchedSender, History>,
    swept_at: Duration,
}

/// What is kept of one token.
#[derive(Default)]
struct History {
    /// Requests that reached a model, oldest first.
    sent: VecDeque<SentRequest>,
    /// Times of failures since the last success.
    errors: VecDeque<Duration>,
    /// When a request was last admitted although the ones before had failed.
    let_in_at: Option<Duration>,
    /// The last request that reached a model and failed.
    failed_last: Option<RequestId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentRequest {
    pub id: RequestId,
    pub digest: Digest,
    pub at: Duration,
}

/// Requests, and failures, that are kept of one token: more than the highest threshold that can be set.
const KEPT_MAX: usize = 1024;

impl BreakerCore {
    /// Decides about a request whose content is not known yet. After many failures it has to wait.
    pub fn arrives(&mut self, sender: impl Into<WatchedSender>, bounds: &Thresholds, now: Duration) -> Verdict {
        let sender = sender.into();
        self.sweep(bounds, now);
        let Some(seen) = self.senders.get_mut(&sender) else { return Verdict::Passes };
        seen.forget(bounds, now);
        let count = seen.errors.len();
        match bounds.errors.step(count) {
            Step::Free => Verdict::Passes,
            Step::Over { most } => over(sender, count, seen.errors.get(count - most).copied(), bounds, now),
            Step::Slow => {
                let last = seen.errors.back().copied().max(seen.let_in_at);
                let wait = wait(last, bounds.pace, now);
                if wait.is_zero() {
                    seen.let_in_at = Some(now);
                    return Verdict::Passes;
                }
                Verdict::Slowed { retry_after: wait, count }
            }
        }
    }

    /// Decides about a request to a model. An admitted one counts from now on.
    pub fn sends(&mut self, sender: impl Into<WatchedSender>, sent: SentRequest, bounds: &Thresholds) -> Verdict {
        let (sender, SentRequest { digest, at: now, .. }) = (sender.into(), sent);
        let seen = self.senders.entry(sender).or_default();
        seen.forget(bounds, now);
        let mut same = seen.sent.iter().filter(|before| before.digest == digest);
        let count = same.clone().count();
        let verdict = match bounds.repeats.step(count) {
            Step::Free => Verdict::Passes,
            Step::Over { most } => over(sender, count, same.nth(count - most).map(|oldest| oldest.at), bounds, now),
            Step::Slow => match wait(same.next_back().map(|last| last.at), bounds.pace, now) {
                Duration::ZERO => Verdict::Passes,
                retry_after => Verdict::Slowed { retry_after, count },
            },
        };
        if verdict == Verdict::Passes {
            if seen.sent.len() == KEPT_MAX {
                seen.sent.pop_front();
            }
            seen.sent.push_back(sent);
        }
        verdict
    }

    /// Uncounts an admitted request that never reached a model, or failed by no fault of its own: its sender may retry.
    pub fn takes_back(&mut self, sender: impl Into<WatchedSender>, sent: SentRequest) {
        if let Some(seen) = self.senders.get_mut(&sender.into())
            && let Some(at) = seen.sent.iter().rposition(|other| *other == sent)
        {
            seen.sent.remove(at);
        }
    }

    pub fn answered(&mut self, sender: impl Into<WatchedSender>) {
        if let Some(seen) = self.senders.get_mut(&sender.into()) {
            seen.errors.clear();
            seen.let_in_at = None;
            seen.failed_last = None;
        }
    }

    /// Counts a failure. `reached` is the request, if it reached a model.
    pub fn failed(&mut self, sender: impl Into<WatchedSender>, reached: Option<RequestId>, now: Duration) {
        let seen = self.senders.entry(sender.into()).or_default();
        seen.failed_last = reached.or(seen.failed_last);
        let errors = &mut seen.errors;
        if errors.len() == KEPT_MAX {
            errors.pop_front();
        }
        errors.push_back(now);
    }

    /// Returns the last request of the kind for which the token runs away, where it is known.
    pub fn example(&self, token: i64, way: Runaway) -> Option<RequestId> {
        self.senders.get(&token.into())?.example(way)
    }

    /// Forgets a token: it was paused in the store, or resumed.
    pub fn begins_anew(&mut self, token: i64) {
        self.senders.remove(&token.into());
    }

    /// Returns the tokens, and the people behind delegating ones, whose next request may have to wait.
    pub fn slowed(&mut self, bounds: &Thresholds, now: Duration) -> Vec<SlowedSince> {
        let slowed = |(sender, seen): (&WatchedSender, &mut History)| {
            seen.forget(bounds, now);
            seen.slowed(*sender, bounds)
        };
        let mut slowed: Vec<SlowedSince> = self.senders.iter_mut().filter_map(slowed).collect();
        slowed.sort_by_key(|slowed| slowed.since);
        slowed
    }

    /// Once in a window, drops the tokens without recent requests.
    fn sweep(&mut self, bounds: &Thresholds, now: Duration) {
        if now.saturating_sub(self.swept_at) < bounds.window {
            return;
        }
        self.swept_at = now;
        self.senders.retain(|_, seen| {
            seen.forget(bounds, now);
            !seen.sent.is_empty() || !seen.errors.is_empty()
        });
    }
}

impl History {
    fn forget(&mut self, bounds: &Thresholds, now: Duration) {
        let over = |at: Duration| now.saturating_sub(at) >= bounds.window;
        while self.sent.front().is_some_and(|oldest| over(oldest.at)) {
            self.sent.pop_front();
        }
        while self.errors.front().is_some_and(|oldest| over(*oldest)) {
            self.errors.pop_front();
        }
    }

    fn slowed(&self, sender: WatchedSender, bounds: &Thresholds) -> Option<SlowedSince> {
        if let Some(free) = bounds.errors.free
            && let Some(last_free) = self.errors.get(free - 1)
        {
            let (way, count) = (Runaway::Errors, self.errors.len());
            return Some(SlowedSince { sender, way, since: *last_free, count, example: self.failed_last });
        }
        let free = bounds.repeats.free?;
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for sent in &self.sent {
            let count = counts.entry(sent.digest.0).or_default();
            *count += 1;
            if *count == free {
                let mut same = self.sent.iter().filter(|other| other.digest == sent.digest);
                let (count, example) = (same.clone().count(), same.next_back().map(|last| last.id));
                return Some(SlowedSince { sender, way: Runaway::Repeats, since: sent.at, count, example });
            }
        }
        None
    }

    fn example(&self, way: Runaway) -> Option<RequestId> {
        match way {
            Runaway::Errors => self.failed_last,
            Runaway::Repeats => {
                let mut counts: HashMap<u64, usize> = HashMap::new();
                let counted = self.sent.iter().map(|sent| {
                    let count = counts.entry(sent.digest.0).or_default();
                    *count += 1;
                    (*count, sent.id)
                });
                counted.max_by_key(|(count, _)| *count).map(|(_, id)| id)
            }
        }
    }
}

/// Returns what follows when as many were counted as pass at all. A person behind a delegating token waits until the window has
/// moved past `oldest`, so that as many pass in each window and no more.
fn over(sender: WatchedSender, count: usize, oldest: Option<Duration>, bounds: &Thresholds, now: Duration) -> Verdict {
    match sender.person {
        None => Verdict::RanAway { count },
        Some(_) => Verdict::Slowed { retry_after: wait(oldest, bounds.window, now).max(bounds.pace), count },
    }
}

fn wait(last: Option<Duration>, pace: Duration, now: Duration) -> Duration {
    last.map_or(Duration::ZERO, |last| pace.saturating_sub(now.saturating_sub(last)))
}

#[cfg(test)]
mod tests;
