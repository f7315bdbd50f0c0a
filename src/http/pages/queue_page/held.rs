//! Access tokens that are held back, and requests that are not sent again.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::http::pages::format::{PageTimes, coarse};
use crate::http::pages::words::{counted, sentences};
use crate::http::queue::{QuarantinedRequest, QueueView, RunawayToken};
use crate::model::runaway::Runaway;

/// An access token that is slowed or paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldToken {
    /// Its public id.
    pub token: String,
    pub name: String,
    pub user: String,
    pub is_paused: bool,
    /// Why and since when.
    pub text: String,
    /// Where what it sent is shown.
    pub sent: String,
}

/// A request during which a model server crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRequest {
    pub title: String,
    pub text: String,
    pub digest: String,
}

/// Returns the access tokens that are held back, paused ones first.
pub fn tokens(view: &QueueView, times: &PageTimes) -> Vec<HeldToken> {
    view.runaways.iter().map(|one| token(one, times)).collect()
}

fn token(one: &RunawayToken, times: &PageTimes) -> HeldToken {
    let is_paused = one.state == "paused";
    let sent = match &one.request_id {
        Some(id) => format!("/admin/record/{id}"),
        None => format!("/admin/record?token_id={}", one.token),
    };
    let since = Timestamp::parse(&one.since).map(|since| times.in_sentence(since).text);
    HeldToken {
        token: one.token.clone(),
        name: one.name.clone(),
        user: match &one.person {
            Some(person) => format!("{}, for {person}", one.user),
            None => one.user.clone(),
        },
        is_paused,
        text: why(one, is_paused, &since.unwrap_or_default()),
        sent,
    }
}

/// Returns what was counted; without a count, as of a token that was paused by an earlier version, only the kind.
fn why(one: &RunawayToken, is_paused: bool, since: &str) -> String {
    let count = one.count.map(|count| count as u64);
    let is_repeats = one.reason == Runaway::Repeats.name();
    let within = one.window_seconds.map(|seconds| coarse(Duration::from_secs(seconds.into())));
    match (is_paused, is_repeats, count) {
        (true, true, Some(count)) => {
            format!("{} It was paused {since}.", sentences::paused_for_repeats(count, &within.unwrap_or_default()))
        }
        (true, false, Some(count)) => format!("{} It was paused {since}.", sentences::paused_for_errors(count)),
        (true, true, None) => format!("{} It was paused {since}.", sentences::PAUSED_FOR_REPEATS),
        (true, false, None) => format!("{} It was paused {since}.", sentences::PAUSED_FOR_ERRORS),
        (false, true, count) => sentences::slowed_for_repeats(count, within.as_deref()),
        (false, false, count) => sentences::slowed_for_errors(count),
    }
}

/// Returns the requests that are not sent again, the newest first.
pub fn requests(view: &QueueView, times: &PageTimes) -> Vec<HeldRequest> {
    view.quarantined.iter().flatten().map(|one| request(one, times)).collect()
}

fn request(one: &QuarantinedRequest, times: &PageTimes) -> HeldRequest {
    let until = Timestamp::parse(&one.until).map(|until| times.in_sentence(until).text).unwrap_or_default();
    let text = match one.state {
        "refused" => format!("Nobody may send it again before it is let go {until}."),
        _ => format!("It may be sent once more, apart from others of its kind. It is let go {until}."),
    };
    let deaths = counted(one.deaths.into(), "time", "times");
    HeldRequest {
        title: format!("A model server crashed {deaths} while a request for {} ran", one.model),
        text,
        digest: one.digest.chars().take(16).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::in_queue::tests::{times, view};

    fn held(state: &'static str, reason: &'static str, count: Option<usize>) -> HeldToken {
        let one = RunawayToken {
            token: "lgw_x".into(),
            name: "nightly docs".into(),
            user: "ci@example.org".into(),
            user_id: None,
            person: None,
            state,
            reason,
            since: "2026-11-27T12:04:00Z".into(),
            count,
            window_seconds: count.map(|_| 600),
            request_id: count.map(|_| "the-request".into()),
        };
        let view = QueueView { runaways: vec![one], ..view(1, vec![]) };
        tokens(&view, &times()).remove(0)
    }

    #[test]
    fn why_a_token_is_held_back_is_told_with_what_was_counted() {
        assert_eq!(
            held("paused", "repeats", Some(60)).text,
            "It sent the same request 60 times in 10 min. Nothing of it runs until somebody resumes it. It was paused \
             today at 12:04."
        );
        assert_eq!(held("paused", "repeats", Some(60)).sent, "/admin/record/the-request");
        assert_eq!(held("paused", "repeats", None).sent, "/admin/record?token_id=lgw_x");
        for state in ["paused", "slowed"] {
            for reason in ["repeats", "errors"] {
                for count in [None, Some(1), Some(20)] {
                    let text = held(state, reason, count).text;
                    assert!(text.starts_with("It") && text.ends_with('.') && !text.contains("  "), "{text}");
                    assert_eq!(text.contains("somebody resumes it"), state == "paused", "{text}");
                }
            }
        }
    }

    #[test]
    fn a_request_that_crashed_a_model_server_says_until_when_it_is_held() {
        let one = |state| QuarantinedRequest {
            digest: "0123456789abcdef0123".into(),
            model: "m".into(),
            state,
            deaths: 2,
            until: "2026-11-27T15:00:00Z".into(),
        };
        let view = QueueView { quarantined: Some(vec![one("refused"), one("suspect")]), ..view(1, vec![]) };

        let [refused, suspect] = requests(&view, &times()).try_into().unwrap();

        assert_eq!(refused.title, "A model server crashed 2 times while a request for m ran");
        assert_eq!(refused.text, "Nobody may send it again before it is let go today at 15:00.");
        assert!(suspect.text.starts_with("It may be sent once more"));
        assert_eq!(refused.digest, "0123456789abcdef");
    }
}
