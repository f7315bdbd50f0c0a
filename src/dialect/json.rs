//! Reading a client's JSON body: one pass over it, and readers that name the field.
//!
//! Parsers disagree about duplicate keys and about case (Go's matches the names of its fields without regard to it), so an
//! object of ours that has either could mean one thing to us and another to whoever reads the record. Reading its fields
//! refuses it. What is the client's own, such as a schema, is `Data` and has no such rule.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::base::error::Error;
use crate::dialect::data::Data;

/// Objects and arrays inside one another, at most. Below serde_json's own limit of 128, so that the message is ours.
pub const NESTING_MAX: usize = 100;

/// Values in one body, at most. A body of nothing but `[0,0,…]` would otherwise take 16 times its size in memory.
pub const VALUES_MAX: usize = 500_000;

/// Client text in an error or a header, at most.
const SHOWN_CHARS_MAX: usize = 64;

/// The length up to which comparing keys one by one is quicker than hashing them.
const KEYS_COMPARED_MAX: usize = 16;

/// Returns an object of the client's own as a tree, or refuses what is nested too deeply.
pub fn tree(data: Data<'_>, at: &At<'_>) -> Result<Value, Error> {
    if data.depth() > NESTING_MAX {
        return Err(at.invalid(format_args!("is nested more than {NESTING_MAX} levels deep; send a flatter one")));
    }
    let read = serde_json::from_str::<Map<String, Value>>(data.text());
    read.map(Value::Object).map_err(|cause| at.invalid(format_args!("can't be used: {cause}")))
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
    /// An object or an array of the client's own.
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

/// Reads a body whose fields have unique names. What stands under a name in `data`, wherever that is, is the client's own.
pub fn read<'a>(body: &'a [u8], data: &[&str]) -> Result<Object<'a>, Error> {
    let fields = parse(body, data)?;
    check_names(&fields, &At::Body)?;
    Ok(fields)
}

fn parse<'a>(body: &'a [u8], data: &[&str]) -> Result<Object<'a>, Error> {
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

/// What a reading has seen so far.
struct Reading<'d> {
    data: &'d [&'d str],
    values: usize,
    /// Kept here, because serde's errors add the place in the text, which would say where we stopped.
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

/// Objects and arrays stay the text that they are. What is a single value can't hold names of anybody.
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

/// Refuses an object that has a name twice, in one case or in two.
fn check_names(fields: &Object<'_>, at: &At<'_>) -> Result<(), Error> {
    let mut names = Names::default();
    for (number, (name, _)) in fields.iter().enumerate() {
        let Some(first) = names.clash(&fields[..number], name) else { continue };
        let at = at.key(name);
        return Err(if first == name {
            at.invalid("is there twice; send it once")
        } else {
            at.invalid(format_args!("and `{}` differ only by case; send one of them", shown(first)))
        });
    }
    Ok(())
}

/// Finds a name that an object has already. The folded names exist only for objects with many keys.
#[derive(Default)]
struct Names {
    folded: Option<HashSet<String>>,
}

impl Names {
    fn clash<'f>(&mut self, fields: &'f [(Cow<'_, str>, Json<'_>)], key: &str) -> Option<&'f str> {
        if fields.len() >= KEYS_COMPARED_MAX {
            let folded = self.folded.get_or_insert_with(|| fields.iter().map(|(name, _)| fold(name)).collect());
            if folded.insert(fold(key)) {
                return None;
            }
        }
        fields.iter().map(|(name, _)| name.as_ref()).find(|name| same_but_for_case(name, key))
    }
}

fn same_but_for_case(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (!(one.is_ascii() && other.is_ascii()) && fold(one) == fold(other))
}

