//! Text of others in a page: escaped, with control, bidirectional and other invisible characters made visible.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::base::text::is_hidden;
use crate::http::pages::markup::{Markup, push_escaped};

/// Returns a text as HTML. Each invisible character is a chip with its number, such as `U+202E`; newlines and tabs stay.
pub fn visible(text: &str) -> Markup {
    let mut html = String::with_capacity(text.len() + text.len() / 16);
    for_each_shown(text, |shown| match shown {
        Shown::AsItIs(character) => push_escaped(&mut html, character),
        // A `String` takes whatever is written.
        Shown::AsNumber(character) => {
            let _ =
                write!(html, r#"<span class="chip-char" title="{}">{}</span>"#, name_of(character), number(character));
        }
    });
    Markup::of_html(html)
}

/// Returns a sentence as HTML, with what stands between backticks as code.
pub fn with_code(text: &str) -> Markup {
    let pieces: Vec<&str> = text.split('`').collect();
    // A last backtick that opens nothing is a character.
    let (pieces, rest) = if pieces.len() % 2 == 1 {
        (pieces.as_slice(), None)
    } else {
        let (rest, pieces) = pieces.split_last().map_or((None, &[][..]), |(rest, pieces)| (Some(*rest), pieces));
        (pieces, rest)
    };
    let mut html = String::with_capacity(text.len() + 32);
    for (at, piece) in pieces.iter().enumerate() {
        let shown = visible(piece);
        let _ = if at % 2 == 1 { write!(html, "<code>{shown}</code>") } else { write!(html, "{shown}") };
    }
    if let Some(rest) = rest {
        let _ = write!(html, "`{}", visible(rest));
    }
    Markup::of_html(html)
}

/// Returns a text for attributes and titles, which can't hold a chip: invisible characters are numbers in brackets, such as
/// `[U+202E]`, newlines and tabs included. It is not escaped: the template does that.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            let _ = write!(shown, "[{}]", number(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

enum Shown {
    AsItIs(char),
    AsNumber(char),
}

fn for_each_shown(text: &str, mut show: impl FnMut(Shown)) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => show(Shown::AsItIs(character)),
            // The line ends of Windows are one newline for a browser, too.
            '\r' if characters.peek() == Some(&'\n') => {}
            hidden if is_hidden(hidden) => show(Shown::AsNumber(hidden)),
            seen => show(Shown::AsItIs(seen)),
        }
    }
}

