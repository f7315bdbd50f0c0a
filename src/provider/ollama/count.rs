//! A count or a duration in an answer, read leniently: it must never cost the answer that it stands in.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The largest number that is handed on, the largest whole one that JSON carries exactly everywhere. Whatever is larger,
/// negative or no number at all is read as this, which no answer can have: the gateway then takes its own count instead.
pub const ABSURD: u64 = 1 << 53;

/// A number that any JSON value can be read as. Fractions are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);

impl Count {
    fn parse(json: &str) -> Count {
        if let Ok(whole) = json.parse::<u64>() {
            return Count(whole.min(ABSURD));
        }
        match json.parse::<f64>() {
            // The cast drops the fraction; beyond the bound, and on NaN, it is not reached.
            Ok(number) if (0.0..ABSURD as f64).contains(&number) => Count(number as u64),
            _ => Count(ABSURD),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text itself: serde_json refuses numbers beyond 64 bits before anybody can look at them.
        Ok(Count::parse(<&RawValue>::deserialize(deserializer)?.get()))
    }
}

/// Returns the number, and 0 for a field that is absent: a zero is absent on this wire.
pub fn count(field: Option<Count>) -> u64 {
    field.map_or(0, |Count(number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_value_can_be_read_as_a_count() {
        for (json, number) in [
            ("0", 0),
            ("7", 7),
            ("7.9", 7),
            ("1e3", 1000),
            ("-0.0", 0),
            ("9007199254740991", ABSURD - 1),
            ("9007199254740992", ABSURD),
            ("18446744073709551615", ABSURD),
            ("18446744073709551616", ABSURD),
            ("1e400", ABSURD),
            ("-1", ABSURD),
            ("-0.5", ABSURD),
            ("\"7\"", ABSURD),
            ("true", ABSURD),
            ("[7]", ABSURD),
            ("{\"a\":7}", ABSURD),
        ] {
            assert_eq!(serde_json::from_str::<Count>(json).unwrap(), Count(number), "{json}");
            assert_eq!(serde_json::from_str::<Option<Count>>(json).unwrap(), Some(Count(number)), "{json}");
        }
        assert_eq!(serde_json::from_str::<Option<Count>>("null").unwrap(), None);
    }
}
