//! Words of the pages: for every reason, outcome, act and state of the API, one word per thing.
//!
//! A code that this version doesn't know is shown as it is.

pub mod acts;
pub mod reasons;
pub mod sentences;
pub mod settings;
pub mod states;

use std::borrow::Cow;
use std::fmt;

use askama::filters::HtmlSafe;

use crate::http::pages::visible::visible;

pub use self::acts::{ActSentence, RecordedAct};
pub use self::reasons::reason;
pub use self::states::{OutcomeWord, outcome};

/// What a page says for a code. Templates print it escaped; a code that has no word is in `<code>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: Cow<'static, str>,
    pub is_code: bool,
}

impl Word {
    const fn known(text: &'static str) -> Word {
        Word { text: Cow::Borrowed(text), is_code: false }
    }

    fn code(text: &str) -> Word {
        Word { text: Cow::Owned(text.to_owned()), is_code: true }
    }

    fn of(word: Option<&'static str>, code: &str) -> Word {
        word.map_or_else(|| Word::code(code), Word::known)
    }
}

impl HtmlSafe for Word {}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = visible(&self.text);
        if self.is_code { write!(f, "<code>{shown}</code>") } else { shown.fmt(f) }
    }
}

/// Raises the first letter, for a sentence of the API that a page shows.
pub fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Returns `1 request`, `2 requests`; the number has commas.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", crate::http::pages::format::commas(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_shown_as_it_is_and_never_as_markup() {
        assert_eq!(Word::of(Some("it's"), "x").to_string(), "it&#39;s");
        assert_eq!(Word::of(None, "<new_code>").to_string(), "<code>&lt;new_code&gt;</code>");
    }

    #[test]
    fn first_letters_are_raised_and_one_is_not_many() {
        assert_eq!(
            [capitalised("the last admin stays"), capitalised("ß"), capitalised("")],
            ["The last admin stays", "SS", ""]
        );
        assert_eq!(
            [0, 1, 2, 1_204].map(|number| counted(number, "request", "requests")),
            ["0 requests", "1 request", "2 requests", "1,204 requests"]
        );
    }
}
