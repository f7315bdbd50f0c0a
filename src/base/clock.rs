//! Points in time: microseconds since the Unix epoch, UTC.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Serialize};

use crate::base::error::Error;

pub mod local;
pub mod zone;

/// Microseconds since 1970-01-01T00:00:00Z. Columns of this type are named `*_at_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the time of the host's clock, which may step back. Lifetimes (expiry, grace, resets) are measured with it.
    pub fn now() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the one clock of the wall")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn plus_seconds(self, seconds: i64) -> Self {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Returns the time since `earlier`; zero when it lies ahead.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn plus(self, time: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns RFC 3339 with `Z`, the form of every API and export.
    pub fn rfc3339(self) -> String {
        let end = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(end).to_string()
    }

    /// Returns the second in a form for names of files: `20261129T030000Z`. `parse` reads it, too.
    pub fn compact(self) -> String {
        Timestamp(self.seconds().saturating_mul(1_000_000)).rfc3339().replace(['-', ':'], "")
    }

    /// Parses RFC 3339. The calendar ends a day before the year 10000, so that no time zone leaves it. Later times are cut to
    /// its end: people write `9999-12-31T23:59:59Z` for "without an end".
    pub fn parse(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        let local = pieces.date().to_datetime(pieces.time()?);
        let cut = if local.year() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let moment = pieces.to_numeric_offset()?.to_timestamp(local).unwrap_or(cut);
        Some(Timestamp(moment.as_microsecond()))
    }

    /// Parses the time in the field `field`.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        Self::parse(text)
            .ok_or_else(|| Error::invalid(field, format!("`{field}` must be a time, as in 2026-01-31T12:00:00Z")))
    }
}

/// A point in time that an upstream gave. It has nanoseconds, so that none of its text form is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamTime(jiff::Timestamp);

impl UpstreamTime {
    pub const EPOCH: UpstreamTime = UpstreamTime(jiff::Timestamp::UNIX_EPOCH);

    /// Parses RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(UpstreamTime)
    }

    /// Returns the nanoseconds since the Unix epoch.
    pub fn nanoseconds(self) -> i128 {
        self.0.as_nanosecond()
    }

    pub fn from_nanoseconds(nanoseconds: i128) -> Option<Self> {
        jiff::Timestamp::from_nanosecond(nanoseconds).ok().map(UpstreamTime)
    }
}

/// RFC 3339 with `Z`.
impl fmt::Display for UpstreamTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The clock of the record: rows are stamped with it, and request ids contain its time. It follows the host's clock but never
/// goes back: after that one was set back, it waits until it has caught up. So rows are in the order of time, and no row of a
/// request is older than its id.
///
/// There is one for the process, since an id is needed before any part of the gateway is at hand. Not for lifetimes.
pub struct RecordClock {
    newest: AtomicI64,
}

pub static RECORD_CLOCK: RecordClock = RecordClock::new();

impl RecordClock {
    const fn new() -> Self {
        RecordClock { newest: AtomicI64::new(0) }
    }

    pub fn now(&self) -> Timestamp {
        self.at_least(Timestamp::now())
    }

    /// Moves the clock forward to `time`, unless it is beyond it, and returns its time.
    pub fn at_least(&self, time: Timestamp) -> Timestamp {
        Timestamp(self.newest.fetch_max(time.0, Ordering::Relaxed).max(time.0))
    }
}

/// A clock that never steps: it starts with the host's time and then runs evenly, whatever is done to the host's clock. Waits
/// and limits use it; its times can be stored and read by the next process.
pub struct SteadyClock {
    started: Instant,
    at: Timestamp,
}

/// A host's clock that was set back by no more than this was merely adjusted.
const ADJUSTED_MAX: Duration = Duration::from_secs(1);

impl SteadyClock {
    pub fn start() -> Self {
        SteadyClock::from(Timestamp::now())
    }

    /// Starts with `at`.
    pub fn from(at: Timestamp) -> Self {
        SteadyClock { at, started: Instant::now() }
    }

    /// Reads the host's clock. Returns one that goes on from there, and how far the host's clock is behind this one, if it was
    /// set back. A process that is held up in here takes that for no step.
    pub fn read_again(&self) -> (SteadyClock, Option<Duration>) {
        let expected = self.now();
        let read = SteadyClock::start();
        let step = step_back(expected, read.at);
        (read, step)
    }

    /// Returns what it started with.
    pub fn started_with(&self) -> Timestamp {
        self.at
    }

    pub fn now(&self) -> Timestamp {
        self.at.plus(self.started.elapsed())
    }
}

fn step_back(expected: Timestamp, read: Timestamp) -> Option<Duration> {
    Some(expected.since(read)).filter(|step| *step > ADJUSTED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_its_text_form() {
        let moment = Timestamp(1_795_480_000_123_456);

        assert_eq!(Timestamp::parse(&moment.rfc3339()), Some(moment));
        assert!(moment.rfc3339().ends_with("123456Z"));
    }

    #[test]
    fn a_time_is_read_with_its_offset_and_written_in_utc_without_trailing_zeros() {
        for (text, shown) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"),
            ("2026-01-31 12:00:00.10+05:30", "2026-01-31T06:30:00.1Z"),
            ("2026-01-31T12:00:00.1234567-01:00", "2026-01-31T13:00:00.123456Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::rfc3339).as_deref(), Some(shown), "{text}");
        }
        for wrong in ["", "today", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "10000-01-01T00:00:00Z"]
        {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Timestamp(i64::MAX).rfc3339(), "9999-12-30T22:00:00.999999999Z");
    }

    #[test]
    fn the_clock_of_the_record_never_goes_back() {
        let clock = RecordClock::new();
        let ahead = Timestamp::now().plus_seconds(3600);

        assert_eq!(clock.at_least(ahead), ahead);
        // The host's clock is behind it now, as after a step back.
        assert_eq!(clock.now(), ahead);
        assert_eq!(clock.at_least(Timestamp(1)), ahead);
    }

    #[test]
    fn a_clock_that_was_set_back_is_seen_and_one_that_was_adjusted_or_set_forward_is_not() {
        let now = Timestamp::now();
        let step_of = |micros| step_back(Timestamp(now.0 + micros), now);

        assert_eq!(step_of(1_000_001), Some(Duration::from_micros(1_000_001)));
        assert_eq!([step_of(1_000_000), step_of(0), step_of(-60_000_000)], [None; 3]);
    }

    #[test]
    fn a_step_is_seen_once() {
        let (clock, step) = SteadyClock::from(Timestamp::now().plus_seconds(60)).read_again();

        assert!(step.is_some());
        assert_eq!(clock.read_again().1, None);
    }
}
