//! The charts of a report: how often, who had the GPU, and what waited.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{StackBar, StackChart, StackUnit, stack};
use crate::http::pages::format::{PageTimes, coarse, commas, percent};
use crate::http::pages::incident_file::time::spans_days;
use crate::http::pages::markup::Markup;
use crate::http::pages::words::counted;
use crate::rules::incident::IncidentReport;
use crate::rules::incident::activity::StepCounts;

/// The work of one upstream.
pub struct ChartOfUpstream {
    pub name: String,
    /// What a full bar means.
    pub full: String,
    pub chart: Markup,
    pub busy: String,
    pub loading: String,
}

/// Labels below a chart.
const LABELS: usize = 8;

/// Returns what each step is called, and what stands below it.
pub fn step_names(report: &IncidentReport, times: &PageTimes) -> Vec<(String, String)> {
    let steps = report.facts.steps;
    let every = steps.count.div_ceil(LABELS).max(1);
    let has_date = spans_days(report.question.window, times);
    let name = |at: usize| {
        let begins = steps.begins(at);
        let minute = times.zone().local(begins).minute();
        if has_date { format!("{} {minute}", times.date(begins).text) } else { minute }
    };
    let label = |at: usize| if at.is_multiple_of(every) { name(at) } else { String::new() };
    (0..steps.count).map(|at| (name(at), label(at))).collect()
}

/// Returns the part of each step that lies in the window.
pub fn shares_of_steps(report: &IncidentReport) -> Vec<i64> {
    let (steps, window) = (report.facts.steps, report.question.window);
    let end = |at: usize| Timestamp(steps.begins(at).0 + steps.step_us).min(window.to);
    (0..steps.count).map(|at| (end(at).0 - steps.begins(at).max(window.from).0).max(1)).collect()
}

/// Returns requests in each step: those of who stands out, of others, and above them those that were refused or failed.
pub fn requests_chart(report: &IncidentReport, times: &PageTimes) -> Markup {
    let (facts, names) = (&report.facts, step_names(report, times));
    let leaders = report.leaders.all();
    let bars: Vec<StackBar> = facts
        .all
        .steps
        .iter()
        .zip(names)
        .enumerate()
        .map(|(at, (all, (name, label)))| {
            let arrived: u64 = leaders.iter().map(|who| counts(report, *who, at).arrived).sum();
            let failed = all.failed.min(all.arrived);
            // Those that were refused later are drawn with the refused ones, and not a second time.
            let let_in = all.arrived.saturating_sub(failed.saturating_add(all.refused_later));
            let own = arrived.min(let_in);
            let mut title = format!("{name}: {}", counted(all.arrived, "request let in", "requests let in"));
            if !leaders.is_empty() {
                title.push_str(&format!(", {} of who stands out", commas(arrived)));
            }
            title.push_str(&format!(", {} refused, {} failed", commas(all.refused()), commas(all.failed)));
            let parts = vec![
                ("hi", own as f64),
                ("p", (let_in - own) as f64),
                ("failed", failed as f64),
                ("refused", all.refused() as f64),
            ];
            StackBar { parts, title, label }
        })
        .collect();
    stack(&StackChart { name: "Requests in time, with those refused and failed", bars: &bars, unit: StackUnit::Things })
}

/// Returns for each upstream how long it worked in each step, for whom, and how long it loaded models.
pub fn upstream_charts(report: &IncidentReport, times: &PageTimes) -> Vec<ChartOfUpstream> {
    let (facts, leaders) = (&report.facts, report.leaders.all());
    let names = step_names(report, times);
    let lengths = shares_of_steps(report);
    let window_us = report.question.window.length_us();
    let mut charts = Vec::new();
    for (place, upstream) in facts.upstreams.iter().enumerate() {
        let slots =
            report.question.upstreams.iter().find(|(name, _)| *name == upstream.name).map_or(1, |(_, slots)| *slots);
        let own = facts.work_of(&leaders, place);
        let bars: Vec<StackBar> = names
            .iter()
            .enumerate()
            .map(|(at, (name, label))| {
                let busy = upstream.busy_us[at].max(0);
                let loading = upstream.loading_us[at].clamp(0, busy);
                let own = own[at].clamp(0, busy);
                // The first and the last step may be shorter; a full bar is full in them, too.
                let scale = facts.steps.step_us as f64 / lengths[at] as f64;
                let seconds = |us: i64| us as f64 / 1e6 * scale;
                let own_work = own.min(busy - loading);
                let share = percent(busy.unsigned_abs(), lengths[at].unsigned_abs() * slots as u64).unwrap_or_default();
                let title = format!(
                    "{name}: worked {share} of the time{}{}",
                    if leaders.is_empty() { String::new() } else { format!(", {} for who stands out", time(own)) },
                    if loading > 0 { format!(", {} loading models", time(loading)) } else { String::new() }
                );
                let parts = vec![
                    ("hi", seconds(own_work)),
                    ("p", seconds(busy - loading - own_work)),
                    ("load", seconds(loading)),
                ];
                StackBar { parts, title, label: label.clone() }
            })
            .collect();
        let full = facts.steps.step_us as f64 / 1e6 * slots as f64;
        let chart = StackChart { name: "GPU time, by whom", bars: &bars, unit: StackUnit::SecondsOf(full) };
        let sum = |parts: &[i64]| parts.iter().fold(0_i64, |sum, part| sum.saturating_add(*part)).max(0);
        let all = window_us.unsigned_abs().saturating_mul(slots as u64);
        charts.push(ChartOfUpstream {
            name: upstream.name.clone(),
            full: counted(slots as u64, "slot busy all the time", "slots busy all the time"),
            chart: stack(&chart),
            busy: percent(sum(&upstream.busy_us).unsigned_abs(), all).unwrap_or_default(),
            loading: percent(sum(&upstream.loading_us).unsigned_abs(), all).unwrap_or_default(),
        });
    }
    charts
}

/// Returns how many requests ran and waited in each step, on average.
pub fn waiting_chart(report: &IncidentReport, times: &PageTimes) -> Markup {
    let (facts, lengths) = (&report.facts, shares_of_steps(report));
    let most = facts.all.outstanding_by_step(facts.steps.count);
    let bars: Vec<StackBar> = step_names(report, times)
        .into_iter()
        .enumerate()
        .map(|(at, (name, label))| {
            let mean = |us: i64| us as f64 / lengths[at] as f64;
            let (running, waiting) = (mean(facts.running_us[at]), mean(facts.waiting_us[at]));
            let title =
                format!("{name}: {running:.1} ran and {waiting:.1} waited on average, {} at most together", most[at]);
            StackBar { parts: vec![("n", running), ("waited", waiting)], title, label }
        })
        .collect();
    stack(&StackChart { name: "Requests that ran and waited, on average", bars: &bars, unit: StackUnit::Things })
}

fn counts(report: &IncidentReport, who: usize, step: usize) -> StepCounts {
    report.facts.senders[who].did.steps.get(step).copied().unwrap_or_default()
}

fn time(us: i64) -> String {
    coarse(Duration::from_micros(us.max(0).unsigned_abs()))
}
