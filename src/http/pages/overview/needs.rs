//! What needs an admin: one line per thing, with its reason, its remedy and one button.

use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::host::findings::FindingCode;
use crate::http::host_view::HostWarning;
use crate::http::pages::filters;
use crate::http::pages::format::{PageTimes, coarse};
use crate::http::pages::markup::Markup;
use crate::http::pages::problem::sentence;
use crate::http::pages::visible::{visible, with_code};
use crate::http::pages::words::{self, capitalised, counted};
use crate::http::queue::RunawayToken;
use crate::model::people::{People, User, UserStatus};
use crate::model::runaway::Runaway;

/// Paused access tokens and waiting people that are named; the others are told by their number.
const NAMED_MAX: usize = 3;

/// What may need an admin.
pub struct Needs<'a> {
    pub warnings: &'a [HostWarning],
    pub runaways: &'a [RunawayToken],
    pub people: &'a People,
    /// Whether this admin does not want to be told of plain HTTP.
    pub hides_plain_http: bool,
}

/// A thing that needs an admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedLine {
    pub id: String,
    pub icon: &'static str,
    pub colour: &'static str,
    pub title: Markup,
    pub text: Markup,
    pub act: NeedAct,
}

/// The button of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedAct {
    Link(&'static str, &'static str),
    /// Hides the line for a while.
    Hide,
}

#[derive(Template)]
#[template(path = "overview/needs.html")]
pub struct NeedsPart {
    lines: Vec<NeedLine>,
    csrf: String,
}

/// Its template escapes what needs it.
impl HtmlSafe for NeedsPart {}

impl NeedsPart {
    pub fn new(lines: Vec<NeedLine>, form_token: &str) -> NeedsPart {
        NeedsPart { lines, csrf: form_token.to_owned() }
    }
}

impl Needs<'_> {
    /// Returns the lines, the most urgent first.
    pub fn lines(&self, times: &PageTimes) -> Vec<NeedLine> {
        let hidden = |warning: &&HostWarning| self.hides_plain_http && warning.code == FindingCode::PlainHttp.name();
        let shown = self.warnings.iter().filter(|warning| !hidden(warning));
        let (urgent, others): (Vec<_>, Vec<_>) = shown.partition(|warning| is_failure(warning));
        let lines = urgent.into_iter().enumerate().map(|(at, warning)| of_warning(at, warning));
        let lines = lines.chain(self.paused(times)).chain(self.waiting(times));
        lines.chain(others.into_iter().enumerate().map(|(at, warning)| of_warning(at, warning))).collect()
    }

    fn paused(&self, times: &PageTimes) -> Vec<NeedLine> {
        let paused: Vec<&RunawayToken> = self.runaways.iter().filter(|one| one.state == "paused").collect();
        let mut lines: Vec<NeedLine> = paused.iter().take(NAMED_MAX).map(|one| paused_line(one, times)).collect();
        if paused.len() > NAMED_MAX {
            let more = counted((paused.len() - NAMED_MAX) as u64, "more access token is", "more access tokens are");
            lines.push(NeedLine {
                id: "need-paused-more".to_owned(),
                icon: "circle-pause",
                colour: "bad",
                title: visible(&format!("{more} paused")),
                text: visible("Nothing of them runs until somebody resumes them."),
                act: HELD_BACK,
            });
        }
        lines
    }

    fn waiting(&self, times: &PageTimes) -> Option<NeedLine> {
        let mut waiting: Vec<_> =
            self.people.all().filter(|user| user.status == UserStatus::Pending).cloned().collect();
        if waiting.is_empty() {
            return None;
        }
        waiting.sort_by_key(|user| user.created_at_us);
        let since =
            |user: &User| format!("{}, since {}", user.name(), times.minute(Timestamp(user.created_at_us)).text);
        let mut named: Vec<String> = waiting.iter().take(NAMED_MAX).map(|user| since(user)).collect();
        if waiting.len() > NAMED_MAX {
            named.push(format!("and {} more", waiting.len() - NAMED_MAX));
        }
        Some(NeedLine {
            id: "need-people".to_owned(),
            icon: "user-check",
            colour: "warn",
            title: visible(&format!("{} for approval", counted(waiting.len() as u64, "person waits", "people wait"))),
            text: visible(&named.join("; ")),
            act: NeedAct::Link("/admin/users", "Review"),
        })
    }
}

const HELD_BACK: NeedAct = NeedAct::Link("/admin/queue#held-back", "Look");

fn is_failure(warning: &HostWarning) -> bool {
    FindingCode::named(warning.code).is_some_and(FindingCode::is_failure)
}

