//! The answer to each of the four questions in a sentence, also where there is nothing to tell.

use crate::http::pages::format::{PageTimes, commas};
use crate::http::pages::incident_file::charts::step_names;
use crate::http::pages::incident_file::headline::{all_requests, length, most_by_one_tool, senders};
use crate::http::pages::incident_file::said::{Said, listed, sender};
use crate::http::pages::incident_file::tables::number;
use crate::http::pages::incident_file::time::one_step;
use crate::http::pages::words::counted;
use crate::rules::incident::IncidentReport;

pub struct ReportAnswers {
    pub misconfigured: Said,
    pub who: Said,
    pub which: Said,
    pub how_often: Said,
}

pub fn answers(report: &IncidentReport, times: &PageTimes) -> ReportAnswers {
    ReportAnswers {
        misconfigured: misconfigured(report),
        who: who(report),
        which: which(report),
        how_often: how_often(report, times),
    }
}

fn misconfigured(report: &IncidentReport) -> Said {
    Said::of(match report.findings.len() {
        0 => "Nothing that the record shows: no client tried again at once, nothing failed again and again, and no model was \
              loaded too often."
            .to_owned(),
        1 => "One thing is worth a look.".to_owned(),
        number => format!("{number} things are worth a look, the likeliest causes first."),
    })
}

fn who(report: &IncidentReport) -> Said {
    let (senders, sent) = (senders(report), requests(report.facts.all.sent()));
    match senders.as_slice() {
        [] => Said::of("Nobody: no request was sent in this time."),
        [one] => sender(&report.names[*one], true).words(format!(" sent {}.", all_requests(report.facts.all.sent()))),
        several => {
            let said = Said::of(format!("{} sent {sent}; ", counted(several.len() as u64, "sender", "senders")));
            let leaders: Vec<Said> = report.leaders.all().iter().map(|at| sender(&report.names[*at], false)).collect();
            match leaders.len() {
                0 => said.words("nobody stands out."),
                1 => said.and(&leaders[0]).words(" stands out."),
                _ => said.and(&listed(&leaders)).words(" stand out."),
            }
        }
    }
}

fn which(report: &IncidentReport) -> Said {
    if report.facts.all.sent() == 0 {
        return Said::of("None: no request was sent in this time.");
    }
    let of_leaders: Vec<Said> = report.leaders.all().iter().map(|at| pipeline(report, *at)).collect();
    if !of_leaders.is_empty() {
        let add = |said: Said, one: &Said| if said.text().is_empty() { one.clone() } else { said.words(" ").and(one) };
        return of_leaders.iter().fold(Said::default(), add);
    }
    most_by_one_tool(report).unwrap_or_else(|| Said::of("None stands out."))
}

/// Returns what a sender is: a tool, a pipeline with an access token, or a person.
fn pipeline(report: &IncidentReport, at: usize) -> Said {
    let (name, did) = (&report.names[at], &report.facts.senders[at].did);
    if name.is_nobody {
        return Said::of(
            "It can't be named: these clients had no valid credential. Their addresses are in the table above.",
        );
    }
    let said = match (&name.token, &name.via) {
        (Some(token), Some(via)) => {
            let said = Said::of("The tool with the access token ").name(token).words(" of ").name(via);
            said.words(", in which ").name(&name.person).words(" was signed in")
        }
        (Some(_), None) => sender(name, true),
        (None, _) => {
            return Said::of("No access token: ")
                .and(&sender(name, false))
                .words(" signed in with a password or a JWT.");
        }
    };
    match did.models.most().first() {
        Some((model, count)) => said.words(": it asked ").code(model).words(format!(
            " in {} of {} that were let into the queue.",
            commas(*count),
            requests(did.let_in)
        )),
        None => said.words(": none of its requests was let into the queue."),
    }
}

fn how_often(report: &IncidentReport, times: &PageTimes) -> Said {
    let facts = &report.facts;
    let sent = facts.all.sent();
    if sent == 0 {
        return Said::of("Not once: no request was sent in this time.");
    }
    let said = Said::of(format!("{} in {}", requests(sent), length(report)));
    let most = facts.all.steps.iter().enumerate().max_by_key(|(at, step)| (step.sent(), std::cmp::Reverse(*at)));
    let Some((at, most)) = most.filter(|_| facts.steps.count > 1) else { return said.words(".") };
    let begins = &step_names(report, times)[at].0;
    said.words(format!(
        ": {} on average, and at most {} in {}, from {begins} on.",
        rate(sent, report.question.window.length_us()),
        commas(most.sent()),
        one_step(facts.steps.step_us),
    ))
}

/// Returns how often something happened on average: `12 a minute`, or by longer times if it was rare.
fn rate(count: u64, in_us: i64) -> String {
    let each = |seconds: f64| count as f64 * seconds * 1e6 / in_us.max(1) as f64;
    let units = [("a minute", 60.0), ("an hour", 3_600.0), ("a day", 86_400.0)];
    let (unit, seconds) = units.into_iter().find(|(_, seconds)| each(*seconds) >= 1.0).unwrap_or(units[2]);
    format!("{} {unit}", number(each(seconds)))
}

fn requests(count: u64) -> String {
    counted(count, "request", "requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_the_shortest_time_in_which_it_is_one() {
        const HOUR: i64 = 3_600_000_000;

        assert_eq!([rate(60, HOUR), rate(59, HOUR), rate(1, HOUR)], ["1 a minute", "59 an hour", "1 an hour"]);
        assert_eq!([rate(1, 3 * HOUR), rate(1, 48 * HOUR)], ["8 a day", "0.5 a day"]);
        assert_eq!(rate(90_000, HOUR), "1,500 a minute");
    }
}
