//! Words of the pages: for every reason, outcome, act and state of the API, one word per thing.
//!
//! A code that this version doesn't know is shown as it is.

pub mod acts;
pub mod notices;
pub mod reasons;
pub mod sentences;
pub mod settings;
pub mod states;

use std::borrow::Cow;
use std::fmt;

use askama::filters::HtmlSafe;

use crate::http::pages::markup::Markup;
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

/// Returns `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
pub fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{}{ending}", crate::http::pages::format::commas(number))
}

/// Returns a sentence as HTML: what stands between backticks is code.
pub fn with_code(text: &str) -> Markup {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let shown = visible(part);
        if at % 2 == 1 {
            html.push_str(&format!("<code>{shown}</code>"));
        } else {
            html.push_str(shown.as_str());
        }
    }
    Markup::of_html(html)
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
    fn places_are_ordinals_and_backticks_are_code() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 112, 1_001].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "1,001st"]
        );
        assert_eq!(with_code("as `Retry-After` <says>").as_str(), "as <code>Retry-After</code> &lt;says&gt;");
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
