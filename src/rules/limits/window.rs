//! A strict sliding window: with a limit of 10 exactly 10 requests pass in any 60 seconds, whatever their spacing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rules::limits::{MINUTE, Standing};

/// The times of the requests that passed in the last 60 seconds, oldest first.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Instant>);

impl Window {
    pub fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|oldest| now.duration_since(*oldest) >= MINUTE) {
            self.0.pop_front();
        }
    }

    pub fn pass(&mut self, now: Instant) {
        self.0.push_back(now);
    }

    /// Takes back the last request that passed.
    pub fn take_back(&mut self) {
        self.0.pop_back();
    }

    /// Returns how long to wait before `count` more may pass; zero means now. More than `limit` never may: then it is the whole
    /// minute.
    pub fn wait(&self, count: u32, limit: u32, now: Instant) -> Duration {
        let (count, limit) = (count as usize, limit as usize);
        let Some(others) = limit.checked_sub(count) else { return MINUTE };
        if self.0.len() <= others {
            return Duration::ZERO;
        }
        // Several must leave the window, and not only for several: the limit may have been lowered.
        let leaves = self.0[self.0.len() - others - 1];
        MINUTE.saturating_sub(now.duration_since(leaves))
    }

    pub fn standing(&self, limit: u32, now: Instant) -> Standing {
        let limit = u64::from(limit);
        let reset = self.0.back().map_or(Duration::ZERO, |newest| MINUTE.saturating_sub(now.duration_since(*newest)));
        Standing { limit, remaining: limit.saturating_sub(self.used()), reset }
    }

    pub fn used(&self) -> u64 {
        self.0.len() as u64
    }
}
