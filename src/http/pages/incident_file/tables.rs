//! The tables of a report. Each is cut, and says how many lines are left out.

use std::cmp::Reverse;
use std::time::Duration;

use crate::http::pages::format::{PageTimes, coarse, commas, percent};
use crate::http::pages::incident_file::charts::{shares_of_steps, step_names};
use crate::http::pages::incident_file::said::{Said, listed, sender};
use crate::http::pages::incident_file::time::us;
use crate::http::pages::words::{Word, counted, reason};
use crate::rules::incident::activity::Activity;
use crate::rules::incident::counts::Counts;
use crate::rules::incident::{IncidentReport, PromptSample};

const SENDERS_MAX: usize = 15;
const ADDRESSES_MAX: usize = 15;
const PIPELINES_MAX: usize = 6;
const REASONS_MAX: usize = 20;
const KINDS_MAX: usize = 3;

pub struct SenderLine {
    pub who: Said,
    pub stands_out: bool,
    pub sent: String,
    pub answered: String,
    pub refused: String,
    pub failed: String,
    pub gave_up: String,
    pub gpu: String,
    pub gpu_share: String,
    pub at_once: String,
    pub waited: String,
    pub before: String,
    pub usual: String,
}

/// Returns the senders, those first who sent most, and how many are left out.
pub fn senders(report: &IncidentReport) -> (Vec<SenderLine>, usize) {
    let order = by_sent(report);
    let leaders = report.leaders.all();
    let all_gpu = report.facts.all.gpu_us.max(0).unsigned_abs();
    let line = |at: &usize| {
        let sender_facts = &report.facts.senders[*at];
        let did = &sender_facts.did;
        let before =
            report.before.as_ref().map(|before| before.sender(sender_facts.key).map_or(0, |one| one.did.sent()));
        let usual = report.usual.as_ref().and_then(|(usual, _)| usual.get(*at));
        SenderLine {
            who: sender(&report.names[*at], true),
            stands_out: leaders.contains(at),
            sent: commas(did.sent()),
            answered: commas(did.ended.completed),
            refused: commas(did.refused()),
            failed: commas(did.ended.failed),
            gave_up: commas(did.ended.abandoned),
            gpu: coarse(Duration::from_micros(did.gpu_us.max(0).unsigned_abs())),
            gpu_share: percent(did.gpu_us.max(0).unsigned_abs(), all_gpu).unwrap_or_default(),
            at_once: commas(did.outstanding_max()),
            waited: did.waits.part_us(50).map(us).unwrap_or_default(),
            before: before.map(commas).unwrap_or_default(),
            usual: usual.map(|usual| number(usual.requests)).unwrap_or_default(),
        }
    };
    let left = order.len().saturating_sub(SENDERS_MAX);
    (order.iter().take(SENDERS_MAX).map(line).collect(), left)
}

/// Returns the places of all who sent something or had the GPU, those first who sent most.
fn by_sent(report: &IncidentReport) -> Vec<usize> {
    let did = |at: usize| &report.facts.senders[at].did;
    let mut order: Vec<usize> = (0..report.facts.senders.len()).collect();
    order.retain(|at| did(*at).sent() > 0 || did(*at).gpu_us > 0);
    order.sort_by_key(|at| (Reverse(did(*at).sent()), Reverse(did(*at).gpu_us), *at));
    order
}

/// Returns a mean: `1,204`, and below ten with one decimal.
pub fn number(mean: f64) -> String {
    let tenths = format!("{mean:.1}");
    if mean > 0.0 && mean < 9.95 && !tenths.ends_with(".0") { tenths } else { commas(mean.max(0.0).round() as u64) }
}

pub struct AddressLine {
    pub address: String,
    pub who: Said,
    pub requests: String,
}

/// Returns where requests came from, most first, and how many lines are left out.
pub fn addresses(report: &IncidentReport) -> (Vec<AddressLine>, usize) {
    let line = |one: &crate::store::incidents::AddressCount| {
        let place = report
            .facts
            .senders
            .iter()
            .position(|sender| sender.key.user_id == one.user_id && sender.key.token_id == one.token_id);
        AddressLine {
            address: one.address.clone(),
            who: match place {
                Some(place) => sender(&report.names[place], true),
                None => Said::default(),
            },
            requests: commas(one.requests.max(0).unsigned_abs()),
        }
    };
    let left = report.addresses.len().saturating_sub(ADDRESSES_MAX);
    (report.addresses.iter().take(ADDRESSES_MAX).map(line).collect(), left)
}

/// What one of those who sent most asked for.
pub struct PipelineLine {
    pub who: Said,
    pub stands_out: bool,
    pub models: Said,
    pub apis: Said,
    pub prompts: String,
    /// The most requests in one step.
    pub busiest: String,
}

