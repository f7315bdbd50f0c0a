//! Writes patterns with the few constructs that the compiler reads correctly.

use std::fmt::Write;

use crate::provider::ollama::grammar::chars::Chars;
use crate::provider::ollama::grammar::pattern::nonempty::{CharClass, NonEmpty};

impl std::fmt::Display for NonEmpty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NonEmpty::CharClass(class) => match literal(class) {
                Some(letter) => f.write_char(letter),
                None => put_class(f, class),
            },
            NonEmpty::Sequence(items) => items.iter().try_for_each(|item| write!(f, "{item}")),
            NonEmpty::Either(ways) => {
                for (number, way) in ways.iter().enumerate() {
                    write!(f, "{}{way}", if number == 0 { '(' } else { '|' })?;
                }
                f.write_char(')')
            }
            NonEmpty::Repeat(what, least, most) => {
                put_atom(f, what)?;
                match (least, most) {
                    (1, None) => f.write_char('+'),
                    (least, None) => write!(f, "{{{least},}}"),
                    (least, Some(most)) => write!(f, "{{{least},{most}}}"),
                }
            }
            NonEmpty::Optional(what) => match &**what {
                NonEmpty::Repeat(what, 1, most) => {
                    put_atom(f, what)?;
                    match most {
                        None => f.write_char('*'),
                        Some(most) => write!(f, "{{0,{most}}}"),
                    }
                }
                other => {
                    put_atom(f, other)?;
                    f.write_char('?')
                }
            },
        }
    }
}

/// Writes something that a count can follow. Of a literal, the compiler would repeat the last letter only, or too much.
fn put_atom(f: &mut std::fmt::Formatter<'_>, core: &NonEmpty) -> std::fmt::Result {
    match core {
        NonEmpty::CharClass(class) => put_class(f, class),
        NonEmpty::Either(_) => write!(f, "{core}"),
        other => write!(f, "({other})"),
    }
}

/// Returns the letter of a set of one letter that needs no escape in the compiler's patterns and in its grammars.
fn literal(class: &CharClass) -> Option<char> {
    match (class.plain.ranges(), class.escapes.is_empty()) {
        ([(from, to)], true) if from == to => {
            char::from_u32(*from).filter(|c| c.is_ascii_alphanumeric() || " _:/@,=%-".contains(*c))
        }
        _ => None,
    }
}

fn put_class(f: &mut std::fmt::Formatter<'_>, class: &CharClass) -> std::fmt::Result {
    match (class.plain.is_empty(), class.escapes.is_empty()) {
        (false, true) => put_set(f, &class.plain),
        (true, _) => {
            f.write_str("([\\x5C]")?;
            put_set(f, &class.escapes)?;
            f.write_char(')')
        }
        (false, false) => {
            f.write_char('(')?;
            put_set(f, &class.plain)?;
            f.write_str("|[\\x5C]")?;
            put_set(f, &class.escapes)?;
            f.write_char(')')
        }
    }
}

fn put_set(f: &mut std::fmt::Formatter<'_>, chars: &Chars) -> std::fmt::Result {
    f.write_char('[')?;
    for (from, to) in chars.ranges() {
        put_char(f, *from)?;
        if to > from {
            if *to > from + 1 {
                f.write_char('-')?;
            }
            put_char(f, *to)?;
        }
    }
    f.write_char(']')
}

fn put_char(f: &mut std::fmt::Formatter<'_>, c: u32) -> std::fmt::Result {
    match char::from_u32(c) {
        Some(letter) if letter.is_ascii_alphanumeric() => f.write_char(letter),
        _ if c <= 0xFF => write!(f, "\\x{c:02X}"),
        _ if c <= 0xFFFF => write!(f, "\\u{c:04X}"),
        _ => write!(f, "\\U{c:08X}"),
    }
}
