//! Writes schemas of arrays.

use serde_json::{Value, json};

use crate::provider::ollama::grammar::facts::Facts;
use crate::provider::ollama::grammar::writer::counts::put_counts;
use crate::provider::ollama::grammar::writer::{Level, SchemaWriter, Stop};
use crate::provider::ollama::grammar::written::anything;

/// The most places of an array after those with a schema of their own; each has to be spelled out.
const PLACES_MORE_MAX: usize = 32;

impl<'a> SchemaWriter<'a, '_> {
    pub fn array(&mut self, facts: &Facts<'a>, level: Level) -> Result<Value, Stop> {
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

    /// Writes an array with a schema for each place; for the compiler it ends with the last of them.
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
}
