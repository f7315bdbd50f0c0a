//! The incident report as one HTML file: self-contained, printable, without script, and harmless when it is opened from disk.

use askama::Template;

use crate::base::clock::Timestamp;
use crate::http::pages::filters;
use crate::http::pages::format::{PageTimes, commas};
use crate::http::pages::incident_file::answers::{ReportAnswers, answers};
use crate::http::pages::incident_file::charts::{ChartOfUpstream, requests_chart, upstream_charts, waiting_chart};
use crate::http::pages::incident_file::findings::{ShownFinding, shown};
use crate::http::pages::incident_file::headline::{headline, length, second_sentence};
use crate::http::pages::incident_file::said::{Said, sender};
use crate::http::pages::incident_file::tables::{
    AddressLine, PipelineLine, PromptBlock, ReasonLine, SenderLine, StepLine, addresses, pipelines, prompts, reasons,
    senders, steps,
};
use crate::http::pages::incident_file::time::{moment, one_step, step_in_words, us, window_in_words};
use crate::http::pages::markup::Markup;
use crate::http::pages::words::acts::ActSentence;
use crate::http::pages::words::{RecordedAct, counted};
use crate::http::record_items::AuditItem;
use crate::rules::incident::{ADDRESS_ROWS_MAX, IncidentReport, TAIL_SECONDS};
use crate::store::chain::CheckpointRow;
use crate::store::prompt_starts::PROMPT_START_CHARS;

mod answers;
mod charts;
mod findings;
mod headline;
mod said;
mod tables;
mod time;

/// What a report needs besides what the record says of its time.
pub struct ReportFrame<'a> {
    /// Who made it: a name, or `the host`.
    pub by: &'a str,
    /// The acts of the window, newest first, and whether there were more.
    pub acts: &'a [AuditItem],
    pub has_more_acts: bool,
}

/// What browsers may do with the file, whoever serves it.
pub const REPORT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox";

