//! Writes schemas of objects.

use serde_json::{Map, Value};

use crate::provider::ollama::grammar::Care;
use crate::provider::ollama::grammar::facts::Facts;
use crate::provider::ollama::grammar::writer::{Level, SchemaWriter, Stop};

/// The most optional properties of one object. The compiler's time grows with the third power of their number.
const OPTIONAL_MAX: usize = 300;

/// The longest name of a property: the compiler recurses for each of its characters.
const NAME_BYTES_MAX: usize = 256;

impl<'a> SchemaWriter<'a, '_> {
    pub fn object(&mut self, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut names_are_simple = true;
        let missing = facts.required_without_schema();
        for (name, schemas) in facts.properties.iter().map(|(name, schemas)| (*name, &schemas[..])).chain(missing) {
            let is_required = facts.required.contains(name);
            let why_not = if name == "$ref" {
                Some("can't be the name of a property here")
            } else if name.len() > NAME_BYTES_MAX {
                Some("has a name that is too long")
            } else {
                None
            };
            if let Some(why) = why_not {
                if is_required && self.care == Care::Strict {
                    return Err(self.wrong(&format!("properties.{}", shown(name)), why));
                }
                self.note(&format!("properties.{}", shown(name)));
                continue;
            }
            let written = self.child(schemas, format_args!("properties.{}", shown(name)), level.deeper());
            match written {
                Ok(value) => {
                    properties.insert(name.to_owned(), value);
                }
                // No value fits, so the property must be absent.
                Err(Stop::Nothing) if !is_required => continue,
                Err(stop) => return Err(stop),
            }
            // The compiler uses this name for its rule for additional properties, which may be repeated.
            if is_required || name == "*" {
                required.push(name);
            }
            names_are_simple &=
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        }
        let optional = properties.len() - required.len();
        if optional > OPTIONAL_MAX {
            return Err(self.too_large(format_args!(
                "has an object with more than {OPTIONAL_MAX} properties that may be left out; make more of them `required`"
            )));
        }
        let additional = self.additional(facts, level)?;
        let mut written = Map::new();
        written.insert("type".into(), "object".into());
        let is_empty = properties.is_empty();
        if !is_empty {
            written.insert("properties".into(), properties.into());
        }
        if !required.is_empty() {
            written.insert("required".into(), required.into());
        }
        match additional {
            // Without properties and without a rule for others, any object fits.
            Additional::Open if is_empty => {}
            Additional::Asked if is_empty => {}
            // By default the compiler allows no additional properties.
            Additional::Open => {}
            Additional::Closed => {
                if is_empty {
                    written.insert("properties".into(), Map::new().into());
                }
                written.insert("additionalProperties".into(), false.into());
            }
            Additional::Asked if names_are_simple => {
                written.insert("additionalProperties".into(), true.into());
            }
            Additional::Of(schema) if names_are_simple => {
                written.insert("additionalProperties".into(), schema);
            }
            // The compiler's rule for additional names puts the bytes of the other names into sets of characters.
            Additional::Asked | Additional::Of(_) => self.note("additionalProperties"),
        }
        Ok(written.into())
    }

    fn additional(&mut self, facts: &Facts<'a>, level: Level) -> Result<Additional, Stop> {
        let schemas: Vec<_> = facts.additional.iter().copied().filter(|schema| **schema != Value::Bool(true)).collect();
        if schemas.is_empty() {
            let is_closed = facts.is_closed || facts.names_no_properties();
            return Ok(match (is_closed, facts.additional.is_empty()) {
                (true, _) => Additional::Closed,
                (false, true) => Additional::Open,
                (false, false) => Additional::Asked,
            });
        }
        match self.child(&schemas, format_args!("additionalProperties"), level.deeper()) {
            Ok(value) => Ok(Additional::Of(value)),
            Err(Stop::Nothing) => Ok(Additional::Closed),
            Err(stop) => Err(stop),
        }
    }
}

/// What an object may contain beside its properties.
enum Additional {
    Open,
    Closed,
    Asked,
    Of(Value),
}

/// Returns a caller's name in a form that is safe in headers and logs.
fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    name.chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || "_-.$".contains(c) { c } else { '?' })
        .collect()
}
