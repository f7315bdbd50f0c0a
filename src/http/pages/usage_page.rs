//! Usage: who used how much when, as bars, as a table, as CSV, and as the story of the GPU. Of everybody for admins, one's own
//! for each person.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::markup::Markup;
use crate::http::pages::route::page_routes;
use crate::http::pages::usage_page::asked::{
    SOME_DAYS, UsageAsked, UsageBy, UsageMeasure, UsageRange, UsageTime, typed_time,
};
use crate::http::pages::usage_page::bars::{UsageInTime, chart_title, usage_bars};
use crate::http::pages::usage_page::running::add_running;
use crate::http::pages::usage_page::story::{GpuStory, StoryPaths, StoryQuestion, gpu_story};
use crate::http::pages::usage_page::table::{UsageTable, usage_table};
use crate::http::pages::visit::{AdminVisit, Member};
use crate::http::queue;
use crate::rules::usage::timeline::{Span, timeline};
use crate::rules::usage::{Question, UsageItem, as_csv, lines};
use crate::store::Store;

pub mod asked;
pub mod bars;
pub mod running;
pub mod story;
pub mod table;

page_routes! {
    "GET" "/admin/usage" Admin usage_of_everybody;
    "GET" "/admin/usage.csv" Admin csv_of_everybody;
    "GET" "/me/usage" Member usage_of_mine;
    "GET" "/me/usage.csv" Member csv_of_mine;
}

const ADMIN: StoryPaths<'static> = StoryPaths { page: "/admin/usage", record: "/admin/record" };
const OWN: StoryPaths<'static> = StoryPaths { page: "/me/usage", record: "/me/record" };

