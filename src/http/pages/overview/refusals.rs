//! The latest refusals and failures, in words. Equal ones of today are one line.

use crate::base::clock::Timestamp;
use crate::http::pages::format::{Moment, PageTimes};
use crate::http::pages::words::{OutcomeWord, Word, outcome, reason};
use crate::http::record_items::AuditItem;

/// Lines that are shown.
const LINES_MAX: usize = 6;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalLine {
    pub at: Moment,
    pub outcome: OutcomeWord,
    /// Who sent it, and with which access token.
    pub who: String,
    pub why: Option<Word>,
    /// The page of the newest of them.
    pub href: Option<String>,
    /// How many they are.
    pub times: u64,
}

/// Returns the lines, the newest first.
pub fn lines(rows: &[AuditItem], times: &PageTimes) -> Vec<RefusalLine> {
    let mut lines: Vec<(RefusalLine, Option<&str>)> = Vec::new();
    for row in rows {
        let line = line(row, times);
        let code = row.reason.as_deref();
        let is_same = |(same, of): &(RefusalLine, Option<&str>)| {
            *of == code && same.who == line.who && same.outcome == line.outcome
        };
        let is_of_today = times.are_on_one_day(at(row), times.now());
        match lines.iter().position(is_same).filter(|_| is_of_today) {
            Some(place) => lines[place].0.times = lines[place].0.times.saturating_add(line.times),
            None if lines.len() < LINES_MAX => lines.push((line, code)),
            None => {}
        }
    }
    lines.into_iter().map(|(line, _)| line).collect()
}

fn line(row: &AuditItem, times: &PageTimes) -> RefusalLine {
    let name = match (&row.user, &row.client_address) {
        (Some(user), _) => user.clone(),
        (None, Some(address)) => format!("somebody at {address}"),
        (None, None) => "somebody".to_owned(),
    };
    RefusalLine {
        at: times.minute(at(row)),
        outcome: outcome(row.outcome.as_deref()),
        who: row.token.as_ref().map_or(name.clone(), |token| format!("{name} · {token}")),
        why: row.reason.as_deref().map(reason),
        href: row.request_id.as_ref().map(|id| format!("/admin/record/{id}")),
        times: row.repeat.and_then(|repeat| u64::try_from(repeat).ok()).unwrap_or(1).max(1),
    }
}

fn at(row: &AuditItem) -> Timestamp {
    // Of equal refusals in one row, the last one counts.
    let time = row.until.as_deref().unwrap_or(&row.at);
    Timestamp::parse(time).unwrap_or(Timestamp(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::in_queue::tests::times;

    fn row(at: &str, user: Option<&str>, reason: &str, repeat: Option<i64>) -> AuditItem {
        AuditItem {
            at: at.to_owned(),
            user: user.map(str::to_owned),
            reason: Some(reason.to_owned()),
            repeat,
            outcome: Some("refused".into()),
            client_address: user.is_none().then(|| "192.168.1.77".to_owned()),
            request_id: Some(format!("at-{at}")),
            ..AuditItem::default()
        }
    }

    #[test]
    fn equal_refusals_of_today_are_one_line_and_others_are_not() {
        let rows = [
            row("2026-11-27T14:20:00Z", Some("tomas"), "rate_limit_exceeded", Some(2)),
            row("2026-11-27T14:10:00Z", Some("ann"), "rate_limit_exceeded", None),
            row("2026-11-27T14:00:00Z", Some("tomas"), "rate_limit_exceeded", None),
            row("2026-11-27T13:00:00Z", Some("tomas"), "queue_full", None),
            row("2026-11-27T12:00:00Z", None, "invalid_api_key", Some(4)),
            row("2026-11-25T12:00:00Z", Some("ann"), "rate_limit_exceeded", None),
        ];

        let lines = lines(&rows, &times());

        let told: Vec<_> = lines.iter().map(|line| (&*line.at.text, &*line.who, line.times)).collect();
        assert_eq!(
            told,
            [
                ("14:20", "tomas", 3),
                ("14:10", "ann", 1),
                ("13:00", "tomas", 1),
                ("12:00", "somebody at 192.168.1.77", 4),
                ("Wed 12:00", "ann", 1),
            ]
        );
        assert_eq!(lines[0].href.as_deref(), Some("/admin/record/at-2026-11-27T14:20:00Z"));
    }

    #[test]
    fn six_lines_are_shown_and_what_follows_still_counts_for_them() {
        let mut rows: Vec<AuditItem> =
            (0..9).map(|at| row("2026-11-27T10:00:00Z", Some(&format!("u{at}")), "queue_full", None)).collect();
        rows.push(row("2026-11-27T09:00:00Z", Some("u0"), "queue_full", Some(5)));

        let lines = lines(&rows, &times());

        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0].times, 6);
    }
}
