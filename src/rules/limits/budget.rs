//! Model tokens per minute: GCRA (ITU-T I.371), kept as a level that drains.
//!
//! A request adds its estimated cost to the level and passes while the level stays within the limit; the whole limit drains in
//! a minute. GCRA's "theoretical arrival time" is now plus the time until the level is zero. A level, unlike a time, can return
//! unused tokens without knowing which limit applied then.
//!
//! The cost of a request is unknown when it is admitted, so a strict window would be of no use here. The budget guarantees a
//! rate: at most twice the limit can pass within a minute.

use std::time::{Duration, Instant};

use crate::rules::limits::{MINUTE, Standing};

/// Fixed-point units per token: makes `limit` tokens per minute exactly `limit` units per microsecond.
const UNITS: u64 = 60_000_000;

/// What one request has added.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    tokens: u64,
    /// The level right after that.
    level: u64,
    at: Instant,
}

#[derive(Debug, Default)]
pub struct Budget {
    level: u64,
    /// When the level was last updated.
    at: Option<Instant>,
}

impl Budget {
    /// Drains the level up to `now`. What exceeds the limit, because the limit was lowered or a prompt was underestimated, is
    /// dropped: no request waits longer than a minute.
    fn drain(&mut self, limit: u64, now: Instant) {
        let since = self.at.map_or(MINUTE, |at| now.saturating_duration_since(at)).min(MINUTE);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.level = self.level.min(limit.saturating_mul(UNITS)).saturating_sub(micros.saturating_mul(limit));
        // Fractions of a microsecond are kept for the next time.
        let rest = since.saturating_sub(Duration::from_micros(micros));
        self.at = Some(now.checked_sub(rest).unwrap_or(now));
    }

    /// Returns how long to wait before so many tokens may be added; zero means now.
    pub fn wait(&mut self, tokens: u64, limit: u64, now: Instant) -> Duration {
        self.drain(limit, now);
        let filled = self.level.saturating_add(tokens.saturating_mul(UNITS));
        let beyond = filled.saturating_sub(limit.saturating_mul(UNITS));
        Duration::from_micros(beyond.div_ceil(limit.max(1)))
    }

    pub fn take(&mut self, tokens: u64, now: Instant) -> Fill {
        self.level = self.level.saturating_add(tokens.saturating_mul(UNITS));
        Fill { tokens, level: self.level, at: now }
    }

    /// Settles a request that has ended and used so many of its tokens. The rest is returned, except for what has drained
    /// meanwhile, and the oldest additions drain first: otherwise long requests would make room for several minutes' worth at
    /// once.
    pub fn settle(&mut self, fill: Fill, used: u64, limit: u64, now: Instant) {
        let micros = u64::try_from(now.saturating_duration_since(fill.at).as_micros()).unwrap_or(u64::MAX);
        let there = fill.level.saturating_sub(micros.saturating_mul(limit)).min(fill.tokens.saturating_mul(UNITS));
        let unused = fill.tokens.saturating_sub(used).saturating_mul(UNITS);
        let owed = used.saturating_sub(fill.tokens).saturating_mul(UNITS);
        self.level = self.level.saturating_sub(unused.min(there)).saturating_add(owed);
    }

    pub fn standing(&mut self, limit: u64, now: Instant) -> Standing {
        self.drain(limit, now);
        let free = limit.saturating_mul(UNITS).saturating_sub(self.level);
        Standing { limit, remaining: free / UNITS, reset: Duration::from_micros(self.level.div_ceil(limit.max(1))) }
    }

    /// Returns whether the level is zero whatever the limit: a minute after the last update it always is.
    pub fn is_empty(&self, now: Instant) -> bool {
        self.level == 0 || self.at.is_none_or(|at| now.saturating_duration_since(at) >= MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 600;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_as_much_as_drains() {
        let (mut budget, start) = (Budget::default(), Instant::now());

        assert_eq!(budget.wait(LIMIT, LIMIT, start), Duration::ZERO);
        budget.take(LIMIT, start);

        // Ten tokens a second.
        assert_eq!(budget.wait(1, LIMIT, start), Duration::from_millis(100));
        assert_eq!(budget.wait(1, LIMIT, after(start, 99)), Duration::from_millis(1));
        assert_eq!(budget.wait(1, LIMIT, after(start, 100)), Duration::ZERO);
        assert_eq!(budget.wait(LIMIT, LIMIT, after(start, 59_999)), Duration::from_millis(1));
        assert_eq!(budget.wait(LIMIT, LIMIT, after(start, 60_000)), Duration::ZERO);
    }

    #[test]
    fn to_ask_very_often_does_not_keep_it_from_draining() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        budget.wait(1, 60, start);
        budget.take(1, start);

        let mut now = start;
        for _ in 0..100_000 {
            now += Duration::from_nanos(700);
            budget.wait(0, 60, now);
        }

        // At a token a second, 70 ms have drained.
        assert_eq!(budget.wait(60, 60, now), Duration::from_millis(930));
    }

    #[test]
    fn what_was_not_used_is_given_back_and_what_was_used_beyond_it_is_owed() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.wait(500, LIMIT, now);
        let fill = budget.take(500, now);

        budget.settle(fill, 80, LIMIT, now);
        assert_eq!(budget.standing(LIMIT, now).remaining, 520);

        let fill = budget.take(100, now);
        budget.settle(fill, 300, LIMIT, now);
        assert_eq!(budget.standing(LIMIT, now).remaining, 220);
    }

    #[test]
    fn what_has_drained_is_not_given_back_again() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        budget.wait(LIMIT, LIMIT, start);
        let long = budget.take(LIMIT, start);
        let later = after(start, 60_000);
        assert_eq!(budget.wait(LIMIT, LIMIT, later), Duration::ZERO);
        budget.take(LIMIT, later);

        budget.settle(long, 0, LIMIT, later);

        assert_eq!(budget.standing(LIMIT, later).remaining, 0, "what the second filled in is still there");
    }

    #[test]
    fn of_two_the_first_has_drained_first() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        budget.wait(LIMIT, LIMIT, start);
        let (first, second) = (budget.take(300, start), budget.take(300, start));
        let later = after(start, 20_000);

        // 200 tokens have drained, all of the first request.
        budget.settle(first, 10, LIMIT, later);
        assert_eq!(budget.standing(LIMIT, later).remaining, 300);
        budget.settle(second, 10, LIMIT, later);
        assert_eq!(budget.standing(LIMIT, later).remaining, 590);
    }

    #[test]
    fn nobody_waits_for_longer_than_a_minute_whatever_was_owed_or_changed() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.wait(1, LIMIT, now);
        let fill = budget.take(0, now);
        budget.settle(fill, 1_000_000, LIMIT, now);

        assert_eq!(budget.wait(LIMIT, LIMIT, now), MINUTE);
        assert_eq!(budget.wait(10, 10, now), MINUTE, "lowered to ten");
    }

    #[test]
    fn a_raised_limit_lets_pass_at_once() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.wait(LIMIT, LIMIT, now);
        budget.take(LIMIT, now);

        assert_eq!(budget.wait(LIMIT, 2 * LIMIT, now), Duration::ZERO);
    }

    #[test]
    fn it_is_empty_a_minute_later() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        budget.wait(1, LIMIT, now);
        budget.take(LIMIT, now);

        assert!(!budget.is_empty(after(now, 59_999)));
        assert!(budget.is_empty(after(now, 60_000)));
    }
}
