//! Patterns that match at least one character: a form in which nothing that is repeated can be empty.

use crate::provider::ollama::grammar::chars::Chars;

/// A pattern that matches one or more characters. Only what is in `Optional` may be absent, and it can't be empty itself.
#[derive(Debug, Clone, PartialEq)]
pub enum NonEmpty {
    CharClass(CharClass),
    Sequence(Vec<NonEmpty>),
    Either(Vec<NonEmpty>),
    /// At least once.
    Repeat(Box<NonEmpty>, u32, Option<u32>),
    Optional(Box<NonEmpty>),
}

/// Characters as they are in a JSON string: plain, or as letters of escapes. At least one of the two is not empty.
#[derive(Debug, Clone, PartialEq)]
pub struct CharClass {
    pub plain: Chars,
    pub escapes: Chars,
}

impl NonEmpty {
    pub fn optional(core: NonEmpty) -> NonEmpty {
        NonEmpty::Optional(Box::new(core))
    }

    pub fn sequence(mut parts: Vec<NonEmpty>) -> NonEmpty {
        match parts.pop() {
            Some(part) if parts.is_empty() => part,
            last => NonEmpty::Sequence(parts.into_iter().chain(last).collect()),
        }
    }

    pub fn either(mut ways: Vec<NonEmpty>) -> Option<NonEmpty> {
        ways.dedup();
        if ways.len() > 1 { Some(NonEmpty::Either(ways)) } else { ways.pop() }
    }

    pub fn nodes(&self) -> usize {
        1 + match self {
            NonEmpty::CharClass(_) => 0,
            NonEmpty::Sequence(items) | NonEmpty::Either(items) => items.iter().map(NonEmpty::nodes).sum(),
            NonEmpty::Repeat(what, ..) | NonEmpty::Optional(what) => what.nodes(),
        }
    }

    pub fn repeats(&self) -> usize {
        match self {
            NonEmpty::CharClass(_) => 0,
            NonEmpty::Sequence(items) | NonEmpty::Either(items) => items.iter().map(NonEmpty::repeats).sum(),
            NonEmpty::Repeat(what, least, most) => what.repeats() + most.unwrap_or(*least) as usize,
            NonEmpty::Optional(what) => what.repeats(),
        }
    }

    /// Returns how many characters a match has at least and at most.
    pub fn lengths(&self) -> (u32, Option<u32>) {
        let times = |one: Option<u32>, times: Option<u32>| one?.checked_mul(times?);
        match self {
            NonEmpty::CharClass(_) => (1, Some(1)),
            NonEmpty::Sequence(items) => items.iter().map(NonEmpty::lengths).fold((0, Some(0)), |sum, next| {
                (sum.0.saturating_add(next.0), sum.1.zip(next.1).and_then(|(sum, next)| sum.checked_add(next)))
            }),
            NonEmpty::Either(ways) => ways.iter().map(NonEmpty::lengths).fold((u32::MAX, Some(0)), |least, next| {
                (least.0.min(next.0), least.1.zip(next.1).map(|(most, next)| most.max(next)))
            }),
            NonEmpty::Repeat(what, least, most) => {
                let (shortest, longest) = what.lengths();
                (shortest.saturating_mul(*least), times(longest, *most))
            }
            NonEmpty::Optional(what) => (0, what.lengths().1),
        }
    }
}
