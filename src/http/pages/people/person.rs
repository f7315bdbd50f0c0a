//! A person: what every page about them begins with, and the first page, at a glance.

use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::gateway::Gateway;
use crate::http::pages::charts::{Bar, BarChart, BarUnit, bars};
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::{Moment, PageTimes, percent};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::markup::Markup;
use crate::http::pages::people::left::{LeftLine, left_lines};
use crate::http::pages::people::shown::{Badge, badges, gpu_time, whole};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::record_page::{RecordLook, RecordTable};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::states;
use crate::http::record_items::{PageQuery, audit_page};
use crate::model::people::{User, UserStatus};
use crate::rules::accounts::lists::UserFacts;
use crate::rules::accounts::{Accounts, UserEdit};
use crate::rules::export::filter::Filter;
use crate::rules::usage::{Question, lines};
use crate::store::Store;

page_routes! {
    "GET" "/admin/users/{id}" Admin glance_page;
    "POST" "/admin/users/{id}/note" Admin change_note;
    "GET" "/admin/users/{id}/record" Admin to_record;
    "GET" "/admin/users/{id}/usage" Admin to_usage;
}

/// The pages about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Glance,
    Limits,
    Tokens,
    History,
}

/// What the pages about a person begin with.
pub struct PersonHead {
    pub id: String,
    pub name: String,
    pub status: UserStatus,
    /// Word, colour and icon.
    pub state: (&'static str, &'static str, &'static str),
    pub badges: Vec<Badge>,
    /// When the account was made.
    pub since: Moment,
    /// `, let in by maria@example.org`, or that they asked.
    pub how: String,
    pub tabs: Vec<(String, String, bool)>,
}

impl PersonHead {
    pub fn of(user: &User, facts: &UserFacts, times: &PageTimes, tab: Tab) -> PersonHead {
        let home = format!("/admin/users/{}", user.public_id);
        let link = |path: &str, label: String, current: bool| (format!("{home}{path}"), label, current);
        let tokens = match facts.open_tokens {
            0 => "Access tokens".to_owned(),
            count => format!("Access tokens {count}"),
        };
        PersonHead {
            id: user.public_id.clone(),
            name: user.name().to_owned(),
            status: user.status,
            state: match user.status {
                UserStatus::Active => ("active", "ok", "check"),
                UserStatus::Pending => ("waits for approval", "warn", "hourglass"),
                UserStatus::Disabled | UserStatus::Deleted => (states::status(user.status), "bad", "ban"),
            },
            badges: badges(user).into_iter().filter(|(_, kind)| *kind != "bad").collect(),
            since: times.date_in_full(Timestamp(user.approved_at_us.unwrap_or(user.created_at_us))),
            how: match (user.status, &facts.approved_by) {
                (UserStatus::Pending, _) => String::new(),
                (_, Some(name)) => format!(", let in by {}", plain(name)),
                (_, None) if user.approved_at_us.is_some() => ", let in on the host".to_owned(),
                (_, None) => ", the first admin".to_owned(),
            },
            tabs: vec![
                link("", "At a glance".to_owned(), tab == Tab::Glance),
                link("/limits", "Limits".to_owned(), tab == Tab::Limits),
                link("/tokens", tokens, tab == Tab::Tokens),
                link("/record", "Record".to_owned(), false),
                link("/usage", "Usage".to_owned(), false),
                link("/history", "History".to_owned(), tab == Tab::History),
            ],
        }
    }

    /// Looks a person up, with what is known of them.
    pub async fn find(
        id: &str,
        accounts: &Accounts,
        times: &PageTimes,
        tab: Tab,
    ) -> Result<(std::sync::Arc<User>, PersonHead), Error> {
        let user = accounts.by_id(id)?;
        let facts = accounts.facts(&user).await?;
        let head = PersonHead::of(&user, &facts, times, tab);
        Ok((user, head))
    }

    pub fn is_active(&self) -> bool {
        self.status == UserStatus::Active
    }

