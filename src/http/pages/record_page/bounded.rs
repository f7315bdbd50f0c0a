//! Long texts on a page: as much as a page can bear, and how much more there is.

use crate::base::text::is_hidden;
use crate::http::pages::markup::Markup;
use crate::http::pages::visible::visible;

/// Bytes of HTML for one text.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of HTML that a chip for an invisible character takes, at most.
const CHIP_BYTES: usize = 96;

/// Bytes that an escaped character takes, at most.
const ESCAPED_BYTES: usize = 6;

/// A text, or its beginning.
#[derive(Debug, Default)]
pub struct BoundedText {
    pub shown: Markup,
    /// Characters that are left out.
    pub more: usize,
}

impl BoundedText {
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

/// Returns as much of a text as takes `bytes_max` bytes of HTML, and how much room that took.
pub fn bounded(text: &str, bytes_max: usize) -> (BoundedText, usize) {
    let mut used = 0;
    let mut end = text.len();
    for (at, character) in text.char_indices() {
        let cost = match character {
            '\n' | '\t' => 1,
            // The line ends of Windows are shown as one newline.
            '\r' if text[at + 1..].starts_with('\n') => 0,
            '&' | '<' | '>' | '"' | '\'' => ESCAPED_BYTES,
            hidden if is_hidden(hidden) => CHIP_BYTES,
            seen => seen.len_utf8(),
        };
        if used + cost > bytes_max {
            end = at;
            break;
        }
        used += cost;
    }
    let (shown, rest) = text.split_at(end);
    (BoundedText { shown: visible(shown), more: rest.chars().count() }, used)
}

/// Returns the beginning of a text that has no others beside it.
pub fn beginning(text: &str, bytes_max: usize) -> BoundedText {
    bounded(text, bytes_max).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_just_the_bound_is_whole_and_one_character_more_is_told() {
        let whole = beginning(&"x".repeat(100), 100);
        let longer = beginning(&"x".repeat(101), 100);

        assert_eq!((whole.shown.as_str().len(), whole.more), (100, 0));
        assert_eq!((longer.shown.as_str().len(), longer.more), (100, 1));
        assert_eq!(beginning("ßß", 3).more, 1);
        assert!(beginning("", 0).is_empty());
    }

    #[test]
    fn no_text_takes_more_room_than_it_may() {
        for text in ["<", "&", "\u{202e}", "\u{0}", "\u{2067}", "\u{2029}", "日", "\r", "\"'"] {
            let (shown, used) = bounded(&text.repeat(100_000), TEXT_BYTES_MAX);
            let length = shown.shown.as_str().len();
            assert!(length <= TEXT_BYTES_MAX && used <= TEXT_BYTES_MAX, "{text:?}: {length}");
            assert!(shown.more > 0);
        }
    }
}