#[derive(Template)]
#[template(path = "incident/report.html")]
struct ReportFile {
    title: String,
    window: String,
    made: String,
    by: String,
    version: &'static str,
    zone: String,
    headline: Said,
    second: Said,
    notes: Vec<Said>,
    answers: ReportAnswers,
    is_empty: bool,
    findings: Vec<ShownFinding>,
    leaders: Option<Said>,
    senders: Vec<SenderLine>,
    more_senders: usize,
    has_usual: bool,
    has_before: bool,
    length: String,
    addresses: Vec<AddressLine>,
    more_addresses: usize,
    pipelines: Vec<PipelineLine>,
    prompts: Option<Vec<PromptBlock>>,
    prompt_chars: usize,
    step: String,
    one_step: String,
    requests: Markup,
    waiting: Markup,
    upstreams: Vec<ChartOfUpstream>,
    waits: Vec<(&'static str, String, String)>,
    reasons: Vec<ReasonLine>,
    acts: Vec<(String, ActSentence)>,
    more_acts: bool,
    checkpoints: Vec<CheckpointLine>,
    more_checkpoints: i64,
    covering: Option<String>,
    /// The first and the last row that the report was made from; the last one may have been written after the time.
    rows: Option<(String, String)>,
    /// The last row of the time, if later ones count as well.
    rows_in_time: Option<String>,
    steps: Vec<StepLine>,
}

struct CheckpointLine {
    what: &'static str,
    at: String,
    log_id: String,
    head: String,
}

/// Returns the report as a file.
pub fn report_file(
    report: &IncidentReport,
    frame: &ReportFrame<'_>,
    times: &PageTimes,
) -> Result<String, askama::Error> {
    let (sender_lines, more_senders) = senders(report);
    let (address_lines, more_addresses) = addresses(report);
    let leaders: Vec<Said> = report.leaders.all().iter().map(|at| sender(&report.names[*at], false)).collect();
    let covering = report.checkpoints.covering.as_ref();
    let window = window_in_words(report.question.window, times);
    let (span, last_row) = (report.span, report.facts.last_row);
    let file = ReportFile {
        title: format!("Incident report, {window}"),
        window,
        made: times.in_full(report.question.now).text,
        by: frame.by.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        zone: times.zone().name().to_owned(),
        headline: headline(report),
        second: second_sentence(report),
        notes: notes(report, times),
        answers: answers(report, times),
        is_empty: report.facts.all.sent() == 0 && report.facts.all.gpu_us == 0,
        findings: shown(report, times),
        leaders: (!leaders.is_empty()).then(|| said::listed(&leaders)),
        senders: sender_lines,
        more_senders,
        has_usual: report.usual.is_some(),
        has_before: report.before.is_some(),
        length: length(report),
        addresses: address_lines,
        more_addresses,
        pipelines: pipelines(report),
        prompts: report.prompts.as_ref().map(|samples| prompts(report, samples)),
        prompt_chars: PROMPT_START_CHARS,
        step: step_in_words(report.facts.steps.step_us),
        one_step: one_step(report.facts.steps.step_us),
        requests: requests_chart(report, times),
        waiting: waiting_chart(report, times),
        upstreams: upstream_charts(report, times),
        waits: waits(report),
        reasons: reasons(report),
        acts: frame.acts.iter().map(|act| act_line(act, report, times)).collect(),
        more_acts: frame.has_more_acts,
        checkpoints: checkpoints(report, times),
        more_checkpoints: report.checkpoints.within_count - report.checkpoints.within.len() as i64,
        covering: covering.map(|one| one.note.clone()),
        rows: (last_row > span.after).then(|| (count(span.after.saturating_add(1)), count(last_row))),
        rows_in_time: (last_row > span.last).then(|| count(span.last)),
        steps: steps(report, times),
    };
    file.render()
}

/// Returns what the reader has to know about the limits of the report.
fn notes(report: &IncidentReport, times: &PageTimes) -> Vec<Said> {
    let mut notes = Vec::new();
    let window = report.question.window;
    if report.begins_too_early() {
        notes.push(match report.span.oldest_at {
            Some(oldest) => Said::of(format!(
                "The record begins at {}. What came before it was removed for its age, or never recorded, and is missing \
                 here.",
                times.in_full(oldest).text
            )),
            None => Said::of("The record is empty: nothing was recorded yet, or all of it was removed for its age."),
        });
    }
    if report.question.contents && report.span.erased_to > report.span.after {
        notes.push(Said::of("Prompts of some of this time were erased for their age and can't be shown."));
    }
    let unfinished = report.facts.all.unfinished();
    if unfinished > 0 {
        let when = match report.question.now < window.to.plus_seconds(TAIL_SECONDS) {
            true => "when this report was made; a later report knows more",
            false => "an hour after this time",
        };
        let requests = counted(unfinished, "request", "requests");
        notes.push(Said::of(format!(
            "{requests} had not ended {when}. Waits, GPU time and outcomes of these are missing."
        )));
    }
    if report.addresses_are_partial {
        notes.push(Said::of(format!(
            "Addresses are counted in the last {} rows of this time.",
            count(ADDRESS_ROWS_MAX)
        )));
    }
    notes
}

fn waits(report: &IncidentReport) -> Vec<(&'static str, String, String)> {
    let of = |facts: &crate::rules::incident::facts::WindowFacts| {
        let waits = &facts.all.waits;
        let part = |percent| waits.part_us(percent).map(us).unwrap_or_default();
        let longest = if waits.count > 0 { us(waits.longest_us) } else { String::new() };
        [part(50), part(95), longest, count(facts.all.outstanding_max() as i64)]
    };
    let now = of(&report.facts);
    let before = report.before.as_ref().map(of).unwrap_or_default();
    let labels =
        ["Half of the requests waited at most", "95 % waited at most", "The longest wait", "Most requests at once"];
    let both = now.into_iter().zip(before);
    labels.into_iter().zip(both).map(|(label, (now, before))| (label, now, before)).collect()
}

fn act_line(item: &AuditItem, report: &IncidentReport, times: &PageTimes) -> (String, ActSentence) {
    let at = Timestamp::parse(&item.at).map(|at| moment(at, report.question.window, times)).unwrap_or_default();
    let act = RecordedAct {
        act: item.act.as_deref().unwrap_or_default(),
        by: item.user.as_deref(),
        subject: item.subject.as_deref(),
        token: item.token.as_deref(),
        detail: item.detail.as_ref(),
    };
    (at, act.sentence())
}

fn checkpoints(report: &IncidentReport, times: &PageTimes) -> Vec<CheckpointLine> {
    let around = &report.checkpoints;
    let line = |what: &'static str, one: &CheckpointRow| CheckpointLine {
        what,
        at: times.in_full(one.at()).text,
        log_id: count(one.log_id),
        // The third line of the note.
        head: one.note.lines().nth(2).unwrap_or_default().to_owned(),
    };
    let mut lines: Vec<CheckpointLine> = around.before.iter().map(|one| line("The last one before", one)).collect();
    lines.extend(around.within.iter().map(|one| line("Within", one)));
    lines.extend(around.covering.iter().map(|one| line("The first that covers all", one)));
    lines
}

fn count(number: i64) -> String {
    commas(number.max(0).unsigned_abs())
}
