//! A reader of the few words of JSON Schema that `schema.json` uses.

use serde_json::Value;

pub struct Schema(Value);

impl Schema {
    pub fn read() -> Self {
        Schema(serde_json::from_str(include_str!("schema.json")).unwrap())
    }

    /// Panics where `value` is not what the schema of that name says.
    pub fn check(&self, name: &str, value: &Value) {
        if let Err(why) = self.hold(&self.0[name], value, name) {
            panic!("{why}\nin {value:#}");
        }
    }

    fn hold(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = schema.as_object().ok_or_else(|| format!("no schema for {at}"))?;
        for (word, rule) in schema {
            let held = match word.as_str() {
                "$ref" => return self.hold(&self.0[rule.as_str().unwrap()], value, at),
                "const" => rule == value,
                "enum" => rule.as_array().unwrap().contains(value),
                "type" => match rule {
                    Value::Array(names) => names.iter().any(|name| is_a(name, value)),
                    name => is_a(name, value),
                },
                "anyOf" => rule.as_array().unwrap().iter().any(|schema| self.hold(schema, value, at).is_ok()),
                "required" => rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.hold(rule, item, &format!("{at}[{number}]"))?;
                    }
                    true
                }
                "properties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        if let Some(rule) = rule.get(name) {
                            self.hold(rule, field, &format!("{at}.{name}"))?;
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    value.as_object().into_iter().flatten().all(|(name, _)| schema["properties"].get(name).is_some())
                }
                other => panic!("the schema uses `{other}`, which is not read here"),
            };
            if !held {
                return Err(format!("{at} breaks {word} {rule}: {value}"));
            }
        }
        Ok(())
    }
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn what_breaks_the_schema_is_seen() {
    let schema = Schema::read();
    let good = serde_json::json!({ "object": "list", "model": "m", "usage": { "prompt_tokens": 1, "total_tokens": 1 },
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.5] }] });
    schema.check("embeddings", &good);
    let broken = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        schema.hold(&schema.0["embeddings"], &bad, "").is_err()
    };

    assert!(broken("/object", "lists".into()));
    assert!(broken("/data/0/index", 0.5.into()));
    assert!(broken("/data/0/embedding", Value::Null));
    assert!(broken("/usage", serde_json::json!({ "prompt_tokens": 1 })));
    assert!(broken("/usage", serde_json::json!({ "prompt_tokens": 1, "total_tokens": 1, "more": 1 })));
}
