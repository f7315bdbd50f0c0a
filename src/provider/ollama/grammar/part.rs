//! One of several schemas that a value has to fit.

use serde_json::{Map, Value};

use crate::provider::ollama::grammar::facts;

/// One of several schemas that a value has to fit, without those that it refers to.
#[derive(Clone, Copy)]
pub struct SchemaPart<'a> {
    pub fields: &'a Map<String, Value>,
    /// Which of its alternatives are decided, as bits of `UNIONS`.
    pub decided: u8,
}

pub const UNIONS: [(u8, &str); 2] = [(1, "anyOf"), (2, "oneOf")];

impl SchemaPart<'_> {
    /// Returns what identifies it: the address of the schema, and what is decided.
    pub fn key(&self) -> (usize, u8) {
        (std::ptr::from_ref(self.fields) as usize, self.decided)
    }

    /// Returns whether nothing is left in it that constrains a value.
    pub fn is_spent(&self) -> bool {
        let is_decided = |word: &str| UNIONS.iter().any(|(bit, union)| self.decided & bit != 0 && *union == word);
        self.fields.keys().all(|word| !facts::says_something(word) || is_decided(word))
    }
}
