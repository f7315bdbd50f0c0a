//! The list of the record: for admins everybody's, for each person their own.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::dialect::DIALECTS;
use crate::gateway::Gateway;
use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::in_queue::waiting_ids;
use crate::http::pages::live;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::record_page::address::RecordAddress;
use crate::http::pages::record_page::asked::{RecordAsked, RecordReader, asked};
use crate::http::pages::record_page::pulse_panel::{CoveredTime, PulsePanel, panel};
use crate::http::pages::record_page::table::{RecordLook, RecordTable, at, is_running};
use crate::http::pages::record_page::typed_time::{AgoUnit, TypedTime};
use crate::http::pages::route::page_routes;
use crate::http::pages::usage_page::asked::query_of;
use crate::http::pages::visit::{AdminVisit, Member, Visit};
use crate::http::pages::words::{counted, outcome, states};
use crate::http::pulse::pulse_of;
use crate::http::record_items::{AuditPage, PageQuery, audit_page, own_page};
use crate::model::people::Actor;
use crate::model::record::{Kind, Outcome};
use crate::rules::export::filter::Filter;
use crate::store::Store;

page_routes! {
    "GET" "/admin/record" Admin record_page;
    "GET" "/live/record" Admin fresh_part;
    "GET" "/me/record" Member own_record_page;
    "GET" "/live/me/record" Member own_fresh_part;
}

/// Time that the pulse shows when none was asked for.
const PULSE_DEFAULT: TypedTime = TypedTime::Ago { number: 2, unit: AgoUnit::Days };

/// Rows that are counted as new; of more the line says so.
const FRESH_MAX: usize = 100;

/// Names that the field of the person proposes.
const NAMES_MAX: usize = 300;

