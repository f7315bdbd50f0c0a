//! Parses a pattern of JSON Schema: a regular expression of ECMA-262.
//!
//! What has no counterpart in a grammar (look-ahead, look-behind, references to groups, word boundaries, flags) is read as
//! `None`, and so is unknown syntax.

use std::iter::Peekable;
use std::str::Chars as Letters;

use crate::provider::ollama::grammar::chars::Chars;

/// The longest pattern that is read.
const BYTES_MAX: usize = 4096;

/// The deepest nesting of groups.
const DEPTH_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq)]
pub enum Ast {
    /// One character of a set.
    CharClass(Chars),
    Sequence(Vec<Ast>),
    Either(Vec<Ast>),
    Repeat {
        what: Box<Ast>,
        least: u32,
        most: Option<u32>,
    },
    /// `^`
    Start,
    /// `$`
    End,
}

pub fn read(pattern: &str) -> Option<Ast> {
    if pattern.len() > BYTES_MAX {
        return None;
    }
    let mut reader = Reader { rest: pattern.chars().peekable(), depth: 0 };
    let ast = reader.either()?;
    reader.rest.next().is_none().then_some(ast)
}

struct Reader<'a> {
    rest: Peekable<Letters<'a>>,
    depth: usize,
}

impl Reader<'_> {
    fn either(&mut self) -> Option<Ast> {
        let mut ways = vec![self.sequence()?];
        while self.rest.next_if_eq(&'|').is_some() {
            ways.push(self.sequence()?);
        }
        if ways.len() == 1 { ways.pop() } else { Some(Ast::Either(ways)) }
    }

    fn sequence(&mut self) -> Option<Ast> {
        let mut items = Vec::new();
        while let Some(c) = self.rest.next_if(|c| !matches!(c, '|' | ')')) {
            let item = match c {
                '^' => Ast::Start,
                '$' => Ast::End,
                _ => {
                    let atom = self.atom(c)?;
                    self.quantified(atom)?
                }
            };
            items.push(item);
        }
        Some(Ast::Sequence(items))
    }

    fn atom(&mut self, first: char) -> Option<Ast> {
        match first {
            '.' => Some(Ast::CharClass(Chars::dot())),
            '(' => self.group(),
            '[' => self.class().map(Ast::CharClass),
            '\\' => self.escape().map(Ast::CharClass),
            // There is nothing to repeat before it.
            '*' | '+' | '?' => None,
            '{' if self.counts().is_some() => None,
            other => Some(Ast::CharClass(Chars::one(other as u32))),
        }
    }

    fn group(&mut self) -> Option<Ast> {
        if self.rest.next_if_eq(&'?').is_some() {
            match self.rest.next()? {
                ':' => {}
                // Python's syntax for names.
                'P' => self.name()?,
                '<' => self.name_after_bracket()?,
                _ => return None,
            }
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let inner = self.either()?;
        self.depth -= 1;
        self.rest.next_if_eq(&')')?;
        Some(inner)
    }

    fn name(&mut self) -> Option<()> {
        self.rest.next_if_eq(&'<')?;
        self.name_after_bracket()
    }

    fn name_after_bracket(&mut self) -> Option<()> {
        // `(?<=` and `(?<!` look behind.
        self.rest.next_if(|c| c.is_alphabetic() || "_$".contains(*c))?;
        while self.rest.next_if(|c| c.is_alphanumeric() || "_$".contains(*c)).is_some() {}
        self.rest.next_if_eq(&'>').map(|_| ())
    }

    fn quantified(&mut self, atom: Ast) -> Option<Ast> {
        let (least, most) = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let mut ahead = self.rest.clone();
                ahead.next();
                std::mem::swap(&mut self.rest, &mut ahead);
                let Some(counts) = self.counts() else {
                    // A brace that counts nothing is a character.
                    self.rest = ahead;
                    return Some(atom);
                };
                return self.repeated(atom, counts);
            }
            _ => return Some(atom),
        };
        self.rest.next();
        self.repeated(atom, (least, most))
    }

    fn repeated(&mut self, atom: Ast, (least, most): (u32, Option<u32>)) -> Option<Ast> {
        // Lazy or greedy: the same texts match.
        self.rest.next_if_eq(&'?');
        // Two quantifiers in a row are an error, or a possessive one of another dialect.
        if matches!(self.rest.peek(), Some('*' | '+' | '?')) || most.is_some_and(|most| most < least) {
            return None;
        }
        Some(Ast::Repeat { what: Box::new(atom), least, most })
    }

    /// Parses a count after `{`, up to its end; consumes nothing if it is no count.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        let mut ahead = self.rest.clone();
        let number = |ahead: &mut Peekable<Letters<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = ahead.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let least = number(&mut ahead);
        let counts = if ahead.next_if_eq(&',').is_some() {
            let most = number(&mut ahead);
            match (least.as_str(), most.as_str()) {
                ("", _) => return None,
                (least, "") => (count(least), None),
                (least, most) => (count(least), Some(count(most))),
            }
        } else {
            if least.is_empty() {
                return None;
            }
            (count(&least), Some(count(&least)))
        };
        ahead.next_if_eq(&'}')?;
        self.rest = ahead;
        Some(counts)
    }

    /// Parses what follows a backslash outside of brackets.
    fn escape(&mut self) -> Option<Chars> {
        match self.rest.peek()? {
            'b' | 'B' | 'k' | '1'..='9' => None,
            _ => self.escape_in_class(),
        }
    }

    fn escape_in_class(&mut self) -> Option<Chars> {
        let one = |c: char| Some(Chars::one(c as u32));
        match self.rest.next()? {
            'd' => Some(Chars::digits()),
            'D' => Some(Chars::digits().inverted()),
            'w' => Some(Chars::word()),
            'W' => Some(Chars::word().inverted()),
            's' => Some(Chars::spaces()),
            'S' => Some(Chars::spaces().inverted()),
            't' => one('\t'),
            'n' => one('\n'),
            'r' => one('\r'),
            'f' => one('\u{c}'),
            'v' => one('\u{b}'),
            'b' => one('\u{8}'),
            '0' if !matches!(self.rest.peek(), Some('0'..='9')) => one('\0'),
            'x' => self.hex(2).map(Chars::one),
            'u' => self.unicode().map(Chars::one),
            // Other letters and digits have a meaning in some dialects, and none here.
            other if other.is_ascii_alphanumeric() => None,
            other => one(other),
        }
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..digits {
            value = value * 16 + self.rest.next()?.to_digit(16)?;
        }
        Some(value)
    }

    fn unicode(&mut self) -> Option<u32> {
        if self.rest.next_if_eq(&'{').is_some() {
            let mut value: u32 = 0;
            while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
                value = value.checked_mul(16)?.checked_add(digit.to_digit(16)?)?;
            }
            self.rest.next_if_eq(&'}')?;
            return char::from_u32(value).map(u32::from);
        }
        let first = self.hex(4)?;
        if !(0xD800..=0xDBFF).contains(&first) {
            return char::from_u32(first).map(u32::from);
        }
        self.rest.next_if_eq(&'\\')?;
        self.rest.next_if_eq(&'u')?;
        let second = self.hex(4)?.checked_sub(0xDC00)?;
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + second).map(u32::from)
    }

    /// Parses a set after `[`, up to its end.
    fn class(&mut self) -> Option<Chars> {
        let is_inverted = self.rest.next_if_eq(&'^').is_some();
        let mut chars = Chars::default();
        loop {
            let first = match self.rest.next()? {
                ']' => break,
                '\\' => self.escape_in_class()?,
                other => Chars::one(other as u32),
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.peek().is_some_and(|c| *c != ']');
            if !is_range {
                chars = chars.united(&first);
                continue;
            }
            self.rest = ahead;
            let last = match self.rest.next()? {
                '\\' => self.escape_in_class()?,
                other => Chars::one(other as u32),
            };
            match (single(&first), single(&last)) {
                (Some(from), Some(to)) if from <= to => chars = chars.united(&Chars::of([(from, to)])),
                (Some(_), Some(_)) => return None,
                // A set has no ends: between it and another the hyphen is a character.
                _ => chars = chars.united(&first).united(&last).united(&Chars::one('-' as u32)),
            }
        }
        Some(if is_inverted { chars.inverted() } else { chars })
    }
}

fn single(chars: &Chars) -> Option<u32> {
    match chars.ranges() {
        [(from, to)] if from == to => Some(*from),
        _ => None,
    }
}

/// Parses a number. One that exceeds 32 bits exceeds every bound here.
fn count(digits: &str) -> u32 {
    digits.parse().unwrap_or(u32::MAX)
}
