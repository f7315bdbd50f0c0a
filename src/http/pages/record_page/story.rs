//! A request's story: who asked what, where the time went, and what was answered.

use std::time::Duration;

use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{Phases, phase_bar_large};
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::{Moment, PageTimes, bytes, commas, duration};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::markup::Markup;
use crate::http::pages::record_page::address::RecordAddress;
use crate::http::pages::record_page::asked::RecordReader;
use crate::http::pages::record_page::bounded::{BoundedText, TEXT_BYTES_MAX, beginning, bounded};
use crate::http::pages::record_page::said::{SaidImage, SaidMessage, calls, messages};
use crate::http::pages::record_page::table::{at, count, is_running, phases, sender};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::{AdminVisit, Member, Visit};
use crate::http::pages::words::reasons::remedy;
use crate::http::pages::words::{OutcomeWord, Word, capitalised, counted, outcome, reason, sentences, states};
use crate::http::record_items::AuditItem;
use crate::http::story::{Story, story_for_admin, story_for_owner};
use crate::model::record::{Kind, Outcome};
use crate::store::Store;

page_routes! {
    "GET" "/admin/record/{request_id}" Admin story_page;
    "GET" "/me/record/{request_id}" Member own_story_page;
}

/// Bytes of HTML for all messages together; the last ones are the most telling.
const MESSAGES_BYTES_MAX: usize = 512 * 1024;

/// Messages that are shown, the last ones.
const MESSAGES_MAX: usize = 200;

/// Bytes of HTML for what was forwarded.
const FORWARDED_BYTES_MAX: usize = 256 * 1024;

/// How far "everything around that time" reaches to both sides.
const AROUND_SECONDS: i64 = 5 * 60;

#[derive(Template)]
#[template(path = "record/story.html")]
struct StoryPage {
    frame: Frame,
    is_own: bool,
    /// The list that it belongs to.
    path: &'static str,
    /// The page itself; its downloads are below it.
    here: String,
    outcome: OutcomeWord,
    when: Moment,
    /// The credential and the address, for example `with a password, from 192.168.1.23`.
    with: String,
    /// The name of the person whose contents are shown to an admin.
    looked: Option<String>,
    time: Option<TimePanel>,
    omitted: usize,
    messages: Vec<ShownMessage>,
    answer: AnswerShown,
    folds: Vec<StoryFold>,
    facts: Vec<StoryFact>,
    request_id: String,
    around: Vec<(String, String)>,
    newer: String,
    older: String,
}

