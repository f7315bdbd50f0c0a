//! Times as people of a place read and write them: the wall clock and the calendar of a time zone.

use jiff::ZonedDateTime;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;

use crate::base::clock::Timestamp;
use crate::base::clock::zone::{Day, Zone};

/// A point in time on the wall clock of a zone. Times beyond the calendar are cut to its end.
#[derive(Debug, Clone)]
pub struct LocalTime(ZonedDateTime);

impl Zone {
    pub fn local(&self, at: Timestamp) -> LocalTime {
        let end = if at.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        LocalTime(jiff::Timestamp::from_microsecond(at.0).unwrap_or(end).to_zoned_datetime(self.rules().clone()))
    }

    /// Parses a time as people type it here, such as `2026-01-31T12:00` (what a browser's field sends), `2026-01-31 12:00:30` or
    /// `2026-01-31`, which is its midnight. A time that the clocks skip is the one after the gap; of one that they show
    /// twice, the first.
    pub fn parse_local(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        // Times with an offset are read elsewhere; here they would be read as if they had none.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.T ".contains(&byte)) {
            return None;
        }
        let datetime: DateTime = text.parse().ok()?;
        let moment = datetime.to_zoned_datetime(self.rules().clone()).ok()?.timestamp();
        Some(Timestamp(moment.as_microsecond()))
    }

    /// Returns the day that was `days` before the day of `now`.
    pub fn day_before(&self, now: Timestamp, days: u16) -> Day {
        let date = self.local(now).0.date().saturating_sub(jiff::Span::new().days(i64::from(days)));
        let begins = date.to_zoned_datetime(self.rules().clone()).ok();
        self.day_of(begins.map_or(now, |begins| Timestamp(begins.timestamp().as_microsecond())))
    }
}

impl LocalTime {
    /// Returns how many midnights lie between `self` and the later time `now`; below 0 if `self` is the later one.
    pub fn days_before(&self, now: &LocalTime) -> i64 {
        let days = |date: Date| date.duration_since(Date::ZERO).as_hours() / 24;
        days(now.0.date()) - days(self.0.date())
    }

    pub fn is_in_year_of(&self, other: &LocalTime) -> bool {
        self.0.year() == other.0.year()
    }

    /// Returns the hour, from 0 to 23.
    pub fn hour(&self) -> u8 {
        self.0.hour().unsigned_abs()
    }

    /// Returns whether it is a Monday.
    pub fn is_monday(&self) -> bool {
        self.0.weekday() == jiff::civil::Weekday::Monday
    }

    /// Returns `14:32`.
    pub fn minute(&self) -> String {
        self.text("%H:%M")
    }

    /// Returns `14:32:07`.
    pub fn second(&self) -> String {
        self.text("%H:%M:%S")
    }

    /// Returns `Tue`.
    pub fn weekday(&self) -> String {
        self.text("%a")
    }

    /// Returns `Friday`.
    pub fn weekday_in_full(&self) -> String {
        self.text("%A")
    }

    /// Returns `12 Oct`.
    pub fn date(&self) -> String {
        self.text("%-d %b")
    }

    /// Returns `12 Oct 2025`.
    pub fn date_with_year(&self) -> String {
        self.text("%-d %b %Y")
    }

    /// Returns `12 October`.
    pub fn date_in_full(&self) -> String {
        self.text("%-d %B")
    }

    /// Returns `12 October 2025`.
    pub fn date_in_full_with_year(&self) -> String {
        self.text("%-d %B %Y")
    }

    /// Returns the number of the day in its month, such as `12`.
    pub fn day_of_month(&self) -> String {
        self.text("%-d")
    }

    /// Returns `Friday 27 November 2026, 14:32:07 CET`.
    pub fn in_full(&self) -> String {
        self.text("%A %-d %B %Y, %H:%M:%S %Z")
    }

    /// Returns RFC 3339 with the zone's offset, in whole seconds.
    pub fn rfc3339(&self) -> String {
        self.text("%Y-%m-%dT%H:%M:%S%:z")
    }

