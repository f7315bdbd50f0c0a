//! Parts of schemas as they are sent, and the references in them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Returns a schema that allows any value. The compiler reads `{}` and `true` differently.
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

/// Calls `each` for the name in each reference. In a rewritten schema `$ref` is always a reference.
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

/// Replaces each reference by a schema that allows any value.
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
