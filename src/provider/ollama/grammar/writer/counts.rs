//! The bounds of repetitions: lengths of strings and arrays, and their sum.

use serde_json::Value;

use crate::provider::ollama::grammar::pattern::COUNT_MAX;
use crate::provider::ollama::grammar::writer::SchemaWriter;

/// The largest sum of all counts: a count of n makes n rules in the grammar.
const REPEATS_MAX: usize = 50_000;

impl SchemaWriter<'_, '_> {
    /// Returns the counts that the compiler accepts; others are left out and noted.
    pub fn counts(&mut self, least: u32, most: Option<u32>, words: [&str; 2]) -> (u32, Option<u32>) {
        let mut least = least;
        if least > COUNT_MAX || !self.counts_repeats(least as usize) {
            self.note(words[0]);
            least = 0;
        }
        let mut most = most;
        if let Some(count) = most
            && (count > COUNT_MAX || !self.counts_repeats((count - least.min(count)) as usize))
        {
            self.note(words[1]);
            most = None;
        }
        (least, most)
    }

    /// Adds to the sum of counts; returns `false` if that would exceed it.
    pub fn counts_repeats(&mut self, repeats: usize) -> bool {
        let sum = self.grammar.repeats + repeats;
        let fits = sum <= REPEATS_MAX;
        if fits {
            self.grammar.repeats = sum;
        }
        fits
    }
}

pub fn put_counts(written: &mut Value, words: [&str; 2], least: u32, most: Option<u32>) {
    if least > 0 {
        written[words[0]] = least.into();
    }
    if let Some(most) = most {
        written[words[1]] = most.into();
    }
}
