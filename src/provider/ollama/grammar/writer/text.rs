//! Writes schemas of strings: patterns, formats and lengths.

use serde_json::{Value, json};

use crate::provider::ollama::grammar::facts::Facts;
use crate::provider::ollama::grammar::pattern;
use crate::provider::ollama::grammar::writer::counts::put_counts;
use crate::provider::ollama::grammar::writer::{SchemaWriter, Stop};

impl<'a> SchemaWriter<'a, '_> {
    pub fn text(&mut self, facts: &Facts<'a>) -> Result<Value, Stop> {
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
                // At most one pattern can be used.
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
}
