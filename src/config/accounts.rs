//! `[accounts]`: passwords, JWTs, registrations and hashing.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::values::{number, one_of, seconds};

#[derive(Debug, Clone)]
pub struct AccountsSection {
    pub password_length_min: usize,
    pub token_lifetime: Duration,
    pub reset_lifetime: Duration,
    pub session_idle_max: Duration,
    pub session_lifetime: Duration,
    pub sessions_per_user_max: usize,
    pub pending_max: u64,
    pub pending_per_address_max: u64,
    pub delegating_unknown: UnknownPerson,
    pub hashing_threads: usize,
    pub hashing_waiting_max: usize,
    pub credential_cache_lifetime: Duration,
    pub credential_cache_max: u64,
}

/// What happens when a tool with a delegating token names a person without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownPerson {
    Refused,
    Pending,
}

const UNKNOWN_PERSON: &[(&str, UnknownPerson)] =
    &[("refused", UnknownPerson::Refused), ("pending", UnknownPerson::Pending)];

impl AccountsSection {
    pub fn read(reader: &mut Reader) -> Self {
        AccountsSection {
            password_length_min: reader.key(
                "accounts.password_length_min",
                "12",
                "Characters that a new password must have.",
                number(8, 128),
            ) as usize,
            token_lifetime: reader.key(
                "accounts.access_token_seconds",
                "3600",
                "How long an access token (JWT) from /auth/token is valid.",
                seconds(60, 86_400),
            ),
            reset_lifetime: reader.key(
                "accounts.reset_seconds_max",
                "3600",
                "How long a password that an admin has reset may be used to set a new one.",
                seconds(60, 86_400),
            ),
            session_idle_max: reader.key(
                "accounts.session_idle_seconds_max",
                "1800",
                "How long a session of the pages lasts without a page. Live parts of a page don't count.",
                seconds(60, 86_400),
            ),
            session_lifetime: reader.key(
                "accounts.session_seconds_max",
                "43200",
                "How long a session of the pages lasts at most.",
                seconds(60, 604_800),
            ),
            sessions_per_user_max: reader.key(
                "accounts.sessions_per_user_max",
                "20",
                "Sessions of the pages that one user may have; with more, the oldest ends.",
                number(1, 1000),
            ) as usize,
            pending_max: reader.key(
                "accounts.pending_max",
                "1000",
                "Registrations that may wait for approval; further ones get a 503.",
                number(1, 1_000_000),
            ),
            pending_per_address_max: reader.key(
                "accounts.pending_per_address_max",
                "50",
                "Of these, registrations from one address; further ones get a 429. Raise it where a proxy stands in front of \
                 the gateway and many people register at once.",
                number(1, 1_000_000),
            ),
            delegating_unknown: reader.key(
                "accounts.delegating_unknown",
                "\"refused\"",
                "What happens when a tool with a delegating token names a person without an account: \"refused\"; or \"pending\": they \
                 are registered, admins find them among those who wait for approval, and they are refused until then.",
                one_of(UNKNOWN_PERSON),
            ),
            hashing_threads: reader.key(
                "accounts.hashing_threads",
                "1",
                "Passwords that are hashed at once (19 MiB and about 20 ms of one core each).",
                number(1, 64),
            ) as usize,
            hashing_waiting_max: reader.key(
                "accounts.hashing_waiting_max",
                "32",
                "Passwords that may wait to be hashed; further ones get a 503.",
                number(1, 10_000),
            ) as usize,
            credential_cache_lifetime: reader.key(
                "accounts.credential_cache_seconds",
                "300",
                "How long a verified password on /chat need not be hashed again.",
                seconds(1, 3600),
            ),
            credential_cache_max: reader.key(
                "accounts.credential_cache_max",
                "1024",
                "Verified credentials that are remembered.",
                number(1, 100_000),
            ),
        }
    }
}
