//! Rows of the record as a table, for every page that lists requests: `{{ table }}` in a template prints it.

use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{LEAST_SCALE_MS, Phases, phase_bar};
use crate::http::pages::filters;
use crate::http::pages::format::{Moment, PageTimes, duration, model_tokens, seconds};
use crate::http::pages::markup::Markup;
use crate::http::pages::words::states::{ACT, OutcomeWord, WAITING};
use crate::http::pages::words::{ActSentence, RecordedAct, Word, capitalised, outcome, reason};
use crate::http::record_items::{AuditItem, SnippetPieceView};
use crate::model::record::Kind;

/// What a table of the record shows of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordLook {
    /// All of it, by day: for admins.
    Everybody,
    /// A few of one person: for admins.
    LatestOfPerson,
    /// All of one's own, by day, with the beginnings of prompts.
    Own,
    /// A few of one's own.
    LatestOwn,
}

impl RecordLook {
    pub fn is_own(self) -> bool {
        matches!(self, RecordLook::Own | RecordLook::LatestOwn)
    }

    /// Whether the rows stand below the headings of their days, with phase bars.
    fn is_long(self) -> bool {
        matches!(self, RecordLook::Everybody | RecordLook::Own)
    }

    /// Returns the heading of the column that says most of a row.
    fn heading(self) -> &'static str {
        match self {
            RecordLook::Everybody => "Who",
            RecordLook::LatestOfPerson => "Model",
            RecordLook::Own | RecordLook::LatestOwn => "What you asked",
        }
    }

    /// Returns the number of columns after time and outcome.
    fn columns(self) -> usize {
        match self {
            RecordLook::Everybody | RecordLook::Own => 5,
            RecordLook::LatestOfPerson => 3,
            RecordLook::LatestOwn => 2,
        }
    }

    fn path(self) -> &'static str {
        if self.is_own() { "/me/record" } else { "/admin/record" }
    }
}

/// A table of requests, refusals and acts. Without rows it prints nothing: what stands there instead is the page's.
#[derive(Template)]
#[template(path = "record/table.html")]
pub struct RecordTable {
    look: RecordLook,
    rows: Vec<RecordLine>,
}

// Every text in it is escaped by its template.
impl HtmlSafe for RecordTable {}

/// A row in words.
struct RecordLine {
    log_id: i64,
    /// The heading of its day, above the first row of it.
    day: Option<Moment>,
    at: Moment,
    outcome: OutcomeWord,
    /// How many equal refusals it stands for, if several.
    repeat: Option<u64>,
    /// What was done; of a request, nothing.
    act: Option<ActSentence>,
    /// The page with all of it.
    href: Option<String>,
    title: String,
    why: Option<Word>,
    token: String,
    model: String,
    tokens: String,
    phases: Markup,
    took: String,
    /// When it began, in Unix milliseconds, while it runs.
    since: Option<i64>,
    snippet: Vec<(String, bool)>,
}

impl RecordTable {
    pub fn of(items: &[AuditItem], times: &PageTimes, look: RecordLook) -> RecordTable {
        let slowest = items.iter().filter_map(|item| item.total_ms).max().and_then(|slowest| slowest.try_into().ok());
        let scale = slowest.unwrap_or(0).max(LEAST_SCALE_MS);
        let mut above: Option<Timestamp> = None;
        let rows = items.iter().map(|item| {
            let mut row = RecordLine::of(item, times, look, scale);
            // What runs stands above all others, whenever it began.
            let day = if is_running(item) { times.now() } else { at(item) };
            if look.is_long() && above.is_none_or(|above| !times.are_on_one_day(above, day)) {
                row.day = Some(times.day(day));
            }
            above = Some(day);
            row
        });
        RecordTable { look, rows: rows.collect() }
    }

