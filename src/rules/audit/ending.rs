//! How a request ended, with its reason.

use crate::model::record::Outcome;

/// An outcome with its reason, a code of `base::error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Failed(&'static str),
    Refused(&'static str),
    Abandoned,
    Interrupted(&'static str),
}

impl Ending {
    pub fn outcome(self) -> Outcome {
        match self {
            Ending::Completed => Outcome::Completed,
            Ending::Failed(_) => Outcome::Failed,
            Ending::Refused(_) => Outcome::Refused,
            Ending::Abandoned => Outcome::Abandoned,
            Ending::Interrupted(_) => Outcome::Interrupted,
        }
    }

    pub fn reason(self) -> Option<&'static str> {
        match self {
            Ending::Failed(code) | Ending::Refused(code) | Ending::Interrupted(code) => Some(code),
            Ending::Completed | Ending::Abandoned => None,
        }
    }
}