fn number(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

/// Returns what a character is, for those that tests and attackers like best.
fn name_of(character: char) -> &'static str {
    match character {
        '\0' => "null",
        '\u{1b}' => "escape",
        '\u{ad}' => "soft hyphen",
        '\u{200b}' => "zero width space",
        '\u{200c}' => "zero width non-joiner",
        '\u{200d}' => "zero width joiner",
        '\u{200e}' | '\u{200f}' | '\u{61c}' => "direction mark",
        '\u{202a}' | '\u{202b}' => "direction embedding",
        '\u{202c}' | '\u{2069}' => "end of a change of direction",
        '\u{202d}' => "left-to-right override",
        '\u{202e}' => "right-to-left override",
        '\u{2066}'..='\u{2068}' => "direction isolate",
        '\u{feff}' => "byte order mark",
        control if control.is_control() => "control character",
        _ => "invisible character",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code_and_all_of_it_is_escaped() {
        for (text, html) in [
            ("start it", "start it"),
            ("run `a <b>` now", "run <code>a &lt;b&gt;</code> now"),
            ("`a` and `b`", "<code>a</code> and <code>b</code>"),
            ("a ` b", "a ` b"),
            ("`a` ` <b>", "<code>a</code> ` &lt;b&gt;"),
            ("", ""),
        ] {
            assert_eq!(with_code(text).as_str(), html, "{text:?}");
        }
    }

    /// Payloads that run somewhere as soon as one character of them is not escaped.
    const PAYLOADS: &[&str] = &[
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg onload=alert(1)>",
        "' onmouseover='alert(1)",
        "\" autofocus onfocus=\"alert(1)",
        "</title><script>alert(1)</script>",
        "</textarea><script>alert(1)</script>",
        "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
        "<![CDATA[<script>alert(1)</script>]]>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;script&#62;",
        "javascript:alert(1)",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "{{ 7 * 7 }}",
        "{% include \"/etc/passwd\" %}",
        "<plaintext>",
        "<base href=//evil.example>",
        "<meta http-equiv=refresh content='0;url=//evil.example'>",
        "\u{202e}<gpj.exe>",
    ];
    const SURROUNDINGS: [(&str, &str); 10] = [
        ("", ""),
        ("\"", "\""),
        ("'", "'"),
        ("<", ">"),
        ("&", ";"),
        ("\0", "\0"),
        ("</span>", ""),
        ("\u{202e}", "\u{202c}"),
        ("\r\n", "\n\t"),
        ("]]>", "-->"),
    ];

    /// Returns the text that a browser would show, and fails where markup is left that is none of ours.
    fn read_back(html: &str) -> String {
        let (mut text, mut rest) = (String::new(), html);
        while let Some(character) = rest.chars().next() {
            if let Some(chip) = rest.strip_prefix("<span class=\"chip-char\" title=\"") {
                let (title, after) = chip.split_once("\">").expect("a chip has a title");
                assert!(!title.contains(['<', '>', '&', '"', '\'']), "{title}");
                let (number, after) = after.split_once("</span>").expect("a chip ends");
                let code = u32::from_str_radix(number.strip_prefix("U+").unwrap(), 16).unwrap();
                text.push(char::from_u32(code).unwrap());
                rest = after;
                continue;
            }
            let escapes = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#39;", '\'')];
            if let Some((escape, meant)) = escapes.into_iter().find(|(escape, _)| rest.starts_with(escape)) {
                text.push(meant);
                rest = &rest[escape.len()..];
                continue;
            }
            assert!(!['<', '>', '&', '"', '\''].contains(&character), "{character:?} is not escaped in {html}");
            assert!(!is_hidden(character) || character == '\n' || character == '\t', "{character:?} in {html}");
            text.push(character);
            rest = &rest[character.len_utf8()..];
        }
        text
    }

    #[test]
    fn two_hundred_payloads_are_shown_and_never_run() {
        for payload in PAYLOADS {
            for (before, after) in SURROUNDINGS {
                let text = format!("{before}{payload}{after}");
                assert_eq!(read_back(visible(&text).as_str()), text.replace("\r\n", "\n"), "{text:?}");
            }
        }
        assert_eq!(PAYLOADS.len() * SURROUNDINGS.len(), 200);
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_place(text in r#"[<>&"'a-c;#/=\x00-\x20\u{200b}-\u{202e}\u{feff}é日🛠]{0,60}"#) {
            prop_assert_eq!(read_back(visible(&text).as_str()), text.replace("\r\n", "\n"));
        }

        #[test]
        fn any_text_is_shown(text in any::<String>()) {
            prop_assert_eq!(read_back(visible(&text).as_str()), text.replace("\r\n", "\n"));
            prop_assert!(!plain(&text).chars().any(is_hidden));
        }
    }

    #[test]
    fn an_invisible_character_is_a_chip_with_its_number_and_line_ends_stay() {
        let shown = visible("file:\t\u{202e}gnp.elif\r\nnext\r");

        let right_to_left = r#"<span class="chip-char" title="right-to-left override">U+202E</span>"#;
        let carriage_return = r#"<span class="chip-char" title="control character">U+000D</span>"#;
        assert_eq!(shown.as_str(), format!("file:\t{right_to_left}gnp.elif\nnext{carriage_return}"));
        assert_eq!(visible("größer ☕ 日本 🛠\u{fe0f}").as_str(), "größer ☕ 日本 🛠\u{fe0f}");
    }

    #[test]
    fn where_no_chip_can_be_the_number_stands_in_brackets() {
        assert_eq!(plain("a\u{202e}b\nc"), "a[U+202E]b[U+000A]c");
        assert!(matches!(plain("<größer>"), Cow::Borrowed("<größer>")));
    }
}
