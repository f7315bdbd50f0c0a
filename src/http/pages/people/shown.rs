//! What several pages about people say of an account.

use crate::http::pages::format::{coarse, commas, short};
use crate::http::pages::words::{counted, states};
use crate::model::people::{User, UserStatus};
use crate::model::rights::Class;
use crate::model::rights::quotas::Quotas;

use std::time::Duration;

/// A word about an account, with the colour of its badge.
pub type Badge = (&'static str, &'static str);

/// Returns what is special about an account.
pub fn badges(user: &User) -> Vec<Badge> {
    let mut badges = Vec::new();
    if user.is_admin() {
        badges.push((states::role(user.role), ""));
    }
    if user.class == Class::Batch {
        badges.push((states::class(user.class), "batch"));
    }
    if user.must_change && user.is_active() {
        badges.push(("must set a password", "warn"));
    }
    if user.status == UserStatus::Disabled {
        badges.push((states::status(user.status), "bad"));
    }
    badges
}

/// Returns a person's own limits in words: `60 a minute, 2 models`; empty: they have the gateway's.
pub fn own_limits(user: &User) -> String {
    let mut said = limits(user.requests_per_minute, &user.quotas);
    said.extend(user.models.words().map(|models| counted(models.len() as u64, "model", "models")));
    if user.weight != 1 {
        said.push(format!("share {}", user.weight));
    }
    said.join(", ")
}

/// Returns limits in words, one for each that is set.
pub fn limits(requests_per_minute: Option<i64>, quotas: &Quotas) -> Vec<String> {
    let requests = requests_per_minute.map(|limit| format!("{} a minute", commas(limit.unsigned_abs())));
    let of = |limit: Option<u64>, rest: &str| limit.map(|limit| format!("{} {rest}", short(limit)));
    let all = [
        requests,
        of(quotas.requests_per_day, "requests a day"),
        of(quotas.tokens_per_minute, "model tokens a minute"),
        of(quotas.tokens_per_day, "model tokens a day"),
        quotas.gpu_seconds_per_day.map(|limit| format!("{} of GPU time a day", coarse(Duration::from_secs(limit)))),
        of(quotas.answer_tokens_max, "model tokens an answer"),
        of(quotas.context_tokens_max, "model tokens with the prompt"),
    ];
    all.into_iter().flatten().collect()
}

/// Returns a number of the record, none of which is below zero.
pub fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Returns GPU time in words.
pub fn gpu_time(gpu_ms: i64) -> String {
    match whole(gpu_ms) {
        0 => "none".to_owned(),
        ms => coarse(Duration::from_millis(ms.max(1_000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_words_and_no_limit_is_not() {
        let quotas = Quotas { tokens_per_day: Some(200_000), gpu_seconds_per_day: Some(7_200), ..Quotas::default() };

        assert_eq!(limits(Some(60), &quotas), ["60 a minute", "200 k model tokens a day", "2 h of GPU time a day"]);
        assert_eq!(limits(None, &Quotas::default()), Vec::<String>::new());
        assert_eq!([gpu_time(0), gpu_time(300), gpu_time(6_480_000)], ["none", "1 s", "1 h 48 min"]);
    }
}
