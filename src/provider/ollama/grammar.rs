//! JSON schemas that bind an answer, written anew for Ollama's grammar compiler.
//!
//! Ollama makes a grammar of a schema in two steps that trust their input: llama.cpp's `json-schema-to-grammar`, in Ollama's
//! own process, and its parser of grammars, in the process that runs the model. A schema that they don't expect ends the
//! first or the second, or keeps them busy without an end, for everybody who uses that model server. So no schema is passed
//! on: what is sent is built here from the few constructs that they are known to take (Ollama 0.24.0), and within bounds:
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
//! References and `allOf` are put in their places first, so that `$ref` is left where a schema holds itself alone. What has
//! no construct is left out and noted.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::provider::ollama::grammar::facts::{Facts, Kind};
use crate::provider::ollama::grammar::pattern::COUNT_MAX;
use crate::provider::ollama::refs::Refs;

mod chars;
mod facts;
mod pattern;
mod size;

/// Schemas in a schema, with what references repeat. As many properties as OpenAI takes.
const NODES_MAX: usize = 5_000;

/// Ways out of which an answer takes one: values of enumerations and alternatives. As many as OpenAI takes. A sampler tries
/// each with every token while an answer leaves open which it will be.
const WAYS_MAX: usize = 1_000;

/// Properties of one object that may be left out. The compiler's time grows with the third power of their number.
const OPTIONAL_MAX: usize = 300;

/// Sum of the counts of all repetitions: each makes as many rules of a grammar.
const REPEATS_MAX: usize = 50_000;

/// The text of the grammar. Ollama's buffer for it ends at a mebibyte.
const GRAMMAR_BYTES_MAX: usize = 256 * 1024;

/// Arrays and objects inside one another.
const DEPTH_MAX: usize = 64;

/// References and alternatives that follow each other without anything between them.
const CHAIN_MAX: usize = 64;

/// Places of an array after those with a schema of their own; each has to be spelled out.
const PLACES_MORE_MAX: usize = 32;

/// A text in the compiler's rules for names of properties runs through a recursion of its own for each character.
const NAME_BYTES_MAX: usize = 256;

/// Places that are told, at most; of the rest only the number is.
const NOTED_MAX: usize = 32;

/// Ends of the integers that are bounded. The compiler counts digits, up to 16 of them.
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// How a schema that makes no sense is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// As an error of its caller, who asked for an answer of just this form.
    Strict,
    /// As far as it goes: tools come from generators, and what they receive they check.
    Lenient,
}

/// Why there is no grammar for a schema.
enum Stop {
    /// No value fits.
    Nothing,
    /// It is no schema.
    Wrong(Error),
    /// It is too large, in whichever way.
    TooLarge(Error),
}

/// What was written for the schemas of one request.
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
    /// Writes a schema, which stands in the request's field `field`.
    pub fn write(&mut self, schema: &Value, field: &str, care: Care) -> Result<Value, Error> {
        self.write_all(&[schema], Refs::of(schema), field, care)
    }

    /// The same for a schema whose values have to be objects.
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
        let mut writer =
            Writer { grammar: self, refs, care, path: field.to_owned(), open: Vec::new(), contradiction: None };
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
        // The compiler would take a schema without any limits for an object, and so did clients always get one.
        Ok(if written == anything() { json!({"type": "object"}) } else { written })
    }

    /// The bytes to send for what was written; `field` names it where it is too large.
    pub fn finish(self, written: Value, field: &str) -> Result<Finished, Error> {
        let Grammar { definitions, noted, more_noted, .. } = self;
        let used = used_definitions(&written, &definitions);
        // A reference at the top would hide the definitions from the compiler, and so would a property without a name
        // its own rule. One way alone says the same as itself.
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
        // Ollama gives a grammar four times the room of its schema, and cuts off what is longer.
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

/// A schema as it is sent, and the places in the caller's own at which something was left out.
#[derive(Debug)]
pub struct Finished {
    pub schema: String,
    pub simplified: Vec<String>,
}

fn too_large(field: &str, why: std::fmt::Arguments<'_>) -> Error {
    Error::invalid(field, format!("`{field}` {why}; send a smaller schema"))
}

/// Any value at all. The compiler takes `{}` and `true` for something else.
fn anything() -> Value {
    json!({"type": ["object", "array", "string", "number", "boolean", "null"]})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn name_of(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

fn used_definitions(written: &Value, definitions: &BTreeMap<String, Value>) -> Map<String, Value> {
    let mut used = Map::new();
    let mut left = Vec::new();
    each_reference(written, &mut |name| left.push(name.to_owned()));
    while let Some(name) = left.pop() {
        if let Some(definition) = definitions.get(&name)
            && !used.contains_key(&name)
        {
            each_reference(definition, &mut |name| left.push(name.to_owned()));
            used.insert(name, definition.clone());
        }
    }
    used
}

/// What was written holds `$ref` as a reference alone.
fn each_reference(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, each)),
        Value::Object(fields) => match name_of(value) {
            Some(name) => each(name),
            None => fields.iter().filter(|(key, _)| *key != "enum").for_each(|(_, item)| each_reference(item, each)),
        },
        _ => {}
    }
}

