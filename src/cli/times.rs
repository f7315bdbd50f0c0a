//! Times as they are typed on the command line. A day or a wall clock is that of the time zone of the configuration.

use std::str::FromStr;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::{Day, Zone};
use crate::config::Config;

/// The part of a help text about times.
macro_rules! time_help {
    () => {
        "TIME is one of\n  \
        2026-01-31, today, yesterday   a day in the `timezone` of the configuration; `--from` it begins with that day,\n  \
        \x20                              `--to` it includes that day\n  \
        2026-01-31T12:00               a time of day in that zone\n  \
        2026-01-31T12:00:00Z           a time with its offset from UTC\n  \
        30m, 12h, 7d, 2w               so long ago; +7d: from now; now"
    };
}

const FORMS: &str = "give a day (2026-01-31, today, yesterday), a time (2026-01-31T12:00, 2026-01-31T12:00:00Z, now) or a \
    span (30m, 12h, 7d or 2w ago, +7d from now)";

/// A time as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandTime {
    /// With its offset from UTC.
    Moment(Timestamp),
    /// A date and a time of a wall clock.
    Clock(String),
    /// A date, as in `2026-01-31`.
    Date(String),
    /// How many days before this one.
    DaysAgo(u16),
    /// Seconds from now on, below 0 for a time that has passed.
    FromNow(i64),
}

/// The longest span in one of its units: more than a century of hours.
const SPAN_MAX: i64 = 1_000_000;

const SPAN_UNITS: [(char, i64); 4] = [('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60), ('w', 7 * 24 * 60 * 60)];

impl FromStr for CommandTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if let Some(moment) = Timestamp::parse(text) {
            return Ok(CommandTime::Moment(moment));
        }
        match lower.as_str() {
            "now" => return Ok(CommandTime::FromNow(0)),
            "today" => return Ok(CommandTime::DaysAgo(0)),
            "yesterday" => return Ok(CommandTime::DaysAgo(1)),
            _ => {}
        }
        if let Some(seconds) = span(&lower) {
            return Ok(CommandTime::FromNow(seconds));
        }
        // Whether the text is a time is the same in each zone.
        match Zone::utc().parse_local(text) {
            Some(_) if text.contains([':', ' ', 'T']) => Ok(CommandTime::Clock(text.to_owned())),
            Some(_) => Ok(CommandTime::Date(text.to_owned())),
            // The last day is beyond the calendar of some zones.
            None => {
                Timestamp::parse(&format!("{text}T00:00:00Z")).map(CommandTime::Moment).ok_or_else(|| FORMS.to_owned())
            }
        }
    }
}

/// Returns the seconds from now that a span means: `7d` or `-7d` (ago), or `+7d`.
fn span(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('+') {
        Some(ahead) => (1, ahead),
        None => (-1, text.strip_prefix('-').unwrap_or(text)),
    };
    let unit = text.chars().next_back()?;
    let (_, seconds) = SPAN_UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let count = &text[..text.len() - unit.len_utf8()];
    let count = Some(count).filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<i64>().ok()?;
    (count <= SPAN_MAX).then_some(sign * count * seconds)
}

/// What typed times are understood by: the zone of the gateway, and one now for all times of a command.
pub struct CommandClock {
    zone: Zone,
    now: Timestamp,
}

impl CommandClock {
    pub fn new(config: &Config) -> CommandClock {
        CommandClock { zone: config.timezone.clone(), now: Timestamp::now() }
    }

    /// Returns the time of `--from` in RFC 3339: a day's begin.
    pub fn from(&self, typed: Option<&CommandTime>) -> Option<String> {
        typed.map(|typed| self.day_or_time(typed).begins.rfc3339())
    }

    /// Returns the time of `--to` in RFC 3339: a day's end.
    pub fn to(&self, typed: Option<&CommandTime>) -> Option<String> {
        typed.map(|typed| self.day_or_time(typed).ends.rfc3339())
    }

    /// Returns a point in time as a day without length.
    fn day_or_time(&self, typed: &CommandTime) -> Day {
        let time = |time: Timestamp| Day { begins: time, ends: time };
        // Only the last day of the calendar leaves it in some zone.
        let local = |text: &str| self.zone.parse_local(text).unwrap_or(Timestamp(i64::MAX));
        match typed {
            CommandTime::Moment(moment) => time(*moment),
            CommandTime::Clock(text) => time(local(text)),
            CommandTime::Date(text) => self.zone.day_of(local(text)),
            CommandTime::DaysAgo(days) => self.zone.day_before(self.now, *days),
            CommandTime::FromNow(seconds) => time(self.now.plus_seconds(*seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> CommandClock {
        let now = Timestamp::parse("2026-03-30T10:00:00Z").unwrap();
        CommandClock { zone: Zone::named("Europe/Berlin").unwrap(), now }
    }

    fn from_to(text: &str) -> (String, String) {
        let typed = text.parse().unwrap_or_else(|said| panic!("{text}: {said}"));
        (berlin().from(Some(&typed)).unwrap(), berlin().to(Some(&typed)).unwrap())
    }

    #[test]
    fn a_day_begins_and_ends_at_its_midnights_also_when_the_clocks_change() {
        for (text, begins, ends) in [
            ("2026-01-31", "2026-01-30T23:00:00Z", "2026-01-31T23:00:00Z"),
            ("today", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
            // It has 23 hours.
            ("Yesterday", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ] {
            assert_eq!(from_to(text), (begins.to_owned(), ends.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_time_is_a_point() {
        for (text, is) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00Z"),
            ("2026-01-31T12:00", "2026-01-31T11:00:00Z"),
            ("2026-01-31 12:00:30", "2026-01-31T11:00:30Z"),
            ("now", "2026-03-30T10:00:00Z"),
            ("30m", "2026-03-30T09:30:00Z"),
            ("12h", "2026-03-29T22:00:00Z"),
            ("7D", "2026-03-23T10:00:00Z"),
            ("2w", "2026-03-16T10:00:00Z"),
            ("-7d", "2026-03-23T10:00:00Z"),
            ("+7d", "2026-04-06T10:00:00Z"),
            ("1000000h", "1912-03-01T18:00:00Z"),
        ] {
            assert_eq!(from_to(text), (is.to_owned(), is.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_the_forms_of_one() {
        for text in
            ["", "tomorow", "2026-02-30", "2026-13-01", "31.01.2026", "12:00", "7", "d", "7x", "1000001h", "+-7d"]
        {
            let said = text.parse::<CommandTime>().unwrap_err();
            assert!(said.contains("2026-01-31, today, yesterday") && said.contains("7d"), "{text}: {said}");
        }
    }

    #[test]
    fn the_end_of_the_calendar_is_no_panic() {
        let (begins, ends) = from_to("9999-12-31");

        assert!(begins.starts_with("9999-12-30") && ends >= begins, "{begins} {ends}");
        assert!(from_to("0001-01-01").0.starts_with("0000-12-31"));
    }
}
