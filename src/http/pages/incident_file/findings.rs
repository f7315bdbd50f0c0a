//! Findings in plain words, each with what to do.

use crate::base::clock::Timestamp;
use crate::http::pages::format::{PageTimes, commas, percent};
use crate::http::pages::incident_file::said::{Said, listed, sender};
use crate::http::pages::incident_file::time::{moment, us};
use crate::http::pages::words::{counted, reason};
use crate::rules::incident::IncidentReport;
use crate::rules::incident::findings::IncidentFinding;

/// A finding as it is shown.
pub struct ShownFinding {
    pub title: &'static str,
    pub text: Said,
    pub advice: Said,
}

/// Models that are named in one sentence.
const MODELS_MAX: usize = 4;

/// Returns all findings in words.
pub fn shown(report: &IncidentReport, times: &PageTimes) -> Vec<ShownFinding> {
    report.findings.iter().map(|finding| one(report, finding, times)).collect()
}

fn one(report: &IncidentReport, finding: &IncidentFinding, times: &PageTimes) -> ShownFinding {
    let who = |at: &usize| sender(&report.names[*at], true);
    let times_of = |count: u64| counted(count, "time", "times");
    let requests = |count: u64| counted(count, "request", "requests");
    let (title, text, advice) = match finding {
        IncidentFinding::NoWait { who: at, refused, in_minute } => (
            "It tries again at once",
            who(at).words(format!(
                " was told {} to come back later (429, `Retry-After`), up to {} in one minute. A client that waits as \
                 long as it is told is refused far less often.",
                times_of(*refused),
                times_of(*in_minute)
            )),
            "Make the client wait as `Retry-After` says, with a growing pause, and let it run fewer workers. The SDKs of \
             OpenAI and Anthropic do that by themselves; a loop around `curl` does not."
                .into(),
        ),
        IncidentFinding::RanAway { who: at, slowed, paused, token_id, owner_id } => {
            let name = match at {
                Some(at) => who(at),
                None => Said::of("The access token ")
                    .name(report.token_names.get(token_id).map_or("?", String::as_str))
                    .words(" of ")
                    .name(&report.people.name_of(*owner_id)),
            };
            let mut text = name;
            if *slowed > 0 {
                text = text.words(format!(" was slowed: {} refused because it repeated itself or kept failing", were(*slowed)));
            }
            if let Some(why) = paused {
                let when = moment(Timestamp(why.at_us), report.question.window, times);
                text = text.words(if *slowed > 0 { ", and then it was" } else { " was" });
                text = text.words(format!(" paused at {when}: {}", reason(&why.reason).text));
            }
            (
                if paused.is_some() { "The gateway paused it" } else { "The gateway slowed it" },
                text.words("."),
                if paused.is_some() {
                    "Find the loop that sends it: a retry without an end, or a job that was started twice. Then resume \
                     the access token (`lan-gateway token resume TOKEN`)."
                } else {
                    "Find the loop that sends it: a retry without an end, or a job that was started twice. What is \
                     slowed comes back by itself."
                }
                .into(),
            )
        }
        IncidentFinding::SamePrompt { who: at, tokens, same, answered } => (
            "Nearly the same prompt each time",
            who(at).words(format!(
                ": {} of its {} had prompts of exactly {}. Different questions rarely have the same length, so it probably \
                 sends one prompt again and again.",
                commas(*same),
                counted(*answered, "answered request", "answered requests"),
                counted((*tokens).max(0).unsigned_abs(), "model token", "model tokens")
            )),
            "Look at some of its requests in the record. If they are equal, keep the answer instead of asking again.".into(),
        ),
        IncidentFinding::ManyAtOnce { who: at, outstanding, slots } => (
            "Very many requests at once",
            who(at).words(format!(
                " had up to {} waiting or running at the same time, and {} at once.",
                requests(*outstanding),
                match slots {
                    1 => "the model server works on one".to_owned(),
                    slots => format!("the model servers work on {slots}"),
                }
            )),
            "More workers than slots don't make it faster. Let it send one or two at a time.".into(),
        ),
        IncidentFinding::FailuresInRow { who: at, count, reason: code } => (
            "Failures in a row",
            who(at).words(format!(" had {} one after the other. The last reason: ", counted(*count, "failure", "failures")))
                .words(reason(code).text)
                .words("."),
            "A client should stop after a few failures, and not go on with the same request.".into(),
        ),
        IncidentFinding::GaveUp { who: at, count, ended, median_us } => (
            "It gives up before the answer",
            who(at).words(format!(
                " gave up {} of {}, half of them after about {} or less. The work for them is lost, and a client that \
                 asks again makes the queue longer.",
                commas(*count),
                requests(*ended),
                us(*median_us)
            )),
            "Raise the time-out of the client above the longest wait, or let it stream.".into(),
        ),
        IncidentFinding::WrongModels { who: at, models, count } => (
            "A model that is not there",
            who(at)
                .words(format!(" asked {} for a model that is not served, or not for this sender: ", times_of(*count)))
                .and(&models_in_words(models))
                .words("."),
            "Correct the name in the client (`lan-gateway models` lists those that are there), or pull the model.".into(),
        ),
        IncidentFinding::WrongCredentials { count } => (
            "Wrong credentials",
            Said::of(format!(
                "{} refused because the access token or password was wrong, had ended, or was missing. The table of \
                 addresses says where they came from.",
                were(*count)
            )),
            "A client that still uses an old access token: give it a new one, or switch it off.".into(),
        ),
        IncidentFinding::BadRequests { who: at, count, reason: code } => (
            "Requests that can't be answered",
            who(at)
                .words(format!(" sent {} that could not be answered: ", requests(*count)))
                .words(reason(code).text)
                .words(". They fail whenever they are sent."),
            "The error that the client got names the field. Such a request must not be tried again.".into(),
        ),
        IncidentFinding::Reloads { count, load_us, gpu_us, models, senders } => {
            let who: Vec<Said> = senders.iter().map(|at| sender(&report.names[*at], false)).collect();
            let share = percent((*load_us).max(0).unsigned_abs(), (*gpu_us).max(0).unsigned_abs()).unwrap_or_default();
            (
                "Models are loaded again and again",
                Said::of(format!("Models were loaded {}, for {} in all, {share} of the GPU time: ", times_of(*count), us(*load_us)))
                    .and(&models_in_words(models))
                    .words(". Asked for by ")
                    .and(&listed(&who))
                    .words("."),
                "Several models that don't fit into memory together take turns. Let the pipeline use the model of the \
                 others, or send its requests in one go at night."
                    .into(),
            )
        }
        IncidentFinding::LongWaits { median_us, most_us, longest_us, before_us } => {
            let before = match before_us {
                Some(before) => format!(" In the same time before, 5 % waited {} or more.", us(*before)),
                None => String::new(),
            };
            (
                "Long waits",
                Said::of(format!(
                    "Half of the requests waited about {} or more, 5 % {} or more, the longest {}.{before}",
                    us(*median_us),
                    us(*most_us),
                    us(*longest_us)
                )),
                "The queue takes turns between people, not between requests, so who sends a few gets through. Limits for \
                 who sends most make the waits shorter for all."
                    .into(),
            )
        }
        IncidentFinding::UpstreamFailed { reason: code, count } => (
            "The model server failed",
            Said::of(format!("{} failed: ", counted(*count, "request", "requests"))).words(reason(code).text).words("."),
            "See `lan-gateway doctor` and the log of Ollama (`journalctl -u ollama`) for this time.".into(),
        ),
        IncidentFinding::SecondAttempts { count } => (
            "A second attempt",
            Said::of(format!("{} went to another model server, because the first one did not answer.", requests(*count))),
            "See the log of the model server that failed.".into(),
        ),
        IncidentFinding::Stopped { count } => (
            "The gateway stopped",
            Said::of(format!("{} interrupted because the gateway stopped.", were(*count))),
            "If nobody stopped it, its log says why (`journalctl -u lan-gateway`).".into(),
        ),
        IncidentFinding::NotRecorded { count } => (
            "The record could not be written",
            Said::of(format!("{} refused or failed, because nothing is answered without a record.", were(*count))),
            "Free space on the data disk; see `lan-gateway doctor`.".into(),
        ),
        IncidentFinding::NoOwnLimit { who: at, owner_limit } => (
            "No limit of its own",
            who(at).words(match owner_limit {
                Some(limit) => format!(
                    " has no limit of its own. Only its owner's limit applies: {} a minute, by all access tokens together.",
                    requests((*limit).max(0).unsigned_abs())
                ),
                None => " has no limit of its own, and neither has its owner. Only the default limit applies.".to_owned(),
            }),
            "Give it one: `lan-gateway token limit TOKEN 10`, or a quota for the day (`lan-gateway token quota TOKEN \
             gpu_seconds_per_day 3600`)."
                .into(),
        ),
        IncidentFinding::NotBatch { who: at } => (
            "It waits in line with people",
            who(at).words(" is in the class interactive, like people who wait for their answer."),
            "Put a pipeline into the class batch: it then takes what people leave (`lan-gateway token class TOKEN batch`).".into(),
        ),
    };
    ShownFinding { title, text, advice }
}

impl From<&str> for Said {
    fn from(words: &str) -> Said {
        Said::of(words)
    }
}

fn were(count: u64) -> String {
    format!("{} {}", counted(count, "request", "requests"), if count == 1 { "was" } else { "were" })
}

/// Returns the names of models with how often they were asked for.
fn models_in_words(models: &[(String, u64)]) -> Said {
    let mut said: Vec<Said> = models
        .iter()
        .take(MODELS_MAX)
        .map(|(model, count)| Said::default().code(model).words(format!(" ({})", commas(*count))))
        .collect();
    if models.len() > MODELS_MAX {
        said.push(Said::of(format!("{} more", models.len() - MODELS_MAX)));
    }
    listed(&said)
}
