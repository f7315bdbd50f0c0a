//! One of the schemas that a value has to fit at the same time.

use serde_json::{Map, Value};

use crate::provider::ollama::grammar::facts;

/// One of the schemas that hold together, without those that it names itself.
#[derive(Clone, Copy)]
pub struct SchemaPart<'a> {
    pub fields: &'a Map<String, Value>,
    /// Its alternatives are decided: the bits of `UNIONS`.
    pub decided: u8,
}

pub const UNIONS: [(u8, &str); 2] = [(1, "anyOf"), (2, "oneOf")];

impl SchemaPart<'_> {
    /// Tells it from the others: schemas are compared by where they stand.
    pub fn key(&self) -> (usize, u8) {
        (std::ptr::from_ref(self.fields) as usize, self.decided)
    }

    /// Nothing is left in it that would make a difference.
    pub fn is_spent(&self) -> bool {
        let is_decided = |word: &str| UNIONS.iter().any(|(bit, union)| self.decided & bit != 0 && *union == word);
        self.fields.keys().all(|word| !facts::says_something(word) || is_decided(word))
    }
}
