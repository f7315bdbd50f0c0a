//! How a token runs away: an unattended program repeats what it does.

use crate::base::ids::RequestId;
use crate::model::words::words_schema;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runaway {
    /// The same request again and again.
    Repeats,
    /// Requests that fail, one after the other.
    Errors,
}

impl Runaway {
    pub fn name(self) -> &'static str {
        match self {
            Runaway::Repeats => "repeats",
            Runaway::Errors => "errors",
        }
    }

    /// Returns what the token did, for the message that it is paused.
    pub fn words(self) -> &'static str {
        match self {
            Runaway::Repeats => "it sent the same request again and again",
            Runaway::Errors => "its requests failed, one after the other",
        }
    }
}

words_schema!(
    impl Runaway,
    "`repeats`: the same request again and again; `errors`: many failed requests in a row.",
    [Runaway::Repeats, Runaway::Errors].map(Runaway::name)
);

/// What was seen of a token that ran away: so many requests in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunawayEvidence {
    /// Equal requests, or failures in a row.
    pub count: usize,
    /// The time in which they are counted.
    pub window_seconds: u32,
    /// One of them, where it is known.
    pub example: Option<RequestId>,
}

/// Reads a stored value. An unknown word comes from another version: the token is paused all the same.
impl From<String> for Runaway {
    fn from(word: String) -> Self {
        if word == Runaway::Errors.name() { Runaway::Errors } else { Runaway::Repeats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_survives_its_stored_form() {
        for way in [Runaway::Repeats, Runaway::Errors] {
            assert_eq!(Runaway::from(way.name().to_owned()), way);
        }
    }
}
