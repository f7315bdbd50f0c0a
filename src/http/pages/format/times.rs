//! Points in time in a time zone, relative to now.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::base::clock::local::LocalTime;
use crate::base::clock::zone::Zone;
use crate::http::pages::format::numbers::{commas, seconds};
use crate::http::pages::visible::{plain, visible};

/// A point in time for a page. Templates print it as `<time>` with the whole local time as its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339 with the offset of the zone.
    pub datetime: String,
    /// The whole local time with its zone.
    pub title: String,
    /// What is shown.
    pub text: String,
}

impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (datetime, title) = (plain(&self.datetime), plain(&self.title));
        let [datetime, title, text] = [datetime.as_ref(), title.as_ref(), &self.text].map(visible);
        write!(f, r#"<time datetime="{datetime}" title="{title}">{text}</time>"#)
    }
}

/// Writes times of one page: as of now, in the gateway's time zone.
#[derive(Debug, Clone)]
pub struct PageTimes {
    zone: Zone,
    now: Timestamp,
    today: LocalTime,
}

/// Days back for which the name of the day is enough.
const NAMED_DAYS: i64 = 6;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl PageTimes {
    pub fn new(zone: Zone, now: Timestamp) -> PageTimes {
        let today = zone.local(now);
        PageTimes { zone, now, today }
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns `14:32` of today, `Tue 16:40` of the last six days, else `12 Oct`, or `12 Oct 2025` of another year.
    pub fn minute(&self, at: Timestamp) -> Moment {
        self.near(at, LocalTime::minute)
    }

    /// The same with seconds of today, for the record and the queue.
    pub fn second(&self, at: Timestamp) -> Moment {
        self.near(at, LocalTime::second)
    }

    /// Returns the time of day with its seconds, whatever the day, for rows below the heading of their day.
    pub fn clock(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        moment(&local, local.second())
    }

    /// Returns `12 Oct`, or `12 Oct 2025` of another year.
    pub fn date(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        moment(&local, self.date_of(&local))
    }

    /// Returns `12 October 2025`.
    pub fn date_in_full(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        moment(&local, local.date_in_full_with_year())
    }

    /// Returns `Friday 27 November 2026`.
    pub fn date_with_weekday(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        moment(&local, format!("{} {}", local.weekday_in_full(), local.date_in_full_with_year()))
    }

    /// Returns `Friday 27 November 2026, 14:30:44`, for the head of a page.
    pub fn in_full(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        let text = format!("{} {}, {}", local.weekday_in_full(), local.date_in_full_with_year(), local.second());
        moment(&local, text)
    }

    /// Returns `today at 09:12`, `Tue at 16:40`, `on 12 October` or `on 12 October 2025`, for a sentence.
    pub fn in_sentence(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        let text = match local.days_before(&self.today) {
            0 => format!("today at {}", local.minute()),
            1 => format!("yesterday at {}", local.minute()),
            2..=NAMED_DAYS => format!("on {} at {}", local.weekday_in_full(), local.minute()),
            _ if local.is_in_year_of(&self.today) => format!("on {}", local.date_in_full()),
            _ => format!("on {}", local.date_in_full_with_year()),
        };
        moment(&local, text)
    }

    /// Returns the heading of a day's rows: `Today, Friday 27 November`, `Yesterday, …`, `Monday 23 November`.
    pub fn day(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        let date = if local.is_in_year_of(&self.today) { local.date_in_full() } else { local.date_in_full_with_year() };
        let text = format!("{} {date}", local.weekday_in_full());
        let text = match local.days_before(&self.today) {
            0 => format!("Today, {text}"),
            1 => format!("Yesterday, {text}"),
            _ => text,
        };
        moment(&local, text)
    }

    /// Returns whether two times are on one day.
    pub fn are_on_one_day(&self, one: Timestamp, other: Timestamp) -> bool {
        self.zone.local(one).days_before(&self.zone.local(other)) == 0
    }

    /// Returns how long ago it was, under an hour: `41 s ago`, `5 min ago`; else as `minute`.
    pub fn since(&self, at: Timestamp) -> Moment {
        let passed = self.now.since(at);
        if at > self.now || passed >= HOUR {
            return self.minute(at);
        }
        let text = match passed.as_secs() {
            0 => "now".to_owned(),
            seconds @ 1..60 => format!("{seconds} s ago"),
            seconds => format!("{} min ago", seconds / 60),
        };
        moment(&self.zone.local(at), text)
    }

    /// Returns when something comes: `in about 7 s`, `in about 3 min`, `in about 5 h`, `in 4 days`; `now` when it is past.
    pub fn until(&self, at: Timestamp) -> Moment {
        let local = self.zone.local(at);
        moment(&local, in_about(at.since(self.now)))
    }

    /// Returns how long something goes on since `at`: `41 s`, `3 min 02 s`.
    pub fn lasting(&self, at: Timestamp) -> String {
        seconds(self.now.since(at))
    }

    fn near(&self, at: Timestamp, of_today: fn(&LocalTime) -> String) -> Moment {
        let local = self.zone.local(at);
        let text = match local.days_before(&self.today) {
            0 => of_today(&local),
            1..=NAMED_DAYS => format!("{} {}", local.weekday(), local.minute()),
            _ => self.date_of(&local),
        };
        moment(&local, text)
    }

    fn date_of(&self, local: &LocalTime) -> String {
        if local.is_in_year_of(&self.today) { local.date() } else { local.date_with_year() }
    }
}

/// Returns an estimate of how long something takes: `about 55 s`.
pub fn about(time: Duration) -> String {
    format!("about {}", rough(time))
}

/// Returns an estimate of when something comes: `in about 7 s`; from two days on it is no estimate any more: `in 4 days`.
pub fn in_about(time: Duration) -> String {
    if time.is_zero() {
        return "now".to_owned();
    }
    if time >= DAY * 2 {
        return format!("in {} days", commas(time.as_secs() / DAY.as_secs()));
    }
    format!("in {}", about(time))
}

/// Rounds up, so that nothing is promised too early.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1);
    if seconds < 60 {
        format!("{seconds} s")
    } else if seconds <= 59 * 60 {
        format!("{} min", seconds.div_ceil(60))
    } else {
        format!("{} h", commas(seconds.div_ceil(3_600)))
    }
}

