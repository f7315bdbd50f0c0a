//! Reads a client's JSON body: parses it in one pass, and reads values with errors that name the field.
//!
//! Parsers disagree about duplicate keys and about case (Go's matches the names of its fields without regard to it), so an
//! object that has either could mean one thing to the gateway and another to the upstream. Reading its fields refuses it. Client
//! data, such as a schema, is `Data` and has no such rule.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::base::error::Error;
use crate::dialect::data::Data;

pub mod at;
pub mod ignored;
pub mod names;
pub mod parse;
pub mod typed;
pub mod values;

pub use at::{At, shown};
pub use ignored::Ignored;
pub use parse::NESTING_MAX;
pub use typed::{NoEffect, Sent, Tree, Unread, read_body, take};

use names::check_names;
use parse::parse;

/// Returns client data as a tree, or why there is none: it may be nested too deeply.
pub fn tree(data: Data<'_>) -> Result<Value, String> {
    if data.depth() > NESTING_MAX {
        return Err(format!("is nested more than {NESTING_MAX} levels deep; send a flatter one"));
    }
    let read = serde_json::from_str::<Map<String, Value>>(data.text());
    read.map(Value::Object).map_err(|cause| format!("can't be used: {cause}"))
}

/// A JSON value that borrows its text from the body where that has no escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
    /// An object or an array of client data.
    Data(Data<'a>),
}

/// The fields of an object in the order in which they came.
pub type Object<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// Refuses a body that is not one JSON object whose objects have unique keys; says where and what to do.
pub fn check_json(body: &[u8]) -> Result<(), Error> {
    let fields = parse(body, &[])?;
    check_names(&fields, &At::Body)?;
    fields.iter().try_for_each(|(name, value)| check_within(value, &At::Body.key(name)))
}

fn check_within(value: &Json<'_>, at: &At<'_>) -> Result<(), Error> {
    match value {
        Json::Object(fields) => {
            check_names(fields, at)?;
            fields.iter().try_for_each(|(name, value)| check_within(value, &at.key(name)))
        }
        Json::Array(items) => {
            items.iter().enumerate().try_for_each(|(number, item)| check_within(item, &at.index(number)))
        }
        _ => Ok(()),
    }
}

/// Reads a body whose fields have unique names. The values of fields named in `data`, at any depth, are client data.
pub fn read<'a>(body: &'a [u8], data: &[&str]) -> Result<Object<'a>, Error> {
    let fields = parse(body, data)?;
    check_names(&fields, &At::Body)?;
    Ok(fields)
}
impl<'a> Json<'a> {
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Data(data) if !data.is_object() => "an array",
            Json::Object(_) | Json::Data(_) => "an object",
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    /// Returns whether the value counts as absent: null or empty. Clients send `tools: []` and options that are all `null`.
    pub fn is_absent(&self) -> bool {
        match self {
            Json::Null => true,
            Json::Text(text) => text.is_empty(),
            Json::Array(items) => items.is_empty(),
            Json::Object(fields) => fields.is_empty(),
            Json::Data(data) => data.is_empty(),
            Json::Bool(_) | Json::Number(_) => false,
        }
    }

    fn wrong(&self, at: &At<'_>, expected: &str) -> Error {
        at.invalid(format_args!("must be {expected}, not {}", self.kind()))
    }

    pub fn text(self, at: &At<'_>) -> Result<Cow<'a, str>, Error> {
        match self {
            Json::Text(text) => Ok(text),
            other => Err(other.wrong(at, "a string")),
        }
    }

    pub fn boolean(self, at: &At<'_>) -> Result<bool, Error> {
        match self {
            Json::Bool(value) => Ok(value),
            other => Err(other.wrong(at, "a boolean")),
        }
    }

    pub fn array(self, at: &At<'_>) -> Result<Vec<Json<'a>>, Error> {
        match self {
            Json::Array(items) => Ok(items),
            other => Err(other.wrong(at, "an array")),
        }
    }

    /// Returns the fields of an object that has each name once, ignoring case.
    pub fn object(self, at: &At<'_>) -> Result<Object<'a>, Error> {
        match self {
            Json::Object(fields) => {
                check_names(&fields, at)?;
                Ok(fields)
            }
            other => Err(other.wrong(at, "an object")),
        }
    }

    /// Returns an object of client data. Its field must be among the names that `read` was given.
    pub fn data(self, at: &At<'_>) -> Result<Data<'a>, Error> {
        match self {
            Json::Data(data) if data.is_object() => Ok(data),
            other => Err(other.wrong(at, "an object")),
        }
    }

    /// Returns a whole number of at most 64 bits. `2.0` is accepted: some languages write all numbers as floats.
    pub fn integer(self, at: &At<'_>) -> Result<i64, Error> {
        let Json::Number(number) = &self else { return Err(self.wrong(at, "an integer")) };
        if let Some(value) = number.as_i64() {
            return Ok(value);
        }
        match number.as_f64() {
            // Up to here a float holds every integer exactly.
            Some(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => Ok(value as i64),
            Some(value) if value.fract() == 0.0 => Err(at.invalid("must be an integer of at most 64 bits")),
            _ => Err(at.invalid("must be an integer, not a fraction")),
        }
    }

    pub fn number(self, at: &At<'_>) -> Result<f64, Error> {
        let Json::Number(number) = &self else { return Err(self.wrong(at, "a number")) };
        number.as_f64().ok_or_else(|| at.invalid("must be a number of at most 64 bits"))
    }
}

#[cfg(test)]
mod tests;
