//! `[tokens]`: API tokens.

use crate::config::reader::Reader;
use crate::config::values::number;

/// Lifetimes and numbers of API tokens.
#[derive(Debug, Clone)]
pub struct TokensSection {
    pub per_user_max: u32,
    pub lifetime_days: u32,
    pub lifetime_days_max: u32,
    pub grace_seconds: u32,
    pub grace_seconds_max: u32,
}

impl TokensSection {
    pub fn read(reader: &mut Reader) -> Self {
        let tokens = TokensSection {
            per_user_max: reader.key(
                "tokens.per_user_max",
                "20",
                "API tokens that one user may have at a time.",
                number(1, 1000),
            ) as u32,
            lifetime_days: reader.key(
                "tokens.lifetime_days",
                "90",
                "Lifetime of a token whose request names none.",
                number(1, 365),
            ) as u32,
            lifetime_days_max: reader.key(
                "tokens.lifetime_days_max",
                "365",
                "The longest lifetime that a request may ask for.",
                number(1, 365),
            ) as u32,
            grace_seconds: reader.key(
                "tokens.grace_seconds",
                "3600",
                "After a rotation, how long the old secret keeps working if the request does not say.",
                number(0, 2_592_000),
            ) as u32,
            grace_seconds_max: reader.key(
                "tokens.grace_seconds_max",
                "604800",
                "The longest such time that a request may ask for.",
                number(0, 2_592_000),
            ) as u32,
        };
        if tokens.lifetime_days > tokens.lifetime_days_max {
            reader.problem("tokens.lifetime_days", "must not be more than `tokens.lifetime_days_max`");
        }
        if tokens.grace_seconds > tokens.grace_seconds_max {
            reader.problem("tokens.grace_seconds", "must not be more than `tokens.grace_seconds_max`");
        }
        tokens
    }
}
