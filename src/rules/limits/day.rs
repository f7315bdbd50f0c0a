//! Daily quotas: what was used today, what is reserved for running requests, and when the next day begins.
//!
//! A request is charged to the day on which it ends, like in the record and its sums.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::{Day, Zone};

/// The amounts that daily quotas limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub requests: u64,
    /// Model tokens of prompts and answers.
    pub tokens: u64,
    pub gpu_us: u64,
}

impl Amounts {
    pub const ONE_REQUEST: Amounts = Amounts { requests: 1, tokens: 0, gpu_us: 0 };

    pub fn plus(self, other: Amounts) -> Amounts {
        Amounts {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            gpu_us: self.gpu_us.saturating_add(other.gpu_us),
        }
    }

    fn minus(self, other: Amounts) -> Amounts {
        Amounts {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
            gpu_us: self.gpu_us.saturating_sub(other.gpu_us),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Used by requests that have ended today.
    pub used: Amounts,
    /// Reserved by running requests.
    pub held: Amounts,
}

impl Tally {
    pub fn hold(&mut self, more: Amounts) {
        self.held = self.held.plus(more);
    }

    /// Settles a request: releases its reservation `held` and charges `used`.
    pub fn settle(&mut self, held: Amounts, used: Amounts) {
        self.held = self.held.minus(held);
        self.used = self.used.plus(used);
    }
}

/// The current day.
#[derive(Debug)]
pub struct Today {
    zone: Zone,
    day: Day,
}

/// After a larger step back, the clock is assumed to have been wrong before.
const SET_BACK_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Today {
    pub fn new(zone: Zone, now: Timestamp) -> Today {
        let day = zone.day_of(now);
        Today { zone, day }
    }

    /// Returns whether another day has begun. Setting the host's clock back does not start the same day again.
    pub fn turns(&mut self, now: Timestamp) -> bool {
        let was_wrong = now.plus(SET_BACK_MAX) < self.day.begins;
        if now < self.day.ends && !was_wrong {
            return false;
        }
        self.day = self.zone.day_of(now);
        true
    }

    pub fn day(&self) -> Day {
        self.day
    }

    pub fn left(&self, now: Timestamp) -> Duration {
        self.day.ends.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn today(now: &str) -> Today {
        Today::new(Zone::named("Europe/Berlin").unwrap(), at(now))
    }

    #[test]
    fn a_day_turns_at_midnight_and_not_a_moment_before() {
        let mut today = today("2026-01-15T12:00:00Z");

        assert_eq!(today.left(at("2026-01-15T22:59:59Z")), Duration::from_secs(1));
        assert!(!today.turns(at("2026-01-15T22:59:59.999999Z")));
        assert!(today.turns(at("2026-01-15T23:00:00Z")));
        assert!(!today.turns(at("2026-01-15T23:00:00Z")), "once");
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nobody_the_same_day_again() {
        let mut today = today("2026-01-15T23:00:00Z");

        assert!(!today.turns(at("2026-01-15T22:00:00Z")));
        assert!(!today.turns(at("2026-01-15T23:00:00Z")), "and it is the same day as before");
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_hold_up_the_days() {
        let mut today = today("2036-01-15T12:00:00Z");

        assert!(today.turns(at("2026-01-15T12:00:00Z")));
    }

    #[test]
    fn what_is_held_goes_when_what_was_used_is_known() {
        let mut tally = Tally::default();
        let held = Amounts { tokens: 100, ..Amounts::ONE_REQUEST };
        tally.hold(held);

        tally.settle(held, Amounts { tokens: 30, gpu_us: 5, requests: 1 });

        assert_eq!(tally.held, Amounts::default());
        assert_eq!(tally.used, Amounts { tokens: 30, gpu_us: 5, requests: 1 });
    }
}