/// Where the time went.
struct TimePanel {
    total: String,
    bar: Markup,
    /// Class of the colour, label, value.
    key: Vec<(&'static str, &'static str, String)>,
    /// What the model server did in that time.
    server: Vec<(&'static str, String)>,
}

struct ShownMessage {
    role: String,
    text: BoundedText,
    reasoning: BoundedText,
    calls: Vec<BoundedText>,
    images: Vec<SaidImage>,
}

/// What stands where the answer is.
#[derive(Default)]
struct AnswerShown {
    text: BoundedText,
    /// Why there is none, or no more.
    why: String,
    /// What the sender can do about it.
    remedy: &'static str,
    /// The kind of the note with the reason.
    kind: &'static str,
    is_running: bool,
}

struct StoryFold {
    title: &'static str,
    small: String,
    text: BoundedText,
    /// The name of its download below the page.
    file: &'static str,
    is_open: bool,
}

struct StoryFact {
    label: &'static str,
    value: String,
    href: Option<String>,
    /// A second line.
    more: String,
}

async fn story_page(visit: AdminVisit, id: web::Path<String>, store: web::Data<Store>) -> PageResult {
    let story = story_for_admin(&store, visit.actor(), &id).await?;
    show(&visit, RecordReader::Admin, story)
}

async fn own_story_page(visit: Member, id: web::Path<String>, store: web::Data<Store>) -> PageResult {
    let story = story_for_owner(&store, visit.who().user_id(), &id).await?;
    show(&visit, RecordReader::Own(visit.who().user()), story)
}

fn show(visit: &Visit, reader: RecordReader<'_>, story: Story) -> PageResult {
    // An act has no more to tell than the list does.
    if story.item.kind == Kind::Act.shown() {
        return Err(Fault::Missing);
    }
    let times = visit.times()?;
    let (item, path) = (&story.item, reader.path());
    let is_refusal = item.kind == Kind::Refusal.shown();
    let request_id = item.request_id.clone().unwrap_or_default();
    let name = sender(item);
    let (omitted, shown) = shown_messages(&story, &name, reader.is_own());
    let nav = if reader.is_own() { NavEntry::MyRecord } else { NavEntry::Record };
    let link = |id: &Option<String>| id.as_ref().map(|id| format!("{path}/{id}")).unwrap_or_default();
    visit.page(&StoryPage {
        frame: visit.frame(plain(&title(item, &name, reader.is_own())), nav),
        is_own: reader.is_own(),
        path,
        here: format!("{path}/{request_id}"),
        outcome: outcome(item.outcome.as_deref()),
        when: times.in_full(at(item)),
        with: with(&story),
        looked: (!reader.is_own() && !is_refusal).then(|| sentences::looked(&name)),
        time: count(item.total_ms).filter(|_| !is_refusal).map(|total| time_panel(item, total)),
        omitted,
        messages: shown,
        answer: answer(&story, reader.is_own()),
        folds: folds(&story),
        facts: facts(&story, reader.is_own()),
        request_id,
        around: around(item, &name, reader, &times),
        newer: link(&story.newer),
        older: link(&story.older),
    })
}

fn title(item: &AuditItem, name: &str, is_own: bool) -> String {
    let who = if is_own { "You" } else { name };
    match (&item.model_asked, item.kind == Kind::Refusal.shown()) {
        (Some(model), _) => format!("{who} asked {model}"),
        (None, true) if is_own => "You were refused".to_owned(),
        (None, true) => format!("{who} was refused"),
        (None, false) => format!("A request of {name}"),
    }
}

fn with(story: &Story) -> String {
    let credential = match (story.item.credential.as_deref(), &story.item.token) {
        (_, Some(token)) => format!("with the access token {token}"),
        (Some("password"), None) => "with a password".to_owned(),
        (Some("jwt"), None) => "signed in by a client (JWT)".to_owned(),
        (Some(other), None) => format!("with {other}"),
        (None, None) => String::new(),
    };
    let from = if story.client_address.is_empty() { String::new() } else { format!("from {}", story.client_address) };
    [credential, from].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn in_words(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

fn time_panel(item: &AuditItem, total: u64) -> TimePanel {
    let phases: Phases = phases(item, total);
    let part = |label: &'static str, millis: Option<i64>| count(millis).map(|millis| (label, in_words(millis)));
    let mut key = vec![("wait", "Waited in the queue", in_words(phases.waited))];
    if item.first_token_ms.is_some() {
        key.push(("load", "Until the first token", in_words(phases.read)));
        key.push(("answer", "Answered", in_words(phases.answered)));
    } else {
        key.push(("load", "Without an answer", in_words(phases.read)));
    }
    let server = [
        part("On the model server", item.gpu_ms),
        part("Model loaded", item.load_ms.filter(|load| *load > 0)),
        part("Prompt read", item.prompt_ms),
        part("Answer written", item.answer_ms),
    ];
    TimePanel {
        total: in_words(total),
        bar: phase_bar_large(phases),
        key,
        server: server.into_iter().flatten().collect(),
    }
}

/// Returns the last messages, as far as a page can bear them, and how many before them are left out.
fn shown_messages(story: &Story, name: &str, is_own: bool) -> (usize, Vec<ShownMessage>) {
    let all = messages(&story.request);
    let count = all.len();
    let mut room = MESSAGES_BYTES_MAX;
    let mut shown = Vec::new();
    for message in all.into_iter().rev().take(MESSAGES_MAX) {
        if room == 0 {
            break;
        }
        let mut fit = |text: &str| {
            let (fitted, used) = bounded(text, room.min(TEXT_BYTES_MAX));
            // What is cut by the room that is left takes all of it.
            room = if fitted.more > 0 && room < TEXT_BYTES_MAX { 0 } else { room - used };
            fitted
        };
        let SaidMessage { role, text, reasoning, calls, images } = message;
        let text = fit(&text);
        shown.push(ShownMessage {
            text,
            reasoning: fit(&reasoning),
            calls: calls.iter().map(|call| fit(call)).collect(),
            role: match role.as_str() {
                "user" if is_own => "you".to_owned(),
                "user" => name.split('@').next().unwrap_or(name).to_owned(),
                _ => role,
            },
            images,
        });
    }
    shown.reverse();
    (count - shown.len(), shown)
}

fn answer(story: &Story, is_own: bool) -> AnswerShown {
    let item = &story.item;
    let shown = AnswerShown { text: beginning(&story.answer, TEXT_BYTES_MAX), ..AnswerShown::default() };
    if is_running(item) {
        return AnswerShown { is_running: true, ..shown };
    }
    let ended = item.outcome.as_deref().and_then(Outcome::parse);
    let (fallback, kind) = match ended {
        Some(Outcome::Completed) => {
            let why = if !shown.text.is_empty() {
                ""
            } else if !story.tool_calls.is_empty() {
                "No text: the model called a function, see below."
            } else if item.erased == Some("retention") {
                ERASED_FOR_AGE
            } else if story.request.is_empty() {
                "Prompt and answer are erased."
            } else {
                "No text."
            };
            return AnswerShown { why: why.to_owned(), ..shown };
        }
        Some(Outcome::Failed) => ("It failed.", "bad"),
        Some(Outcome::Refused) => ("It was refused.", "warn"),
        Some(Outcome::Abandoned) => ("The client left before the end.", ""),
        Some(Outcome::Interrupted) => ("The gateway stopped.", ""),
        None => ("", ""),
    };
    let code = item.reason.as_deref();
    let mut why = code.map_or(fallback.to_owned(), |code| sentence_of(&reason(code)));
    if item.erased == Some("retention") {
        why = format!("{why} {ERASED_FOR_AGE}");
    }
    AnswerShown { why, kind, remedy: code.filter(|_| is_own).and_then(remedy).unwrap_or_default(), ..shown }
}

const ERASED_FOR_AGE: &str = "Prompt and answer were erased for their age (retention).";

fn sentence_of(word: &Word) -> String {
    if word.is_code { format!("{}.", word.text) } else { format!("{}.", capitalised(&word.text)) }
}

fn folds(story: &Story) -> Vec<StoryFold> {
    let calls = calls(&story.tool_calls);
    let characters = |text: &str| counted(text.chars().count() as u64, "character", "characters");
    let fold = |title, small, text: &str, bytes_max, file, is_open| StoryFold {
        title,
        small,
        text: beginning(text, bytes_max),
        file,
        is_open,
    };
    let notes = match story.notes.lines().count() {
        1 => story.notes.clone(),
        lines => commas(lines as u64),
    };
    let has_calls = story.answer.is_empty() && !calls.is_empty();
    let all = [
        fold("Reasoning", characters(&story.reasoning), &story.reasoning, TEXT_BYTES_MAX, "reasoning.txt", false),
        fold("Tool calls", commas(calls.len() as u64), &calls.join("\n"), TEXT_BYTES_MAX, "calls.json", has_calls),
        fold("Notes", notes, &story.notes, TEXT_BYTES_MAX, "", false),
        fold(
            "Exactly what was forwarded",
            format!("JSON, {}", bytes(story.request.len() as u64)),
            &story.request,
            FORWARDED_BYTES_MAX,
            "forwarded.json",
            false,
        ),
    ];
    all.into_iter().filter(|fold| !fold.text.is_empty()).collect()
}

fn facts(story: &Story, is_own: bool) -> Vec<StoryFact> {
    let item = &story.item;
    let mut facts = Vec::new();
    let mut fact = |label: &'static str, value: Option<String>, href: Option<String>, more: String| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push(StoryFact { label, value, href, more });
        }
    };
    let tokens = |number: Option<i64>| count(number).map(|number| counted(number, "token", "tokens"));
    if !is_own {
        let page = item.user_id.as_ref().map(|id| format!("/admin/users/{id}"));
        fact("Person", item.user.clone(), page, String::new());
    }
    fact("Access token", item.token.clone(), None, String::new());
    let page = item.via_id.as_ref().filter(|_| !is_own).map(|id| format!("/admin/users/{id}"));
    fact("On behalf, by the access token of", item.via.clone(), page, String::new());
    fact(
        "Credential",
        item.credential.as_deref().map(|one| states::credential(one).text.into_owned()),
        None,
        String::new(),
    );
    fact("Address", Some(story.client_address.clone()), None, String::new());
    fact("Route", item.api.clone(), None, String::new());
    fact("Model asked", item.model_asked.clone(), None, String::new());
    fact("Model served", item.model_served.clone(), None, String::new());
    fact("Model server", item.host.clone(), None, String::new());
    fact("Prompt", tokens(item.prompt_tokens), None, String::new());
    fact("Answer", tokens(item.answer_tokens), None, rate(item));
    fact("Status", item.status.map(|status| status.to_string()), None, String::new());
    fact(
        "Times",
        item.repeat.and_then(|repeat| count(Some(repeat))).filter(|n| *n > 1).map(commas),
        None,
        String::new(),
    );
    fact("Row", count(Some(item.log_id)).map(commas), None, String::new());
    facts
}

/// Returns how fast the answer was written.
fn rate(item: &AuditItem) -> String {
    let spent =
        count(item.answer_ms).or_else(|| Some(count(item.total_ms)?.saturating_sub(count(item.first_token_ms)?)));
    match (count(item.answer_tokens), spent) {
        (Some(tokens), Some(millis)) if tokens > 0 && millis > 0 => {
            let tenths = u128::from(tokens) * 10_000 / u128::from(millis);
            format!("{}.{} a second", tenths / 10, tenths % 10)
        }
        _ => String::new(),
    }
}

/// Returns links to what happened beside it, with their words.
fn around(item: &AuditItem, name: &str, reader: RecordReader<'_>, times: &PageTimes) -> Vec<(String, String)> {
    let (when, path) = (at(item), reader.path());
    let day = times.zone().day_of(when);
    let during = |from: Timestamp, to: Timestamp| {
        RecordAddress::default().with("from", &from.rfc3339()).with("to", &to.rfc3339())
    };
    let said_day = if times.are_on_one_day(when, times.now()) { "today" } else { "that day" };
    let whole_day = during(day.begins, day.ends);
    let mut links = Vec::new();
    if reader.is_own() {
        links.push((whole_day.link(path), format!("What you sent {said_day}")));
    } else if let Some(id) = &item.user_id {
        links.push((whole_day.with("user_id", id).link(path), format!("What {name} sent {said_day}")));
    }
    let (from, to) = (when.plus_seconds(-AROUND_SECONDS), when.plus_seconds(AROUND_SECONDS));
    let clock = |at: Timestamp| times.zone().local(at).minute();
    links.push((during(from, to).link(path), format!("Everything from {} to {}", clock(from), clock(to))));
    if let Some(model) = &item.model_asked {
        links.push((whole_day.with("model", model).link(path), format!("Everything to {model} {said_day}")));
    }
    links
}

#[cfg(test)]
mod tests;
