//! Checks that an object has each field name once, ignoring case.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::base::error::Error;
use crate::dialect::json::at::{At, shown};
use crate::dialect::json::{Json, Object};

/// Largest number of keys for which comparing is faster than hashing.
const KEYS_COMPARED_MAX: usize = 16;

/// Refuses an object that has a name twice, in one case or in two.
pub fn check_names(fields: &Object<'_>, at: &At<'_>) -> Result<(), Error> {
    let mut names = Names::default();
    for (number, (name, _)) in fields.iter().enumerate() {
        let Some(first) = names.clash(&fields[..number], name) else { continue };
        let at = at.key(name);
        return Err(if first == name {
            at.invalid("is there twice; send it once")
        } else {
            at.invalid(format_args!("and `{}` differ only by case; send one of them", shown(first)))
        });
    }
    Ok(())
}

/// Finds a name that an object has already. The folded names exist only for objects with many keys.
#[derive(Default)]
struct Names {
    folded: Option<HashSet<String>>,
}

impl Names {
    fn clash<'f>(&mut self, fields: &'f [(Cow<'_, str>, Json<'_>)], key: &str) -> Option<&'f str> {
        if fields.len() >= KEYS_COMPARED_MAX {
            let folded = self.folded.get_or_insert_with(|| fields.iter().map(|(name, _)| fold(name)).collect());
            if folded.insert(fold(key)) {
                return None;
            }
        }
        fields.iter().map(|(name, _)| name.as_ref()).find(|name| same_but_for_case(name, key))
    }
}

pub fn same_but_for_case(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (!(one.is_ascii() && other.is_ascii()) && fold(one) == fold(other))
}

/// Returns the name case-folded, by upper and then lower case: Go's parser takes the Kelvin sign for a `k`, the long s for an `s`.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}