    pub fn is_pending(&self) -> bool {
        self.status == UserStatus::Pending
    }
}

#[derive(Template)]
#[template(path = "people/glance.html")]
struct GlancePage {
    frame: Frame,
    head: PersonHead,
    chart: Markup,
    /// `8 h 00 min · 14 % of everybody's`
    chart_sum: String,
    requests: RecordTable,
    left: Vec<LeftLine>,
    role: &'static str,
    class: &'static str,
    share: String,
    models: String,
    refused: u64,
    last: Option<Moment>,
    runs: bool,
    note: String,
    is_note_edited: bool,
    note_problem: Option<FormProblem>,
}

/// Days of the chart.
const DAYS: u16 = 14;

/// Requests that are shown, the latest ones.
const REQUESTS: usize = 6;

async fn glance_page(
    visit: AdminVisit,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    store: web::Data<Store>,
    gateway: web::Data<Gateway>,
) -> PageResult {
    let is_note_edited = visit.query("edit").as_deref() == Some("note");
    let page = GlancePage { is_note_edited, ..glance(&visit, &id, &accounts, &store, &gateway).await? };
    visit.page(&page)
}

async fn glance(
    visit: &AdminVisit,
    id: &str,
    accounts: &Accounts,
    store: &Store,
    gateway: &Gateway,
) -> Result<GlancePage, Fault> {
    let times = visit.times()?;
    let user = accounts.by_id(id)?;
    let facts = accounts.facts(&user).await?;
    let (chart, chart_sum) = chart(&user, store, &times).await?;
    let models = match user.models.words() {
        None => "all".to_owned(),
        Some(names) => plain(&names.join(", ")).into_owned(),
    };
    Ok(GlancePage {
        frame: visit.frame(plain(user.name()), NavEntry::People),
        head: PersonHead::of(&user, &facts, &times, Tab::Glance),
        chart,
        chart_sum,
        requests: latest(&user, store, &times).await?,
        left: left_lines(&gateway.limits().account_of(&user)),
        role: states::role(user.role),
        class: states::class(user.class),
        share: if user.weight == 1 { "1, as everybody".to_owned() } else { user.weight.to_string() },
        models,
        refused: refused(&user, store, &times).await?,
        runs: gateway.running().has(user.id),
        last: facts.last_request_at.map(|at| times.since(at)),
        note: user.note.clone().unwrap_or_default(),
        is_note_edited: false,
        note_problem: None,
    })
}

/// Returns the GPU time of the last days, and their sum in words.
async fn chart(user: &User, store: &Store, times: &PageTimes) -> Result<(Markup, String), Error> {
    let zone = times.zone();
    let first = zone.day_before(times.now(), DAYS - 1).begins.rfc3339();
    let asked =
        |user_id| Question { user_id, from: Some(first.clone()), by: Some("day".into()), ..Question::default() };
    let own = lines(store, zone, asked(Some(user.public_id.clone()))).await?;
    let of_all: i64 = lines(store, zone, asked(None)).await?.iter().map(|day| day.gpu_ms).sum();
    let day = |back: u16| {
        let day = zone.day_before(times.now(), back);
        let date = zone.date_of(day.begins);
        let gpu_ms = own.iter().find(|item| item.key == date).map_or(0, |item| item.gpu_ms);
        let seconds = whole(gpu_ms) as f64 / 1000.0;
        let name = times.date(day.begins).text;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("user_id", &user.public_id);
        query.append_pair("from", &day.begins.rfc3339()).append_pair("to", &day.ends.rfc3339());
        Bar {
            value: seconds,
            highlighted: if back == 0 { seconds } else { 0.0 },
            title: format!("{name}: {}", gpu_time(gpu_ms)),
            label: match back {
                0 => "today".to_owned(),
                _ if back + 1 == DAYS || back == DAYS / 2 => name,
                _ => String::new(),
            },
            href: Some(format!("/admin/record?{}", query.finish())),
        }
    };
    let days: Vec<Bar> = (0..DAYS).rev().map(day).collect();
    let sum: i64 = own.iter().map(|item| item.gpu_ms).sum();
    let said = match percent(whole(sum), whole(of_all)) {
        Some(share) if sum > 0 => format!("{} · {share} of everybody's", gpu_time(sum)),
        _ => String::new(),
    };
    let drawn = BarChart { name: "GPU time per day", bars: &days, unit: BarUnit::Seconds, has_axis: false };
    Ok((if sum > 0 { bars(&drawn) } else { Markup::default() }, said))
}

async fn latest(user: &User, store: &Store, times: &PageTimes) -> Result<RecordTable, Error> {
    let filter = Filter { user_id: Some(user.public_id.clone()), kind: Some("request".into()), ..Filter::default() };
    let place = PageQuery { limit: Some(REQUESTS), ..PageQuery::default() };
    let mut page = audit_page(store, filter.wanted(store).await?, place).await?;
    page.items.truncate(REQUESTS);
    Ok(RecordTable::of(&page.items, times, RecordLook::LatestOfPerson))
}

/// Returns how many requests were refused in the last seven days.
async fn refused(user: &User, store: &Store, times: &PageTimes) -> Result<u64, Error> {
    let from = times.now().plus_seconds(-7 * 24 * 3600).rfc3339();
    let asked = Question { user_id: Some(user.public_id.clone()), from: Some(from), ..Question::default() };
    Ok(lines(store, times.zone(), asked).await?.iter().map(|item| whole(item.refused)).sum())
}

async fn change_note(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    store: web::Data<Store>,
    gateway: web::Data<Gateway>,
) -> PageResult {
    accounts.by_id(&id)?;
    let note = form.fields.text("note").to_owned();
    let edit = UserEdit { note: Some(Some(note.clone())), ..UserEdit::default() };
    let Err(error) = accounts.edit(form.visit.actor(), &id, edit).await else {
        return form.visit.done(format!("/admin/users/{id}"), "The note is saved.");
    };
    let problem = FormProblem::of(error)?;
    let mut page = glance(&form.visit, &id, &accounts, &store, &gateway).await?;
    page.frame.title = format!("Problem: {}", page.frame.title);
    let status = problem.status();
    form.visit.page_as(status, &GlancePage { note, is_note_edited: true, note_problem: Some(problem), ..page })
}

async fn to_record(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    visit.to(format!("/admin/record?user_id={}", accounts.by_id(&id)?.public_id))
}

async fn to_usage(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    visit.to(format!("/admin/usage?user_id={}", accounts.by_id(&id)?.public_id))
}