fn holds_reference(value: &Value) -> bool {
    let mut holds = false;
    each_reference(value, &mut |_| holds = true);
    holds
}

/// How deep in an answer, and how many steps since the last one deeper.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    depth: usize,
    chain: usize,
}

impl Level {
    fn deeper(self) -> Self {
        Level { depth: self.depth + 1, chain: 0 }
    }

    fn same(self) -> Self {
        Level { chain: self.chain + 1, ..self }
    }
}

/// One of the schemas that hold together, without those that it names itself.
#[derive(Clone, Copy)]
struct Part<'a> {
    fields: &'a Map<String, Value>,
    /// Its alternatives are decided: the bits of `UNIONS`.
    decided: u8,
}

const UNIONS: [(u8, &str); 2] = [(1, "anyOf"), (2, "oneOf")];

impl Part<'_> {
    /// Tells it from the others: schemas are compared by where they stand.
    fn key(&self) -> (usize, u8) {
        (std::ptr::from_ref(self.fields) as usize, self.decided)
    }

    /// Nothing is left in it that would make a difference.
    fn is_spent(&self) -> bool {
        let is_decided = |word: &str| UNIONS.iter().any(|(bit, union)| self.decided & bit != 0 && *union == word);
        self.fields.keys().all(|word| !facts::says_something(word) || is_decided(word))
    }
}

/// Schemas that are being written, with their name once something in them refers to them.
struct Open {
    key: Vec<(usize, u8)>,
    depth: usize,
    name: Option<String>,
}

struct Writer<'a, 'g> {
    grammar: &'g mut Grammar,
    refs: Refs<'a>,
    care: Care,
    /// Where the schema at hand stands in the request.
    path: String,
    open: Vec<Open>,
    /// Where no value fitted.
    contradiction: Option<String>,
}