fn moment(local: &LocalTime, text: String) -> Moment {
    Moment { datetime: local.rfc3339(), title: local.in_full(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn times(now: &str) -> PageTimes {
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), at(now))
    }

    fn minutes(now: &str, cases: &[(&str, &str)]) {
        for (moment, shown) in cases {
            assert_eq!(times(now).minute(at(moment)).text, *shown, "{moment}");
        }
    }

    #[test]
    fn a_time_says_as_much_as_its_distance_needs() {
        minutes(
            "2026-11-27T13:32:07Z",
            &[
                ("2026-11-27T13:32:07Z", "14:32"),
                ("2026-11-26T23:00:00Z", "00:00"),
                ("2026-11-26T22:59:59Z", "Thu 23:59"),
                ("2026-11-24T15:40:00Z", "Tue 16:40"),
                ("2026-11-20T23:00:00Z", "Sat 00:00"),
                ("2026-11-20T22:59:59Z", "20 Nov"),
                ("2026-01-01T00:00:00Z", "1 Jan"),
                ("2025-12-31T22:59:59Z", "31 Dec 2025"),
                ("2026-11-27T22:59:59Z", "23:59"),
                ("2026-11-27T23:00:00Z", "28 Nov"),
                ("2027-01-01T00:00:00Z", "1 Jan 2027"),
            ],
        );
        assert_eq!(times("2026-11-27T13:32:07Z").second(at("2026-11-27T13:31:02Z")).text, "14:31:02");
        assert_eq!(times("2026-11-27T13:32:07Z").clock(at("2026-11-20T13:31:02Z")).text, "14:31:02");
    }

    #[test]
    fn days_of_23_and_25_hours_have_their_own_midnights() {
        minutes(
            "2026-10-25T22:30:00Z",
            &[
                ("2026-10-24T22:00:00Z", "00:00"),
                ("2026-10-24T21:59:59Z", "Sat 23:59"),
                ("2026-10-25T01:30:00Z", "02:30"),
            ],
        );
        minutes("2026-03-29T21:30:00Z", &[("2026-03-28T23:00:00Z", "00:00"), ("2026-03-29T01:00:00Z", "03:00")]);
    }

    #[test]
    fn in_january_the_last_six_days_are_still_named() {
        minutes(
            "2027-01-02T12:00:00Z",
            &[("2026-12-29T12:00:00Z", "Tue 13:00"), ("2026-12-26T12:00:00Z", "26 Dec 2026")],
        );
    }

    #[test]
    fn a_moment_carries_its_whole_local_time() {
        let shown = times("2026-11-27T13:32:07Z").minute(at("2026-11-27T13:30:44.5Z")).to_string();

        assert_eq!(
            shown,
            r#"<time datetime="2026-11-27T14:30:44+01:00" title="Friday 27 November 2026, 14:30:44 CET">14:30</time>"#
        );
    }

    #[test]
    fn under_an_hour_it_says_how_long_ago_it_was() {
        let now = at("2026-11-27T13:32:07Z");
        let ago = |seconds: i64| times("2026-11-27T13:32:07Z").since(now.plus_seconds(-seconds)).text;

        assert_eq!(
            [ago(0), ago(1), ago(59), ago(60), ago(119)],
            ["now", "1 s ago", "59 s ago", "1 min ago", "1 min ago"]
        );
        assert_eq!([ago(3_599), ago(3_600), ago(-1)], ["59 min ago", "13:32", "14:32"]);
    }

    #[test]
    fn what_comes_is_an_estimate_that_never_promises_too_early() {
        let cases = [
            (0, "now"),
            (1, "in about 1 s"),
            (6_001, "in about 7 s"),
            (59_000, "in about 59 s"),
            (59_001, "in about 1 min"),
            (60_001, "in about 2 min"),
            (3_540_000, "in about 59 min"),
            (3_540_001, "in about 1 h"),
            (172_799_000, "in about 48 h"),
            (172_800_000, "in 2 days"),
            (345_600_000, "in 4 days"),
        ];
        for (millis, shown) in cases {
            assert_eq!(in_about(Duration::from_millis(millis)), shown, "{millis}");
        }
        assert_eq!(about(Duration::from_secs(55)), "about 55 s");
        assert_eq!(in_about(Duration::MAX), "in 213,503,982,334,601 days");
    }

    #[test]
    fn sentences_and_headings_name_the_day() {
        let times = times("2026-11-27T13:32:07Z");
        let said = |text| times.in_sentence(at(text)).text;
        let day = |text| times.day(at(text)).text;

        assert_eq!(
            [said("2026-11-27T08:12:00Z"), said("2026-11-26T08:12:00Z")],
            ["today at 09:12", "yesterday at 09:12"]
        );
        assert_eq!(said("2026-11-24T15:40:00Z"), "on Tuesday at 16:40");
        assert_eq!(
            [said("2026-11-12T08:12:00Z"), said("2025-11-12T08:12:00Z")],
            ["on 12 November", "on 12 November 2025"]
        );
        assert_eq!(day("2026-11-27T08:00:00Z"), "Today, Friday 27 November");
        assert_eq!(day("2026-11-26T08:00:00Z"), "Yesterday, Thursday 26 November");
        assert_eq!(
            [day("2026-11-23T08:00:00Z"), day("2025-11-23T08:00:00Z")],
            ["Monday 23 November", "Sunday 23 November 2025"]
        );
        assert!(times.are_on_one_day(at("2026-11-26T23:00:00Z"), at("2026-11-27T22:59:59Z")));
        assert!(!times.are_on_one_day(at("2026-11-26T22:59:59Z"), at("2026-11-27T22:59:59Z")));
    }
}