/// Returns what those asked for who sent most.
pub fn pipelines(report: &IncidentReport) -> Vec<PipelineLine> {
    let leaders = report.leaders.all();
    let line = |at: usize| {
        let did = &report.facts.senders[at].did;
        let busiest = did.steps.iter().map(|step| step.sent()).max().unwrap_or(0);
        PipelineLine {
            who: sender(&report.names[at], true),
            stands_out: leaders.contains(&at),
            models: kinds(&did.models, &did.wrong_models),
            apis: kinds(&did.apis, &Counts::new(1)),
            prompts: prompt_lengths(did),
            busiest: commas(busiest),
        }
    };
    by_sent(report)
        .into_iter()
        .filter(|at| report.facts.senders[*at].did.let_in > 0)
        .take(PIPELINES_MAX)
        .map(line)
        .collect()
}

/// Returns what occurred most often, in words.
fn kinds(counts: &Counts<String>, wrong: &Counts<String>) -> Said {
    let most = counts.most();
    let mut said: Vec<Said> = most
        .iter()
        .take(KINDS_MAX)
        .map(|(what, count)| Said::default().code(what).words(format!(" {}", commas(*count))))
        .collect();
    let left = counts.kinds().saturating_sub(KINDS_MAX);
    if left > 0 || counts.others > 0 {
        said.push(Said::of(format!("{left} more")));
    }
    let wrong = wrong.total();
    if wrong > 0 {
        said.push(Said::of(format!("names of no model {}", commas(wrong))));
    }
    listed(&said)
}

fn prompt_lengths(did: &Activity) -> String {
    let (answered, most) = (did.prompt_lengths.total(), did.prompt_lengths.most());
    match most.first() {
        None => String::new(),
        Some((tokens, same)) if *same == answered && answered > 1 => {
            format!("all of {} model tokens", commas((*tokens).max(0).unsigned_abs()))
        }
        Some((tokens, same)) if same.saturating_mul(2) >= answered && answered > 4 => format!(
            "{} of {} model tokens",
            percent(*same, answered).unwrap_or_default(),
            commas((*tokens).max(0).unsigned_abs())
        ),
        Some(_) => counted(did.prompt_lengths.kinds() as u64, "length", "lengths"),
    }
}

/// How the prompts of one sender begin.
pub struct PromptBlock {
    pub who: Said,
    pub looked_at: String,
    pub starts: Vec<(String, String)>,
}

pub fn prompts(report: &IncidentReport, samples: &[PromptSample]) -> Vec<PromptBlock> {
    let block = |sample: &PromptSample| PromptBlock {
        who: sender(&report.names[sample.sender], true),
        looked_at: counted(sample.looked_at as u64, "request", "requests"),
        starts: sample.starts.iter().map(|(start, count)| (start.clone(), commas(*count as u64))).collect(),
    };
    samples.iter().map(block).collect()
}

pub struct ReasonLine {
    pub reason: Word,
    pub code: String,
    pub count: String,
    pub who: Said,
}

/// Returns why requests were refused or failed, and who had most of each.
pub fn reasons(report: &IncidentReport) -> Vec<ReasonLine> {
    let line = |(code, count): (String, u64)| {
        let did = |at: usize| report.facts.senders[at].did.reasons.of(code.as_str());
        let most = (0..report.facts.senders.len()).max_by_key(|at| (did(*at), Reverse(*at)));
        let who = match most.filter(|at| did(*at) > 0) {
            Some(at) => {
                let said = sender(&report.names[at], true);
                if did(at) == count { said } else { said.words(format!(" {}", commas(did(at)))) }
            }
            None => Said::default(),
        };
        ReasonLine { reason: reason(&code), count: commas(count), who, code }
    };
    report.facts.all.reasons.most().into_iter().take(REASONS_MAX).map(line).collect()
}

/// One step in numbers.
pub struct StepLine {
    pub when: String,
    pub let_in: String,
    pub refused: String,
    pub failed: String,
    pub gpu: String,
    pub running: String,
    pub waiting: String,
    pub at_once: String,
    /// Requests of who stands out, let in and refused.
    pub leaders: String,
}

/// Returns the steps in which something happened.
pub fn steps(report: &IncidentReport, times: &PageTimes) -> Vec<StepLine> {
    let (facts, lengths) = (&report.facts, shares_of_steps(report));
    let most = facts.all.outstanding_by_step(facts.steps.count);
    let leaders = report.leaders.all();
    let mut lines = Vec::new();
    for (at, (when, _)) in step_names(report, times).into_iter().enumerate() {
        let all = facts.all.steps[at];
        let (running, waiting) = (facts.running_us[at], facts.waiting_us[at]);
        if all == Default::default() && running == 0 && waiting == 0 {
            continue;
        }
        let mean = |us: i64| format!("{:.1}", us as f64 / lengths[at] as f64);
        let own: u64 =
            leaders.iter().filter_map(|who| facts.senders[*who].did.steps.get(at)).map(|step| step.sent()).sum();
        lines.push(StepLine {
            when,
            let_in: commas(all.arrived),
            refused: commas(all.refused()),
            failed: commas(all.failed),
            gpu: coarse(Duration::from_micros(all.gpu_us.max(0).unsigned_abs())),
            running: mean(running),
            waiting: mean(waiting),
            at_once: commas(most[at]),
            leaders: commas(own),
        });
    }
    lines
}
