//! The sentences of notices: what happened, and what to do.

use crate::base::clock::Timestamp;
use crate::base::ids::RequestId;
use crate::base::text::visible;
use crate::model::notice::{Notice, NoticeKind, TEST_NOTICE, UPSTREAM_BACK};

/// Persons or things that are named; of more, their number is told.
const NAMED_MAX: usize = 3;

/// Length limit of a name in a notice.
const NAME_CHARS_MAX: usize = 100;

/// Length limit of a reason in a notice.
const REASON_CHARS_MAX: usize = 300;

/// The pages that notices lead to.
const PEOPLE: &str = "/admin/users";
const HELD_BACK: &str = "/admin/queue#held-back";
const CHECK: &str = "/admin/settings/check";
const CHANNELS: &str = "/admin/settings/notices";

/// Returns the notice that something began. `lasting`: how many last, `names` included.
pub fn began(kind: NoticeKind, names: &[String], lasting: usize, at: Timestamp) -> Notice {
    let (count, listed) = (names.len(), listed(names));
    let is_one = count == 1;
    let why = names.first().map(|text| reason(text)).unwrap_or_default();
    let in_all = if lasting > count { format!(", {lasting} in all") } else { String::new() };
    let (text, remedy, path) = match kind {
        NoticeKind::ApprovalWaits => (
            match is_one {
                true if in_all.is_empty() => format!("{listed} waits for approval."),
                true => format!("{listed} waits for approval{in_all}."),
                false => format!("{count} people wait for approval{in_all}: {listed}."),
            },
            "Let them in or turn them down",
            PEOPLE,
        ),
        NoticeKind::TokenPaused => (
            match is_one {
                true => format!("The access token {listed} was paused, because it ran away{in_all}."),
                false => format!("{count} access tokens were paused, because they ran away{in_all}: {listed}."),
            },
            "See what was sent, and resume or revoke it",
            HELD_BACK,
        ),
        NoticeKind::DiskLow => (
            format!("The data disk is nearly full: {why}."),
            "Free space there, or keep the record for fewer days",
            CHECK,
        ),
        NoticeKind::RecordUnwritable => (
            "The record can't be written, so nothing is answered.".to_owned(),
            "Free space on the data disk, or see the log for the cause",
            CHECK,
        ),
        NoticeKind::UpstreamAway => (
            match is_one {
                true => format!("The model server {listed} does not answer."),
                false => format!("{count} model servers don't answer{in_all}: {listed}."),
            },
            "Start it on its host, for example with `systemctl start ollama`",
            CHECK,
        ),
        NoticeKind::CheckpointInvalid => (
            format!("The record does not verify: {why}."),
            "Keep a copy of the data folder as it is, and run `lan-gateway verify`",
            CHECK,
        ),
    };
    let subject = match kind {
        NoticeKind::DiskLow => "the data disk".to_owned(),
        NoticeKind::RecordUnwritable | NoticeKind::CheckpointInvalid => "the record".to_owned(),
        NoticeKind::ApprovalWaits | NoticeKind::TokenPaused | NoticeKind::UpstreamAway => listed,
    };
    notice(kind.name(), subject, count, text, remedy, path, at)
}

/// Returns the notice that upstreams answer again.
pub fn back(names: &[String], at: Timestamp) -> Notice {
    let (count, listed) = (names.len(), listed(names));
    let text = match count {
        1 => format!("The model server {listed} answers again."),
        count => format!("{count} model servers answer again: {listed}."),
    };
    notice(UPSTREAM_BACK, listed, count, text, "Nothing needs to be done", CHECK, at)
}

/// Returns the notice by which an admin tries a channel.
pub fn test(channel: &str, at: Timestamp) -> Notice {
    let listed = listed(&[channel.to_owned()]);
    let text = format!("This is a test of the channel {listed}.");
    notice(TEST_NOTICE, listed, 1, text, "Nothing needs to be done", CHANNELS, at)
}

fn notice(kind: &str, subject: String, count: usize, text: String, remedy: &str, path: &str, at: Timestamp) -> Notice {
    Notice {
        id: RequestId::fresh().with_prefix("notice_"),
        kind: kind.to_owned(),
        subject,
        count,
        text,
        remedy: remedy.to_owned(),
        path: path.to_owned(),
        at_us: at.0,
    }
}

