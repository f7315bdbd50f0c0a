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

/// Calls `each` for the name in each reference.
pub fn each_reference(schema: &Value, each: &mut impl FnMut(&str)) {
    match name_of(schema) {
        Some(name) => each(name),
        None => schema.as_object().into_iter().flatten().for_each(|(word, value)| match inside(word) {
            Inside::Schema => each_reference(value, each),
            Inside::Schemas => value.as_array().into_iter().flatten().for_each(|schema| each_reference(schema, each)),
            Inside::Named => {
                value.as_object().into_iter().flatten().for_each(|(_, schema)| each_reference(schema, each));
            }
            Inside::Nothing => {}
        }),
    }
}

pub fn holds_reference(schema: &Value) -> bool {
    let mut holds = false;
    each_reference(schema, &mut |_| holds = true);
    holds
}

/// Replaces each reference by a schema that allows any value.
pub fn open_references(schema: &mut Value) {
    if name_of(schema).is_some() {
        *schema = anything();
        return;
    }
    for (word, value) in schema.as_object_mut().into_iter().flatten() {
        match inside(word) {
            Inside::Schema => open_references(value),
            Inside::Schemas => value.as_array_mut().into_iter().flatten().for_each(open_references),
            Inside::Named => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, schema)| open_references(schema));
            }
            Inside::Nothing => {}
        }
    }
}

/// The schemas in the value of a word.
enum Inside {
    Schema,
    Schemas,
    /// By names that are the caller's, and may be those of words.
    Named,
    Nothing,
}

fn inside(word: &str) -> Inside {
    match word {
        "additionalProperties" | "items" => Inside::Schema,
        "anyOf" | "prefixItems" => Inside::Schemas,
        "properties" => Inside::Named,
        _ => Inside::Nothing,
    }
}
