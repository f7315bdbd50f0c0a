//! Retention: when contents and rows that are too old are erased.
//!
//! A run erases what is too old at its beginning. There is one at the start, one after each change of the settings, and one a day,
//! so that nothing is kept for more than a day longer. A clock that is suddenly ahead would make all of the record old, so it is
//! not believed at once.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::store::Store;
use crate::store::retention::{RetentionDays, RetentionRun, RetentionStep};
use crate::store::words::Merge;

/// Time between two runs while the settings stay as they are.
const RUN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often it is noted that the host's clock is as expected.
const CLOCK_EVERY: Duration = Duration::from_secs(60 * 60);

/// A clock that is further ahead of the last note is doubted.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// For so long a doubted clock has to stay as it is, with the gateway running, until it is believed.
const DOUBT: Duration = Duration::from_secs(24 * 60 * 60);

/// The runs of one gateway.
pub struct Retention {
    store: Store,
    run: Option<RetentionRun>,
    merge: Merge,
    /// The settings of the last run, and when it ended.
    last: Option<(RetentionDays, Instant)>,
    clock: ClockTrust,
}

impl Retention {
    pub fn new(store: Store) -> Retention {
        Retention { store, run: None, merge: Merge::Begin, last: None, clock: ClockTrust::default() }
    }

    /// Does one step of a run, or looks whether one is due. `false`: there is nothing to do now.
    pub async fn step(&mut self) -> Result<bool, Error> {
        let is_believed = self.note_clock().await?;
        let days = RetentionDays::of(&self.store.settings().now());
        // What a run with other settings has begun is finished by the next one.
        match self.run.filter(|run| run.days == days) {
            Some(run) => {
                let step = self.store.retention_step(run, &mut self.merge).await?;
                let is_over = step == RetentionStep::Over;
                self.run = Some(run).filter(|_| !is_over);
                if is_over && run.is_whole {
                    self.last = Some((days, Instant::now()));
                }
                Ok(step == RetentionStep::GoOn)
            }
            None => {
                self.run = None;
                let is_done = self.last.is_some_and(|(of, at)| of == days && at.elapsed() < RUN_EVERY);
                if days.is_for_ever() || is_done || !is_believed {
                    return Ok(false);
                }
                self.run = Some(self.store.begin_retention(days, Timestamp::now()).await?);
                Ok(true)
            }
        }
    }

    /// Notes the host's clock now and then; returns whether it is believed.
    async fn note_clock(&mut self) -> Result<bool, Error> {
        let now = Timestamp::now();
        if let Some(seen) = self.clock.seen
            && seen.at.elapsed() < CLOCK_EVERY
            && !is_ahead(seen.now, now)
        {
            return Ok(self.clock.doubted.is_none());
        }
        let noted = self.store.retention_clock().await?;
        let was_doubted = self.clock.doubted.is_some();
        let is_believed = self.clock.judge(noted, now, Instant::now());
        match (was_doubted, is_believed) {
            (false, false) => warn!(
                noted = noted.map(Timestamp::rfc3339),
                "the host's clock is days ahead of what it said before; nothing is erased for its age until it has stayed so for \
                 a day"
            ),
            (true, true) => info!("the host's clock is believed again"),
            _ => {}
        }
        if is_believed {
            self.store.set_retention_clock(now).await?;
        }
        Ok(is_believed)
    }
}

/// A look at the host's clock.
#[derive(Debug, Clone, Copy)]
struct ClockLook {
    at: Instant,
    now: Timestamp,
}

/// Whether the host's clock is believed.
#[derive(Debug, Default)]
struct ClockTrust {
    seen: Option<ClockLook>,
    doubted: Option<Instant>,
}

fn is_ahead(before: Timestamp, now: Timestamp) -> bool {
    now.since(before) > AHEAD_MAX
}

impl ClockTrust {
    /// Returns whether a clock that says `now` is believed, when it was last believed at `noted`.
    fn judge(&mut self, noted: Option<Timestamp>, now: Timestamp, at: Instant) -> bool {
        self.seen = Some(ClockLook { at, now });
        let is_doubted = noted.is_some_and(|noted| is_ahead(noted, now))
            && at.duration_since(*self.doubted.get_or_insert(at)) < DOUBT;
        if !is_doubted {
            self.doubted = None;
        }
        !is_doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_clock_that_is_suddenly_days_ahead_is_believed_after_a_day() {
        let (noon, start) = (Timestamp(0).plus_seconds(20_000 * DAY), Instant::now());
        let later = |hours: u64| start + Duration::from_secs(hours * 3600);
        let mut clock = ClockTrust::default();

        assert!(clock.judge(None, noon, start), "there is nothing to compare it with");
        assert!(clock.judge(Some(noon), noon.plus_seconds(2 * DAY), start));
        assert!(clock.judge(Some(noon), noon.plus_seconds(-DAY), start), "a clock that is behind makes nothing old");
        let years = noon.plus_seconds(3650 * DAY);
        assert!(!clock.judge(Some(noon), noon.plus_seconds(2 * DAY + 1), start));
        assert!(!clock.judge(Some(noon), years, later(23)));
        assert!(clock.judge(Some(noon), noon.plus_seconds(DAY), later(23)), "it was set right");
        assert!(!clock.judge(Some(noon), years, later(24)), "it is doubted from now on");
        assert!(!clock.judge(Some(noon), years, later(47)));
        assert!(clock.judge(Some(noon), years, later(48)));
    }

    #[test]
    fn contents_go_with_their_rows_at_the_latest() {
        let of = |contents, record| RetentionDays { contents, record }.of_contents();

        assert_eq!([of(0, 0), of(30, 0), of(0, 90), of(30, 90)], [None, Some(30), Some(90), Some(30)]);
    }
}
