//! What to do with a prompt that is too long.

/// What happens to a prompt that exceeds the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    Refuse,
    /// Drops the oldest messages, or the end of a text.
    Cut,
}
