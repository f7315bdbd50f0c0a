//! The time of a report in words.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::http::pages::format::{PageTimes, coarse, commas, duration};
use crate::rules::incident::window::TimeWindow;

const HOUR_US: u64 = 3_600 * 1_000_000;
const DAY_HOURS: u64 = 24;

/// From so many days on, a length is given in days.
const IN_DAYS_FROM: u64 = 3;

/// Returns the window in words: `Sunday 29 November 2026, 14:00 to 15:00`. Whole days are named without a time of day.
pub fn window_in_words(window: TimeWindow, times: &PageTimes) -> String {
    let zone = times.zone();
    let TimeWindow { from, to } = window;
    let last = last_of(window);
    let day = |at: Timestamp| times.date_with_weekday(at).text;
    if zone.day_of(from).begins == from && zone.day_of(last).ends == to {
        return if spans_days(window, times) {
            format!("{} to {}", day(from), day(last))
        } else {
            format!("{}, the whole day", day(from))
        };
    }
    let offset = |at: Timestamp| zone.local(at).rfc3339().chars().skip("2026-01-31T12:00:00".len()).collect::<String>();
    // Where summer time begins or ends in between, the wall clock alone is ambiguous.
    let has_offset = offset(from) != offset(to);
    let clock = |at: Timestamp| {
        let local = zone.local(at);
        let clock = if at.0 % 60_000_000 == 0 { local.minute() } else { local.second() };
        if has_offset { format!("{clock} ({})", offset(at)) } else { clock }
    };
    match spans_days(window, times) {
        false => format!("{}, {} to {}", day(from), clock(from), clock(to)),
        true => format!("{}, {}, to {}, {}", day(from), clock(from), day(to), clock(to)),
    }
}

/// Returns whether a time of day alone doesn't tell the day.
pub fn spans_days(window: TimeWindow, times: &PageTimes) -> bool {
    !times.are_on_one_day(window.from, last_of(window))
}

fn last_of(window: TimeWindow) -> Timestamp {
    Timestamp(window.to.0 - 1)
}

/// Returns when something in the window happened: the time of day, with the date if the window spans days.
pub fn moment(at: Timestamp, window: TimeWindow, times: &PageTimes) -> String {
    let clock = times.clock(at).text;
    if spans_days(window, times) { format!("{} {clock}", times.date(at).text) } else { clock }
}

/// Returns a length of time: `15 min`, `26 h`, `7 days`, `3 days 4 h`.
pub fn length_in_words(micros: i64) -> String {
    let micros = micros.max(0).unsigned_abs();
    let hours = (micros + HOUR_US / 2) / HOUR_US;
    let days = (hours + DAY_HOURS / 2) / DAY_HOURS;
    if days < IN_DAYS_FROM || micros < IN_DAYS_FROM * (DAY_HOURS - 1) * HOUR_US {
        return coarse(Duration::from_micros(micros));
    }
    // The days on which the clocks are changed have an hour more or less.
    if hours.abs_diff(days * DAY_HOURS) <= 1 {
        return format!("{} days", commas(days));
    }
    format!("{} days {} h", commas(hours / DAY_HOURS), hours % DAY_HOURS)
}

/// Returns a measured time in words.
pub fn us(micros: i64) -> String {
    duration(Duration::from_micros(micros.max(0).unsigned_abs()))
}

/// Returns one step of the timeline, as in `requests per minute`.
pub fn step_in_words(step_us: i64) -> String {
    match step_us / 1_000_000 {
        60 => "minute".to_owned(),
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        seconds if seconds < 3_600 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3_600),
    }
}

/// Returns one step of the timeline, as in `at most 9 in a minute`.
pub fn one_step(step_us: i64) -> String {
    let step = step_in_words(step_us);
    match step.as_str() {
        "hour" => format!("an {step}"),
        "minute" | "day" => format!("a {step}"),
        _ => step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn berlin() -> PageTimes {
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), at("2026-11-29T18:00:00Z"))
    }

    fn said(from: &str, to: &str) -> String {
        window_in_words(TimeWindow { from: at(from), to: at(to) }, &berlin())
    }

    #[test]
    fn a_window_has_times_of_day_unless_it_is_whole_days() {
        for (from, to, expected) in [
            ("2026-11-29T13:00:00Z", "2026-11-29T14:00:00Z", "Sunday 29 November 2026, 14:00 to 15:00"),
            ("2026-11-29T13:00:07Z", "2026-11-29T14:00:00Z", "Sunday 29 November 2026, 14:00:07 to 15:00"),
            ("2026-11-28T23:00:00Z", "2026-11-29T23:00:00Z", "Sunday 29 November 2026, the whole day"),
            ("2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z", "Monday 23 November 2026 to Sunday 29 November 2026"),
            ("2026-11-28T23:00:00Z", "2026-11-29T22:59:00Z", "Sunday 29 November 2026, 00:00 to 23:59"),
            (
                "2026-11-28T22:00:00Z",
                "2026-11-29T23:00:00Z",
                "Saturday 28 November 2026, 23:00, to Monday 30 November 2026, 00:00",
            ),
            // The day on which summer time begins has 23 hours; when it ends, an hour occurs twice.
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "Sunday 29 March 2026, the whole day"),
            (
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
                "Sunday 25 October 2026, 02:30 (+02:00) to 02:30 (+01:00)",
            ),
        ] {
            assert_eq!(said(from, to), expected);
        }
    }

    #[test]
    fn a_moment_has_its_date_where_the_window_spans_days() {
        let moment = |to: &str| {
            let window = TimeWindow { from: at("2026-11-29T12:00:00Z"), to: at(to) };
            moment(at("2026-11-29T13:00:07Z"), window, &berlin())
        };

        assert_eq!(moment("2026-11-29T23:00:00Z"), "14:00:07");
        assert_eq!(moment("2026-11-29T23:00:01Z"), "29 Nov 14:00:07");
    }

    #[test]
    fn long_lengths_are_days_and_an_hour_more_or_less_is_summer_time() {
        let hours = |hours: i64| length_in_words(hours * HOUR_US as i64);

        assert_eq!([hours(1), hours(26), hours(48), hours(68)], ["1 h", "26 h", "48 h", "68 h"]);
        assert_eq!([hours(71), hours(72), hours(76), hours(84)], ["3 days", "3 days", "3 days 4 h", "3 days 12 h"]);
        assert_eq!([hours(167), hours(168), hours(169)], ["7 days"; 3]);
        assert_eq!(hours(8_448), "352 days");
        assert_eq!((length_in_words(90_000_000).as_str(), length_in_words(-5).as_str()), ("2 min", "0 s"));
    }
}
