//! Walks through a schema, level by level, and writes each level for the compiler.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::base::error::Error;
use crate::provider::ollama::grammar::facts::{self, Facts, Kind};
use crate::provider::ollama::grammar::part::SchemaPart;
use crate::provider::ollama::grammar::written::{anything, holds_reference, reference};
use crate::provider::ollama::grammar::{Care, Grammar, too_large};
use crate::provider::ollama::refs::Refs;

mod array;
mod counts;
pub mod integer;
mod object;
mod text;
mod together;
mod ways;

/// The most schemas in a schema, repeated ones included. OpenAI accepts as many properties.
const NODES_MAX: usize = 5_000;

/// The deepest nesting of arrays and objects.
const DEPTH_MAX: usize = 64;

/// The most references and alternatives that directly follow each other.
const CHAIN_MAX: usize = 64;

/// The most places that are listed in a note; of others only the number is.
const NOTED_MAX: usize = 32;

/// Why there is no grammar for a schema.
pub enum Stop {
    /// No value fits.
    Nothing,
    /// It is no schema.
    Wrong(Error),
    /// It exceeds a bound.
    TooLarge(Error),
}

/// The depth in an answer, and the steps since it last grew.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    depth: usize,
    chain: usize,
}

impl Level {
    pub fn deeper(self) -> Self {
        Level { depth: self.depth + 1, chain: 0 }
    }

    pub fn same(self) -> Self {
        Level { chain: self.chain + 1, ..self }
    }
}

/// Schemas that are being written; they have a name once something in them refers to them.
struct Open {
    key: Vec<(usize, u8)>,
    depth: usize,
    name: Option<String>,
}

pub struct SchemaWriter<'a, 'g> {
    grammar: &'g mut Grammar,
    refs: Refs<'a>,
    care: Care,
    /// The place of the current schema in the request.
    path: String,
    open: Vec<Open>,
    /// The place where no value fits.
    pub contradiction: Option<String>,
}

impl<'a, 'g> SchemaWriter<'a, 'g> {
    /// Returns a writer for a schema in the request's field `field`.
    pub fn new(grammar: &'g mut Grammar, refs: Refs<'a>, care: Care, field: &str) -> Self {
        SchemaWriter { grammar, refs, care, path: field.to_owned(), open: Vec::new(), contradiction: None }
    }
}

