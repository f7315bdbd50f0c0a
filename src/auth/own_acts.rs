//! How often somebody may do what leaves a row for good: exports of their own, tokens made, changed and revoked, changes of
//! the password. A steady rate per person, so that a program that has gone wild can't fill the record.
//!
//! Changes of the password are counted apart: somebody who has stolen a JWT must not be able to keep its owner from what
//! ends it. Admins are not held: governing many at once is their work, and they could lift the limit.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::config::settings::Live;
use crate::error::{Error, retry_after_seconds};
use crate::store::users::User;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnAct {
    /// Needs a JWT alone.
    Change,
    /// Needs the password itself.
    Password,
}

const MINUTE: Duration = Duration::from_secs(60);

pub struct OwnActs {
    settings: Live,
    epoch: Instant,
    /// When all that they did would be over, at the steady rate. Who has nothing left to wait for has no entry.
    busy_until: Mutex<HashMap<(i64, OwnAct), Duration>>,
}

/// More people at once, and those who have nothing left to wait for are forgotten.
const SWEEP_AT: usize = 1024;

impl OwnActs {
    pub fn new(settings: Live) -> Self {
        OwnActs { settings, epoch: Instant::now(), busy_until: Mutex::default() }
    }

    /// Counts an act of `user`, or says when there is room for it.
    pub fn count(&self, user: &User, act: OwnAct) -> Result<(), Error> {
        if user.is_admin() {
            return Ok(());
        }
        let limit = self.settings.now().own_acts_per_minute;
        let now = self.epoch.elapsed();
        let mut busy_until = self.busy_until.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if busy_until.len() >= SWEEP_AT {
            busy_until.retain(|_, until| *until > now);
        }
        let until = busy_until.entry((user.id, act)).or_default();
        *until = next(*until, limit, now).map_err(|wait| refusal(limit, wait))?;
        Ok(())
    }
}

/// A generic cell rate: `limit` at once, and one more in each part of a minute. The moment when all would be over, or how
/// long there is no room.
fn next(busy_until: Duration, limit: u32, now: Duration) -> Result<Duration, Duration> {
    let pace = MINUTE / limit.max(1);
    let until = busy_until.max(now) + pace;
    match until.saturating_sub(now + MINUTE) {
        Duration::ZERO => Ok(until),
        wait => Err(wait),
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
        let mut until = Duration::ZERO;
        let mut act = |seconds: u64| match next(until, 30, Duration::from_secs(seconds)) {
            Ok(next) => {
                until = next;
                Ok(())
            }
            Err(wait) => Err(wait.as_secs()),
        };
        for _ in 0..30 {
            assert_eq!(act(100), Ok(()));
        }

        assert_eq!(act(100), Err(2));
        assert_eq!(act(101), Err(1));
        assert_eq!((act(102), act(102)), (Ok(()), Err(2)));
        assert_eq!((0..40).filter(|_| act(300).is_ok()).count(), 30);
    }
}
