//! How often: a strict sliding window per person, one per token that has a limit of its own, and one for everybody together.
//!
//! With a limit of 10 exactly 10 requests pass in any 60 seconds, whatever their spacing. GCRA, which lets a burst pass on
//! top of a steady rate, would let nearly twice as many through. The limit is an argument of each decision, so an edit is
//! felt on the next request and the history is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::auth::Identity;
use crate::config::settings::Live;
use crate::error::Error;

const WINDOW: Duration = Duration::from_secs(60);

pub struct Limits {
    settings: Live,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<i64, Window>,
    tokens: HashMap<i64, Window>,
    total: Window,
    swept_at: Option<Instant>,
}

/// The times of the requests that passed in the last 60 seconds, oldest first.
#[derive(Default)]
struct Window(VecDeque<Instant>);

impl Window {
    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|oldest| now.duration_since(*oldest) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// How long until one more may pass; zero: now.
    fn wait(&self, limit: u32, now: Instant) -> Duration {
        let limit = limit as usize;
        if self.0.len() < limit {
            return Duration::ZERO;
        }
        // When the limit was lowered, several must leave before one may enter.
        let leaves = self.0[self.0.len() - limit];
        WINDOW.saturating_sub(now.duration_since(leaves))
    }

    fn remaining(&self, limit: u32) -> u32 {
        limit.saturating_sub(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    /// How long until the window is empty again.
    fn reset(&self, now: Instant) -> Duration {
        self.0.back().map_or(Duration::ZERO, |newest| WINDOW.saturating_sub(now.duration_since(*newest)))
    }
}

/// What a counted answer tells about the caller's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// Until all of the limit is there again.
    pub reset: Duration,
}

/// A request that was counted.
#[derive(Debug)]
pub struct Admission {
    pub standing: Standing,
}

/// A request that was not let in, with the caller's standing all the same.
#[derive(Debug)]
pub struct Denial {
    pub error: Error,
    pub standing: Standing,
}

impl Limits {
    pub fn new(settings: Live) -> Self {
        Limits { settings, state: Mutex::default() }
    }

