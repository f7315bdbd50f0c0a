//! Client data: JSON whose field names are the client's own, such as tool arguments, schemas and metadata.
//!
//! Any names are accepted: names that differ only by case, an empty one, duplicates (the last one counts, as for Ollama). It is
//! kept as the text that was sent, which needs no recursion at any depth and keeps each number as it was written.

use memchr::memchr2;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, json};

use crate::base::error::Error;
use crate::dialect::surrogates;

/// Maximum nesting in the arguments of a tool call. They are never parsed into a tree here, so this is more than a body may
/// have; Ollama itself refuses 10,000.
pub const ARGUMENTS_NESTING_MAX: usize = 1000;

/// The name under which a model reads arguments that are no JSON object. They are a string of the model's own making, which
/// the limit of tokens may have cut, and the caller keeps them in the conversation. Left out, they would leave the model with
/// an answer of the tool ("invalid JSON") to a call that looks right; as a message they would leave the tool's answer
/// without its call. The name says what happened, so that a model does not take it for a parameter.
pub const UNREADABLE: &str = "INVALID_ARGUMENTS";

/// An object or an array, checked to be JSON and nothing more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Data<'a> {
    text: &'a str,
    size: Size,
}

impl<'a> Data<'a> {
    /// Returns the client data in a JSON text. `None`: it is a string, a number, or another single value.
    pub fn of(text: &'a str) -> Option<Self> {
        text.starts_with(['{', '[']).then(|| Data { text, size: Size::of(text) })
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn is_object(&self) -> bool {
        self.text.starts_with('{')
    }

    pub fn is_empty(&self) -> bool {
        self.text[1..self.text.len() - 1].trim_ascii().is_empty()
    }

    /// Returns an upper bound on the number of values in it.
    pub fn values(&self) -> usize {
        self.size.values
    }

    /// Returns how many objects and arrays are inside one another.
    pub fn depth(&self) -> usize {
        self.size.depth
    }

    /// Returns the arguments of a tool call as they were sent; `None`: Ollama could not parse them.
    pub fn arguments(self) -> Option<Box<RawValue>> {
        let is_read = self.is_object() && self.size.depth <= ARGUMENTS_NESTING_MAX && self.size.has_finite_numbers;
        if is_read { RawValue::from_string(self.text.to_owned()).ok() } else { None }
    }
}

/// Returns the arguments of a tool call that were sent as JSON in a string; `None`: Ollama could not parse them as an object.
pub fn arguments_in(text: &str) -> Option<Box<RawValue>> {
    let text = text.trim_ascii();
    if text.is_empty() || text == "null" {
        return to_raw_value(&Map::new()).ok();
    }
    let mended = surrogates::mended(text.as_bytes());
    let json: &RawValue = serde_json::from_slice(&mended).ok()?;
    Data::of(json.get())?.arguments()
}

/// Returns the object that stands in for arguments that are not a JSON object, for the model to see.
pub fn unreadable_arguments(text: &str) -> Result<Box<RawValue>, Error> {
    to_raw_value(&json!({ UNREADABLE: text })).map_err(Error::internal)
}

/// Measures of a JSON text, taken without parsing it into a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Size {
    /// Nesting of objects and arrays.
    depth: usize,
    values: usize,
    /// False for `1e400`, which is JSON, but which Ollama can't parse.
    has_finite_numbers: bool,
}

/// Number of digits of the largest finite number without an exponent.
const FINITE_DIGITS_MAX: usize = 308;

impl Size {
    /// Measures a text that is JSON.
    fn of(json: &str) -> Self {
        let bytes = json.as_bytes();
        let mut size = Size { depth: 0, values: 1, has_finite_numbers: true };
        let (mut at, mut open) = (0, 0_usize);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = behind_string(bytes, at),
                b'{' | b'[' => {
                    open += 1;
                    size.values += 1;
                    size.depth = size.depth.max(open);
                }
                b'}' | b']' => open = open.saturating_sub(1),
                b',' => size.values += 1,
                b'-' | b'0'..=b'9' => {
                    let start = at - 1;
                    while bytes
                        .get(at)
                        .is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
                    {
                        at += 1;
                    }
                    size.has_finite_numbers &= is_finite(&json[start..at]);
                }
                _ => {}
            }
        }
        size
    }
}

