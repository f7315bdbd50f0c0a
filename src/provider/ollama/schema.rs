//! JSON schemas of tools, rewritten with the keywords that Ollama keeps.
//!
//! Ollama passes only a few keywords of a schema to the model. It silently drops `$ref`, `const`, `oneOf` and `allOf`, and fails
//! on a boolean schema. Here they are replaced by what they mean.

use serde_json::{Map, Value, json};

use crate::provider::ollama::refs::Refs;

/// Rewrites a function's parameters; returns `false` if a part of their meaning was lost.
pub fn plain(parameters: Option<&Value>) -> (Value, bool) {
    let mut rewriting = match parameters {
        Some(root) if root.as_object().is_some_and(|fields| !fields.is_empty()) => Rewriting::of(root),
        _ => return (json!({"type": "object", "properties": {}}), true),
    };
    let root = rewriting.root;
    let mut fields = rewriting.schema(root, 0);
    // Arguments are always an object, and Ollama accepts no list of types here.
    fields.insert("type".into(), "object".into());
    (fields.into(), !rewriting.lost)
}

/// The bytes to which all references of one schema may expand: a few that name each other twice would otherwise fill the memory.
const EXPANDED_BYTES_MAX: usize = 256 * 1024;

/// Schemas inside one another, at most; references can make them deeper than any body is nested.
const DEPTH_MAX: usize = 100;

struct Rewriting<'a> {
    root: &'a Value,
    refs: Refs<'a>,
    /// The schemas that references led to and that are being written.
    open: Vec<&'a Value>,
    bytes_left: usize,
    lost: bool,
}

impl<'a> Rewriting<'a> {
    fn of(root: &'a Value) -> Self {
        Rewriting { root, refs: Refs::of(root), open: Vec::new(), bytes_left: EXPANDED_BYTES_MAX, lost: false }
    }

    fn schema(&mut self, schema: &'a Value, depth: usize) -> Map<String, Value> {
        let fields = match schema {
            Value::Object(fields) => fields,
            Value::Bool(true) => return Map::new(),
            _ => return self.lose(),
        };
        if depth > DEPTH_MAX || !self.pays(16) {
            return self.lose();
        }
        // What it refers to holds together with what it says itself, in which its own descriptions are the nearer ones.
        let mut plain = match fields.get("$ref") {
            Some(reference) => self.follow(reference, depth),
            None => Map::new(),
        };
        if let Some(Value::Array(all)) = fields.get("allOf") {
            for schema in all {
                let more = self.schema(schema, depth + 1);
                self.merge(&mut plain, more);
            }
        }
        let mut own = Map::new();
        for (name, value) in fields {
            self.field(name, value, depth, &mut own);
        }
        self.merge(&mut plain, own);
        plain
    }

    fn field(&mut self, name: &'a str, value: &'a Value, depth: usize, plain: &mut Map<String, Value>) {
        let value = match (name, value) {
            // Put in their places before.
            ("$ref" | "$defs" | "definitions", _) | ("allOf", Value::Array(_)) => return,
            ("const", value) => {
                let only = self.copy(value);
                plain.insert("enum".into(), only.into_iter().collect());
                return;
            }
            ("oneOf" | "anyOf", Value::Array(schemas)) => {
                // Both at once mean "and", for which there is no word.
                self.lost |= plain.contains_key("anyOf");
                let any = self.schemas(schemas, depth);
                plain.insert("anyOf".into(), any);
                return;
            }
            ("properties", Value::Object(properties)) => {
                let mut plain = Map::new();
                for (name, schema) in properties {
                    // `false`: there must be no such property.
                    if *schema != Value::Bool(false) && self.pays(name.len()) {
                        plain.insert(name.clone(), self.schema(schema, depth + 1).into());
                    }
                }
                Some(plain.into())
            }
            ("items" | "additionalProperties", Value::Object(_)) | ("items", Value::Bool(_)) => {
                Some(self.schema(value, depth + 1).into())
            }
            ("items" | "prefixItems", Value::Array(schemas)) => Some(self.schemas(schemas, depth)),
            // Ollama reads a list of texts, and some generators write a boolean into each property.
            ("required", Value::Array(names)) => {
                Some(names.iter().filter(|name| name.is_string()).filter_map(|name| self.copy(name)).collect())
            }
            ("required", _) | ("description", Value::Null) | ("type", Value::Null) => return,
            (_, value) => self.copy(value),
        };
        if let Some(value) = value {
            plain.insert(name.to_owned(), value);
        }
    }

    fn schemas(&mut self, schemas: &'a [Value], depth: usize) -> Value {
        schemas.iter().map(|schema| Value::from(self.schema(schema, depth + 1))).collect()
    }