/// Returns the first names, and how many more there are.
fn listed(names: &[String]) -> String {
    let mut all: Vec<String> = names.iter().take(NAMED_MAX).map(|name| shown(name, NAME_CHARS_MAX)).collect();
    match names.len().checked_sub(NAMED_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", all.join(", ")),
        _ => match all.pop() {
            Some(last) if all.is_empty() => last,
            Some(last) => format!("{} and {last}", all.join(", ")),
            None => String::new(),
        },
    }
}

/// Returns the name of an access token with its owner's.
pub fn token_name(name: &str, owner: &str) -> String {
    format!("{} of {}", shown(name, NAME_CHARS_MAX / 2), shown(owner, NAME_CHARS_MAX / 2 - 4))
}

/// Returns a reason as a part of a sentence.
fn reason(text: &str) -> String {
    shown(text.trim_end_matches('.'), REASON_CHARS_MAX)
}

/// Returns a text of others that shows what it holds, is not long, and that no chat takes for a command such as `<!channel>` or
/// `@all`. The `@` of an e-mail address stays.
fn shown(text: &str, chars_max: usize) -> String {
    let text = visible(text);
    let mut shown = String::new();
    for letter in text.chars().take(chars_max) {
        shown.push(match letter {
            '<' => '‹',
            '>' => '›',
            '@' if !shown.ends_with(char::is_alphanumeric) => '＠',
            other => other,
        });
    }
    if text.chars().count() > chars_max {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn text(kind: NoticeKind, list: &[&str], lasting: usize) -> String {
        began(kind, &names(list), lasting, Timestamp(0)).text
    }

    #[test]
    fn one_is_named_and_many_are_counted() {
        let waits = NoticeKind::ApprovalWaits;
        assert_eq!(text(waits, &["ann@example.org"], 1), "ann@example.org waits for approval.");
        assert_eq!(text(waits, &["ann", "ben"], 2), "2 people wait for approval: ann and ben.");
        assert_eq!(text(waits, &["a", "b", "c"], 5), "3 people wait for approval, 5 in all: a, b and c.");
        assert_eq!(text(waits, &["a", "b", "c", "d", "e"], 5), "5 people wait for approval: a, b, c and 2 more.");
    }

    #[test]
    fn every_kind_is_a_sentence_that_says_what_to_do_and_where() {
        for kind in NoticeKind::ALL {
            for list in [&["one"][..], &["one", "two"]] {
                let notice = began(kind, &names(list), list.len(), Timestamp(0));
                assert!(notice.text.ends_with('.') && !notice.text.contains('_'), "{notice:?}");
                assert!(!notice.remedy.is_empty() && notice.path.starts_with("/admin/"), "{notice:?}");
                assert_eq!((notice.kind.as_str(), notice.count), (kind.name(), list.len()));
            }
        }
        assert_eq!(back(&names(&["local"]), Timestamp(0)).text, "The model server local answers again.");
        assert_eq!(test("ops", Timestamp(0)).text, "This is a test of the channel ops.");
    }

    #[test]
    fn names_of_others_change_no_line_and_call_nobody() {
        let text = text(NoticeKind::TokenPaused, &["@all <!channel> @here\r\nBcc: x\u{202e}"], 1);
        assert!(!text.contains(['<', '>', '@', '\r', '\n', '\u{202e}']), "{text:?}");
        assert_eq!(shown("ann.b@example.org", 100), "ann.b@example.org");
        assert!(token_name(&"n".repeat(500), &"o".repeat(500)).chars().count() <= NAME_CHARS_MAX + 4);
        assert_eq!(shown(&"x".repeat(101), 100).chars().count(), 101);
    }

    #[test]
    fn each_notice_has_an_id_of_its_own() {
        let [one, other] = [test("a", Timestamp(0)), test("a", Timestamp(0))];
        assert_ne!(one.id, other.id);
        assert!(one.id.starts_with("notice_") && one.id.len() <= 64);
    }
}
