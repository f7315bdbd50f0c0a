//! The first sentences of a report: who caused it, or that nobody stands out.

use std::collections::HashMap;

use crate::http::pages::format::{commas, percent};
use crate::http::pages::incident_file::said::{Said, listed, sender};
use crate::http::pages::incident_file::tables::number;
use crate::http::pages::incident_file::time::{length_in_words, us};
use crate::http::pages::words::{capitalised, counted};
use crate::rules::incident::IncidentReport;
use crate::rules::incident::activity::Activity;

/// Returns the sentence that names the pipeline.
pub fn headline(report: &IncidentReport) -> Said {
    let all = &report.facts.all;
    let time = length(report);
    if all.sent() == 0 {
        return Said::of(format!("Nobody sent a request in this time ({time})."));
    }
    let leaders = &report.leaders;
    match (leaders.requests.as_slice(), leaders.gpu.as_slice()) {
        ([], []) => nobody(report, &time),
        ([], gpu) => by_gpu(report, gpu, &time),
        ([one], _) => {
            let said = sent_most(report, *one, &time).words(format!(" and took {}", gpu_share(report, &[*one])));
            said.and(&compared(report, *one)).words(".")
        }
        (several, _) => shared(report, several, &time),
    }
}

/// Returns what follows the headline: who else took the GPU, how busy it was, and what others felt of it.
pub fn second_sentence(report: &IncidentReport) -> Said {
    let all = &report.facts.all;
    let mut said = Said::default();
    if all.sent() == 0 && all.gpu_us == 0 {
        return said;
    }
    let leaders = &report.leaders;
    let is_named = |at: &usize| leaders.requests.contains(at) || (leaders.requests.is_empty() && all.sent() > 0);
    if !leaders.gpu.iter().all(is_named) {
        let who: Vec<Said> = leaders.gpu.iter().map(|at| sender(&report.names[*at], false)).collect();
        said = said.words("Most of the GPU time went to ").and(&listed(&who));
        said = said.words(format!(" ({}). ", gpu_percent(report, &leaders.gpu).unwrap_or_default()));
    }
    let busy = percent(all.gpu_us.max(0).unsigned_abs(), report.capacity_us()).map(|busy| match report.slots() {
        1 => format!("The model server worked {busy} of the time"),
        slots => format!("The {slots} slots of the model servers worked {busy} of the time"),
    });
    if all.sent() == 0 {
        return said
            .words(busy.map(|busy| format!("{busy}, for requests that had arrived before.")).unwrap_or_default());
    }
    said = said.words(busy.map(|busy| format!("{busy}. ")).unwrap_or_default());
    let waits = match (all.waits.part_us(50), all.waits.part_us(95)) {
        (Some(median), Some(most)) if most >= 1_000_000 => {
            format!("Half of the requests waited {} or more, 5 % about {} or more. ", us(median), us(most))
        }
        (Some(_), Some(_)) => "Requests hardly waited. ".to_owned(),
        _ => String::new(),
    };
    said = said.words(waits);
    let (refused, failed) = (all.refused(), all.ended.failed);
    let of_them = format!("Of {}, ", counted(all.sent(), "request", "requests"));
    said.words(match (refused, failed) {
        (0, 0) => "None was refused, and none failed.".to_owned(),
        (refused, 0) => format!("{of_them}{} refused, and none failed.", were(refused)),
        (0, failed) => format!("{of_them}{failed} failed, and none was refused.", failed = commas(failed)),
        (refused, failed) => format!("{of_them}{} refused, and {} failed.", were(refused), commas(failed)),
    })
}

fn were(count: u64) -> String {
    format!("{} {}", commas(count), if count == 1 { "was" } else { "were" })
}

/// Returns the length of the window in words.
pub fn length(report: &IncidentReport) -> String {
    length_in_words(report.question.window.length_us())
}

/// Returns the places of those who sent something.
pub fn senders(report: &IncidentReport) -> Vec<usize> {
    (0..report.facts.senders.len()).filter(|at| did(report, *at).sent() > 0).collect()
}

/// Returns all requests in words, also where there is only one.
pub fn all_requests(sent: u64) -> String {
    if sent == 1 { "the only request".to_owned() } else { format!("all {} requests", commas(sent)) }
}

fn sent_most(report: &IncidentReport, at: usize, time: &str) -> Said {
    let (sent, all) = (did(report, at).sent(), report.facts.all.sent());
    let said = sender(&report.names[at], true).words(" sent ");
    if sent == all {
        return said.words(format!("{} in {time}", all_requests(all)));
    }
    let share = percent(sent, all).unwrap_or_default();
    said.words(format!("{} of the {} ({share}) in {time}", commas(sent), counted(all, "request", "requests")))
}