fn paused_line(one: &RunawayToken, times: &PageTimes) -> NeedLine {
    let within = one.window_seconds.map(|seconds| coarse(Duration::from_secs(seconds.into())));
    let why = match (one.reason, one.count, within) {
        (reason, Some(count), Some(within)) if reason == Runaway::Repeats.name() => {
            format!("The same request {} in {within}", counted(count as u64, "time", "times"))
        }
        (reason, Some(count), _) if reason == Runaway::Errors.name() => {
            format!("{} in a row", counted(count as u64, "failure", "failures"))
        }
        (reason, ..) => capitalised(&words::reason(reason).text),
    };
    let since = Timestamp::parse(&one.since).map(|since| format!(", since {}", times.minute(since).text));
    NeedLine {
        id: format!("need-paused-{}", one.token),
        icon: "circle-pause",
        colour: "bad",
        title: Markup::of_html(format!("<b>{}</b> of {} is paused", visible(&one.name), visible(&one.user))),
        text: visible(&format!("{why}{}", since.unwrap_or_default())),
        act: HELD_BACK,
    }
}

fn of_warning(at: usize, warning: &HostWarning) -> NeedLine {
    let code = warning.code;
    // Of some, the title says it all.
    let text = match code {
        "plain_http" => sentence(&warning.remedy),
        _ => format!("{} {}", sentence(&words::states::finding(&warning.message)), sentence(&warning.remedy)),
    };
    let (icon, colour) = words::states::look_of_warning(code);
    NeedLine {
        id: format!("need-{code}-{at}"),
        icon,
        colour,
        title: with_code(&words::states::warning(code).text),
        text: with_code(&text),
        act: act_of(code),
    }
}

fn act_of(code: &str) -> NeedAct {
    match code {
        "plain_http" => NeedAct::Hide,
        "first_password" => NeedAct::Link("/password", "Change it"),
        "no_effect" => NeedAct::Link("/admin/settings/file", "Look"),
        "settings_contradict" => NeedAct::Link("/admin/settings/limits", "Look"),
        _ => NeedAct::Link("/admin/settings/check", "Look"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::in_queue::tests::times;

    fn warning(code: FindingCode) -> HostWarning {
        HostWarning { code: code.name(), message: format!("wrong: {}", code.name()), remedy: "mend `it`".into() }
    }

    fn paused(name: &str, reason: &'static str) -> RunawayToken {
        RunawayToken {
            token: name.into(),
            name: name.into(),
            user: "ci@example.org".into(),
            user_id: None,
            person: None,
            state: "paused",
            reason,
            since: "2026-11-27T12:04:00Z".into(),
            count: Some(60),
            window_seconds: Some(600),
            request_id: None,
        }
    }

    fn lines(warnings: &[HostWarning], runaways: &[RunawayToken], hides_plain_http: bool) -> Vec<NeedLine> {
        let people = People::new(Vec::new(), std::iter::empty());
        Needs { warnings, runaways, people: &people, hides_plain_http }.lines(&times())
    }

    #[test]
    fn every_warning_has_a_title_a_remedy_and_one_button_and_failures_come_first() {
        let warnings = FindingCode::ALL.map(warning);

        let lines = lines(&warnings, &[paused("docs", "repeats")], false);

        assert_eq!(lines.len(), warnings.len() + 1);
        let failures = warnings.iter().filter(|warning| is_failure(warning)).count();
        let order: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        assert_eq!(order[..3], ["need-gateway_silent-0", "need-cannot_record-1", "need-database_unusable-2"]);
        assert_eq!(order[failures], "need-paused-docs");
        assert_eq!(lines.last().unwrap().act, NeedAct::Hide);
        for line in &lines {
            assert!(!line.title.as_str().contains('_') || line.title.as_str().contains("<code>"), "{:?}", line.title);
            assert!(
                line.text.as_str().contains("Mend <code>it</code>.") || line.id.contains("paused"),
                "{:?}",
                line.text
            );
        }
    }

    #[test]
    fn plain_http_is_hidden_for_whom_wants_that_and_nothing_else_is() {
        let warnings = [warning(FindingCode::DiskLow), warning(FindingCode::PlainHttp)];

        assert_eq!(lines(&warnings, &[], true).len(), 1);
        assert_eq!(lines(&warnings, &[], false).len(), 2);
        let html = NeedsPart::new(lines(&warnings[1..], &[], true), "t").render().unwrap();
        assert!(html.contains("Nothing needs you."));
    }

    #[test]
    fn paused_access_tokens_say_why_and_many_are_told_by_their_number() {
        let three: Vec<RunawayToken> = ["a", "b", "<c>"].map(|name| paused(name, "repeats")).into();
        let five: Vec<RunawayToken> = ["a", "b", "c", "d", "e"].map(|name| paused(name, "errors")).into();

        let three = lines(&[], &three, false);
        let five = lines(&[], &five, false);

        assert_eq!(three.len(), 3);
        assert_eq!(three[2].title.as_str(), "<b>&lt;c&gt;</b> of ci@example.org is paused");
        assert_eq!(three[0].text.as_str(), "The same request 60 times in 10 min, since 12:04");
        assert_eq!(five.len(), 4);
        assert_eq!(five[0].text.as_str(), "60 failures in a row, since 12:04");
        assert_eq!(five[3].title.as_str(), "2 more access tokens are paused");
    }
}
