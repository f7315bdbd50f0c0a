//! An access token in words: its state, what it may, when it ends.

use std::time::Duration;

use crate::auth::api_token;
use crate::base::clock::Timestamp;
use crate::http::pages::format::{self, Moment, PageTimes, commas};
use crate::http::pages::people::shown::limits;
use crate::http::pages::words::{counted, sentences, states};
use crate::model::runaway::Runaway;
use crate::model::token::{Token, TokenStatus};

/// An access token is new for so long, unless it is used before.
const NEW: Duration = Duration::from_secs(24 * 3_600);

/// From so long before its end on, a token says so.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Models that are named; of more, the number is told.
const MODELS_NAMED: usize = 3;

/// An access token as the pages show it.
pub struct ShownToken {
    pub id: String,
    pub name: String,
    /// The first characters of its secret.
    pub prefix: String,
    /// Its state, where it is not simply usable: the word, and the colour of its badge.
    pub badge: Option<(String, &'static str)>,
    /// What it may do, in words.
    pub may: Vec<String>,
    pub made: Moment,
    pub last_used: Option<Moment>,
    /// When it ends or has ended, and the word before it.
    pub ends: (&'static str, Moment),
    /// Whether it acts for people whom a tool names.
    pub is_delegating: bool,
    /// Whether it will never be usable again.
    pub is_over: bool,
    /// Why it is paused.
    pub pause: Option<String>,
    /// Whether it sleeps with its owner, and has not been resumed.
    pub is_asleep: bool,
    /// Until when the secret before the last rotation works.
    pub old_secret_until: Option<Moment>,
}

impl ShownToken {
    pub fn of(token: &Token, times: &PageTimes) -> ShownToken {
        let now = times.now();
        let status = token.status(now);
        let ends_at = Timestamp(token.expires_at_us);
        let ends = match (token.revoked_at_us, status) {
            (Some(revoked), _) => ("revoked", times.date(Timestamp(revoked))),
            (None, TokenStatus::Expired) => ("ended", times.date(ends_at)),
            _ => ("", times.date(ends_at)),
        };
        ShownToken {
            id: token.public_id.clone(),
            name: token.name.clone(),
            prefix: api_token::prefix_of(&token.public_id),
            badge: badge(token, status, times),
            may: may(token),
            made: times.in_sentence(Timestamp(token.created_at_us)),
            last_used: token.last_used_at().map(|at| times.since(at)),
            ends,
            is_delegating: token.delegating,
            is_over: status.is_over(),
            pause: (status == TokenStatus::Paused).then(|| pause(token)),
            is_asleep: status == TokenStatus::Suspended,
            old_secret_until: token
                .old_secret
                .as_ref()
                .filter(|(_, until)| !status.is_over() && now < *until)
                .map(|(_, until)| times.minute(*until)),
        }
    }

    /// Returns what it may do, as one line.
    pub fn may_line(&self) -> String {
        self.may.join(" · ")
    }
}

fn badge(token: &Token, status: TokenStatus, times: &PageTimes) -> Option<(String, &'static str)> {
    let now = times.now();
    let kind = match status {
        TokenStatus::Active => {
            let left = Timestamp(token.expires_at_us).since(now);
            if left < ENDS_SOON {
                return Some((format!("ends {}", format::times::in_about(left)), "warn"));
            }
            let is_new = now.since(Timestamp(token.created_at_us)) < NEW && token.last_used_at().is_none();
            return is_new.then(|| ("new".to_owned(), "now"));
        }
        TokenStatus::Paused => "bad",
        TokenStatus::Suspended => "warn",
        TokenStatus::Expired | TokenStatus::Revoked => "",
    };
    Some((states::token_state(status.name()).text.into_owned(), kind))
}

/// Returns what a token may do: scopes, models, class, limits, networks.
fn may(token: &Token) -> Vec<String> {
    let scopes: Vec<&str> = token.scopes.iter().map(states::scope).collect();
    let mut parts = vec![scopes.join(", ")];
    if let Some(models) = token.models.words() {
        parts.push(match models.len() {
            0..=MODELS_NAMED => format!("only {}", models.join(", ")),
            more => format!("only {}", counted(more as u64, "model", "models")),
        });
    }
    parts.extend(token.class.map(|class| format!("class {}", states::class(class))));
    parts.extend(token.requests_per_minute.map(|limit| {
        let word = if limit == 1 { "request" } else { "requests" };
        format!("{} {word} a minute", commas(limit.unsigned_abs()))
    }));
    parts.extend(limits(None, &token.quotas));
    if let Some(networks) = &token.networks {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        parts.push(format!("from {}", networks.join(", ")));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Returns why a token is paused.
fn pause(token: &Token) -> String {
    let seen = token.evidence.map(|seen| (seen.count as u64, u64::from(seen.window_seconds)));
    match (token.paused, seen) {
        (Some(Runaway::Repeats), Some((count, window))) => {
            sentences::paused_for_repeats(count, &format::coarse(Duration::from_secs(window)))
        }
        (Some(Runaway::Errors), Some((count, _))) => sentences::paused_for_errors(count),
        (Some(way), None) => format!("It sent {}. Nothing of it runs until somebody resumes it.", states::runaway(way)),
        (None, _) => String::new(),
    }
}
