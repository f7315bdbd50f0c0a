//! Types of values that several dialects take: numbers within bounds, limits of tokens, stop sequences.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::base::error::Error;
use crate::dialect::json::at::At;
use crate::dialect::json::ignored::Ignored;
use crate::dialect::json::typed::unsupported;

/// A number from `LOW` to `HIGH`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number<const LOW: i32, const HIGH: i32>(pub f64);

impl<'de, const LOW: i32, const HIGH: i32> Deserialize<'de> for Number<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !(f64::from(LOW)..=f64::from(HIGH)).contains(&value) {
            return Err(D::Error::custom(format_args!("must be between {LOW} and {HIGH}")));
        }
        Ok(Number(value))
    }
}

/// A whole number from `LOW` to `HIGH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer<const LOW: i64, const HIGH: i64>(pub i64);

impl<'de, const LOW: i64, const HIGH: i64> Deserialize<'de> for Integer<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        if !(LOW..=HIGH).contains(&value) {
            return Err(D::Error::custom(format_args!("must be between {LOW} and {HIGH}")));
        }
        Ok(Integer(value))
    }
}

/// A limit of model tokens. Values beyond 32 bits are capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// -1, which some clients write for "no limit".
    Unlimited,
    AtMost(u32),
}

impl<'de> Deserialize<'de> for TokenLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            -1 => Ok(TokenLimit::Unlimited),
            ..1 => Err(D::Error::custom("must be at least 1, or -1 for the gateway's own limit")),
            limit => Ok(TokenLimit::AtMost(u32::try_from(limit).unwrap_or(u32::MAX))),
        }
    }
}

impl TokenLimit {
    /// Returns the limit. No answer runs for ever here, so instead of none the gateway's own holds, and `field` is noted.
    pub fn at_most(self, field: &str, ignored: &mut Ignored) -> Option<u32> {
        match self {
            TokenLimit::AtMost(limit) => Some(limit),
            TokenLimit::Unlimited => {
                ignored.add(field);
                None
            }
        }
    }
}

/// A field that is refused whatever its value.
#[derive(Debug)]
pub struct NotOffered;

impl<'de> Deserialize<'de> for NotOffered {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(unsupported("is not offered; leave it out"))
    }
}

/// Stop sequences: one text or a list.
#[derive(Debug, PartialEq, Deserialize)]
pub enum Stops {
    #[serde(rename = "a string")]
    One(String),
    #[serde(rename = "an array of strings")]
    Several(Vec<String>),
}

impl Stops {
    /// Returns the texts, of which there may be `most`. An empty one in a list would end every answer at once.
    pub fn texts(self, at: &At<'_>, most: usize) -> Result<Vec<String>, Error> {
        let stops = match self {
            Stops::One(text) => return Ok(vec![text]),
            Stops::Several(stops) => stops,
        };
        if stops.len() > most {
            return Err(at.invalid(format_args!("may hold at most {most} texts")));
        }
        if let Some(number) = stops.iter().position(String::is_empty) {
            return Err(at.index(number).invalid("is empty; leave it out"));
        }
        Ok(stops)
    }
}