    /// Tells the requests that still wait in the queue, by their ids, from those that run.
    pub fn with_waiting(mut self, waiting: &[String]) -> RecordTable {
        for row in &mut self.rows {
            if row.href.as_ref().is_some_and(|href| waiting.iter().any(|id| href.ends_with(id.as_str()))) {
                row.outcome = WAITING;
            }
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

impl RecordLine {
    fn of(item: &AuditItem, times: &PageTimes, look: RecordLook, scale_ms: u64) -> RecordLine {
        let is_act = item.kind == Kind::Act.shown();
        let at = at(item);
        let why = item.reason.as_deref().map(reason);
        let title = title(item, look, why.as_ref());
        let total = item.total_ms.and_then(|total| u64::try_from(total).ok());
        RecordLine {
            log_id: item.log_id,
            day: None,
            at: if look.is_long() { times.clock(at) } else { times.minute(at) },
            outcome: if is_act { ACT } else { outcome(item.outcome.as_deref()) },
            repeat: item.repeat.and_then(|repeat| u64::try_from(repeat).ok()).filter(|repeat| *repeat > 1),
            act: is_act.then(|| act_sentence(item)),
            href: item.request_id.as_ref().filter(|_| !is_act).map(|id| format!("{}/{id}", look.path())),
            // One's own refusals have the reason as their title.
            why: why.filter(|_| !(look.is_own() && item.prompt_start.is_none())),
            token: item.token.clone().filter(|_| item.kind != Kind::Refusal.shown()).unwrap_or_default(),
            model: item.model_asked.clone().unwrap_or_default(),
            tokens: model_tokens(count(item.prompt_tokens), count(item.answer_tokens)),
            phases: match total {
                Some(total) if look.is_long() => phase_bar(phases(item, total), scale_ms),
                _ => Markup::default(),
            },
            took: total.map(|total| duration(Duration::from_millis(total))).unwrap_or_default(),
            since: (is_running(item) && !look.is_long()).then_some(at.0 / 1_000),
            snippet: item.snippet.iter().flatten().map(|SnippetPieceView { text, hit }| (text.clone(), *hit)).collect(),
            title,
        }
        .with_time_so_far(times, at)
    }

    fn with_time_so_far(mut self, times: &PageTimes, began: Timestamp) -> RecordLine {
        if self.since.is_some() {
            self.took = seconds(times.now().since(began));
        }
        self
    }
}

/// Returns where the time of an ended request went.
pub fn phases(item: &AuditItem, total_ms: u64) -> Phases {
    Phases::of(total_ms, count(item.queued_ms), count(item.first_token_ms))
}

/// Returns a count of the record; what no count can be is none.
pub fn count(stored: Option<i64>) -> Option<u64> {
    stored.and_then(|number| u64::try_from(number).ok())
}

/// Returns the time of a row.
pub fn at(item: &AuditItem) -> Timestamp {
    Timestamp::parse(&item.at).unwrap_or(Timestamp(0))
}

pub fn is_running(item: &AuditItem) -> bool {
    item.kind == Kind::Result.shown() && item.outcome.is_none()
}

/// Returns who sent a request, as far as it is known.
pub fn sender(item: &AuditItem) -> String {
    item.user.clone().or_else(|| item.client_address.clone()).unwrap_or_else(|| "an unknown sender".to_owned())
}

/// Returns an act as a sentence.
pub fn act_sentence(item: &AuditItem) -> ActSentence {
    RecordedAct {
        act: item.act.as_deref().unwrap_or_default(),
        by: item.user.as_deref(),
        subject: item.subject.as_deref(),
        token: item.token.as_deref(),
        detail: item.detail.as_ref(),
    }
    .sentence()
}

fn title(item: &AuditItem, look: RecordLook, why: Option<&Word>) -> String {
    match look {
        RecordLook::Everybody => sender(item),
        RecordLook::LatestOfPerson => {
            item.model_asked.clone().or_else(|| item.api.clone()).unwrap_or_else(|| "a request".to_owned())
        }
        RecordLook::Own | RecordLook::LatestOwn => match (&item.prompt_start, why) {
            (Some(start), _) => start.clone(),
            (None, Some(why)) => capitalised(&why.text),
            (None, None) => item.model_asked.clone().unwrap_or_else(|| "A request".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests;