fn shared(report: &IncidentReport, places: &[usize], time: &str) -> Said {
    let all = report.facts.all.sent();
    let one = |at: &usize| {
        let sent = did(report, *at).sent();
        let share = percent(sent, all).unwrap_or_default();
        sender(&report.names[*at], false).words(format!(" ({}, {share})", commas(sent)))
    };
    let said: Vec<Said> = places.iter().map(one).collect();
    let number = if places.len() == 2 { "Two" } else { "Three" };
    Said::of(format!("{number} share it: of {} in {time}, most were sent by ", counted(all, "request", "requests")))
        .and(&listed(&said))
        .words(format!("; together they took {}.", gpu_share(report, places)))
}

fn by_gpu(report: &IncidentReport, places: &[usize], time: &str) -> Said {
    let who: Vec<Said> = places.iter().enumerate().map(|(at, place)| sender(&report.names[*place], at == 0)).collect();
    let sent: u64 = places.iter().map(|at| did(report, *at).sent()).sum();
    let said = listed(&who).words(format!(
        " took {} in {time}, with {} of the {}",
        gpu_share(report, places),
        commas(sent),
        counted(report.facts.all.sent(), "request", "requests")
    ));
    match places {
        [one] => said.and(&compared(report, *one)).words("."),
        _ => said.words("."),
    }
}

fn nobody(report: &IncidentReport, time: &str) -> Said {
    let (all, senders) = (report.facts.all.sent(), senders(report));
    let requests = counted(all, "request", "requests");
    let most = senders.iter().copied().max_by_key(|at| (did(report, *at).sent(), std::cmp::Reverse(*at)));
    let Some(most) = most.filter(|_| senders.len() > 1) else {
        let who: Vec<Said> = senders.iter().map(|at| sender(&report.names[*at], false)).collect();
        return Said::of("Nobody stands out: ")
            .and(&listed(&who))
            .words(format!(" sent {} in {time}.", all_requests(all)));
    };
    let sent = did(report, most).sent();
    let said =
        Said::of(format!("Nobody stands out: {} senders sent {requests} in {time}, ", commas(senders.len() as u64)))
            .and(&sender(&report.names[most], false))
            .words(format!(" the most with {} ({}).", commas(sent), percent(sent, all).unwrap_or_default()));
    match most_by_one_tool(report) {
        Some(tool) => said.words(" ").and(&tool),
        None => said,
    }
}

/// Returns the delegating token that brought at least half of the requests, whoever was signed in to its tool.
pub fn most_by_one_tool(report: &IncidentReport) -> Option<Said> {
    let mut sent: HashMap<i64, (u64, usize)> = HashMap::new();
    for at in senders(report).into_iter().filter(|at| report.names[*at].via.is_some()) {
        sent.entry(report.facts.senders[at].key.token_id).or_insert((0, at)).0 += did(report, at).sent();
    }
    let all = report.facts.all.sent();
    let (sent, at) = sent.into_values().max().filter(|(sent, _)| sent.saturating_mul(2) >= all)?;
    let (token, via) = (report.names[at].token.as_deref()?, report.names[at].via.as_deref()?);
    let said = Said::of(match percent(sent, all).filter(|_| sent < all) {
        Some(share) => format!("{} of the {} ({share})", commas(sent), counted(all, "request", "requests")),
        None => capitalised(&all_requests(all)),
    });
    Some(said.words(" came through the access token ").name(token).words(" of ").name(via).words("."))
}

/// Returns what a sender did before, after a semicolon: just before the window, and usually.
fn compared(report: &IncidentReport, at: usize) -> Said {
    let key = report.facts.senders[at].key;
    let time = length(report);
    let some = |mean: f64| match number(mean).as_str() {
        "0" => "no requests".to_owned(),
        "1" => "1 request".to_owned(),
        mean => format!("{mean} requests"),
    };
    let before = report.before.as_ref().map(|before| {
        let sent = before.sender(key).map_or(0, |sender| sender.did.sent());
        format!("{} in the {time} before", some(sent as f64))
    });
    let usual = report.usual.as_ref().and_then(|(usual, length_us)| {
        let requests = usual.get(at)?.requests;
        Some(format!("{} in {time} on average in the {} before", some(requests), length_in_words(*length_us)))
    });
    let known: Vec<String> = before.into_iter().chain(usual).collect();
    Said::of(if known.is_empty() { String::new() } else { format!("; {}", known.join(", and ")) })
}

/// Returns the part of the GPU time that some senders took.
pub fn gpu_share(report: &IncidentReport, places: &[usize]) -> String {
    match gpu_percent(report, places) {
        Some(share) => format!("{share} of the GPU time"),
        None => "none of the GPU time".to_owned(),
    }
}

fn gpu_percent(report: &IncidentReport, places: &[usize]) -> Option<String> {
    let took: u64 = places.iter().map(|at| did(report, *at).gpu_us.max(0).unsigned_abs()).sum();
    percent(took, report.facts.all.gpu_us.max(0).unsigned_abs())
}

fn did(report: &IncidentReport, at: usize) -> &Activity {
    &report.facts.senders[at].did
}
