//! A search for text, read from what a caller wrote.

use crate::base::error::Error;

/// The longest search, in characters.
const SEARCH_CHARS_MAX: usize = 400;

/// What a caller looks for in prompts and answers. Every word must occur, quoted words next to each other; a word that ends
/// in `*` matches all words that begin with it.
#[derive(Debug, Clone)]
pub struct Search(String);

impl Search {
    pub fn parse(text: &str) -> Result<Search, Error> {
        if text.chars().count() > SEARCH_CHARS_MAX {
            return Err(Error::invalid("text", format!("`text` may have {SEARCH_CHARS_MAX} characters at most")));
        }
        let mut terms = Vec::new();
        for (at, part) in text.split('"').enumerate() {
            if at % 2 == 1 {
                terms.extend(term(part, ""));
            } else {
                let words = part.split_whitespace();
                terms.extend(words.filter_map(|word| term(word, if word.ends_with('*') { "*" } else { "" })));
            }
        }
        if terms.is_empty() {
            return Err(Error::invalid("text", "`text` holds no word to look for"));
        }
        Ok(Search(terms.join(" AND ")))
    }

    /// Returns the search in the language of FTS5.
    pub fn expression(&self) -> &str {
        &self.0
    }
}

/// Returns one phrase of FTS5. None of FTS5's own signs is left in it, so a text can't be read as its language.
fn term(words: &str, ending: &str) -> Option<String> {
    let plain: String = words.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| format!("\"{plain}\"{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_words_phrases_and_beginnings_and_never_a_language() {
        for (text, expected) in [
            ("two words", r#""two" AND "words""#),
            (r#"a "phrase of words" b"#, r#""a" AND "phrase of words" AND "b""#),
            (r#"an "open quote"#, r#""an" AND "open quote""#),
            ("deploy*", r#""deploy"*"#),
            ("NOT said : (x OR y)", r#""NOT" AND "said" AND "x" AND "OR" AND "y""#),
            ("well-known", r#""well known""#),
            ("a\0b Größe", r#""a b" AND "Größe""#),
        ] {
            assert_eq!(Search::parse(text).unwrap().0, expected, "{text}");
        }
        for empty in ["", "  ", "\"\"", "*", "- : ()", "\0"] {
            assert!(Search::parse(empty).is_err(), "{empty:?}");
        }
        assert!(Search::parse(&"x".repeat(SEARCH_CHARS_MAX)).is_ok());
        assert!(Search::parse(&"x".repeat(SEARCH_CHARS_MAX + 1)).is_err());
    }
}