#[derive(Template)]
#[template(path = "record/list.html")]
struct RecordPage {
    frame: Frame,
    path: &'static str,
    is_own: bool,
    /// The filter as it was read, or as it was typed if it can't be.
    address: RecordAddress,
    problem: Option<FormProblem>,
    chips: Vec<(String, String)>,
    form: FilterForm,
    pulse: Option<PulsePanel>,
    /// What a search found.
    found: String,
    fresh: Option<FreshPart>,
    table: RecordTable,
    empty: &'static str,
    foot: String,
    newest: String,
    older: String,
    /// The form for a report about the time of the filter.
    incident: String,
    /// The filter with times in place of words, for exports.
    export: Vec<(&'static str, String)>,
}

/// The choices of the filter.
struct FilterForm {
    is_open: bool,
    /// The name of the person; of a deleted one, the id.
    person: String,
    from: String,
    to: String,
    people: Vec<String>,
    /// The access tokens of the person who is chosen: id, name, whether it is chosen.
    tokens: Vec<(String, String, bool)>,
    outcomes: Vec<(&'static str, String, bool)>,
    kinds: Vec<(&'static str, &'static str, bool)>,
    models: Vec<String>,
    routes: Vec<&'static str>,
}

/// The line with the number of rows that came after the list was made.
#[derive(Template)]
#[template(path = "record/fresh.html")]
struct FreshPart {
    live: String,
    href: String,
    count: usize,
    has_more: bool,
}

// The addresses in it are escaped by its template.
impl HtmlSafe for FreshPart {}

async fn record_page(visit: AdminVisit, store: web::Data<Store>) -> PageResult {
    list(&visit, visit.actor(), RecordReader::Admin, &store).await
}

async fn own_record_page(visit: Member, store: web::Data<Store>) -> PageResult {
    list(&visit, visit.actor(), RecordReader::Own(visit.who().user()), &store).await
}

async fn list(visit: &Visit, by: Actor, reader: RecordReader<'_>, store: &Store) -> PageResult {
    let times = visit.times()?;
    let query = visit.request().query_string();
    let typed = RecordAddress::parse(query);
    let asked = match asked(store, reader, &typed, &times).await? {
        Ok(asked) => asked,
        Err(problem) => return refused(visit, reader, store, typed, problem, &times),
    };
    if !asked.address.is_of(query) {
        // The address of the page is the one to be passed on: with ids and times that mean the same for everybody.
        return visit.to(asked.address.link(reader.path()));
    }
    let config = visit.part::<Config>()?;
    let place = PageQuery { cursor: asked.address.cursor(), ..PageQuery::default() };
    let is_search = asked.wanted.text.is_some();
    let subject = asked.wanted.user_id;
    let wanted = asked.wanted.clone();
    let page = match reader {
        RecordReader::Admin => audit_page(store, wanted, place).await?,
        RecordReader::Own(_) => own_page(store, wanted, place).await?,
    };
    if is_search && !reader.is_own() {
        store.note_search(by, subject, page.items.len()).await?;
    }
    let pulse = if is_search { None } else { pulse(store, config, reader, &asked, &page, &times).await? };
    visit.page(&shown(visit, reader, store, asked, &page, pulse, &times))
}

fn shown(
    visit: &Visit,
    reader: RecordReader<'_>,
    store: &Store,
    asked: RecordAsked,
    page: &AuditPage,
    pulse: Option<PulsePanel>,
    times: &PageTimes,
) -> RecordPage {
    let look = if reader.is_own() { RecordLook::Own } else { RecordLook::Everybody };
    let path = reader.path();
    let waiting = visit.part::<Gateway>().map(waiting_ids).unwrap_or_default();
    let table = RecordTable::of(&page.items, times, look).with_waiting(&waiting);
    let address = &asked.address;
    let is_search = asked.wanted.text.is_some();
    let is_live = !is_search && address.cursor().is_none() && asked.to.is_none();
    let fresh = page.newest.filter(|_| is_live).map(|newest| FreshPart::of(path, address, newest, 0));
    let mut form = FilterForm::of(store, reader, address);
    form.from = asked.from.map(|from| from.in_field(times)).unwrap_or_default();
    form.to = asked.to.map(|to| to.in_field(times)).unwrap_or_default();
    form.models = models_of(page);
    RecordPage {
        path,
        is_own: reader.is_own(),
        chips: asked
            .chips
            .iter()
            .map(|(said, fields)| (said.clone(), address.newest().without(fields).link(path)))
            .collect(),
        form,
        pulse,
        found: if is_search { found(page, address, reader, times) } else { String::new() },
        fresh,
        empty: match (address.is_everything(), reader.is_own()) {
            (true, false) => "Nothing recorded yet. The first request shows up here a second after it was sent.",
            (true, true) => "Nothing recorded yet. Your first request shows up here a second after you sent it.",
            (false, _) => "Nothing found for these filters.",
        },
        foot: format!(
            "{}, newest first. Times are {}.",
            counted(u64::try_from(table.len()).unwrap_or(0), "row", "rows"),
            times.zone().name()
        ),
        table,
        newest: if address.cursor().is_some() { address.newest().link(path) } else { String::new() },
        older: page.next.map(|next| address.older(next).link(path)).unwrap_or_default(),
        incident: incident_link(&asked.filter),
        export: export_fields(&asked.filter),
        problem: None,
        frame: frame(visit, reader),
        address: asked.address,
    }
}

/// Returns the page with what is wrong about the filter, and the filter as it was typed.
fn refused(
    visit: &Visit,
    reader: RecordReader<'_>,
    store: &Store,
    typed: RecordAddress,
    problem: FormProblem,
    times: &PageTimes,
) -> PageResult {
    let mut frame = frame(visit, reader);
    frame.title = format!("Problem: {}", frame.title);
    let look = if reader.is_own() { RecordLook::Own } else { RecordLook::Everybody };
    let mut form = FilterForm::of(store, reader, &typed);
    form.is_open = problem.field.as_deref() != Some("text");
    (form.from, form.to) = (typed.text("from").to_owned(), typed.text("to").to_owned());
    let page = RecordPage {
        frame,
        path: reader.path(),
        is_own: reader.is_own(),
        chips: Vec::new(),
        form,
        pulse: None,
        found: String::new(),
        fresh: None,
        table: RecordTable::of(&[], times, look),
        empty: "",
        foot: String::new(),
        newest: String::new(),
        older: String::new(),
        incident: String::new(),
        export: Vec::new(),
        problem: Some(problem),
        address: typed,
    };
    visit.page_as(StatusCode::BAD_REQUEST, &page)
}

fn frame(visit: &Visit, reader: RecordReader<'_>) -> Frame {
    match reader {
        RecordReader::Admin => visit.frame("Record", NavEntry::Record),
        RecordReader::Own(_) => visit.frame("My record", NavEntry::MyRecord),
    }
}

/// Returns what a search found, and up to when it searched.
fn found(page: &AuditPage, address: &RecordAddress, reader: RecordReader<'_>, times: &PageTimes) -> String {
    let count = page.items.len();
    let mut said = match (address.cursor(), page.next) {
        (None, None) => format!("{count} found."),
        (None, Some(_)) => format!("More than {count} found."),
        (Some(_), _) => format!("{count} older ones found."),
    };
    if let Some(at) = page.searched_to.as_ref().and_then(|mark| Timestamp::parse(&mark.at)) {
        said.push_str(&format!(" Searched to {}.", times.second(at).text));
    }
    if !reader.is_own() {
        said.push_str(" This search is on the record.");
    }
    said
}

/// Returns the pulse of what the list shows, unless its time is longer than a pulse may be.
async fn pulse(
    store: &Store,
    config: &Config,
    reader: RecordReader<'_>,
    asked: &RecordAsked,
    page: &AuditPage,
    times: &PageTimes,
) -> Result<Option<PulsePanel>, Error> {
    let mut filter = asked.filter.clone();
    if let RecordReader::Own(user) = reader {
        filter.user_id = Some(user.public_id.clone());
    }
    if asked.from.is_none() {
        let to = asked.to.map_or(times.now(), |to| to.at(times));
        let back = times.now().since(PULSE_DEFAULT.at(times));
        filter.from = Some(to.plus_seconds(-i64::try_from(back.as_secs()).unwrap_or(0)).rfc3339());
    }
    let pulse = match pulse_of(store, config, &filter).await {
        Ok(pulse) => pulse,
        Err(Error::Invalid { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut ended = page.items.iter().filter(|item| !is_running(item)).map(at);
    let newest = ended.next();
    let oldest = ended.next_back().or(newest);
    let covered = CoveredTime {
        from: oldest.filter(|_| page.next.is_some()),
        to: newest.filter(|_| asked.address.cursor().is_some()),
    };
    Ok(panel(&pulse, times, reader.path(), &asked.address, covered))
}

/// Returns the models of the rows, which the form proposes.
fn models_of(page: &AuditPage) -> Vec<String> {
    let mut models: Vec<String> = page.items.iter().filter_map(|item| item.model_asked.clone()).collect();
    models.sort_unstable();
    models.dedup();
    models
}

/// Returns the form for a report about the time of a filter.
fn incident_link(filter: &Filter) -> String {
    let times = [("from", &filter.from), ("to", &filter.to)];
    let given = times.iter().filter_map(|(name, time)| Some((*name, time.as_deref()?)));
    format!("/admin/incident?{}", query_of(given)).trim_end_matches('?').to_owned()
}

/// Returns the fields of the form that begins an export of the same rows.
fn export_fields(filter: &Filter) -> Vec<(&'static str, String)> {
    let fields = [
        ("text", &filter.text),
        ("user_id", &filter.user_id),
        ("token_id", &filter.token_id),
        ("kind", &filter.kind),
        ("outcome", &filter.outcome),
        ("model", &filter.model),
        ("api", &filter.api),
        ("from", &filter.from),
        ("to", &filter.to),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

impl FilterForm {
    fn of(store: &Store, reader: RecordReader<'_>, address: &RecordAddress) -> FilterForm {
        let (people, person) = (store.people(), address.text("user_id"));
        let owner = match reader {
            RecordReader::Own(user) => Some(user.id),
            RecordReader::Admin => people.by_public_id(person).map(|user| user.id),
        };
        let mut names: Vec<String> = match reader {
            RecordReader::Own(_) => Vec::new(),
            RecordReader::Admin => people.all().map(|user| user.name().to_owned()).collect(),
        };
        names.sort_unstable();
        names.truncate(NAMES_MAX);
        let mut tokens: Vec<(String, String, bool)> = people
            .tokens()
            .filter(|token| Some(token.user_id) == owner)
            .map(|token| {
                let is_chosen = [&token.public_id, &token.name].iter().any(|one| *one == address.text("token_id"));
                (token.public_id.clone(), token.name.clone(), is_chosen)
            })
            .collect();
        tokens.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        let kind_of = |shown: &'static str| {
            let words = Kind::wanted(shown).map_or(shown, states::kind);
            (shown, words, address.text("kind") == shown)
        };
        FilterForm {
            is_open: false,
            person: people.by_public_id(person).map_or(person, |user| user.name()).to_owned(),
            from: String::new(),
            to: String::new(),
            people: names,
            tokens,
            outcomes: Outcome::ALL
                .iter()
                .map(|known| {
                    let word = outcome(Some(known.name())).word.text.into_owned();
                    (known.name(), word, address.has_outcome(known.name()))
                })
                .collect(),
            kinds: std::iter::once(("", "anything", false)).chain(Kind::SHOWN.map(kind_of)).collect(),
            models: Vec::new(),
            routes: DIALECTS
                .iter()
                .flat_map(|dialect| dialect.routes())
                .filter(|route| route.method == "POST")
                .map(|route| route.path)
                .collect(),
        }
    }
}

impl FreshPart {
    fn of(path: &str, address: &RecordAddress, newest: i64, count: usize) -> FreshPart {
        let live = if path == RecordReader::Admin.path() { "/live/record" } else { "/live/me/record" };
        let query = address.link("");
        let sign = if query.is_empty() { '?' } else { '&' };
        FreshPart {
            live: format!("{live}{query}{sign}after={newest}"),
            href: address.newest().link(path),
            count: count.min(FRESH_MAX),
            has_more: count > FRESH_MAX,
        }
    }

    fn text(&self) -> String {
        match (self.count, self.has_more) {
            (0, _) => String::new(),
            (count, false) => format!("{count} new"),
            (count, true) => format!("More than {count} new"),
        }
    }
}

async fn fresh_part(visit: AdminVisit, store: web::Data<Store>) -> PageResult {
    fresh(&visit, RecordReader::Admin, &store).await
}

async fn own_fresh_part(visit: Member, store: web::Data<Store>) -> PageResult {
    fresh(&visit, RecordReader::Own(visit.who().user()), &store).await
}

/// Counts what came after the list was made. A search would leave an act each time, so it has no such line.
async fn fresh(visit: &Visit, reader: RecordReader<'_>, store: &Store) -> PageResult {
    let times = visit.times()?;
    let typed = RecordAddress::parse(visit.request().query_string());
    let after = visit.query("after").and_then(|after| after.parse::<i64>().ok()).filter(|after| *after >= 0);
    let (Some(after), None, None) = (after, typed.get("text"), typed.cursor()) else { return live::nothing() };
    let Ok(asked) = asked(store, reader, &typed, &times).await? else { return live::nothing() };
    let place = PageQuery { after: Some(after), limit: Some(FRESH_MAX + 1), ..PageQuery::default() };
    let page = audit_page(store, asked.wanted, place).await?;
    live::part(visit, &FreshPart::of(reader.path(), &asked.address, after, page.items.len()))
}