    /// Returns the schema behind a reference. A recursive one can't be expanded; it becomes one that allows anything.
    fn follow(&mut self, reference: &'a Value, depth: usize) -> Map<String, Value> {
        let Some(reference) = reference.as_str() else { return self.lose() };
        match self.refs.find(reference) {
            Some(target) if !self.open.iter().any(|open| std::ptr::eq(*open, target)) => {
                self.open.push(target);
                let plain = self.schema(target, depth + 1);
                self.open.pop();
                plain
            }
            _ => self.lose(),
        }
    }

    /// Adds a schema that has to hold, too.
    fn merge(&mut self, plain: &mut Map<String, Value>, more: Map<String, Value>) {
        for (name, value) in more {
            let Some(before) = plain.get_mut(&name) else {
                plain.insert(name, value);
                continue;
            };
            match (name.as_str(), &mut *before, value) {
                ("properties", Value::Object(properties), Value::Object(more)) => {
                    for (property, value) in more {
                        match (properties.get_mut(&property), value) {
                            (Some(Value::Object(before)), Value::Object(value)) => self.merge(before, value),
                            (_, value) => {
                                properties.insert(property, value);
                            }
                        }
                    }
                }
                ("items", Value::Object(before), Value::Object(more)) => self.merge(before, more),
                ("required", Value::Array(names), Value::Array(more)) => {
                    names.extend(more.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
                }
                ("enum", Value::Array(values), Value::Array(more)) => {
                    values.retain(|value| more.contains(value));
                    // Nothing can be both.
                    self.lost |= values.is_empty();
                }
                ("type", before, value) => match common_types(before, &value) {
                    Some(types) => *before = types,
                    None => self.lost = true,
                },
                // There is no word for "and" between alternatives.
                ("anyOf", _, _) => self.lost = true,
                (_, before, value) => *before = value,
            }
        }
    }

    fn lose(&mut self) -> Map<String, Value> {
        self.lost = true;
        Map::new()
    }

    fn copy(&mut self, value: &Value) -> Option<Value> {
        let is_paid = self.open.is_empty() || self.pays(size(value));
        self.lost |= !is_paid;
        is_paid.then(|| value.clone())
    }

    /// Only what references repeat is counted: the rest is as large as the body.
    fn pays(&mut self, bytes: usize) -> bool {
        if self.open.is_empty() {
            return true;
        }
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => {
                self.lost = true;
                false
            }
        }
    }
}

