//! What the schemas that a value has to fit say about it, keyword by keyword.

use std::collections::HashMap;

use serde_json::{Number, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    Null,
}

impl Kind {
    fn parse(word: &str) -> Option<Kind> {
        Some(match word {
            "object" => Kind::Object,
            "array" => Kind::Array,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "null" => Kind::Null,
            _ => return None,
        })
    }

    /// Returns the kind of the values that are of both kinds.
    fn and(self, other: Kind) -> Option<Kind> {
        match (self, other) {
            (Kind::Number, Kind::Integer) | (Kind::Integer, Kind::Number) => Some(Kind::Integer),
            (one, other) => (one == other).then_some(one),
        }
    }

    fn has(self, value: &Value) -> bool {
        match value {
            Value::Object(_) => self == Kind::Object,
            Value::Array(_) => self == Kind::Array,
            Value::String(_) => self == Kind::String,
            Value::Bool(_) => self == Kind::Boolean,
            Value::Null => self == Kind::Null,
            Value::Number(number) => {
                self == Kind::Number
                    || (self == Kind::Integer && number.as_f64().is_some_and(|number| number.fract() == 0.0))
            }
        }
    }
}

/// Formats for which the compiler has rules.
const FORMATS: &[&str] = &["date", "date-time", "time", "uuid"];

/// Keywords that don't constrain a value, or that are handled elsewhere.
const SILENT: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "allOf",
    "anyOf",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "id",
    "oneOf",
    "readOnly",
    "title",
    "writeOnly",
];

/// Keywords for which a grammar has no rule.
const LEFT_OUT: &[&str] = &[
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "propertyNames",
    "unevaluatedItems",
    "uniqueItems",
];

/// Returns whether a keyword constrains a value, or may do so.
pub fn says_something(word: &str) -> bool {
    matches!(word, "anyOf" | "oneOf") || !SILENT.contains(&word)
}

pub enum Taken {
    Kept,
    LeftOut,
}

type Schemas<'a> = Vec<&'a Value>;

#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// In the order of the first schema that names some; `None` where none does.
    pub kinds: Option<Vec<Kind>>,
    pub values: Option<Vec<&'a Value>>,
    /// In the order in which they are named.
    pub properties: Vec<(&'a str, Schemas<'a>)>,
    places: HashMap<&'a str, usize>,
    /// `properties` is present, possibly empty.
    names_properties: bool,
    pub required: Names<'a>,
    pub additional: Schemas<'a>,
    /// No properties beside the named ones are allowed.
    pub is_closed: bool,
    pub prefix: Vec<Schemas<'a>>,
    pub items: Schemas<'a>,
    pub min_items: u32,
    pub max_items: Option<u32>,
    pub patterns: Vec<&'a str>,
    pub format: Option<&'a str>,
    pub min_length: u32,
    pub max_length: Option<u32>,
    least: Option<f64>,
    least_excluded: Option<f64>,
    most: Option<f64>,
    most_excluded: Option<f64>,
}

/// Names in order, each once.
#[derive(Debug, Default)]
pub struct Names<'a> {
    ordered: Vec<&'a str>,
    all: std::collections::HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn add(&mut self, name: &'a str) {
        if self.all.insert(name) {
            self.ordered.push(name);
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.all.contains(name)
    }
}