impl<'a> Writer<'a, '_> {
    fn all_of(&mut self, schemas: &[&'a Value], level: Level) -> Result<Value, Stop> {
        let mut parts = Vec::new();
        for schema in schemas {
            self.take_in(schema, &mut parts, 0)?;
        }
        self.parts(parts, level)
    }

    /// Adds a schema to those that hold together, with what it refers to before it. What says nothing by itself is left out
    /// later, so that the same schemas look the same.
    fn take_in(&mut self, schema: &'a Value, parts: &mut Vec<Part<'a>>, chain: usize) -> Result<(), Stop> {
        let mut seen = parts.iter().filter(|part| part.decided == 0).map(|part| part.key().0).collect();
        self.take_in_new(schema, parts, &mut seen, chain)
    }

    fn take_in_new(
        &mut self,
        schema: &'a Value,
        parts: &mut Vec<Part<'a>>,
        seen: &mut Vec<usize>,
        chain: usize,
    ) -> Result<(), Stop> {
        let fields = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return self.nothing(),
            Value::Object(fields) => fields,
            _ => return Err(self.wrong("", "must be an object or a boolean")),
        };
        let part = Part { fields, decided: 0 };
        let key = part.key().0;
        // Said once is enough; that also ends references that lead back to themselves.
        if seen.contains(&key) {
            return Ok(());
        }
        if chain > CHAIN_MAX || seen.len() > NODES_MAX {
            return Err(
                self.too_large(format_args!("refers to schemas that refer to others more than {CHAIN_MAX} times"))
            );
        }
        seen.push(key);
        if let Some(reference) = fields.get("$ref") {
            let Some(name) = reference.as_str() else { return Err(self.wrong("$ref", "must be a string")) };
            let Some(target) = self.refs.find(name) else {
                return Err(
                    self.wrong("$ref", "leads to nothing in this schema; only what is in it can be referred to")
                );
            };
            self.take_in_new(target, parts, seen, chain + 1)?;
        }
        match fields.get("allOf") {
            None => {}
            Some(Value::Array(all)) => {
                for schema in all {
                    self.take_in_new(schema, parts, seen, chain + 1)?;
                }
            }
            Some(_) => return Err(self.wrong("allOf", "must be an array of schemas")),
        }
        parts.push(part);
        Ok(())
    }

    fn parts(&mut self, mut parts: Vec<Part<'a>>, level: Level) -> Result<Value, Stop> {
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
            // Before anything of an answer was written, a schema that is itself adds no value.
            if open.depth == level.depth {
                return Err(Stop::Nothing);
            }
            let grammar = &mut self.grammar;
            let name = open.name.get_or_insert_with(|| {
                // Its place is taken before its text is known.
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

    /// Decides the first alternatives that are open, for each way with all that holds beside them.
    fn one_of(&mut self, mut parts: Vec<Part<'a>>, level: Level) -> Result<Value, Stop> {
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

    fn union(&mut self, mut ways: Vec<Value>) -> Result<Value, Stop> {
        if ways.len() < 2 {
            return ways.pop().ok_or(Stop::Nothing);
        }
        self.counts_ways(ways.len())?;
        // Where two ways begin alike and both hold the schema around them, a sampler has to follow each of them through each
        // of them: with every level of an answer their number would double.
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

    /// Whether the first characters of an answer, or of its first property, tell two ways apart.
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

    fn counts_ways(&mut self, ways: usize) -> Result<(), Stop> {
        self.grammar.ways += ways;
        if self.grammar.ways > WAYS_MAX {
            return Err(self.too_large(format_args!("offers more than {WAYS_MAX} values and alternatives in all")));
        }
        Ok(())
    }

    /// Whether so many more repetitions have room.
    fn counts_repeats(&mut self, repeats: usize) -> bool {
        let sum = self.grammar.repeats + repeats;
        let fits = sum <= REPEATS_MAX;
        if fits {
            self.grammar.repeats = sum;
        }
        fits
    }

    fn value(&mut self, parts: &[Part<'a>], level: Level) -> Result<Value, Stop> {
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

    fn gather(&mut self, parts: &[Part<'a>]) -> Result<Facts<'a>, Stop> {
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
            // The compiler takes this key for a reference wherever it stands.
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
                // There is no rule for bounds of fractions.
                for word in facts.number_bounds() {
                    self.note(word);
                }
                Ok(json!({"type": "number"}))
            }
            Kind::Boolean => Ok(json!({"type": "boolean"})),
            Kind::Null => Ok(json!({"type": "null"})),
        }
    }

    fn object(&mut self, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
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
                // There must be no such property.
                Err(Stop::Nothing) if !is_required => continue,
                Err(stop) => return Err(stop),
            }
            // Under this name the compiler keeps its rule for additional properties, which may be repeated.
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
            // Without properties and without a word about others, any object will do.
            Additional::Open if is_empty => {}
            Additional::Asked if is_empty => {}
            // The compiler closes objects unless it is told otherwise.
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
            // The compiler's rule for names that are none of the others puts their bytes into sets of characters.
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

    fn array(&mut self, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
        let (least, most) = (facts.min_items, facts.max_items);
        if most.is_some_and(|most| most < least) {
            return self.nothing();
        }
        if !facts.prefix.is_empty() {
            return self.tuple(facts, level);
        }
        let (least, most) = self.counts(least, most, ["minItems", "maxItems"]);
        if facts.items.is_empty() && least == 0 && most.is_none() {
            return Ok(json!({"type": "array"}));
        }
        let item = match self.child(&facts.items, format_args!("items"), level.deeper()) {
            Err(Stop::Nothing) if least == 0 => {
                return Ok(json!({"type": "array", "items": anything(), "maxItems": 0}));
            }
            item => item?,
        };
        let mut written = json!({"type": "array", "items": item});
        put_counts(&mut written, ["minItems", "maxItems"], least, most);
        Ok(written)
    }

    /// An array with a schema for each of its places; the compiler knows none that go on after these.
    fn tuple(&mut self, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
        let mut length = facts.prefix.len().max(facts.min_items as usize);
        if length > facts.prefix.len() + PLACES_MORE_MAX {
            self.note("minItems");
            length = facts.prefix.len();
        }
        let length = facts.max_items.map_or(length, |most| length.min(most as usize));
        let mut items = Vec::with_capacity(length);
        for place in 0..length {
            let schemas = facts.prefix.get(place).unwrap_or(&facts.items);
            items.push(self.child(schemas, format_args!("prefixItems[{place}]"), level.deeper())?);
        }
        Ok(json!({"type": "array", "prefixItems": items}))
    }

    fn text(&mut self, facts: &Facts<'a>) -> Result<Value, Stop> {
        let (least, most) = (facts.min_length, facts.max_length);
        if most.is_some_and(|most| most < least) {
            return self.nothing();
        }
        if most == Some(0) {
            return Ok(json!({"enum": [""]}));
        }
        let mut written = None;
        for pattern in &facts.patterns {
            match pattern::rewrite(pattern, least, most).filter(|_| written.is_none()) {
                Some(pattern) if self.counts_repeats(pattern.repeats) => written = Some(pattern),
                // One at most is taken.
                _ => self.note("pattern"),
            }
        }
        if let Some(pattern) = written {
            if !pattern.keeps_lengths {
                self.note(if most.is_some() { "maxLength" } else { "minLength" });
            }
            return Ok(match pattern.text.as_str() {
                "^$" => json!({"enum": [""]}),
                text => json!({"type": "string", "pattern": text}),
            });
        }
        if let Some(format) = facts.format {
            return Ok(json!({"type": "string", "format": format}));
        }
        let (least, most) = self.counts(least, most, ["minLength", "maxLength"]);
        let mut written = json!({"type": "string"});
        put_counts(&mut written, ["minLength", "maxLength"], least, most);
        Ok(written)
    }

    /// Counts that the compiler takes; others are left out.
    fn counts(&mut self, least: u32, most: Option<u32>, words: [&str; 2]) -> (u32, Option<u32>) {
        let mut least = least;
        if least > COUNT_MAX || !self.counts_repeats(least as usize) {
            self.note(words[0]);
            least = 0;
        }
        let mut most = most;
        if let Some(count) = most
            && (count > COUNT_MAX || !self.counts_repeats((count - least.min(count)) as usize))
        {
            self.note(words[1]);
            most = None;
        }
        (least, most)
    }

    fn integer(&mut self, facts: &Facts<'a>) -> Result<Value, Stop> {
        let (mut least, mut most) = (facts.least_integer(), facts.most_integer());
        if least.zip(most).is_some_and(|(least, most)| least > most) {
            return self.nothing();
        }
        if least.is_some_and(|least| least > INTEGER_MAX) {
            self.note("minimum");
            least = None;
        }
        if most.is_some_and(|most| most < -INTEGER_MAX) {
            self.note("maximum");
            most = None;
        }
        least = least.filter(|least| *least >= -INTEGER_MAX);
        most = most.filter(|most| *most <= INTEGER_MAX);
        // With one bound alone the compiler counts digits wrongly from 10 on, and below zero it lets zeros lead.
        match (least, most) {
            (Some(10..), None) => most = Some(INTEGER_MAX),
            (None, Some(..0)) => least = Some(-INTEGER_MAX),
            _ => {}
        }
        let mut written = json!({"type": "integer"});
        if let Some(least) = least {
            written["minimum"] = least.into();
        }
        if let Some(most) = most {
            written["maximum"] = most.into();
        }
        Ok(written)
    }

    /// A schema inside of the one at hand.
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

    /// Notes that something of the schema at hand is not kept.
    fn note(&mut self, word: &str) {
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
        // The innermost place says most.
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

/// What an object may hold beside its properties.
enum Additional {
    Open,
    Closed,
    Asked,
    Of(Value),
}

fn put_counts(written: &mut Value, words: [&str; 2], least: u32, most: Option<u32>) {
    if least > 0 {
        written[words[0]] = least.into();
    }
    if let Some(most) = most {
        written[words[1]] = most.into();
    }
}

/// The property with which every value of an object begins.
fn first_required(written: &Value) -> Option<(&String, &Value)> {
    let required = written["required"].as_array()?;
    written["properties"].as_object()?.iter().find(|(name, _)| required.iter().any(|one| one.as_str() == Some(name)))
}

/// Puts any value in the place of each reference.
fn open_references(value: &mut Value) {
    if name_of(value).is_some() {
        *value = anything();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(open_references),
        Value::Object(fields) => {
            fields.iter_mut().filter(|(key, _)| *key != "enum").for_each(|(_, item)| open_references(item));
        }
        _ => {}
    }
}

fn holds_ref_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_ref_key),
        Value::Object(fields) => fields.contains_key("$ref") || fields.values().any(holds_ref_key),
        _ => false,
    }
}

/// A name of the caller's as it may stand in a header and in a log.
fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    name.chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || "_-.$".contains(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests;
