//! Days in a time zone: from midnight to midnight, whatever summer time does to their length.
//!
//! The host's own rules are used where it has them; otherwise built-in ones, so that a name means the same without them.

use jiff::tz::TimeZone;

use crate::base::clock::Timestamp;

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// From one midnight to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Zone {
    /// Finds a zone by its IANA name, such as `Europe/Berlin`.
    pub fn named(name: &str) -> Option<Zone> {
        TimeZone::get(name).ok().map(Zone)
    }

    /// Returns the host's own zone; UTC if the host has none configured.
    pub fn of_host() -> Zone {
        Zone(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// Returns its name, such as `Europe/Berlin`; of a host that does not know its own, `local time`.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or(if self.0 == TimeZone::UTC { "UTC" } else { "local time" })
    }

    /// Returns the rules of the zone, for this folder.
    pub(super) fn rules(&self) -> &TimeZone {
        &self.0
    }

    pub fn day_of(&self, now: Timestamp) -> Day {
        self.midnights(now).unwrap_or_else(|| Day::of_utc(now))
    }

    /// Returns the date of a time, such as `2026-01-31`.
    pub fn date_of(&self, time: Timestamp) -> String {
        let zoned = jiff::Timestamp::from_microsecond(time.0).map(|time| time.to_zoned_datetime(self.0.clone()));
        zoned.map_or_else(|_| time.rfc3339(), |zoned| zoned.date().to_string())
    }

    /// Returns the day that contains `now`; `None` outside of the years that a calendar knows.
    fn midnights(&self, now: Timestamp) -> Option<Day> {
        let now = jiff::Timestamp::from_microsecond(now.0).ok()?.to_zoned_datetime(self.0.clone());
        let midnight = |moment: &jiff::ZonedDateTime| {
            let begins = moment.start_of_day().ok()?;
            Some(Timestamp(begins.timestamp().as_microsecond()))
        };
        let day = Day { begins: midnight(&now)?, ends: midnight(&now.tomorrow().ok()?)? };
        Some(day).filter(|day| day.begins < day.ends)
    }
}

const UTC_DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

impl Day {
    fn of_utc(now: Timestamp) -> Day {
        let begins = now.0.saturating_sub(now.0.rem_euclid(UTC_DAY_US));
        Day { begins: Timestamp(begins), ends: Timestamp(begins.saturating_add(UTC_DAY_US)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(zone: &str, now: &str) -> (String, String) {
        let day = Zone::named(zone).unwrap().day_of(Timestamp::parse(now).unwrap());
        (day.begins.rfc3339(), day.ends.rfc3339())
    }

    fn from_to(begins: &str, ends: &str) -> (String, String) {
        (begins.to_owned(), ends.to_owned())
    }

    #[test]
    fn a_day_goes_from_midnight_to_midnight_where_people_live() {
        let berlin = from_to("2026-01-14T23:00:00Z", "2026-01-15T23:00:00Z");

        assert_eq!(day("Europe/Berlin", "2026-01-14T23:00:00Z"), berlin);
        assert_eq!(day("Europe/Berlin", "2026-01-15T22:59:59.999999Z"), berlin);
        assert_ne!(day("Europe/Berlin", "2026-01-15T23:00:00Z"), berlin);
        assert_eq!(day("UTC", "2026-01-15T23:00:00Z"), from_to("2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z"));
        assert_eq!(day("Asia/Kathmandu", "2026-01-15T12:00:00Z").0, "2026-01-14T18:15:00Z");
    }

    #[test]
    fn a_date_is_that_of_the_calendar_on_the_wall() {
        let date = |zone: &str, time: &str| Zone::named(zone).unwrap().date_of(Timestamp::parse(time).unwrap());

        assert_eq!(date("Europe/Berlin", "2026-01-14T22:59:59Z"), "2026-01-14");
        assert_eq!(date("Europe/Berlin", "2026-01-14T23:00:00Z"), "2026-01-15");
        assert_eq!(date("UTC", "2026-01-14T23:00:00Z"), "2026-01-14");
    }

    #[test]
    fn a_day_on_which_the_clocks_are_changed_is_shorter_or_longer() {
        let spring = from_to("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        let autumn = from_to("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");

        assert_eq!(day("Europe/Berlin", "2026-03-29T12:00:00Z"), spring);
        assert_eq!(day("Europe/Berlin", "2026-10-25T12:00:00Z"), autumn);
        // In Beirut, midnight itself is skipped in spring.
        assert_eq!(day("Asia/Beirut", "2026-03-29T12:00:00Z").0, "2026-03-28T22:00:00Z");
    }

    #[test]
    fn a_name_that_no_zone_has_is_none() {
        assert!(Zone::named("Europe/Berln").is_none());
        assert!(Zone::named("").is_none());
    }

    #[test]
    fn a_time_beyond_every_calendar_has_a_day_all_the_same() {
        let day = Zone::named("Europe/Berlin").unwrap().day_of(Timestamp(i64::MAX));

        assert!(day.begins < day.ends);
    }
}
