//! Points in time as the gateway keeps them: microseconds since the Unix epoch, UTC.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Error;

pub mod zone;

/// Microseconds since 1970-01-01T00:00:00Z. Columns of this type are named `*_at_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn plus_seconds(self, seconds: i64) -> Self {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// How long ago `earlier` was; nothing when it lies ahead.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn plus(self, time: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn to_datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// RFC 3339 with `Z`, as every API and export shows it.
    pub fn rfc3339(self) -> String {
        rfc3339(self.to_datetime())
    }

    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos() / 1000).ok().map(Timestamp)
    }

    /// A time that somebody gave as `field`.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        Self::parse(text)
            .ok_or_else(|| Error::invalid(field, format!("`{field}` must be a time, as in 2026-01-31T12:00:00Z")))
    }
}

/// A clock that never steps: it starts with the time of the host's clock and then runs evenly, whatever is done to that one.
/// Waits and limits go by it; what it says can be kept in a file, and read again by the next process.
pub struct SteadyClock {
    started: Instant,
    at: Timestamp,
}

impl SteadyClock {
    pub fn start() -> Self {
        SteadyClock { started: Instant::now(), at: Timestamp::now() }
    }

    pub fn now(&self) -> Timestamp {
        self.at.plus(self.started.elapsed())
    }
}

pub fn rfc3339(moment: OffsetDateTime) -> String {
    moment.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
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
}
