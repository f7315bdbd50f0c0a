//! API tokens (`lgw_…`): owner, permissions and expiry.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use ipnet::IpNet;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::rights::quotas::Quotas;
use crate::model::rights::{AllowedModels, Class, Scopes};
use crate::model::runaway::{Runaway, RunawayEvidence};
use crate::model::words::words_schema;

/// How far the stored time of the last use may lag behind.
const USE_STEP_US: u64 = 5 * 60 * 1_000_000;

/// Whether a token may be used, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    Active,
    /// It ran away.
    Paused,
    /// Its owner was disabled or reset.
    Suspended,
    Expired,
    Revoked,
}

words_schema!(impl TokenStatus, "Whether a token may be used.", TokenStatus::ALL.map(TokenStatus::name));

impl TokenStatus {
    pub const ALL: [TokenStatus; 5] =
        [TokenStatus::Active, TokenStatus::Paused, TokenStatus::Suspended, TokenStatus::Expired, TokenStatus::Revoked];

    /// Returns the word under which the status is shown.
    pub fn name(self) -> &'static str {
        match self {
            TokenStatus::Active => "active",
            TokenStatus::Paused => "paused",
            TokenStatus::Suspended => "suspended",
            TokenStatus::Expired => "expired",
            TokenStatus::Revoked => "revoked",
        }
    }

    pub fn parse(word: &str) -> Result<TokenStatus, Error> {
        TokenStatus::ALL
            .into_iter()
            .find(|status| status.name() == word)
            .ok_or_else(|| Error::invalid("status", "`status` must be active, paused, suspended, expired or revoked"))
    }

    /// Returns whether it will never be usable again.
    pub fn is_over(self) -> bool {
        matches!(self, TokenStatus::Expired | TokenStatus::Revoked)
    }
}

/// An API token of a machine. It never has more rights than its owner.
#[derive(Debug)]
pub struct Token {
    pub id: i64,
    /// A part of the token itself, and its id in the API.
    pub public_id: String,
    pub user_id: i64,
    pub name: String,
    pub scopes: Scopes,
    /// Its requests are those of people whom a tool names in a header, not its owner's. It never changes.
    pub delegating: bool,
    pub models: AllowedModels,
    /// Networks that it may be used from; `None`: all that are served.
    pub networks: Option<Vec<IpNet>>,
    /// In addition to its owner's limit.
    pub requests_per_minute: Option<i64>,
    /// In addition to its owner's.
    pub quotas: Quotas,
    /// `None`: its owner's class.
    pub class: Option<Class>,
    pub secret_sha256: Vec<u8>,
    /// Digest of the secret before the last rotation, and until when that secret is accepted.
    pub old_secret: Option<(Vec<u8>, Timestamp)>,
    pub created_at_us: i64,
    pub expires_at_us: i64,
    pub used_at: LastUse,
    pub suspended_at_us: Option<i64>,
    /// How it ran away, if it is paused for that.
    pub paused: Option<Runaway>,
    /// What was seen of it then. A token that was paused by an older gateway has none.
    pub evidence: Option<RunawayEvidence>,
    pub revoked_at_us: Option<i64>,
}

impl Token {
    /// Returns the digests of the secrets that are accepted at `now`: its own, and for a while the one before the last rotation.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8]> {
        let old = self.old_secret.iter().filter(move |(_, until)| now < *until).map(|(sha256, _)| &sha256[..]);
        std::iter::once(&self.secret_sha256[..]).chain(old)
    }

    /// Returns whether the token may be used from `source`. An unknown address is outside every network.
    pub fn may_come_from(&self, source: Option<IpAddr>) -> bool {
        let Some(networks) = &self.networks else { return true };
        source.is_some_and(|source| networks.iter().any(|network| network.contains(&source)))
    }

    /// Returns whether it was revoked or has expired.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.revoked_at_us.is_some() || self.has_expired(now)
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        now.0 >= self.expires_at_us
    }

    pub fn status(&self, now: Timestamp) -> TokenStatus {
        if self.revoked_at_us.is_some() {
            TokenStatus::Revoked
        } else if self.has_expired(now) {
            TokenStatus::Expired
        } else if self.paused.is_some() {
            TokenStatus::Paused
        } else if self.suspended_at_us.is_some() {
            TokenStatus::Suspended
        } else {
            TokenStatus::Active
        }
    }

    /// Returns whether it is suspended because its owner was disabled or reset.
    pub fn sleeps_with_its_owner(&self) -> bool {
        self.suspended_at_us.is_some() && self.paused.is_none()
    }

    /// Returns the refusal of a paused token: why, and who can resume it.
    pub fn paused_error(&self, way: Runaway) -> Error {
        let Token { name, public_id, .. } = self;
        let message = format!(
            "the token `{name}` is paused, because {}; once that is mended, its owner or an admin lets it in again: \
             POST /api/v1/tokens/{public_id}/resume, or `lan-gateway token resume {public_id}` on the host",
            way.words()
        );
        Error::TokenPaused { message }
    }

    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.used_at.get()
    }
}

/// Time of a token's last use, in microseconds; 0: never. It is stored in steps.
#[derive(Debug)]
pub struct LastUse(AtomicI64);

impl LastUse {
    pub fn new(at: Option<Timestamp>) -> Self {
        LastUse(AtomicI64::new(at.map_or(0, |at| at.0)))
    }

    pub fn get(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Timestamp)
    }

    /// Records a use. Returns whether it has to be stored; of several uses at once, one does.
    pub fn note(&self, now: Timestamp) -> bool {
        let noted = self.0.load(Ordering::Relaxed);
        // A use in the future was recorded before the clock was set back.
        now.0.abs_diff(noted) >= USE_STEP_US
            && self.0.compare_exchange(noted, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
