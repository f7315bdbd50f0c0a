//! Alternatives: `anyOf`, `oneOf`, and values of several kinds.

use serde_json::{Value, json};

use crate::provider::ollama::grammar::part::{SchemaPart, UNIONS};
use crate::provider::ollama::grammar::writer::{Level, SchemaWriter, Stop};
use crate::provider::ollama::grammar::written::{holds_reference, open_references};

/// The most alternatives and values of enumerations in all; OpenAI accepts as many. While an answer leaves open which one it
/// will be, a sampler tries each with every token.
const WAYS_MAX: usize = 1_000;

impl<'a> SchemaWriter<'a, '_> {
    /// Writes the first undecided `anyOf` or `oneOf`: each alternative with everything that has to hold beside it.
    pub fn one_of(&mut self, mut parts: Vec<SchemaPart<'a>>, level: Level) -> Result<Value, Stop> {
        let open = parts.iter().enumerate().find_map(|(at, part)| {
            let (bit, word) =
                UNIONS.into_iter().find(|(bit, word)| part.decided & bit == 0 && part.fields.contains_key(*word))?;
            Some((at, bit, word))
        });
        let Some((at, bit, word)) = open else { return self.value(&parts, level) };
        let ways = match parts[at].fields.get(word) {
            Some(Value::Array(ways)) if !ways.is_empty() => ways,
            _ => return Err(self.wrong(word, "must be an array of at least one schema")),
        };
        parts[at].decided |= bit;
        let mut written: Vec<Value> = Vec::new();
        for (number, way) in ways.iter().enumerate() {
            let parts = parts.clone();
            let value = self.within(format_args!("{word}[{number}]"), |writer| {
                let mut parts = parts;
                writer.take_in(way, &mut parts, 0)?;
                writer.parts(parts, level.same())
            });
            match value {
                Ok(value) => {
                    let more = match value {
                        Value::Object(mut fields) if fields.contains_key("anyOf") => fields.remove("anyOf"),
                        value => Some(Value::Array(vec![value])),
                    };
                    let Some(Value::Array(more)) = more else { continue };
                    more.into_iter().for_each(|way| {
                        if !written.contains(&way) {
                            written.push(way);
                        }
                    });
                }
                Err(Stop::Nothing) => {}
                Err(stop) => return Err(stop),
            }
        }
        self.union(written)
    }

    pub fn union(&mut self, mut ways: Vec<Value>) -> Result<Value, Stop> {
        if ways.len() < 2 {
            return ways.pop().ok_or(Stop::Nothing);
        }
        self.counts_ways(ways.len())?;
        // If two alternatives begin alike and both contain the schema around them, a sampler has to follow both at every level:
        // their number doubles with each level of an answer.
        let recursive: Vec<_> = (0..ways.len()).filter(|at| holds_reference(&ways[*at])).collect();
        let are_apart = |one: usize, other: usize| self.are_apart(&ways[one], &ways[other]);
        let double = recursive
            .iter()
            .enumerate()
            .any(|(at, one)| recursive[at + 1..].iter().any(|other| !are_apart(*one, *other)));
        if double {
            self.note("");
            ways.iter_mut().for_each(open_references);
            ways.dedup();
        }
        Ok(json!({ "anyOf": ways }))
    }

    /// Returns whether the first characters of an answer, or of its first property, distinguish two alternatives.
    fn are_apart(&self, one: &Value, other: &Value) -> bool {
        let kind = |way: &Value| match way.get("type") {
            Some(Value::String(kind)) => Some(if kind == "integer" { "number".to_owned() } else { kind.clone() }),
            _ => None,
        };
        let (Some(kind_of_one), Some(kind_of_other)) = (kind(one), kind(other)) else { return false };
        if kind_of_one != kind_of_other {
            return true;
        }
        let (Some((name, value)), Some((other_name, other_value))) = (first_required(one), first_required(other))
        else {
            return false;
        };
        if name != other_name {
            return true;
        }
        match (value["enum"].as_array(), other_value["enum"].as_array()) {
            (Some(values), Some(others)) => values.iter().all(|value| !others.contains(value)),
            _ => false,
        }
    }

    pub fn counts_ways(&mut self, ways: usize) -> Result<(), Stop> {
        self.grammar.ways += ways;
        if self.grammar.ways > WAYS_MAX {
            return Err(self.too_large(format_args!("offers more than {WAYS_MAX} values and alternatives in all")));
        }
        Ok(())
    }
}

/// Returns the property with which every value of an object begins.
fn first_required(written: &Value) -> Option<(&String, &Value)> {
    let required = written["required"].as_array()?;
    written["properties"].as_object()?.iter().find(|(name, _)| required.iter().any(|one| one.as_str() == Some(name)))
}
