//! Text for people: finds and shows invisible characters.

use std::borrow::Cow;

/// Returns whether a character is invisible or changes its neighbours: controls, line separators, zero-width characters, and
/// those that change the direction of writing. In a name they make one thing look like another; a terminal obeys them.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            // Zero width, direction marks.
            | '\u{200B}'..='\u{200F}'
            // Line and paragraph separators, direction embeddings and overrides.
            | '\u{2028}'..='\u{202E}'
            // Joiners, invisible operators, direction isolates.
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}'
            // Tags, further variation selectors.
            | '\u{E0000}'..='\u{E0FFF}')
}

/// Returns the text with each hidden character written as its number, such as `\u{202e}`, so that a terminal can print it.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_marks_of_direction_and_characters_of_no_width_are_hidden_and_others_are_not() {
        for hidden in
            "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{200d}\u{200e}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}"
                .chars()
        {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
        for seen in " aßé日本е́🛠\u{fe0f}…«»\u{a0}\u{3000}".chars() {
            assert!(!is_hidden(seen), "{seen:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_shown_as_its_number() {
        assert_eq!(visible("größer ☕"), "größer ☕");
        assert_eq!(visible("\u{1b}[31mred\u{202e}"), "\\u{1b}[31mred\\u{202e}");
    }
}
