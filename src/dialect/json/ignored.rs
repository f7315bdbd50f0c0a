//! Fields that have no effect, noted by name.

use std::fmt;

use crate::base::error::Error;
use crate::dialect::json::Json;
use crate::dialect::json::at::{At, SHOWN_CHARS_MAX};
use crate::dialect::json::names::same_but_for_case;

/// The names of fields that have no effect, for `x-ignored-parameters` and the record.
#[derive(Debug, Default)]
pub struct Ignored {
    names: Vec<String>,
    more: usize,
}

/// Names kept, at most; of the rest only the number is told.
const IGNORED_MAX: usize = 32;

impl Ignored {
    /// Notes a field. Its name is cut to what may stand in a header.
    pub fn add(&mut self, name: impl fmt::Display) {
        let name: String = name
            .to_string()
            .chars()
            .take(SHOWN_CHARS_MAX)
            .map(|c| if c.is_ascii_alphanumeric() || "_-.[]$".contains(c) { c } else { '?' })
            .collect();
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() == IGNORED_MAX {
            self.more += 1;
            return;
        }
        self.names.push(name);
    }

    /// A field that is not in `known`. Another spelling of a known one is an error: its author meant something by it.
    /// `prefix` is the place without indices, as in `messages[].`.
    pub fn unknown(
        &mut self,
        known: &[&str],
        at: &At<'_>,
        prefix: &str,
        key: &str,
        value: &Json<'_>,
    ) -> Result<(), Error> {
        if let Some(right) = known.iter().find(|name| same_but_for_case(name, key)) {
            return Err(at.key(key).invalid(format_args!("is not a field; write `{right}`")));
        }
        if !value.is_absent() {
            self.add(format_args!("{prefix}{key}"));
        }
        Ok(())
    }

    pub fn into_names(mut self) -> Vec<String> {
        if self.more > 0 {
            self.names.push(format!("and {} more", self.more));
        }
        self.names
    }
}
