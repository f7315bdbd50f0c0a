//! Schemas as they are sent: the values of them that several parts of the writer need, and the references in them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Any value at all. The compiler takes `{}` and `true` for something else.
pub fn anything() -> Value {
    json!({"type": ["object", "array", "string", "number", "boolean", "null"]})
}

pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

pub fn name_of(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

pub fn used_definitions(written: &Value, definitions: &BTreeMap<String, Value>) -> Map<String, Value> {
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
pub fn each_reference(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, each)),
        Value::Object(fields) => match name_of(value) {
            Some(name) => each(name),
            None => fields.iter().filter(|(key, _)| *key != "enum").for_each(|(_, item)| each_reference(item, each)),
        },
        _ => {}
    }
}

pub fn holds_reference(value: &Value) -> bool {
    let mut holds = false;
    each_reference(value, &mut |_| holds = true);
    holds
}

/// Puts any value in the place of each reference.
pub fn open_references(value: &mut Value) {
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
