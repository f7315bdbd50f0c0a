//! The first sentences of a report: whose doing it was, or that nobody stands out.

use std::time::Duration;

use crate::http::pages::format::{coarse, commas, duration, percent};
use crate::http::pages::incident_file::said::{Said, listed, sender};
use crate::http::pages::words::counted;
use crate::rules::incident::IncidentReport;
use crate::rules::incident::facts::IncidentSender;

/// Returns the sentence that names the pipeline.
pub fn headline(report: &IncidentReport) -> Said {
    let all = &report.facts.all;
    let time = length(report);
    if all.sent() == 0 {
        return Said::of(format!("Nobody sent a request in these {time}."));
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
    let facts = &report.facts;
    let all = &facts.all;
    let mut said = Said::default();
    let leaders = &report.leaders;
    if !leaders.requests.is_empty() && !leaders.gpu.is_empty() && leaders.gpu != leaders.requests {
        let who: Vec<Said> = leaders.gpu.iter().map(|at| sender(&report.names[*at], false)).collect();
        said = said.words("Most of the GPU time went to ").and(&listed(&who));
        said = said.words(format!(": {}. ", gpu_share(report, &leaders.gpu)));
    }
    if all.sent() == 0 {
        return said;
    }
    let busy = percent(all.gpu_us.max(0).unsigned_abs(), report.capacity_us());
    let busy = match (busy, report.slots()) {
        (Some(busy), 1) => format!("The model server worked {busy} of the time. "),
        (Some(busy), slots) => format!("The {slots} slots of the model servers worked {busy} of the time. "),
        (None, _) => String::new(),
    };
    said = said.words(busy);
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
    let micros = report.question.window.length_us().unsigned_abs();
    coarse(Duration::from_micros(micros))
}

/// Returns a measured time in words.
pub fn us(micros: i64) -> String {
    duration(Duration::from_micros(micros.max(0).unsigned_abs()))
}

fn sent_most(report: &IncidentReport, at: usize, time: &str) -> Said {
    let (sent, all) = (did(report, at).sent(), report.facts.all.sent());
    let said = sender(&report.names[at], true).words(" sent ");
    if sent == all {
        return said.words(format!("all {} in {time}", counted(all, "request", "requests")));
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
    let facts = &report.facts;
    let senders = facts.senders.iter().filter(|sender| sender.did.sent() > 0).count() as u64;
    let all = facts.all.sent();
    let said = Said::of(format!(
        "Nobody stands out: {} sent {} in {time}",
        counted(senders, "sender", "senders"),
        counted(all, "request", "requests")
    ));
    let most = (0..facts.senders.len()).max_by_key(|at| (did(report, *at).sent(), std::cmp::Reverse(*at)));
    match most.filter(|_| senders > 1) {
        Some(most) => {
            let sent = did(report, most).sent();
            let share = percent(sent, all).unwrap_or_default();
            said.words(", most of them ")
                .and(&sender(&report.names[most], false))
                .words(format!(" with {} ({share}).", commas(sent)))
        }
        None => said.words("."),
    }
}

/// Returns what a sender did before, after a semicolon: just before the window, and usually.
fn compared(report: &IncidentReport, at: usize) -> Said {
    let key = report.facts.senders[at].key;
    let just_before = report.before.as_ref().map(|before| before.sender(key).map_or(0, |sender| sender.did.sent()));
    let usual = report.usual.as_ref().and_then(|(usual, length_us)| Some((usual.get(at)?.requests, *length_us)));
    let time = length(report);
    let before = just_before.map(|sent| match sent {
        0 => format!("in the {time} before it sent none"),
        sent => format!("in the {time} before it sent {}", commas(sent)),
    });
    let usual = usual.map(|(requests, length_us)| {
        let days = coarse(Duration::from_micros(length_us.max(0).unsigned_abs()));
        let number = match requests {
            few if few < 0.05 => "none".to_owned(),
            few if few < 10.0 => format!("{few:.1}"),
            many => commas(many.round() as u64),
        };
        format!("its mean of the {days} before is {number} in {time}")
    });
    Said::of(match (before, usual) {
        (Some(before), Some(usual)) => format!("; {before}, and {usual}"),
        (Some(one), None) | (None, Some(one)) => format!("; {one}"),
        (None, None) => String::new(),
    })
}

/// Returns the part of the GPU time that some senders took.
pub fn gpu_share(report: &IncidentReport, places: &[usize]) -> String {
    let took: u64 = places.iter().map(|at| did(report, *at).gpu_us.max(0).unsigned_abs()).sum();
    match percent(took, report.facts.all.gpu_us.max(0).unsigned_abs()) {
        Some(share) => format!("{share} of the GPU time"),
        None => "none of the GPU time".to_owned(),
    }
}

fn did(report: &IncidentReport, at: usize) -> &crate::rules::incident::activity::Activity {
    let IncidentSender { did, .. } = &report.facts.senders[at];
    did
}
