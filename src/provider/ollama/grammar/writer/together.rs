//! Collects the schemas that a value has to fit together: a schema, what it refers to, and those in its `allOf`.

use serde_json::Value;

use crate::provider::ollama::grammar::part::SchemaPart;
use crate::provider::ollama::grammar::writer::{CHAIN_MAX, NODES_MAX, SchemaWriter, Stop};

impl<'a> SchemaWriter<'a, '_> {
    /// Adds a schema and, before it, what it refers to. Schemas that constrain nothing are removed later, so that equal
    /// collections are recognised.
    pub fn take_in(&mut self, schema: &'a Value, parts: &mut Vec<SchemaPart<'a>>, chain: usize) -> Result<(), Stop> {
        let mut seen = parts.iter().filter(|part| part.decided == 0).map(|part| part.key().0).collect();
        self.take_in_new(schema, parts, &mut seen, chain)
    }

    fn take_in_new(
        &mut self,
        schema: &'a Value,
        parts: &mut Vec<SchemaPart<'a>>,
        seen: &mut Vec<usize>,
        chain: usize,
    ) -> Result<(), Stop> {
        let fields = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return self.nothing(),
            Value::Object(fields) => fields,
            _ => return Err(self.wrong("", "must be an object or a boolean")),
        };
        let part = SchemaPart { fields, decided: 0 };
        let key = part.key().0;
        // Once is enough; this also ends recursive references.
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
}
