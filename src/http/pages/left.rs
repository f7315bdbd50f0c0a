//! What is left of limits and quotas, as lines with meters: of a person or of one access token.

use std::time::Duration;

use crate::http::pages::format::{self, PageTimes};
use crate::rules::limits::{Left, QuotaAccount};

/// Above these shares of a limit, in percent, a line warns; its second line says so, too.
const WARN_ABOVE: u64 = 80;
const BAD_ABOVE: u64 = 95;

/// One limit and what is used of it. Templates print it with `ui::used`, or with `ui::unlimited` where there is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftLine {
    pub label: &'static str,
    /// What is used.
    pub used: String,
    /// As in ` of 300 k used`; empty where there is no limit.
    pub rest: String,
    pub percent: u64,
    /// The colour of the meter, as a class.
    pub colour: &'static str,
    /// When it is all there again, or that it is nearly used up.
    pub below: String,
}

impl LeftLine {
    fn of(label: &'static str, left: &Left, shown: fn(u64) -> String, again: &str) -> LeftLine {
        let used = shown(left.used);
        let Some(limit) = left.limit else {
            return LeftLine { label, used, rest: String::new(), percent: 0, colour: "", below: String::new() };
        };
        let percent = share(left.used, limit);
        let (colour, word) = match percent {
            100.. => ("bad", "used up"),
            percent if percent > BAD_ABOVE => ("bad", "almost used up"),
            percent if percent > WARN_ABOVE => ("warn", ""),
            _ => ("", ""),
        };
        let held =
            if left.reserved > 0 { format!("{} held for what runs", shown(left.reserved)) } else { String::new() };
        let parts = [word, &held, if left.used > 0 { again } else { "" }];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        LeftLine { label, used, rest: format!(" of {} used", shown(limit)), percent, colour, below: parts.join(" · ") }
    }
}

/// Returns the lines of a day, which count anew at midnight.
pub fn of_today(account: &QuotaAccount) -> Vec<LeftLine> {
    vec![
        LeftLine::of("Model tokens", &account.tokens_per_day, format::short, ""),
        LeftLine::of("GPU time", &account.gpu_seconds_per_day, gpu, ""),
        LeftLine::of("Requests", &account.requests_per_day, format::short, ""),
    ]
}

/// Returns the line of model tokens in a minute, if they are limited.
pub fn tokens_this_minute(account: &QuotaAccount) -> Option<LeftLine> {
    let left = &account.tokens_per_minute;
    left.limit?;
    Some(LeftLine::of("Model tokens this minute", left, format::short, &all_back(left)))
}

/// Returns the line of requests in a minute, if they are limited.
pub fn requests_this_minute(account: &QuotaAccount) -> Option<LeftLine> {
    let left = &account.requests_per_minute;
    left.limit?;
    Some(LeftLine::of("Requests this minute", left, format::short, &all_back(left)))
}

/// Returns all lines, those of a minute first.
pub fn lines(account: &QuotaAccount) -> Vec<LeftLine> {
    let minute = [requests_this_minute(account), tokens_this_minute(account)];
    minute.into_iter().flatten().chain(of_today(account)).collect()
}

/// Returns when the quotas of a day count anew, as a time of day.
pub fn counts_anew(account: &QuotaAccount, times: &PageTimes) -> String {
    // Rounded to the minute: it is computed from the time that is left.
    let at = times.now().plus(account.requests_per_day.resets_in).plus_seconds(30);
    times.zone().local(at).minute()
}

/// Returns `all back in 38 s`.
pub fn all_back(left: &Left) -> String {
    let whole = Duration::from_secs(left.resets_in.as_secs() + u64::from(left.resets_in.subsec_nanos() > 0));
    format!("all back in {}", format::seconds(whole))
}

/// Returns a part of a limit in whole percent, at most 100. What is not all is not shown as all.
pub fn share(used: u64, limit: u64) -> u64 {
    if used >= limit {
        return 100;
    }
    let percent = u128::from(used) * 100 / u128::from(limit);
    u64::try_from(percent).unwrap_or(100)
}

fn gpu(seconds: u64) -> String {
    format::coarse(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(limit: Option<u64>, used: u64, reserved: u64) -> Left {
        Left { limit, used, reserved, resets_in: Duration::from_millis(37_200) }
    }

    #[test]
    fn a_line_warns_when_little_is_left_and_says_so_in_words() {
        let line = |used| LeftLine::of("Requests", &left(Some(100), used, 0), format::short, "all back in 38 s");
        let told = |used| (line(used).colour, line(used).below);

        assert_eq!(told(0), ("", String::new()));
        assert_eq!(told(80), ("", "all back in 38 s".to_owned()));
        assert_eq!(told(81), ("warn", "all back in 38 s".to_owned()));
        assert_eq!(told(95), ("warn", "all back in 38 s".to_owned()));
        assert_eq!(told(96), ("bad", "almost used up · all back in 38 s".to_owned()));
        assert_eq!(told(100), ("bad", "used up · all back in 38 s".to_owned()));
        assert_eq!(line(250).percent, 100);
    }

    #[test]
    fn what_runs_holds_a_part_and_without_a_limit_there_is_no_meter() {
        let held = LeftLine::of("Model tokens", &left(Some(300_000), 212_000, 4_096), format::short, "");
        assert_eq!((held.used.as_str(), held.rest.as_str()), ("212 k", " of 300 k used"));
        assert_eq!(held.below, "4,096 held for what runs");

        let free = LeftLine::of("GPU time", &left(None, 3_120, 0), gpu, "");
        assert_eq!((free.used.as_str(), free.rest.as_str()), ("52 min", ""));
    }

    #[test]
    fn seconds_are_rounded_up_so_that_nothing_is_promised_too_early() {
        assert_eq!(all_back(&left(Some(10), 4, 0)), "all back in 38 s");
        assert_eq!([share(0, 0), share(999, 1_000), share(1_000, 1_000)], [100, 99, 100]);
    }
}
