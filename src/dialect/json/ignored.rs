//! Notes the fields that have no effect, by name.

use std::fmt;

use crate::base::error::Error;
use crate::dialect::json::at::{At, SHOWN_CHARS_MAX};
use crate::dialect::json::names::same_but_for_case;

/// The names of fields that have no effect, for `x-ignored-parameters` and the record: in the order of the body, also when
/// some are noted after it was read.
#[derive(Debug, Default)]
pub struct Ignored {
    /// Each name with the position of its top-level field.
    names: Vec<(usize, String)>,
    more: usize,
    /// The top-level fields read so far; `None`: an unknown one.
    order: Vec<Option<&'static str>>,
}

/// Most names kept. Of further ones only the count is reported.
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
        if self.names.iter().any(|(_, noted)| *noted == name) {
            return;
        }
        if self.names.len() == IGNORED_MAX {
            self.more += 1;
            return;
        }
        let field = name.split(['.', '[']).next();
        let number = self.order.iter().position(|known| known.is_some() && *known == field);
        self.names.push((number.unwrap_or(self.order.len().saturating_sub(1)), name));
    }

    /// Records the next top-level field of the body.
    pub fn comes_next(&mut self, field: Option<&'static str>) {
        self.order.push(field);
    }

    /// Refuses another spelling of a known field: its author meant something by it.
    pub fn check_spelling(known: &[&str], at: &At<'_>, key: &str) -> Result<(), Error> {
        match known.iter().find(|name| same_but_for_case(name, key)) {
            Some(right) => Err(at.key(key).invalid(format_args!("is not a field; write `{right}`"))),
            None => Ok(()),
        }
    }

    pub fn into_names(mut self) -> Vec<String> {
        self.names.sort_by_key(|(number, _)| *number);
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.names.into_iter().map(|(_, name)| name).chain(more).collect()
    }
}