/// Up and down again: Go's parser takes the Kelvin sign for a `k` and the long s for an `s`.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Client text for an error: bounded, on one line.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Where a value stands in the body. It costs nothing until somebody asks for its text, as in `messages[2].content`.
#[derive(Clone, Copy)]
pub enum At<'p> {
    Body,
    Key(&'p At<'p>, &'p str),
    Index(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    pub fn key(&'p self, name: &'p str) -> At<'p> {
        At::Key(self, name)
    }

    pub fn index(&'p self, index: usize) -> At<'p> {
        At::Index(self, index)
    }

    pub fn invalid(&self, why: impl fmt::Display) -> Error {
        Error::invalid(self.to_string(), format!("`{self}` {why}"))
    }

    pub fn unsupported(&self, why: impl fmt::Display) -> Error {
        Error::unsupported(self.to_string(), format!("`{self}` {why}"))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Body => Ok(()),
            At::Key(At::Body, name) => f.write_str(&shown(name)),
            At::Key(parent, name) => write!(f, "{parent}.{}", shown(name)),
            At::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
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

    /// Null and empty mean absent: clients send `tools: []` and thirteen options that are all `null`.
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

    /// An object whose fields are ours: each name once, whatever its case.
    pub fn object(self, at: &At<'_>) -> Result<Object<'a>, Error> {
        match self {
            Json::Object(fields) => {
                check_names(&fields, at)?;
                Ok(fields)
            }
            other => Err(other.wrong(at, "an object")),
        }
    }

    /// An object of the client's own. Its field has to be among the names that `read` was given.
    pub fn data(self, at: &At<'_>) -> Result<Data<'a>, Error> {
        match self {
            Json::Data(data) if data.is_object() => Ok(data),
            other => Err(other.wrong(at, "an object")),
        }
    }

    /// Returns an object of the client's own as a tree.
    pub fn tree(self, at: &At<'_>) -> Result<Value, Error> {
        tree(self.data(at)?, at)
    }

    /// A whole number that fits 64 bits. `2.0` is one: some languages write all their numbers so.
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

    pub fn integer_in(self, at: &At<'_>, range: RangeInclusive<i64>) -> Result<i64, Error> {
        let value = self.integer(at)?;
        if !range.contains(&value) {
            return Err(at.invalid(format_args!("must be between {} and {}", range.start(), range.end())));
        }
        Ok(value)
    }

    pub fn number_in(self, at: &At<'_>, range: RangeInclusive<f64>) -> Result<f64, Error> {
        let Json::Number(number) = &self else { return Err(self.wrong(at, "a number")) };
        match number.as_f64() {
            Some(value) if range.contains(&value) => Ok(value),
            _ => Err(at.invalid(format_args!("must be between {} and {}", range.start(), range.end()))),
        }
    }

    /// A limit of tokens: at least 1. A larger one than 32 bits hold is as good as their largest. Some clients write -1 for
    /// no limit; no answer runs for ever here, so the gateway's own limit holds, and the caller is told so.
    pub fn token_limit(self, at: &At<'_>, ignored: &mut Ignored) -> Result<Option<u32>, Error> {
        match self.integer(at)? {
            -1 => {
                ignored.add(at);
                Ok(None)
            }
            ..1 => Err(at.invalid("must be at least 1, or -1 for the gateway's own limit")),
            limit => Ok(Some(u32::try_from(limit).unwrap_or(u32::MAX))),
        }
    }

    /// Stop sequences: one text or a list. An empty one in a list would end every answer at once.
    pub fn stop_sequences(self, at: &At<'_>, most: usize) -> Result<Vec<String>, Error> {
        let items = match self {
            Json::Text(text) if text.is_empty() => return Ok(Vec::new()),
            Json::Text(text) => return Ok(vec![text.into_owned()]),
            Json::Array(items) => items,
            other => return Err(other.wrong(at, "a string or an array of strings")),
        };
        if items.len() > most {
            return Err(at.invalid(format_args!("may hold at most {most} texts")));
        }
        let mut stops = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            let at = at.index(number);
            let text = item.text(&at)?;
            if text.is_empty() {
                return Err(at.invalid("is empty; leave it out"));
            }
            stops.push(text.into_owned());
        }
        Ok(stops)
    }
}

/// The names of fields that have no effect, for `x-ignored-parameters` and the record.
#[derive(Debug, Default)]
pub struct Ignored {
    names: Vec<String>,
    more: usize,
}

/// Names kept, at most; of the rest only the number is told.
const IGNORED_MAX: usize = 32;

impl Ignored {
    /// Notes a field. Its name is cut to what may stand in a header.
    pub fn add(&mut self, name: impl fmt::Display) {
        let name: String = name
            .to_string()
            .chars()
            .take(SHOWN_CHARS_MAX)
            .map(|c| if c.is_ascii_alphanumeric() || "_-.[]$".contains(c) { c } else { '?' })
            .collect();
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() == IGNORED_MAX {
            self.more += 1;
            return;
        }
        self.names.push(name);
    }

    /// A field that is not in `known`. Another spelling of a known one is an error: its author meant something by it.
    /// `prefix` is the place without indices, as in `messages[].`.
    pub fn unknown(
        &mut self,
        known: &[&str],
        at: &At<'_>,
        prefix: &str,
        key: &str,
        value: &Json<'_>,
    ) -> Result<(), Error> {
        if let Some(right) = known.iter().find(|name| same_but_for_case(name, key)) {
            return Err(at.key(key).invalid(format_args!("is not a field; write `{right}`")));
        }
        if !value.is_absent() {
            self.add(format_args!("{prefix}{key}"));
        }
        Ok(())
    }

    pub fn into_names(mut self) -> Vec<String> {
        if self.more > 0 {
            self.names.push(format!("and {} more", self.more));
        }
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: impl AsRef<[u8]>) -> (String, String) {
        let error = check_json(body.as_ref()).unwrap_err();
        (error.field().unwrap().to_owned(), error.to_string())
    }

    #[test]
    fn an_object_with_unique_keys_passes() {
        for good in ["{}", " {\"a\":1,\"b\":{\"a\":[{\"a\":1},{\"a\":2}]}}\n", r#"{"ä":1,"Ö":2}"#, r#"{"":1}"#] {
            check_json(good.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "the body is empty; send a JSON object"),
            (b" \n", "the body is empty; send a JSON object"),
            (b"[1]", "the body must be a JSON object, not an array"),
            (b"\"x\"", "the body must be a JSON object, not a string"),
            (b"null", "the body must be a JSON object, not null"),
            (b"\xef\xbb\xbf{}", "the body begins with a byte order mark; send UTF-8 without it"),
            (
                b"{\"a\":\"\xff\"}",
                "the body is not UTF-8 (byte 6); send it as UTF-8, with `charset=utf-8` where a client asks",
            ),
            (b"{\"a\":1,}", "the body is not valid JSON: trailing comma at line 1 column 8"),
            (b"{} {}", "the body is not valid JSON: trailing characters at line 1 column 4"),
        ];
        for (body, message) in cases {
            assert_eq!(refusal(body), ("body".to_owned(), message.to_owned()));
        }
        for bad in [
            "{",
            "{\"a\"",
            "{\"a\":1",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            r#"{"a":"\ud800"}"#,
            "{1:2}",
        ] {
            assert_eq!(refusal(bad).0, "body", "{bad}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_with_its_path() {
        assert_eq!(refusal(r#"{"a":1,"a":2}"#), ("a".into(), "`a` is there twice; send it once".into()));
        assert_eq!(refusal(r#"{"m":[{},{"x":{"role":1,"role":1}}]}"#).0, "m[1].x.role");
        // An escape does not hide it.
        assert_eq!(refusal(r#"{"a":1,"\u0061":2}"#).0, "a");
    }

    #[test]
    fn keys_that_differ_only_by_case_are_named() {
        let message = "`m[0].Role` and `role` differ only by case; send one of them";

        assert_eq!(refusal(r#"{"m":[{"role":1,"Role":2}]}"#), ("m[0].Role".into(), message.into()));
        // Go takes the Kelvin sign and the long s for letters.
        assert_eq!(refusal("{\"key\":1,\"\u{212a}ey\":2}").0, "\u{212a}ey");
        assert_eq!(refusal("{\"stop\":1,\"\u{17f}top\":2}").0, "\u{17f}top");
        assert_eq!(refusal(r#"{"ä":1,"Ä":2}"#).0, "Ä");
    }

    #[test]
    fn names_of_the_clients_own_are_its_business() {
        let body = r#"{"a":{"own":{"x":1,"X":2,"":3,"x":4},"other":1},"own":[{"y":1,"y":2}],"b":{"own":"text"}}"#;
        let mut fields = read(body.as_bytes(), &["own"]).unwrap().into_iter();
        let mut next = || fields.next().unwrap().1;
        let at = At::Body.key("a");

        let inside = next().object(&at).unwrap();
        assert_eq!(inside[0].1.clone().data(&at).unwrap().text(), r#"{"x":1,"X":2,"":3,"x":4}"#);
        let list = next();
        assert_eq!(list.data(&at).unwrap_err().to_string(), "`a` must be an object, not an array");
        assert_eq!(next().object(&at).unwrap()[0].1, Json::Text("text".into()));
        // What nobody reads is nobody's field either.
        assert!(read(br#"{"unknown":{"x":1,"X":2}}"#, &[]).is_ok());
        assert_eq!(read(br#"{"x":1,"X":2}"#, &[]).unwrap_err().field(), Some("X"));
    }

    #[test]
    fn what_is_the_clients_own_counts_as_values_and_has_to_be_json() {
        let own = |text: &str| read(format!(r#"{{"own":{text}}}"#).as_bytes(), &["own"]).map(|fields| fields.len());
        let zeros = |count: usize| format!("[{}]", vec!["0"; count].join(","));

        assert!(own(&zeros(VALUES_MAX - 2)).is_ok());
        assert!(own(&zeros(VALUES_MAX)).unwrap_err().to_string().contains("more than 500000 values"));
        assert!(own(&"[".repeat(100_000)).is_err());
        assert!(own(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).is_ok());
        for bad in ["{", "{'a':1}", "{\"a\":01}", "nul", "\"\n\"", "1e999"] {
            assert_eq!(own(bad).unwrap_err().field(), Some("body"), "{bad}");
        }
    }

    #[test]
    fn a_clash_is_found_among_any_number_of_keys() {
        for count in [1, 15, 16, 17, 18, 40] {
            let keys: Vec<String> = (0..count).map(|number| format!("\"key{number}\":0")).collect();
            let with = |last: &str| format!("{{{},\"{last}\":0}}", keys.join(","));

            check_json(with("other").as_bytes()).unwrap();
            assert_eq!(refusal(with("key0")).0, "key0", "{count}");
            assert_eq!(refusal(with("KEY0")).0, "KEY0", "{count}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |levels: usize| format!("{{\"a\":{}0{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));

        check_json(nested(NESTING_MAX).as_bytes()).unwrap();
        assert!(refusal(nested(NESTING_MAX + 1)).1.contains("100 levels"));
        assert!(refusal(nested(100_000)).1.contains("100 levels"));
        assert_eq!(refusal("{\"a\":".repeat(100_000)).0, "body");
    }

    #[test]
    fn the_number_of_values_has_a_limit() {
        // The object and the array are values, too.
        let zeros = |count: usize| format!("{{\"a\":[{}]}}", vec!["0"; count - 2].join(","));

        check_json(zeros(VALUES_MAX).as_bytes()).unwrap();
        assert!(refusal(zeros(VALUES_MAX + 1)).1.contains("more than 500000 values"));
    }

    #[test]
    fn client_text_in_a_message_is_short_and_on_one_line() {
        let long = "x".repeat(1000);

        let (field, message) = refusal(format!("{{\"{long}\":1,\"{long}\":1}}"));

        assert_eq!(field.chars().count(), SHOWN_CHARS_MAX + 1);
        assert!(message.len() < 200);
        assert_eq!(refusal("{\"a\\n\":1,\"a\\n\":1}").0, "a?");
    }

    #[test]
    fn a_wrong_type_is_named_and_its_value_is_not_shown() {
        let secret = || Json::Text("secret".into());
        let here = At::Body.key("messages");
        let here = here.index(2);
        let here = here.key("content");

        let error = secret().boolean(&here).unwrap_err();

        assert_eq!(error.to_string(), "`messages[2].content` must be a boolean, not a string");
        assert_eq!(error.field(), Some("messages[2].content"));
        for error in [secret().integer(&here), secret().array(&here).map(|_| 0), secret().object(&here).map(|_| 0)] {
            assert!(!error.unwrap_err().to_string().contains("secret"));
        }
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let integer = |text: &str| Json::Number(serde_json::from_str(text).unwrap()).integer(&At::Body.key("n"));

        assert_eq!(integer("2.0").unwrap(), 2);
        assert_eq!(integer("-9223372036854775808").unwrap(), i64::MIN);
        assert_eq!(integer("9223372036854775807").unwrap(), i64::MAX);
        assert!(integer("9223372036854775808").is_err());
        assert!(integer("2.5").is_err());
        assert!(integer("1e300").is_err());
    }

    #[test]
    fn ignored_names_are_few_short_and_fit_a_header() {
        let mut ignored = Ignored::default();
        for number in 0..40 {
            ignored.add(format_args!("field{number}"));
            ignored.add("twice");
        }
        let names = ignored.into_names();
        assert_eq!(names.len(), 33);
        assert_eq!(names[32], "and 9 more");

        let mut ignored = Ignored::default();
        ignored.add(format_args!("a\r\nb, ü{}", "x".repeat(100)));
        let names = ignored.into_names();
        assert!(names[0].starts_with("a??b???xx"), "{names:?}");
        assert_eq!(names[0].len(), SHOWN_CHARS_MAX);
    }
}
