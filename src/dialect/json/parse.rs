//! Parses a client's body into the tree in one pass, within the bounds on nesting and on the number of values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::dialect::data::Data;
use crate::dialect::json::{Json, Object};

/// Maximum nesting of objects and arrays. Below serde_json's own limit of 128, so that the message is ours.
pub const NESTING_MAX: usize = 100;

/// Maximum number of values in one body. A body of nothing but `[0,0,…]` would otherwise take 16 times its size in memory.
pub const VALUES_MAX: usize = 500_000;

pub fn parse<'a>(body: &'a [u8], data: &[&str]) -> Result<Object<'a>, Error> {
    let text = std::str::from_utf8(body).map_err(|cause| {
        let at = cause.valid_up_to();
        refused(format!(
            "the body is not UTF-8 (byte {at}); send it as UTF-8, with `charset=utf-8` where a client asks"
        ))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(refused("the body begins with a byte order mark; send UTF-8 without it"));
    }
    if text.trim_ascii_start().is_empty() {
        return Err(refused("the body is empty; send a JSON object"));
    }
    let mut reading = Reading { data, values: 0, fault: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let read =
        Seed { reading: &mut reading, depth: 0 }.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match read {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(other) => Err(refused(format!("the body must be a JSON object, not {}", other.kind()))),
        Err(cause) => Err(reading.fault.map_or_else(|| malformed(&cause), refused)),
    }
}

fn refused(message: impl Into<String>) -> Error {
    // No field is at fault, but the body as a whole.
    Error::invalid("body", message)
}

fn malformed(cause: &serde_json::Error) -> Error {
    refused(format!("the body is not valid JSON: {cause}"))
}

/// The state of one parse.
struct Reading<'d> {
    data: &'d [&'d str],
    values: usize,
    /// Kept here, because serde's errors append a line and column, which would only say where parsing stopped.
    fault: Option<String>,
}

impl Reading<'_> {
    fn fail<E: de::Error>(&mut self, fault: String) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    fn count<E: de::Error>(&mut self, values: usize) -> Result<(), E> {
        self.values += values;
        if self.values > VALUES_MAX {
            return Err(self.fail(format!("the body holds more than {VALUES_MAX} values; send fewer")));
        }
        Ok(())
    }

    fn too_deep<E: de::Error>(&mut self) -> E {
        self.fail(format!("the body is nested more than {NESTING_MAX} levels deep; send a flatter one"))
    }
}

struct Seed<'r, 'd> {
    reading: &'r mut Reading<'d>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        self.reading.count(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        // JSON has no infinities, and serde_json refuses numbers that would become one.
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let Seed { reading, depth } = self;
        if depth == NESTING_MAX {
            return Err(reading.too_deep());
        }
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Seed { reading, depth: depth + 1 })? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let Seed { reading, depth } = self;
        if depth == NESTING_MAX {
            return Err(reading.too_deep());
        }
        let mut fields: Object<'de> = Vec::new();
        while let Some(key) = entries.next_key_seed(KeySeed)? {
            let value = if reading.data.contains(&key.as_ref()) {
                read_data(entries.next_value()?, reading, depth + 1)?
            } else {
                entries.next_value_seed(Seed { reading, depth: depth + 1 })?
            };
            fields.push((key, value));
        }
        Ok(Json::Object(fields))
    }
}

/// Reads client data: objects and arrays stay text. A single value has no field names, so it is read as usual.
fn read_data<'de, E: de::Error>(raw: &'de RawValue, reading: &mut Reading<'_>, depth: usize) -> Result<Json<'de>, E> {
    match Data::of(raw.get()) {
        Some(data) => {
            reading.count(data.values())?;
            Ok(Json::Data(data))
        }
        None => {
            let seed = Seed { reading, depth };
            seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(E::custom)
        }
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }
}