fn is_finite(number: &str) -> bool {
    let may_be_large = number.len() > FINITE_DIGITS_MAX || number.contains(['e', 'E']);
    !may_be_large || number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Returns the position behind the string that begins before `at`.
fn behind_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        // What follows a backslash ends nothing.
        at += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json::{NESTING_MAX, tree};

    fn nested(levels: usize) -> String {
        format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{", "}".repeat(levels))
    }

    #[test]
    fn any_names_and_numbers_are_kept_as_they_came() {
        for text in [
            r#"{"Authorization":"a","authorization":"b"}"#,
            r#"{"":{"":1},"ſtop":1,"stop":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"n":12345678901234567890123.0,"m":-0.0,"k":1E5}"#,
            r#"{ "spaced" : [ ] }"#,
            r#"{"quote\"{":"}\\"}"#,
            "{}",
        ] {
            assert_eq!(arguments_in(text).unwrap().get(), text);
            assert_eq!(arguments_in(&format!(" \n{text} ")).unwrap().get(), text);
        }
        for nothing in ["", "  ", "null"] {
            assert_eq!(arguments_in(nothing).unwrap().get(), "{}");
        }
        assert_eq!(arguments_in(r#"{"a":"\ud83d tail"}"#).unwrap().get(), r#"{"a":"\ufffd tail"}"#);
    }

    #[test]
    fn what_ollama_could_not_read_as_arguments_is_told_from_what_it_can() {
        for broken in [
            r#"{"command": "ls -la /ho"#,
            r#"{"a": 1}{"a": 2}"#,
            "[1]",
            "5",
            "\"{}\"",
            "true",
            "{'a':1}",
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            "rm -rf /",
            r#"{"a":1e400}"#,
        ] {
            assert!(arguments_in(broken).is_none(), "{broken}");
        }
        let digits = |count: usize| format!(r#"{{"a":{}}}"#, "9".repeat(count));
        assert!(arguments_in(&digits(308)).is_some());
        assert!(arguments_in(&digits(310)).is_none());
        assert!(arguments_in(r#"{"a":1e308,"b":"1e400"}"#).is_some());
        assert!(arguments_in(&nested(ARGUMENTS_NESTING_MAX)).is_some());
        assert!(arguments_in(&nested(ARGUMENTS_NESTING_MAX + 1)).is_none());
        assert!(arguments_in(&nested(1_000_000)).is_none());
    }

    #[test]
    fn a_schema_is_a_tree_of_bounded_depth_in_which_the_last_of_equal_names_counts() {
        let read = |text: &str| tree(Data::of(text).unwrap());

        assert_eq!(read(r#"{"a":1,"A":2,"":3,"a":4}"#).unwrap().to_string(), r#"{"a":4,"A":2,"":3}"#);
        assert!(read(&nested(NESTING_MAX)).is_ok());
        for bad in [&nested(NESTING_MAX + 1), r#"{"a":1e400}"#, "[]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_counted_and_those_in_texts_are_none() {
        let values = |text: &str| Data::of(text).unwrap().values();

        assert_eq!(values("{}"), 2);
        assert_eq!(values(r#"{"a":[1,2,3]}"#), 5);
        assert_eq!(values(r#"{"a":",,,[[[\",,"}"#), 2);
    }

    #[test]
    fn empty_is_told_in_any_spacing() {
        for (text, is_empty) in [("{}", true), ("[ \n]", true), ("[0]", false), (r#"{"":0}"#, false)] {
            assert_eq!(Data::of(text).unwrap().is_empty(), is_empty, "{text}");
        }
        assert!(Data::of("\"{}\"").is_none());
    }
}