impl<'a> SchemaWriter<'a, '_> {
    pub fn all_of(&mut self, schemas: &[&'a Value], level: Level) -> Result<Value, Stop> {
        let mut parts = Vec::new();
        for schema in schemas {
            self.take_in(schema, &mut parts, 0)?;
        }
        self.parts(parts, level)
    }

    fn parts(&mut self, mut parts: Vec<SchemaPart<'a>>, level: Level) -> Result<Value, Stop> {
        let mut keys = HashSet::new();
        parts.retain(|part| !part.is_spent() && keys.insert(part.key()));
        self.grammar.nodes += 1;
        if self.grammar.nodes > NODES_MAX {
            return Err(
                self.too_large(format_args!("holds more than {NODES_MAX} schemas with those that it refers to"))
            );
        }
        if level.depth > DEPTH_MAX || level.chain > CHAIN_MAX {
            self.note("");
            return Ok(anything());
        }
        let mut key: Vec<_> = keys.into_iter().collect();
        key.sort_unstable();
        if let Some(open) = self.open.iter_mut().find(|open| !key.is_empty() && open.key == key) {
            // A schema that is its own alternative, without a level between them, adds no value.
            if open.depth == level.depth {
                return Err(Stop::Nothing);
            }
            let grammar = &mut self.grammar;
            let name = open.name.get_or_insert_with(|| {
                // The name is reserved before its text is known.
                let name = format!("r{}", grammar.definitions.len());
                grammar.definitions.insert(name.clone(), Value::Null);
                name
            });
            return Ok(reference(name));
        }
        self.open.push(Open { key, depth: level.depth, name: None });
        let written = self.one_of(parts, level);
        let name = self.open.pop().and_then(|open| open.name);
        match (written, name) {
            (Ok(written), Some(name)) if holds_reference(&written) => {
                let to_it = reference(&name);
                self.grammar.definitions.insert(name, written);
                Ok(to_it)
            }
            // Its references to itself were left out.
            (written, _) => written,
        }
    }

    fn value(&mut self, parts: &[SchemaPart<'a>], level: Level) -> Result<Value, Stop> {
        let facts = self.gather(parts)?;
        if let Some(values) = &facts.values {
            return self.values(values, &facts);
        }
        let kinds = match &facts.kinds {
            Some(kinds) => kinds.clone(),
            None => match facts.implied_kind() {
                Some(kind) => vec![kind],
                None => return Ok(anything()),
            },
        };
        let mut written = Vec::with_capacity(kinds.len());
        for kind in kinds {
            match self.of_kind(kind, &facts, level) {
                Ok(value) => written.push(value),
                Err(Stop::Nothing) => {}
                Err(stop) => return Err(stop),
            }
        }
        if written.len() > 1 && written.iter().all(|value| value.as_object().is_some_and(|fields| fields.len() == 1)) {
            let bare: Vec<_> = written.iter().filter_map(|value| value["type"].as_str()).collect();
            if bare.len() == written.len() {
                return Ok(json!({ "type": bare }));
            }
        }
        if written.is_empty() {
            return self.nothing();
        }
        self.union(written)
    }

    fn gather(&mut self, parts: &[SchemaPart<'a>]) -> Result<Facts<'a>, Stop> {
        let mut facts = Facts::default();
        for part in parts {
            for (word, value) in part.fields {
                match facts.add(word, value) {
                    Ok(facts::Taken::Kept) => {}
                    Ok(facts::Taken::LeftOut) => self.note(word),
                    Err(why) => return Err(self.wrong(word, why)),
                }
            }
        }
        Ok(facts)
    }

    fn values(&mut self, values: &[&'a Value], facts: &Facts<'a>) -> Result<Value, Stop> {
        let mut kept = Vec::new();
        let mut seen = HashSet::new();
        for value in values.iter().filter(|value| facts.allows(value)) {
            // The compiler reads this key as a reference wherever it is.
            if holds_ref_key(value) {
                self.note("enum");
            } else if seen.insert(value.to_string()) {
                kept.push(*value);
            }
        }
        if kept.is_empty() {
            return self.nothing();
        }
        self.counts_ways(kept.len())?;
        Ok(json!({ "enum": kept }))
    }

    fn of_kind(&mut self, kind: Kind, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
        match kind {
            Kind::Object => self.object(facts, level),
            Kind::Array => self.array(facts, level),
            Kind::String => self.text(facts),
            Kind::Integer => self.integer(facts),
            Kind::Number => {
                // The compiler has no rule for bounds of fractions.
                for word in facts.number_bounds() {
                    self.note(word);
                }
                Ok(json!({"type": "number"}))
            }
            Kind::Boolean => Ok(json!({"type": "boolean"})),
            Kind::Null => Ok(json!({"type": "null"})),
        }
    }

    /// Writes a schema inside the current one.
    fn child(&mut self, schemas: &[&'a Value], place: std::fmt::Arguments<'_>, level: Level) -> Result<Value, Stop> {
        self.within(place, |writer| match writer.all_of(schemas, level) {
            Err(Stop::Wrong(_)) if writer.care == Care::Lenient => {
                writer.note("");
                Ok(anything())
            }
            written => written,
        })
    }

    fn within<T>(&mut self, place: std::fmt::Arguments<'_>, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push('.');
        self.path.push_str(&place.to_string());
        let result = run(self);
        self.path.truncate(length);
        result
    }

    fn place(&self, word: &str) -> String {
        if word.is_empty() { self.path.clone() } else { format!("{}.{word}", self.path) }
    }

    /// Notes that a constraint of the current schema is left out.
    pub fn note(&mut self, word: &str) {
        let place = self.place(word);
        let grammar = &mut self.grammar;
        if grammar.noted.contains(&place) {
            return;
        }
        if grammar.noted.len() == NOTED_MAX {
            grammar.more_noted += 1;
            return;
        }
        grammar.noted.push(place);
    }

    fn nothing<T>(&mut self) -> Result<T, Stop> {
        // The innermost place is the most helpful one.
        if self.contradiction.as_ref().is_none_or(|at| !at.starts_with(&self.path)) {
            self.contradiction = Some(self.path.clone());
        }
        Err(Stop::Nothing)
    }

    fn wrong(&self, word: &str, why: &str) -> Stop {
        let place = self.place(word);
        let message = format!("`{place}` {why}");
        Stop::Wrong(Error::invalid(place, message))
    }

    fn too_large(&self, why: std::fmt::Arguments<'_>) -> Stop {
        Stop::TooLarge(too_large(&self.path, why))
    }
}

fn holds_ref_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_ref_key),
        Value::Object(fields) => fields.contains_key("$ref") || fields.values().any(holds_ref_key),
        _ => false,
    }
}
