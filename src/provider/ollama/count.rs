//! Counts and durations in answers, read leniently: a wrong one must never fail the answer.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The largest number that is passed on: the largest integer that is exact in every JSON reader. What is larger, negative or no
/// number is read as this, which no answer can have, and the gateway uses its own count instead.
pub const ABSURD: u64 = 1 << 53;

/// A number as which any JSON value can be read. Fractions are dropped.
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
        // Parsed from the text, since serde_json refuses numbers beyond 64 bits.
        Ok(Count::parse(<&RawValue>::deserialize(deserializer)?.get()))
    }
}

/// Returns the number, or 0 for an absent field: Ollama omits zeros.
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
