//! JSON schemas that bind an answer, rewritten for Ollama's grammar compiler.
//!
//! Ollama makes a grammar of a schema in two steps that trust their input: llama.cpp's `json-schema-to-grammar`, in Ollama's
//! own process, and its parser of grammars, in the process that runs the model. An unexpected schema crashes either
//! process or keeps it busy forever, for all users of that model server. So no schema is passed on: what is sent is built
//! here from the few constructs that both are known to accept (Ollama 0.24.0), and within bounds:
//!
//! | construct | as sent |
//! |---|---|
//! | any value | `{"type": ["object", …]}` |
//! | one of | `anyOf`, never empty, at most 1,000 ways in all |
//! | values | `enum`, never empty, counted with the ways |
//! | object | `properties`, `required`; `additionalProperties` only where no name disturbs its rule |
//! | array | `items` with `minItems` and `maxItems` up to 2,000, or `prefixItems` |
//! | text | `pattern` (see `pattern.rs`), a `format` that it has rules for, or `minLength` and `maxLength` up to 2,000 |
//! | integer | `minimum` and `maximum` of at most 15 digits |
//! | number, boolean, null | as they are |
//! | recursion | `$ref` to a definition with a name of ours |
//!
//! References and `allOf` are expanded first, so that `$ref` is left only where a schema contains itself. What has no construct
//! is left out and noted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::error::Error;
use crate::provider::ollama::grammar::writer::{Level, SchemaWriter, Stop};
use crate::provider::ollama::grammar::written::{anything, used_definitions};
use crate::provider::ollama::refs::Refs;

mod chars;
mod facts;
mod part;
mod pattern;
mod size;
mod writer;
mod written;

/// The longest text of a grammar. Ollama's buffer for it is one mebibyte.
const GRAMMAR_BYTES_MAX: usize = 256 * 1024;
/// What is done about a schema that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It is refused: the caller asked for an answer of exactly this form.
    Strict,
    /// It is used as far as possible: schemas of tools are generated, and tools check what they receive.
    Lenient,
}

/// The rewritten schemas of one request.
#[derive(Default)]
pub struct Grammar {
    definitions: BTreeMap<String, Value>,
    nodes: usize,
    ways: usize,
    repeats: usize,
    noted: Vec<String>,
    more_noted: usize,
}

impl Grammar {
    /// Rewrites a schema that is in the request's field `field`.
    pub fn write(&mut self, schema: &Value, field: &str, care: Care) -> Result<Value, Error> {
        self.write_all(&[schema], Refs::of(schema), field, care)
    }

    /// Rewrites a schema whose values have to be objects.
    pub fn write_object(&mut self, schema: Option<&Value>, field: &str, care: Care) -> Result<Value, Error> {
        let (object, no_properties) = (json!({"type": "object"}), json!({"properties": {}}));
        let schema = schema.unwrap_or(&no_properties);
        self.write_all(&[schema, &object], Refs::of(schema), field, care)
    }

    fn write_all<'a>(
        &mut self,
        schemas: &[&'a Value],
        refs: Refs<'a>,
        field: &str,
        care: Care,
    ) -> Result<Value, Error> {
        let mut writer = SchemaWriter::new(self, refs, care, field);
        let written = match writer.all_of(schemas, Level::default()) {
            Ok(written) => written,
            Err(Stop::TooLarge(error)) => return Err(error),
            Err(_) if care == Care::Lenient => {
                writer.note("");
                json!({"type": "object"})
            }
            Err(Stop::Wrong(error)) => return Err(error),
            Err(Stop::Nothing) => {
                let at = writer.contradiction.unwrap_or_else(|| field.to_owned());
                let message = format!("`{at}` contradicts itself: no value fits this schema");
                return Err(Error::invalid(at, message));
            }
        };
        // The compiler treats a schema without any constraint as an object, so clients have always got objects.
        Ok(if written == anything() { json!({"type": "object"}) } else { written })
    }

    /// Returns the text to send; `field` names it in the error when it is too large.
    pub fn finish(self, written: Value, field: &str) -> Result<Finished, Error> {
        let Grammar { definitions, noted, more_noted, .. } = self;
        let used = used_definitions(&written, &definitions);
        // A reference at the top would hide the definitions from the compiler, and a property with an empty name would hide its
        // own rule. An `anyOf` of one alternative means the same.
        let has_nameless = written["properties"].get("").is_some();
        let mut whole = if used.is_empty() && !has_nameless { written } else { json!({"anyOf": [written]}) };
        if !used.is_empty() {
            whole["$defs"] = used.into();
        }
        let bytes = size::of_grammar(&whole);
        if bytes > GRAMMAR_BYTES_MAX {
            return Err(too_large(field, format_args!("makes a grammar of more than {GRAMMAR_BYTES_MAX} bytes")));
        }
        let mut text = whole.to_string();
        // Ollama's buffer for a grammar is four times as long as the schema; a longer grammar is truncated.
        if bytes > size::ROOM_MIN {
            let missing = bytes.div_ceil(size::ROOM_PER_BYTE).saturating_sub(text.len());
            text.insert_str(1, &" ".repeat(missing));
        }
        let mut simplified = noted;
        if more_noted > 0 {
            simplified.push(format!("and {more_noted} more"));
        }
        Ok(Finished { schema: text, simplified })
    }
}

/// A schema as it is sent, and the places in the caller's schema at which something was left out.
#[derive(Debug)]
pub struct Finished {
    pub schema: String,
    pub simplified: Vec<String>,
}

fn too_large(field: &str, why: std::fmt::Arguments<'_>) -> Error {
    Error::invalid(field, format!("`{field}` {why}; send a smaller schema"))
}

#[cfg(test)]
mod tests;
