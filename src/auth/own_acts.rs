//! Rate limit for what users do to their own account and what leaves a permanent row: own exports, changes to own tokens,
//! password changes. The rate is steady per user, so that a runaway program can't fill the record.
//!
//! Password changes are counted separately: the thief of a JWT must not be able to keep its owner from the change that ends it.
//! Admins are not limited: they manage many accounts at once, and could lift the limit anyway.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::auth::Identity;
use crate::base::error::{Error, retry_after_seconds};
use crate::config::settings::Live;
use crate::model::people::User;

/// A group of acts that share one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnAct {
    /// An act that a JWT alone allows.
    Change,
    /// An act that requires the password itself.
    Password,
}

const MINUTE: Duration = Duration::from_secs(60);

pub struct OwnActs {
    settings: Live,
    epoch: Instant,
    levels: Mutex<HashMap<(i64, OwnAct), Level>>,
}

/// The level of a leaky bucket: what a user did and what has not drained since. A user whose bucket has drained has no entry.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Level in millionths of an act.
    acts: u64,
    at: Duration,
}

const ACT: u64 = 1_000_000;

/// With more entries than this, drained ones are removed.
const SWEEP_AT: usize = 1024;

impl OwnActs {
    pub fn new(settings: Live) -> Self {
        OwnActs { settings, epoch: Instant::now(), levels: Mutex::default() }
    }

    /// Counts an act of `who`, or refuses it and says when it may be tried again.
    pub fn count(&self, who: &Identity, act: OwnAct) -> Result<(), Error> {
        if who.is_admin() { Ok(()) } else { self.add(who.user_id(), act) }
    }

    /// Counts an act of a user who proved it by a password.
    pub fn count_proven(&self, user: &User, act: OwnAct) -> Result<(), Error> {
        if user.is_admin() { Ok(()) } else { self.add(user.id, act) }
    }

    fn add(&self, user_id: i64, act: OwnAct) -> Result<(), Error> {
        let limit = self.settings.now().own_acts_per_minute;
        let now = self.epoch.elapsed();
        let mut levels = self.levels.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if levels.len() >= SWEEP_AT {
            levels.retain(|_, level| level.left(limit, now) > 0);
        }
        levels.entry((user_id, act)).or_default().add(limit, now).map_err(|wait| refusal(limit, wait))
    }
}

impl Level {
    /// Returns the level at `now`.
    fn left(&self, limit: u32, now: Duration) -> u64 {
        let spent = now.saturating_sub(self.at).as_micros() * u128::from(limit) / u128::from(MINUTE.as_secs());
        self.acts.saturating_sub(u64::try_from(spent).unwrap_or(u64::MAX))
    }

    /// Adds an act, or returns how long to wait; at most `limit` fit at once.
    fn add(&mut self, limit: u32, now: Duration) -> Result<(), Duration> {
        let acts = self.left(limit, now) + ACT;
        let over = acts.saturating_sub(u64::from(limit) * ACT);
        if over > 0 {
            return Err(Duration::from_micros((over * MINUTE.as_secs()).div_ceil(u64::from(limit.max(1)))));
        }
        *self = Level { acts, at: now };
        Ok(())
    }
}

fn refusal(limit: u32, wait: Duration) -> Error {
    let message = format!(
        "one account may make {limit} exports and changes of its tokens, and as many of its password, in a minute; try \
         again in {} s",
        retry_after_seconds(wait)
    );
    Error::RateLimited { message, retry_after: wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_limit_pass_at_once_and_then_one_in_each_part_of_a_minute() {
        let mut level = Level::default();
        let mut act = |limit, seconds| level.add(limit, Duration::from_secs(seconds)).map_err(|wait| wait.as_secs());
        for _ in 0..30 {
            assert_eq!(act(30, 100), Ok(()));
        }

        assert_eq!(act(30, 100), Err(2));
        assert_eq!(act(30, 101), Err(1));
        assert_eq!((act(30, 102), act(30, 102)), (Ok(()), Err(2)));
        assert_eq!((0..40).filter(|_| act(30, 300).is_ok()).count(), 30);
        assert_eq!((act(31, 300), act(31, 300).is_err()), (Ok(()), true), "a higher limit is felt at once");
        assert_eq!(act(1, 300), Err(31 * 60), "and so is a lower one");
    }
}