type Links = Vec<(String, &'static str, bool)>;

#[derive(Template)]
#[template(path = "usage/usage.html")]
struct UsageOverviewPage {
    frame: Frame,
    is_own: bool,
    path: &'static str,
    times: Links,
    measures: Links,
    groups: Links,
    /// The form for another time, with what was typed.
    other: Option<OtherTime>,
    problems: Vec<(&'static str, String)>,
    used: Option<UsageShown>,
    story: GpuStory,
    story_first: bool,
    story_href: String,
    zone: String,
}

struct OtherTime {
    /// Name, label and what was typed.
    fields: [(&'static str, &'static str, String); 2],
    /// Further fields of the address.
    kept: Vec<(&'static str, String)>,
}

struct UsageShown {
    title: String,
    chart: Markup,
    /// What is chosen, and the page without the choice.
    chosen: Option<(String, String)>,
    table_title: String,
    by: UsageBy,
    table: UsageTable,
    csv: String,
    csv_for_excel: String,
}

async fn usage_of_everybody(visit: AdminVisit, store: web::Data<Store>, gateway: web::Data<Gateway>) -> PageResult {
    let asked = UsageAsked::parse(visit.request().query_string(), UsageBy::User);
    show(&visit, &store, &gateway, asked, None).await
}

async fn usage_of_mine(visit: Member, store: web::Data<Store>, gateway: web::Data<Gateway>) -> PageResult {
    let asked = of_oneself(&visit);
    show(&visit, &store, &gateway, asked, Some(visit.who().user().public_id.clone())).await
}

/// Returns what is asked about one's own usage. People are no rows there.
fn of_oneself(visit: &Member) -> UsageAsked {
    let asked = UsageAsked::parse(visit.request().query_string(), UsageBy::Token);
    let by = if asked.by == UsageBy::User { UsageBy::Token } else { asked.by };
    UsageAsked { by, user_id: None, ..asked }
}

/// Shows usage; `own` is the person whose own it is.
async fn show(visit: &Member, store: &Store, gateway: &Gateway, asked: UsageAsked, own: Option<String>) -> PageResult {
    let times = visit.times()?;
    let is_own = own.is_some();
    let paths = if is_own { OWN } else { ADMIN };
    let (used, problems) = match asked.range(&times) {
        Ok(range) => (Some(used(store, &asked, paths, &range, own.clone(), &times).await?), Vec::new()),
        Err(problem) => (None, vec![problem]),
    };
    let story = story(visit, store, gateway, &asked, own, &times).await?;
    let with_time = |time: UsageTime| UsageAsked { time, ..asked.clone() }.link(paths.page);
    let [week, month] = SOME_DAYS.map(|days| (with_time(UsageTime::Days(days)), asked.time == UsageTime::Days(days)));
    let (other, is_other) = other_time(&asked, &times);
    let measure = |measure: UsageMeasure| {
        (UsageAsked { measure, ..asked.clone() }.link(paths.page), measure.label(), measure == asked.measure)
    };
    let groups = [UsageBy::User, UsageBy::Token, UsageBy::Model, UsageBy::Day].into_iter();
    let group = |by: UsageBy| {
        let link = UsageAsked { by, is_long: false, ..asked.clone() }.link(paths.page);
        (link, by.label(), by == asked.by)
    };
    let nav = if is_own { NavEntry::MyUsage } else { NavEntry::Usage };
    let page = UsageOverviewPage {
        frame: visit.frame(if is_own { "My usage" } else { "Usage" }, nav),
        is_own,
        path: paths.page,
        times: vec![
            (with_time(UsageTime::Today), "Today", asked.time == UsageTime::Today),
            (week.0, "7 days", week.1),
            (month.0, "30 days", month.1),
            (with_time(other), "Other …", is_other),
        ],
        measures: UsageMeasure::ALL.into_iter().map(measure).collect(),
        groups: groups.filter(|by| !is_own || *by != UsageBy::User).map(group).collect(),
        other: is_other.then(|| form_of_time(&asked)),
        problems,
        used,
        story_first: asked.is_about_the_story(),
        story_href: UsageAsked { span: Some(Span::Hour), until: None, at: None, ..asked.clone() }.link(paths.page),
        story,
        zone: times.zone().name().to_owned(),
    };
    let status = if page.problems.is_empty() {
        actix_web::http::StatusCode::OK
    } else {
        actix_web::http::StatusCode::BAD_REQUEST
    };
    visit.page_as(status, &page)
}

/// Returns what is wrong with a field of the time: for the template.
fn about_time<'a>(problems: &'a [(&'static str, String)], field: &str) -> &'a str {
    problems.iter().find(|(name, _)| *name == field).map_or("", |(_, problem)| problem)
}

/// Returns the time of the choice "Other …", filled in with the time that is shown, and whether it is chosen.
fn other_time(asked: &UsageAsked, times: &PageTimes) -> (UsageTime, bool) {
    if matches!(asked.time, UsageTime::Other { .. }) {
        return (asked.time.clone(), true);
    }
    let date = |at: Timestamp| times.zone().date_of(at);
    let (from, to) = asked.range(times).map(|range| (date(range.from), date(range.to))).unwrap_or_default();
    (UsageTime::Other { from, to }, false)
}

fn form_of_time(asked: &UsageAsked) -> OtherTime {
    let (from, to) = match &asked.time {
        UsageTime::Other { from, to } => (from.clone(), to.clone()),
        _ => Default::default(),
    };
    let kept = asked.fields().into_iter().filter(|(name, _)| !["from", "to"].contains(name)).collect();
    OtherTime { fields: [("from", "From", from), ("to", "To", to)], kept }
}

async fn used(
    store: &Store,
    asked: &UsageAsked,
    paths: StoryPaths<'_>,
    range: &UsageRange,
    own: Option<String>,
    times: &PageTimes,
) -> Result<UsageShown, Fault> {
    let tell = |question: Question| lines(store, times.zone(), question);
    let in_time = |user_id: Option<String>, token_id: Option<String>| Question {
        user_id,
        token_id,
        from: Some(range.from.rfc3339()),
        to: Some(range.to.rfc3339()),
        by: Some(if range.is_hourly { "hour" } else { "day" }.to_owned()),
        sort: None,
    };
    let question = question(asked, range, &own);
    // Each reads the whole time; side by side they take half as long.
    let (items, all) = tokio::try_join!(tell(question), tell(in_time(own.clone(), None)))?;
    let chosen = match name_of_choice(store, asked, &items).await? {
        None => None,
        Some(name) => {
            let user_id = own.clone().or_else(|| asked.user_id.clone());
            Some((name, tell(in_time(user_id, asked.token_id.clone())).await?))
        }
    };
    let chart = usage_bars(
        asked,
        (paths.page, paths.record),
        range,
        &UsageInTime { all: &all, chosen: chosen.as_ref().map(|(name, items)| (name.as_str(), items.as_slice())) },
        times,
    );
    let away = match &asked.token_id {
        Some(_) => UsageAsked { token_id: None, ..asked.clone() },
        None => UsageAsked { user_id: None, ..asked.clone() },
    };
    let is_row = match asked.by {
        UsageBy::User => asked.token_id.is_none(),
        UsageBy::Token => asked.token_id.is_some() || asked.user_id.is_none(),
        UsageBy::Model | UsageBy::Day => false,
    };
    let table_title = match &chosen {
        Some((name, _)) if !is_row => format!("What {name} used"),
        _ if own.is_some() => "What you used".to_owned(),
        _ if matches!(asked.by, UsageBy::Model | UsageBy::Day) => "What was used".to_owned(),
        _ => "Who used it".to_owned(),
    };
    let csv_path = format!("{}.csv", paths.page);
    let csv = UsageAsked { span: None, until: None, at: None, is_long: false, ..asked.clone() }.link(&csv_path);
    Ok(UsageShown {
        title: chart_title(asked.measure, range.is_hourly),
        chart,
        chosen: chosen.map(|(name, _)| (name, away.link(paths.page))),
        table_title,
        by: asked.by,
        table: usage_table(asked, paths.page, &items, &store.people(), times),
        csv_for_excel: format!("{csv}&bom=true"),
        csv,
    })
}

/// Returns the question of the table and of the CSV.
fn question(asked: &UsageAsked, range: &UsageRange, own: &Option<String>) -> Question {
    let question = asked.question(range);
    match own {
        Some(_) => Question { user_id: own.clone(), ..question },
        None => question,
    }
}

/// Returns the name of the person or access token that is chosen.
async fn name_of_choice(store: &Store, asked: &UsageAsked, items: &[UsageItem]) -> Result<Option<String>, Fault> {
    let people = store.people();
    if let Some(id) = &asked.token_id {
        let row = items.iter().find(|item| item.id.as_ref() == Some(id)).map(|item| item.key.clone());
        let known = people.token(id).map(|token| token.name.clone());
        return Ok(Some(row.or(known).unwrap_or_else(|| "an access token that has ended".to_owned())));
    }
    let Some(id) = &asked.user_id else { return Ok(None) };
    let key = store.user_key(id.clone()).await?;
    Ok(Some(people.name_of(key)))
}

async fn story(
    visit: &Member,
    store: &Store,
    gateway: &Gateway,
    asked: &UsageAsked,
    own: Option<String>,
    times: &PageTimes,
) -> Result<GpuStory, Fault> {
    let span = asked.span.unwrap_or(Span::Hour);
    let until = until(asked, span, times);
    let mut told = timeline(store, span, until, own.clone()).await?;
    if Timestamp::parse(&told.to).is_some_and(|to| to >= times.now()) {
        let mut queue = queue::view(Some(visit.who()), gateway, store).items;
        queue.retain(|item| own.is_none() || item.user_id == own);
        add_running(&mut told, &queue, times.now());
    }
    let is_missing = |id: &String| !told.people.iter().any(|person| person.id.as_ref() == Some(id));
    let of_chosen = match asked.user_id.clone().filter(is_missing) {
        Some(id) => Some(timeline(store, span, until, Some(id)).await?),
        None => None,
    };
    let slots = gateway.queue().upstreams().iter().map(|upstream| upstream.slots).sum();
    let paths = if own.is_some() { OWN } else { ADMIN };
    let question = StoryQuestion { asked, span, paths, slots, is_own: own.is_some() };
    Ok(gpu_story(question, &told, of_chosen.as_ref(), times))
}

/// Returns when the story ends: at a time that was asked for, or so that a typed time is in its middle; `None`: now.
fn until(asked: &UsageAsked, span: Span, times: &PageTimes) -> Option<Timestamp> {
    let now = times.now();
    let typed = asked.at.as_deref().and_then(|text| typed_time(text, times));
    let middle = typed.map(|at| at.plus_seconds(span.seconds() / 2));
    let asked_for = middle.or_else(|| asked.until.as_deref().and_then(|text| typed_time(text, times)));
    asked_for.filter(|until| *until < now)
}

async fn csv_of_everybody(visit: AdminVisit, store: web::Data<Store>) -> PageResult {
    let asked = UsageAsked::parse(visit.request().query_string(), UsageBy::User);
    csv(&visit, &store, asked, None).await
}

async fn csv_of_mine(visit: Member, store: web::Data<Store>) -> PageResult {
    let asked = of_oneself(&visit);
    csv(&visit, &store, asked, Some(visit.who().user().public_id.clone())).await
}

/// Returns the lines of the table as a file, all of them.
async fn csv(visit: &Member, store: &Store, asked: UsageAsked, own: Option<String>) -> PageResult {
    let zone = &visit.part::<Config>()?.timezone;
    let range = asked.range(&visit.times()?).map_err(|(field, message)| Error::invalid(field, message))?;
    let items = lines(store, zone, question(&asked, &range, &own)).await?;
    let last = Timestamp(range.to.0 - 1);
    let name = format!("usage-{}-to-{}.csv", zone.date_of(range.from), zone.date_of(last));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(as_csv(&items, visit.query("bom").as_deref() == Some("true"))))
}