impl<'a> Facts<'a> {
    /// Adds one keyword of a schema; an error says why its value makes no sense.
    pub fn add(&mut self, word: &'a str, value: &'a Value) -> Result<Taken, &'static str> {
        match word {
            _ if SILENT.contains(&word) => {}
            "type" => self.add_kinds(value)?,
            "const" => self.add_values(vec![value]),
            "enum" => match value {
                Value::Array(values) if !values.is_empty() => self.add_values(values.iter().collect()),
                _ => return Err("must be an array of at least one value"),
            },
            "properties" => {
                self.names_properties = true;
                for (name, schema) in value.as_object().ok_or("must be an object")? {
                    self.property(name).push(schema);
                }
            }
            "required" => match value {
                Value::Array(names) => {
                    for name in names {
                        self.required.add(name.as_str().ok_or("must be an array of strings")?);
                    }
                }
                // Some generators write a boolean into each property, as drafts before 4 had it.
                Value::Bool(_) => {}
                _ => return Err("must be an array of strings"),
            },
            "additionalProperties" | "unevaluatedProperties" => match value {
                Value::Bool(false) => self.is_closed = true,
                Value::Bool(true) | Value::Object(_) => self.additional.push(value),
                _ => return Err("must be a schema"),
            },
            "patternProperties" => {
                let patterns = value.as_object().ok_or("must be an object")?;
                // Which names it is about can't be said, but what they hold can, if they are all alike.
                if let [schema] = &patterns.values().collect::<Vec<_>>()[..] {
                    self.additional.push(schema);
                }
                return Ok(if patterns.is_empty() { Taken::Kept } else { Taken::LeftOut });
            }
            "items" | "prefixItems" => match value {
                Value::Array(schemas) => {
                    for (place, schema) in schemas.iter().enumerate() {
                        if place == self.prefix.len() {
                            self.prefix.push(Vec::new());
                        }
                        self.prefix[place].push(schema);
                    }
                }
                schema if word == "items" => self.items.push(schema),
                _ => return Err("must be an array of schemas"),
            },
            "additionalItems" => self.items.push(value),
            "minItems" => self.min_items = self.min_items.max(count(value)?),
            "maxItems" => self.max_items = Some(tighter(self.max_items, count(value)?)),
            "minLength" => self.min_length = self.min_length.max(count(value)?),
            "maxLength" => self.max_length = Some(tighter(self.max_length, count(value)?)),
            "pattern" => self.patterns.push(value.as_str().ok_or("must be a string")?),
            // What has no rule is a hint.
            "format" => self.format = value.as_str().filter(|format| FORMATS.contains(format)).or(self.format),
            "minimum" => self.least = Some(self.least.unwrap_or(f64::MIN).max(number(value)?)),
            "maximum" => self.most = Some(self.most.unwrap_or(f64::MAX).min(number(value)?)),
            // Draft 4 has a boolean here, beside the bound.
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => {
                return Ok(if *value == Value::Bool(true) { Taken::LeftOut } else { Taken::Kept });
            }
            "exclusiveMinimum" => {
                self.least_excluded = Some(self.least_excluded.unwrap_or(f64::MIN).max(number(value)?))
            }
            "exclusiveMaximum" => self.most_excluded = Some(self.most_excluded.unwrap_or(f64::MAX).min(number(value)?)),
            _ if LEFT_OUT.contains(&word) => {
                let says_nothing = matches!(value, Value::Bool(false) | Value::Null) || value.as_u64() == Some(0);
                return Ok(if says_nothing { Taken::Kept } else { Taken::LeftOut });
            }
            // Words that JSON Schema does not know say nothing.
            _ => {}
        }
        Ok(Taken::Kept)
    }

    fn add_kinds(&mut self, value: &Value) -> Result<(), &'static str> {
        const WORDS: &str =
            "must be one of `object`, `array`, `string`, `integer`, `number`, `boolean`, `null`, or a list of some";
        let parse = |value: &Value| value.as_str().and_then(Kind::parse).ok_or(WORDS);
        let named = match value {
            Value::Array(words) if !words.is_empty() => words.iter().map(parse).collect::<Result<Vec<_>, _>>()?,
            word => vec![parse(word)?],
        };
        let mut kinds: Vec<Kind> = match self.kinds.take() {
            None => named,
            Some(before) => before.iter().flat_map(|one| named.iter().filter_map(|other| one.and(*other))).collect(),
        };
        // A number is an integer as well: said once.
        if kinds.contains(&Kind::Number) {
            kinds.retain(|kind| *kind != Kind::Integer);
        }
        let mut once = Vec::with_capacity(kinds.len());
        kinds.into_iter().for_each(|kind| {
            if !once.contains(&kind) {
                once.push(kind);
            }
        });
        self.kinds = Some(once);
        Ok(())
    }

    fn add_values(&mut self, values: Vec<&'a Value>) {
        self.values = Some(match self.values.take() {
            None => values,
            Some(before) => {
                let texts: std::collections::HashSet<_> = values.iter().map(|value| value.to_string()).collect();
                before.into_iter().filter(|value| texts.contains(&value.to_string())).collect()
            }
        });
    }

    fn property(&mut self, name: &'a str) -> &mut Schemas<'a> {
        let place = *self.places.entry(name).or_insert(self.properties.len());
        if place == self.properties.len() {
            self.properties.push((name, Vec::new()));
        }
        &mut self.properties[place].1
    }

    /// Returns required names that have no schema.
    pub fn required_without_schema(&self) -> impl Iterator<Item = (&'a str, &[&'a Value])> {
        let names = self.required.ordered.iter().filter(|name| !self.places.contains_key(*name));
        names.map(|name| (*name, &self.additional[..]))
    }

    /// Returns whether the only constraint is that there are no properties, as for a function without arguments.
    pub fn names_no_properties(&self) -> bool {
        self.names_properties && self.properties.is_empty() && self.additional.is_empty()
    }

    pub fn allows(&self, value: &Value) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind.has(value)))
    }

    /// Returns the kind that the keywords are about if none is named.
    pub fn implied_kind(&self) -> Option<Kind> {
        let is_object =
            self.names_properties || !self.required.ordered.is_empty() || !self.additional.is_empty() || self.is_closed;
        if is_object {
            return Some(Kind::Object);
        }
        if !self.items.is_empty() || !self.prefix.is_empty() || self.min_items > 0 || self.max_items.is_some() {
            return Some(Kind::Array);
        }
        if !self.patterns.is_empty() || self.format.is_some() || self.min_length > 0 || self.max_length.is_some() {
            return Some(Kind::String);
        }
        self.number_bounds().next().map(|_| Kind::Number)
    }

    pub fn number_bounds(&self) -> impl Iterator<Item = &'static str> {
        let bounds = [
            ("minimum", self.least),
            ("maximum", self.most),
            ("exclusiveMinimum", self.least_excluded),
            ("exclusiveMaximum", self.most_excluded),
        ];
        bounds.into_iter().filter(|(_, bound)| bound.is_some()).map(|(word, _)| word)
    }

    pub fn least_integer(&self) -> Option<i64> {
        let bound = self.least.map(f64::ceil);
        let above = self.least_excluded.map(|bound| bound.floor() + 1.0);
        // A float that is too large becomes the largest integer.
        [bound, above].into_iter().flatten().reduce(f64::max).map(|bound| bound as i64)
    }

    pub fn most_integer(&self) -> Option<i64> {
        let bound = self.most.map(f64::floor);
        let below = self.most_excluded.map(|bound| bound.ceil() - 1.0);
        [bound, below].into_iter().flatten().reduce(f64::min).map(|bound| bound as i64)
    }
}

/// Parses a whole number that is not negative. One that exceeds 32 bits exceeds every bound here.
fn count(value: &Value) -> Result<u32, &'static str> {
    const WHY: &str = "must be a whole number, and not a negative one";
    let number = number(value).map_err(|_| WHY)?;
    if number < 0.0 || number.fract() != 0.0 {
        return Err(WHY);
    }
    Ok(number as u32)
}

fn number(value: &Value) -> Result<f64, &'static str> {
    value.as_number().and_then(Number::as_f64).filter(|number| number.is_finite()).ok_or("must be a number")
}

fn tighter(bound: Option<u32>, other: u32) -> u32 {
    bound.map_or(other, |bound| bound.min(other))
}
