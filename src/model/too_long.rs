//! What a request wants to happen to a prompt that is too long.

/// What happens to a prompt that does not fit the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    Refuse,
    /// The oldest messages, or the end of a text, are left out.
    Cut,
}
