//! The time-outs of one answer: its silence and its whole length.

use std::time::{Duration, Instant};

use crate::base::error::Error;
use crate::config;

/// The silence and the length of one answer. Both are checked at intervals, which is cheaper than a timer for each event.
pub struct Patience {
    idle_max: Duration,
    total_max: Duration,
    began: Instant,
    heard: Instant,
}

impl Patience {
    pub fn new(limits: &config::UpstreamLimits, total_max: Duration) -> Self {
        let now = Instant::now();
        Patience { idle_max: limits.idle_timeout, total_max, began: now, heard: now }
    }

    /// Notes that something arrived.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Returns the time that is left for the whole answer.
    pub fn left(&self) -> Duration {
        self.total_max.saturating_sub(self.began.elapsed())
    }

    /// Checks that the answer is neither silent nor taking for too long.
    pub fn check(&self) -> Result<(), Error> {
        if self.began.elapsed() >= self.total_max {
            return Err(self.too_long());
        }
        if self.heard.elapsed() >= self.idle_max {
            let message = format!("the model server fell silent for {} s", self.idle_max.as_secs());
            return Err(Error::Timeout { message });
        }
        Ok(())
    }

    pub fn too_long(&self) -> Error {
        Error::Timeout { message: format!("the answer took longer than {} s and was ended", self.total_max.as_secs()) }
    }
}