    /// Counts a request of `who`, or denies it; a denied one does not enter the window.
    // Async from the start: replicas will share these windows.
    pub async fn admit(&self, who: &Identity) -> Result<Admission, Denial> {
        let now = self.settings.now();
        let own = who.user().requests_per_minute.and_then(|own| u32::try_from(own).ok());
        let limit = own.unwrap_or(now.requests_per_minute);
        let token = who.token().and_then(|token| Some((token.id, u32::try_from(token.requests_per_minute?).ok()?)));
        let asking = Asking { user: who.user_id(), limit, token };
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        decide(&mut state, &asking, now.requests_per_minute_total, Instant::now())
    }
}

/// Whose windows a request has to pass.
struct Asking {
    user: i64,
    limit: u32,
    /// A token with a limit of its own, besides its owner's.
    token: Option<(i64, u32)>,
}

fn decide(state: &mut State, asking: &Asking, total: u32, now: Instant) -> Result<Admission, Denial> {
    sweep(state, now);
    state.total.forget(now);
    let mut own = vec![(state.users.entry(asking.user).or_default(), asking.limit)];
    if let Some((token, limit)) = asking.token {
        own.push((state.tokens.entry(token).or_default(), limit));
    }
    own.iter_mut().for_each(|(window, _)| window.forget(now));

    let (wait, limit) = own.iter().map(|(window, limit)| (window.wait(*limit, now), *limit)).max().unwrap_or_default();
    if !wait.is_zero() {
        let message = format!("more than {limit} requests in a minute; try again in {} s", seconds(wait));
        let error = Error::RateLimited { message, retry_after: wait };
        return Err(Denial { error, standing: tightest(&own, now) });
    }
    let wait = state.total.wait(total, now);
    if !wait.is_zero() {
        let message =
            format!("everybody together made more than {total} requests in a minute; try again in {} s", seconds(wait));
        let error = Error::RateLimited { message, retry_after: wait };
        return Err(Denial { error, standing: tightest(&own, now) });
    }
    own.iter_mut().for_each(|(window, _)| window.0.push_back(now));
    state.total.0.push_back(now);
    Ok(Admission { standing: tightest(&own, now) })
}

/// The standing in the window with the least left.
fn tightest(own: &[(&mut Window, u32)], now: Instant) -> Standing {
    let standing = |(window, limit): &(&mut Window, u32)| Standing {
        limit: *limit,
        remaining: window.remaining(*limit),
        reset: window.reset(now),
    };
    let least = own.iter().map(standing).min_by_key(|standing| standing.remaining);
    least.unwrap_or(Standing { limit: 0, remaining: 0, reset: Duration::ZERO })
}

fn seconds(wait: Duration) -> u64 {
    crate::error::retry_after_seconds(wait)
}

/// Once a minute, forgets people and tokens that made no request in the last one.
fn sweep(state: &mut State, now: Instant) {
    if state.swept_at.is_some_and(|then| now.duration_since(then) < WINDOW) {
        return;
    }
    state.swept_at = Some(now);
    for windows in [&mut state.users, &mut state.tokens] {
        windows.retain(|_, window| {
            window.forget(now);
            !window.0.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_at(state: &mut State, start: Instant, at_ms: u64, user: i64, limit: u32, total: u32) -> Result<u32, u64> {
        let asking = Asking { user, limit, token: None };
        told(decide(state, &asking, total, start + Duration::from_millis(at_ms)))
    }

    fn told(decision: Result<Admission, Denial>) -> Result<u32, u64> {
        match decision {
            Ok(admission) => Ok(admission.standing.remaining),
            Err(denial) => Err(seconds(denial.error.retry_after().unwrap())),
        }
    }

    #[test]
    fn exactly_the_limit_passes_in_any_minute() {
        let (mut state, start) = (State::default(), Instant::now());
        for sent in 0..10 {
            assert_eq!(try_at(&mut state, start, sent * 100, 1, 10, 200), Ok(9 - sent as u32));
        }

        assert_eq!(try_at(&mut state, start, 1000, 1, 10, 200), Err(59));
        assert_eq!(try_at(&mut state, start, 59_999, 1, 10, 200), Err(1));
        assert_eq!(try_at(&mut state, start, 60_000, 1, 10, 200), Ok(0));
        assert_eq!(try_at(&mut state, start, 60_099, 1, 10, 200), Err(1));
        assert_eq!(try_at(&mut state, start, 60_100, 1, 10, 200), Ok(0));
    }

    #[test]
    fn one_person_does_not_use_up_anothers_window() {
        let (mut state, start) = (State::default(), Instant::now());

        assert!(try_at(&mut state, start, 0, 1, 1, 200).is_ok());
        assert!(try_at(&mut state, start, 0, 1, 1, 200).is_err());
        assert!(try_at(&mut state, start, 0, 2, 1, 200).is_ok());
    }

    #[test]
    fn everybody_together_has_a_limit_too_and_a_denial_is_not_counted() {
        let (mut state, start) = (State::default(), Instant::now());
        assert!(try_at(&mut state, start, 0, 1, 10, 2).is_ok());
        assert!(try_at(&mut state, start, 0, 2, 10, 2).is_ok());

        assert_eq!(try_at(&mut state, start, 0, 3, 10, 2), Err(60));
        assert_eq!(try_at(&mut state, start, 60_000, 3, 1, 2), Ok(0));
    }

    #[test]
    fn a_changed_limit_is_felt_on_the_next_request_with_the_history_kept() {
        let (mut state, start) = (State::default(), Instant::now());
        for sent in 0..5 {
            assert!(try_at(&mut state, start, sent * 1000, 1, 5, 200).is_ok());
        }

        assert!(try_at(&mut state, start, 5000, 1, 6, 200).is_ok());
        assert_eq!(try_at(&mut state, start, 6000, 1, 2, 200), Err(58));
    }

    #[test]
    fn a_token_with_a_limit_passes_its_own_window_and_its_owners() {
        let (mut state, start) = (State::default(), Instant::now());
        let mut ask = |at_ms: u64, token: Option<(i64, u32)>| {
            let asking = Asking { user: 1, limit: 3, token };
            told(decide(&mut state, &asking, 200, start + Duration::from_millis(at_ms)))
        };

        assert_eq!(ask(0, Some((7, 1))), Ok(0));
        assert_eq!(ask(1000, Some((7, 1))), Err(59), "its own is used up");
        assert_eq!(ask(2000, Some((8, 5))), Ok(1), "another token's is not");
        assert_eq!(ask(3000, None), Ok(0));
        assert_eq!(ask(4000, Some((8, 5))), Err(56), "the owner's is used up by all together");
        assert_eq!(ask(60_000, Some((7, 1))), Ok(0));
    }

    #[test]
    fn people_who_went_quiet_are_forgotten() {
        let (mut state, start) = (State::default(), Instant::now());
        assert!(try_at(&mut state, start, 0, 1, 10, 200).is_ok());

        assert!(try_at(&mut state, start, 60_000, 2, 10, 200).is_ok());

        assert_eq!(state.users.len(), 1);
    }
}
