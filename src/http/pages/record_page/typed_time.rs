//! Times as people type them into the filter of the record.

use crate::base::clock::Timestamp;
use crate::base::clock::zone::Zone;
use crate::http::pages::format::PageTimes;

/// A time of the filter. Words stay words in the address, so that a link means the same tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedTime {
    /// The last midnight: `today`.
    Today,
    /// `-2d`, `-6h`
    Ago {
        number: u16,
        unit: AgoUnit,
    },
    At(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgoUnit {
    Hours,
    Days,
}

impl AgoUnit {
    fn letter(self) -> char {
        match self {
            AgoUnit::Hours => 'h',
            AgoUnit::Days => 'd',
        }
    }

    fn seconds(self) -> i64 {
        match self {
            AgoUnit::Hours => 3_600,
            AgoUnit::Days => 86_400,
        }
    }
}

impl TypedTime {
    /// Reads a word, a local time such as `2026-01-31 12:00`, or RFC 3339.
    pub fn parse(text: &str, zone: &Zone) -> Option<TypedTime> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("today") {
            return Some(TypedTime::Today);
        }
        if let Some(ago) = text.strip_prefix('-') {
            let unit = [AgoUnit::Hours, AgoUnit::Days].into_iter().find(|unit| ago.ends_with(unit.letter()))?;
            let digits = ago.strip_suffix(unit.letter())?;
            let number = digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
            return Some(TypedTime::Ago { number, unit });
        }
        Timestamp::parse(text).or_else(|| zone.parse_local(text)).map(TypedTime::At)
    }

    /// Returns it as an address has it.
    pub fn in_address(self) -> String {
        match self {
            TypedTime::Today => "today".to_owned(),
            TypedTime::Ago { number, unit } => format!("-{number}{}", unit.letter()),
            TypedTime::At(at) => at.rfc3339(),
        }
    }

    /// Returns it as a field of the form has it: local.
    pub fn in_field(self, times: &PageTimes) -> String {
        match self {
            TypedTime::At(at) => {
                let local = times.zone().local(at);
                let text =
                    if at.0 % 60_000_000 == 0 { local.field() } else { local.rfc3339().chars().take(19).collect() };
                text.replace('T', " ")
            }
            word => word.in_address(),
        }
    }

    pub fn at(self, times: &PageTimes) -> Timestamp {
        match self {
            TypedTime::Today => times.zone().day_of(times.now()).begins,
            TypedTime::Ago { number, unit } => times.now().plus_seconds(-i64::from(number) * unit.seconds()),
            TypedTime::At(at) => at,
        }
    }
}

/// Returns the time of a filter in words, for its chip.
pub fn in_words(from: Option<TypedTime>, to: Option<TypedTime>, times: &PageTimes) -> String {
    match (from, to) {
        (None, None) => String::new(),
        (Some(TypedTime::Today), None) => "Today".to_owned(),
        (Some(TypedTime::Ago { number: 1, unit }), None) => format!("Last {}", one(unit)),
        (Some(TypedTime::Ago { number, unit }), None) => format!("Last {number} {}s", one(unit)),
        (Some(from), None) => format!("From {}", near(from, times)),
        (None, Some(to)) => format!("Until {}", near(to, times)),
        (Some(from), Some(to)) => {
            let (begin, end) = (from.at(times), to.at(times));
            let day = times.zone().day_of(begin);
            if begin == day.begins && end == day.ends {
                return times.day(begin).text;
            }
            let end_text =
                if times.are_on_one_day(begin, end) { times.zone().local(end).minute() } else { near(to, times) };
            format!("{} to {end_text}", near(from, times))
        }
    }
}

fn one(unit: AgoUnit) -> &'static str {
    match unit {
        AgoUnit::Hours => "hour",
        AgoUnit::Days => "day",
    }
}

/// Returns a day and a time of day.
fn near(time: TypedTime, times: &PageTimes) -> String {
    let at = time.at(times);
    let local = times.zone().local(at);
    if times.are_on_one_day(at, times.now()) {
        return format!("today {}", local.minute());
    }
    format!("{} {} {}", local.weekday(), times.date(at).text, local.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> PageTimes {
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), Timestamp::parse("2026-11-27T13:32:07Z").unwrap())
    }

    fn read(text: &str) -> Option<TypedTime> {
        TypedTime::parse(text, times().zone())
    }

    #[test]
    fn words_and_local_times_are_read_and_stand_in_the_address_so_that_they_are_read_again() {
        for (typed, address, at) in [
            ("Today", "today", "2026-11-26T23:00:00Z"),
            ("-2d", "-2d", "2026-11-25T13:32:07Z"),
            ("-6h", "-6h", "2026-11-27T07:32:07Z"),
            ("2026-11-27 14:00", "2026-11-27T13:00:00Z", "2026-11-27T13:00:00Z"),
            ("2026-11-27", "2026-11-26T23:00:00Z", "2026-11-26T23:00:00Z"),
            ("2026-11-27T14:00:00+02:00", "2026-11-27T12:00:00Z", "2026-11-27T12:00:00Z"),
        ] {
            let time = read(typed).unwrap_or_else(|| panic!("{typed}"));
            assert_eq!((time.in_address().as_str(), time.at(&times()).rfc3339().as_str()), (address, at), "{typed}");
            assert_eq!(read(&time.in_address()), Some(time), "{typed}");
            assert_eq!(read(&time.in_field(&times())), Some(time), "{typed}");
        }
        for wrong in ["", "yesterday", "-d", "-+2d", "-2w", "2d", "-70000d", "2026-13-01"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_chip_says_the_time_in_words() {
        let said = |from: &str, to: &str| in_words(read(from), read(to), &times());

        assert_eq!([said("today", ""), said("-1d", ""), said("-2d", "")], ["Today", "Last day", "Last 2 days"]);
        assert_eq!(said("2026-11-27 14:00", "2026-11-27 15:00"), "today 14:00 to 15:00");
        assert_eq!(said("2026-11-26 23:00", "2026-11-27 00:00"), "Thu 26 Nov 23:00 to today 00:00");
        assert_eq!(said("2026-11-26", "2026-11-27"), "Yesterday, Thursday 26 November");
        assert_eq!(said("2026-10-12 09:30", ""), "From Mon 12 Oct 09:30");
        assert_eq!(said("", "2025-10-12 09:30"), "Until Sun 12 Oct 2025 09:30");
        assert_eq!(said("", ""), "");
    }
}
