//! The ways in which a token runs away: something repeats what it does, and nobody looks on.

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

    /// What the token did, for whoever asks why it is held.
    pub fn words(self) -> &'static str {
        match self {
            Runaway::Repeats => "it sent the same request again and again",
            Runaway::Errors => "its requests failed, one after the other",
        }
    }
}

/// As it was stored. A word that can't be read comes from another version: the token is held all the same.
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
