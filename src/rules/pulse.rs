//! The pulse of the record: how many requests came, were refused and failed, per quarter, hour or day.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::Zone;
use crate::base::error::Error;
use crate::store::Store;
use crate::store::audit::Wanted;
use crate::store::pulse::{Counted, PulseFilter};

/// Requests per interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pulse {
    /// `quarter` (of an hour), `hour` (UTC) or `day` (of the gateway's time zone), by the length of the time.
    #[schema(example = "hour")]
    pub interval: &'static str,
    /// The first interval begins here.
    #[schema(format = DateTime)]
    pub from: String,
    #[schema(format = DateTime)]
    pub to: String,
    /// Oldest first; intervals without any request are left out. Absent when the filter asks for more than users, tokens, models
    /// and a time: such rows are not counted in advance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<PulseBar>>,
}

/// One interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PulseBar {
    /// When it begins.
    #[schema(format = DateTime)]
    pub at: String,
    /// When it ends, which is when the next one begins.
    #[schema(format = DateTime)]
    pub until: String,
    /// Requests that reached the upstream or waited for it.
    pub requests: i64,
    /// Requests that were refused, before they got a place in the queue or while they waited.
    pub refused: i64,
    /// Number of `requests` that ended in an error.
    pub failed: i64,
}

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// Time that is shown without `from`.
const TIME_DEFAULT_SECONDS: i64 = DAY_SECONDS;

/// Up to this length a quarter of an hour is one bar, and up to the next an hour is.
const QUARTERS_UP_TO_SECONDS: i64 = 6 * HOUR_SECONDS;
const HOURS_UP_TO_SECONDS: i64 = 8 * DAY_SECONDS;

/// The longest time: three years of bars.
const TIME_MAX_SECONDS: i64 = 1_100 * DAY_SECONDS;

/// Counts the requests that `wanted` finds. `model` is the canonical name of its model: all spellings count for one.
pub async fn pulse(store: &Store, zone: &Zone, wanted: &Wanted, model: Option<String>) -> Result<Pulse, Error> {
    let to = wanted.to.unwrap_or_else(Timestamp::now);
    let from = wanted.from.unwrap_or_else(|| to.plus_seconds(-TIME_DEFAULT_SECONDS));
    let seconds = to.seconds().saturating_sub(from.seconds());
    if seconds > TIME_MAX_SECONDS {
        return Err(Error::invalid("from", format!("a pulse shows at most {} days", TIME_MAX_SECONDS / DAY_SECONDS)));
    }
    let (interval, quarters, from) = if seconds <= QUARTERS_UP_TO_SECONDS {
        ("quarter", 1, begin_of(from, HOUR_SECONDS / 4))
    } else if seconds <= HOURS_UP_TO_SECONDS {
        ("hour", 4, begin_of(from, HOUR_SECONDS))
    } else {
        // Midnights are found below: they are no multiples of a length.
        ("day", 1, zone.day_of(from).begins)
    };
    let empty = Pulse { interval, from: from.rfc3339(), to: to.rfc3339(), items: None };
    if !is_counted(wanted) {
        return Ok(empty);
    }
    let filter = PulseFilter { user_id: wanted.user_id, token_id: wanted.token_id, model, from, to };
    let counted = store.pulse(filter, quarters).await?;
    let items = match interval {
        "day" => days(zone, counted),
        _ => counted.into_iter().map(|counted| bar(counted, counted_until(counted, quarters))).collect(),
    };
    Ok(Pulse { items: Some(items), ..empty })
}

/// Whether the sums of usage know the answer.
fn is_counted(wanted: &Wanted) -> bool {
    wanted.kind.is_none()
        && wanted.outcomes.is_empty()
        && !wanted.takes_acts_alone()
        && wanted.api.is_none()
        && wanted.text.is_none()
}

fn begin_of(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(time.0 - time.0.rem_euclid(seconds * 1_000_000))
}

fn counted_until(counted: Counted, quarters: i64) -> Timestamp {
    Timestamp(counted.begins_us).plus_seconds(quarters * HOUR_SECONDS / 4)
}

fn bar(counted: Counted, until: Timestamp) -> PulseBar {
    let Counted { begins_us, requests, refused, failed } = counted;
    PulseBar { at: Timestamp(begins_us).rfc3339(), until: until.rfc3339(), requests, refused, failed }
}

/// Adds up quarters of an hour, oldest first, to days of the time zone.
fn days(zone: &Zone, quarters: Vec<Counted>) -> Vec<PulseBar> {
    let mut bars: Vec<PulseBar> = Vec::new();
    let mut ends = None;
    for quarter in quarters {
        match bars.last_mut().filter(|_| ends.is_some_and(|ends: Timestamp| quarter.begins_us < ends.0)) {
            Some(day) => {
                day.requests = day.requests.saturating_add(quarter.requests);
                day.refused = day.refused.saturating_add(quarter.refused);
                day.failed = day.failed.saturating_add(quarter.failed);
            }
            None => {
                let day = zone.day_of(Timestamp(quarter.begins_us));
                ends = Some(day.ends);
                bars.push(bar(Counted { begins_us: day.begins.0, ..quarter }, day.ends));
            }
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        Timestamp::parse(text).unwrap().0
    }

    fn quarter(begins: &str, requests: i64) -> Counted {
        Counted { begins_us: at(begins), requests, refused: 1, failed: 0 }
    }

    #[test]
    fn days_begin_and_end_at_midnight_in_the_time_zone() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        // Berlin is two hours ahead, and one from the morning of 25 October on.
        let quarters = vec![
            quarter("2026-10-23T21:45:00Z", 1),
            quarter("2026-10-23T22:00:00Z", 2),
            quarter("2026-10-24T21:45:00Z", 4),
            quarter("2026-10-24T22:00:00Z", 8),
            quarter("2026-10-25T22:45:00Z", 16),
            quarter("2026-10-25T23:00:00Z", 32),
        ];

        let bars = days(&berlin, quarters);

        let shown: Vec<_> = bars.iter().map(|bar| (at(&bar.at), at(&bar.until), bar.requests, bar.refused)).collect();
        let midnights = [
            "2026-10-22T22:00:00Z",
            "2026-10-23T22:00:00Z",
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
            "2026-10-26T23:00:00Z",
        ]
        .map(at);
        assert_eq!(
            shown,
            [
                (midnights[0], midnights[1], 1, 1),
                (midnights[1], midnights[2], 6, 2),
                (midnights[2], midnights[3], 24, 2),
                (midnights[3], midnights[4], 32, 1)
            ]
        );
    }

    #[test]
    fn an_interval_begins_at_a_multiple_of_its_length() {
        for (time, begin) in [
            ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
            ("2026-01-01T10:59:59Z", "2026-01-01T10:00:00Z"),
            ("1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z"),
        ] {
            assert_eq!(begin_of(Timestamp(at(time)), HOUR_SECONDS).0, at(begin), "{time}");
        }
    }
}
