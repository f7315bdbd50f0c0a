//! Patterns of texts, written anew for the grammar compiler.
//!
//! The compiler reads patterns character by character and checks little: a group that looks ahead ends the whole model
//! server, an escape that it does not know ends the model's runner, and a repetition of something that may be empty
//! sends it into a recursion without an end. So a pattern is read into a tree, brought into a form in which nothing that is
//! repeated can be empty, and written from that form with few constructs: literal letters, `[…]`, `(…|…)` and counts.
//!
//! The compiler also knows nothing of JSON's escapes. A set of characters is written as those that a JSON text holds as
//! they are, and beside them the escapes of the others, so that no quotation mark ends a text too early.

use crate::provider::ollama::grammar::pattern::anchors::whole_text;
use crate::provider::ollama::grammar::pattern::normal::Form;

mod anchors;
mod cost;
mod nonempty;
mod normal;
mod places;
mod reader;
mod text;

/// Larger counts are refused by the compiler.
pub const COUNT_MAX: u32 = 2000;
/// What a grammar takes in place of a pattern.
#[derive(Debug, PartialEq)]
pub struct Written {
    pub text: String,
    /// Sum of its counts: each makes as many rules.
    pub repeats: usize,
    /// Whether the limits of length hold with it.
    pub keeps_lengths: bool,
}

/// The pattern, written anew; `None` where it can't be said. `least` and `most` are limits of the length of the text.
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
