//! Patterns of strings, rewritten for the grammar compiler.
//!
//! The compiler reads patterns character by character and checks little: a look-ahead crashes the model server, an unknown
//! escape crashes the model's runner, and a repetition of something that may be empty recurses forever. So a pattern is parsed
//! into a tree, brought into a form in which nothing that is repeated can be empty, and written from that form with few
//! constructs: literal letters, `[…]`, `(…|…)` and counts.
//!
//! The compiler doesn't know JSON's escapes either. A set of characters is written as those that are not escaped in JSON, or the
//! escapes of the others, so that no quotation mark ends a string too early.

use crate::provider::ollama::grammar::pattern::anchors::whole_text;
use crate::provider::ollama::grammar::pattern::normal::Form;

mod anchors;
mod cost;
mod nonempty;
mod normal;
mod places;
mod reader;
mod text;

/// The largest count that the compiler accepts.
pub const COUNT_MAX: u32 = 2000;
/// A rewritten pattern.
#[derive(Debug, PartialEq)]
pub struct Written {
    pub text: String,
    /// The sum of its counts.
    pub repeats: usize,
    /// Whether it enforces the bounds of the length.
    pub keeps_lengths: bool,
}

/// Rewrites a pattern; returns `None` if that is not possible. `least` and `most` bound the length of the string.
pub fn rewrite(pattern: &str, least: u32, most: Option<u32>) -> Option<Written> {
    let ast = whole_text(reader::read(pattern)?)?;
    let mut form = Form::new().of(&ast)?;
    let keeps_lengths = form.limit_length(least, most);
    match form.whole() {
        Some(whole) if whole.is_cheap() => {
            Some(Written { text: format!("^{whole}$"), repeats: whole.repeats(), keeps_lengths })
        }
        Some(_) => None,
        // Only the empty text matches, or nothing does.
        None => form.may_be_empty.then(|| Written { text: "^$".to_owned(), repeats: 0, keeps_lengths }),
    }
}

#[cfg(test)]
mod tests;