    /// Returns the value of a browser's `datetime-local` field.
    pub fn field(&self) -> String {
        self.text("%Y-%m-%dT%H:%M")
    }

    fn text(&self, pattern: &str) -> String {
        // The patterns are the ones above, which a test reads; none of them can fail on a time with a zone.
        strtime::format(pattern, &self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_time_is_written_as_the_wall_clock_shows_it() {
        let time = berlin().local(at("2026-11-07T13:02:07.999Z"));

        assert_eq!([time.minute(), time.second()], ["14:02", "14:02:07"]);
        assert_eq!([time.weekday(), time.weekday_in_full()], ["Sat", "Saturday"]);
        assert_eq!([time.date(), time.date_with_year(), time.day_of_month()], ["7 Nov", "7 Nov 2026", "7"]);
        assert_eq!([time.date_in_full(), time.date_in_full_with_year()], ["7 November", "7 November 2026"]);
        assert_eq!(time.in_full(), "Saturday 7 November 2026, 14:02:07 CET");
        assert_eq!([time.rfc3339(), time.field()], ["2026-11-07T14:02:07+01:00", "2026-11-07T14:02"]);
        assert_eq!(time.hour(), 14);
        let summer = berlin().local(at("2026-07-01T00:00:00Z"));
        assert_eq!(summer.in_full(), "Wednesday 1 July 2026, 02:00:00 CEST");
        assert!(berlin().local(at("2026-11-30T12:00:00Z")).is_monday() && !time.is_monday());
    }

    #[test]
    fn days_are_counted_by_midnights_of_the_place() {
        let now = berlin().local(at("2026-10-26T12:00:00Z"));
        let before = |text: &str| berlin().local(at(text)).days_before(&now);

        assert_eq!(before("2026-10-25T23:00:00Z"), 0);
        assert_eq!(before("2026-10-25T22:59:59Z"), 1);
        // That Sunday has 25 hours.
        assert_eq!([before("2026-10-24T22:00:00Z"), before("2026-10-24T21:59:59Z")], [1, 2]);
        assert_eq!(before("2026-10-27T12:00:00Z"), -1);
        assert_eq!(before("2025-10-26T12:00:00Z"), 365);
    }

    #[test]
    fn a_day_some_days_ago_begins_at_its_midnight_also_across_the_change_of_the_clocks() {
        let now = at("2026-10-26T12:00:00Z");
        let begins = |days| berlin().day_before(now, days).begins.rfc3339();

        assert_eq!(begins(0), "2026-10-25T23:00:00Z");
        assert_eq!(begins(1), "2026-10-24T22:00:00Z");
        assert_eq!(begins(26), "2026-09-29T22:00:00Z");
    }

    #[test]
    fn a_time_that_is_typed_is_local() {
        let parsed = |text: &str| berlin().parse_local(text).map(Timestamp::rfc3339);
        let is = |text: &str| Some(text.to_owned());

        assert_eq!(parsed("2026-01-31T12:00"), is("2026-01-31T11:00:00Z"));
        assert_eq!(parsed(" 2026-07-31 12:00:30 "), is("2026-07-31T10:00:30Z"));
        assert_eq!(parsed("2026-01-31"), is("2026-01-30T23:00:00Z"));
        assert_eq!(parsed("2026-03-29T02:30"), is("2026-03-29T01:30:00Z"), "skipped by the clocks");
        assert_eq!(parsed("2026-10-25T02:30"), is("2026-10-25T00:30:00Z"), "shown twice");
        for bad in
            ["", "today", "12:00", "2026-02-30", "2026-01-31T12:00Z", "2026-01-31T12:00+02:00", "2026-01-31T25:00"]
        {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_beyond_every_calendar_is_its_end() {
        assert_eq!(berlin().local(Timestamp(i64::MAX)).date_with_year(), "30 Dec 9999");
        assert!(!berlin().local(Timestamp(i64::MIN)).in_full().is_empty());
        assert!(
            berlin().day_before(Timestamp(i64::MIN), 3).begins < berlin().day_before(Timestamp(i64::MAX), 3).begins
        );
    }
}
