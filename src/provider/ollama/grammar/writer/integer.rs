//! Writes schemas of integers.

use serde_json::{Value, json};

use crate::provider::ollama::grammar::facts::Facts;
use crate::provider::ollama::grammar::writer::{SchemaWriter, Stop};

/// The largest bound of an integer, positive or negative. The compiler counts digits, up to 16.
pub const INTEGER_MAX: i64 = 999_999_999_999_999;

impl SchemaWriter<'_, '_> {
    pub fn integer(&mut self, facts: &Facts<'_>) -> Result<Value, Stop> {
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
        // With a single bound the compiler counts digits wrongly from 10 on, and allows leading zeros below zero.
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
}