/// Returns the types that both allow; `None` if there is none.
fn common_types(one: &Value, other: &Value) -> Option<Value> {
    let list = |types: &Value| match types {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let others = list(other);
    let is_in = |kind: &str, types: &[Value]| types.iter().any(|other| other == kind);
    let mut common: Vec<Value> = Vec::new();
    for kind in list(one) {
        let both = match kind.as_str() {
            _ if others.contains(&kind) => kind,
            // Every integer is a number.
            Some("number") if is_in("integer", &others) => "integer".into(),
            Some("integer") if is_in("number", &others) => kind,
            _ => continue,
        };
        if !common.contains(&both) {
            common.push(both);
        }
    }
    if common.len() > 1 { Some(common.into()) } else { common.pop() }
}

/// Returns about how many bytes a value takes.
fn size(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parameters: Value) -> (Value, bool) {
        plain(Some(&parameters))
    }

    fn property(schema: Value) -> Value {
        let (plain, exact) = of(json!({"type": "object", "properties": {"x": schema}}));
        assert!(exact);
        plain["properties"]["x"].clone()
    }

    #[test]
    fn no_parameters_are_an_empty_object() {
        let none = json!({"type": "object", "properties": {}});

        assert_eq!(plain(None), (none.clone(), true));
        assert_eq!(of(json!({})), (none, true));
    }

    #[test]
    fn words_that_ollama_drops_become_ones_that_it_keeps() {
        assert_eq!(property(json!({"const": "a"})), json!({"enum": ["a"]}));
        assert_eq!(
            property(json!({"oneOf": [{"type": "string"}, {"const": 1}]})),
            json!({"anyOf": [{"type": "string"}, {"enum": [1]}]})
        );
        assert_eq!(property(json!(true)), json!({}));
        assert_eq!(property(json!({"type": "array", "items": true})), json!({"type": "array", "items": {}}));
        assert_eq!(property(json!({"type": "string", "required": true})), json!({"type": "string"}));
    }

    #[test]
    fn what_is_data_is_not_taken_for_a_schema() {
        let same = json!({"type": "object", "properties": {"const": {"type": "string"}, "oneOf": {"type": "integer"}},
            "required": ["const"], "default": {"const": 1}});

        assert_eq!(of(same.clone()), (same, true));
    }

    #[test]
    fn a_property_that_must_not_be_there_is_left_out() {
        let (plain, exact) = of(json!({"properties": {"x": false, "y": {}}}));

        assert_eq!((plain, exact), (json!({"properties": {"y": {}}, "type": "object"}), true));
    }

    #[test]
    fn references_are_put_in_their_places() {
        let (plain, exact) = of(json!({
            "$defs": {"City": {"type": "object", "properties": {"name": {"$ref": "#/$defs/Name"}}}, "Name": {"type": "string"}},
            "properties": {"from": {"$ref": "#/$defs/City", "description": "where"}, "to": {"allOf": [{"$ref": "#/$defs/City"}]}}
        }));

        let city = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let mut from = city.clone();
        from["description"] = "where".into();
        assert_eq!(plain, json!({"properties": {"from": from, "to": city}, "type": "object"}));
        assert!(exact);
    }

    #[test]
    fn what_holds_together_is_merged_in_whichever_order_it_is_written() {
        let base = json!({"type": "object", "properties": {"id": {"type": "integer", "description": "key"}}, "required": ["id"]});
        let all_of = ("allOf", json!([base]));
        let reference = ("$ref", json!("#/$defs/Base%3Cstring%3E"));
        let own = [("properties", json!({"title": {"type": "string"}})), ("required", json!(["title"]))];

        for (word, value) in [all_of, reference] {
            for own_first in [true, false] {
                let mut fields = Map::new();
                fields.insert("$defs".into(), json!({"Base<string>": base}));
                let add = |fields: &[(&str, Value)]| {
                    fields.iter().map(|(word, value)| ((*word).to_owned(), value.clone())).collect::<Map<_, _>>()
                };
                let (mut own, mut other) = (add(&own), add(&[(word, value.clone())]));
                let (first, last) = if own_first { (&mut own, &mut other) } else { (&mut other, &mut own) };
                fields.append(first);
                fields.append(last);

                let (plain, exact) = of(fields.into());

                let properties: Vec<_> = plain["properties"].as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!((properties, &plain["required"]), (vec!["id", "title"], &json!(["id", "title"])), "{word}");
                assert!(exact);
            }
        }
    }

    #[test]
    fn what_two_schemas_say_of_one_property_holds_together() {
        let (plain, exact) = of(json!({
            "allOf": [{"properties": {"x": {"type": ["number", "null"], "description": "far", "enum": [1, 2, 3]}}}],
            "properties": {"x": {"type": "integer", "description": "near", "enum": [2, 3, 4]}}
        }));

        assert_eq!(plain["properties"]["x"], json!({"type": "integer", "description": "near", "enum": [2, 3]}));
        assert!(exact);
        let both =
            json!({"allOf": [{"properties": {"x": {"type": "string"}}}], "properties": {"x": {"type": "integer"}}});
        assert!(!of(both).1);
    }

    #[test]
    fn a_reference_is_found_by_its_anchor() {
        let (plain, exact) =
            of(json!({"$defs": {"a": {"$anchor": "city", "type": "string"}}, "properties": {"x": {"$ref": "#city"}}}));

        assert_eq!((&plain["properties"]["x"]["type"], exact), (&json!("string"), true));
    }

    #[test]
    fn a_reference_that_leads_nowhere_or_into_itself_is_anything() {
        for reference in ["#/$defs/Tree", "#", "#/$defs/None", "https://example.org/schema"] {
            let (plain, exact) = of(json!({
                "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}},
                "properties": {"x": {"$ref": reference}}
            }));

            assert!(plain.to_string().contains(r#"{}"#) && !plain.to_string().contains("$ref"), "{plain}");
            assert!(!exact);
        }
    }

    #[test]
    fn references_that_double_each_other_end() {
        let mut defs = Map::new();
        for number in 0..60 {
            let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
            defs.insert(format!("d{number}"), json!({"properties": {"a": next, "b": next}}));
        }
        defs.insert("d60".into(), json!({"enum": ["x".repeat(1000)]}));

        let (plain, exact) = of(json!({"$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}}));

        assert!(plain.to_string().len() < 2 * EXPANDED_BYTES_MAX);
        assert!(!exact);
    }

    #[test]
    fn a_long_chain_of_references_ends() {
        let defs: Map<_, _> = (0..5000)
            .map(|number| (format!("d{number}"), json!({"items": {"$ref": format!("#/$defs/d{}", number + 1)}})))
            .collect();

        assert!(!of(json!({"$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}})).1);
    }
}
