//! The path of a value in the body, for messages.

use std::fmt;

use crate::base::error::Error;

/// Most characters of client text in an error or a header.
pub const SHOWN_CHARS_MAX: usize = 64;

/// Returns client text for an error: bounded, on one line.
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The path of a value in the body, as in `messages[2].content`. Costs nothing until it is written.
#[derive(Clone, Copy)]
pub enum At<'p> {
    Body,
    Key(&'p At<'p>, &'p str),
    Index(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    pub fn key(&'p self, name: &'p str) -> At<'p> {
        At::Key(self, name)
    }

    pub fn index(&'p self, index: usize) -> At<'p> {
        At::Index(self, index)
    }

    pub fn invalid(&self, why: impl fmt::Display) -> Error {
        Error::invalid(self.to_string(), format!("`{self}` {why}"))
    }

    pub fn unsupported(&self, why: impl fmt::Display) -> Error {
        Error::unsupported(self.to_string(), format!("`{self}` {why}"))
    }

    /// Returns the place as it is noted for all items of an array: `messages[].name`.
    pub fn without_indices(&self) -> impl fmt::Display {
        struct WithoutIndices<'p>(&'p At<'p>);

        impl fmt::Display for WithoutIndices<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    At::Body => Ok(()),
                    At::Key(At::Body, name) => f.write_str(name),
                    At::Key(parent, name) => write!(f, "{}.{name}", WithoutIndices(parent)),
                    At::Index(parent, _) => write!(f, "{}[]", WithoutIndices(parent)),
                }
            }
        }

        WithoutIndices(self)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Body => Ok(()),
            At::Key(At::Body, name) => f.write_str(&shown(name)),
            At::Key(parent, name) => write!(f, "{parent}.{}", shown(name)),
            At::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
