//! How much a person has left of each limit.

use std::time::Duration;

use crate::http::pages::charts::meter;
use crate::http::pages::format::times::in_about;
use crate::http::pages::format::{coarse, commas, short};
use crate::http::pages::markup::Markup;
use crate::rules::limits::{Left, QuotaAccount};

/// A limit, or what is counted without one.
pub struct LeftLine {
    pub label: &'static str,
    /// What is used: `212 k`.
    pub used: String,
    /// `of 300 k used`, or `no limit`.
    pub rest: String,
    /// `None`: no limit.
    pub meter: Option<Markup>,
    /// What runs holds, and when it counts anew.
    pub about: String,
}

/// Returns a line for each limit, and for the requests of today, which are counted anyway.
pub fn left_lines(account: &QuotaAccount) -> Vec<LeftLine> {
    let number: fn(u64) -> String = short;
    let time: fn(u64) -> String = |seconds| match seconds {
        0 => "0 s".to_owned(),
        seconds => coarse(Duration::from_secs(seconds)),
    };
    let minute = line("Requests this minute", &account.requests_per_minute, number, "all back");
    let mut lines = vec![minute];
    if account.tokens_per_minute.limit.is_some() {
        lines.push(line("Model tokens this minute", &account.tokens_per_minute, number, "all back"));
    }
    lines.push(line("Requests today", &account.requests_per_day, number, "counts anew"));
    lines.push(line("Model tokens today", &account.tokens_per_day, number, "counts anew"));
    lines.push(line("GPU time today", &account.gpu_seconds_per_day, time, "counts anew"));
    lines
}

fn line(label: &'static str, left: &Left, say: fn(u64) -> String, back: &str) -> LeftLine {
    let Some(limit) = left.limit else {
        let (used, rest) = (say(left.used), ", no limit".to_owned());
        return LeftLine { label, used, rest, meter: None, about: String::new() };
    };
    let mut about = Vec::new();
    if left.used.saturating_mul(100) > limit.saturating_mul(95) {
        about.push(if left.used >= limit { "used up".to_owned() } else { "almost used up".to_owned() });
    }
    if left.reserved > 0 {
        let held = if label.starts_with("GPU") { say(left.reserved) } else { commas(left.reserved) };
        about.push(format!("{held} more held by what runs"));
    }
    if left.used > 0 && !left.resets_in.is_zero() {
        about.push(format!("{back} {}", in_about(left.resets_in)));
    }
    LeftLine {
        label,
        used: say(left.used),
        rest: format!(" of {} used", say(limit)),
        meter: Some(meter(left.used, left.reserved, limit)),
        about: about.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(limit: Option<u64>, used: u64, reserved: u64) -> Left {
        Left { limit, used, reserved, resets_in: Duration::from_secs(38) }
    }

    #[test]
    fn a_limit_says_what_is_used_held_and_when_it_is_back() {
        let said = line("Requests this minute", &left(Some(10), 4, 0), short, "all back");
        assert_eq!((said.used.as_str(), said.rest.as_str()), ("4", " of 10 used"));
        assert_eq!(said.about, "all back in about 38 s");

        let said = line("Model tokens today", &left(Some(300_000), 290_000, 8_192), short, "counts anew");
        assert_eq!(said.about, "almost used up, 8,192 more held by what runs, counts anew in about 38 s");
        assert_eq!(
            line("Requests today", &left(Some(5), 5, 0), short, "counts anew").about,
            "used up, counts anew in about 38 s"
        );
        let free = line("Requests today", &left(None, 148, 0), short, "counts anew");
        assert!(free.meter.is_none() && free.about.is_empty());
        assert_eq!(free.rest, ", no limit");
    }
}
