//! Exports of others' records: of a whole person, and of what a filter finds.

use actix_web::web;
use askama::Template;
use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::exports::{ExportLine, download, export_page, line};
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::form_fields::FormFields;
use crate::http::pages::format::{Moment, PageTimes};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::counted;
use crate::model::people::{User, UserStatus};
use crate::rules::accounts::Accounts;
use crate::rules::export::filter::Filter;
use crate::rules::export::{ExportFormat, Exports, Extent};
use crate::store::Store;

page_routes! {
    "GET" "/admin/users/{id}/export" Admin person_page;
    "POST" "/admin/users/{id}/export" Admin export_person;
    "POST" "/admin/exports" Admin create;
    "GET" "/admin/exports/{id}" Admin one_page;
    "POST" "/admin/exports/{id}" Admin fetch;
}

/// Exports that are listed, the latest ones.
const LISTED: usize = 10;

/// An export in a list.
pub struct ExportRow {
    pub href: String,
    pub made: Moment,
    pub by: String,
    pub format: &'static str,
    pub state: String,
}

/// Returns what an export is now, in a sentence.
pub fn state_of(one: &ExportLine, times: &PageTimes) -> String {
    let requests = |count: i64| counted(u64::try_from(count).unwrap_or(0), "request", "requests");
    let at = |text: &String| Timestamp::parse(text);
    match (one.running, one.finished_at.as_ref().and_then(at)) {
        (true, _) => format!("It is being read: {} so far.", requests(one.lines.unwrap_or(0))),
        (false, None) => "It was not read to its end yet: a file of it has no receipt.".to_owned(),
        (false, Some(finished)) => {
            let complete =
                format!("{}, complete {}.", requests(one.lines.unwrap_or(0)), times.in_sentence(finished).text);
            match one.opens_deletion_until.as_ref().and_then(at) {
                Some(until) => format!("{complete} It opens the deletion for {}.", more(until, times)),
                None => complete,
            }
        }
    }
}

/// Returns how long something holds, rounded down, so that nothing is promised for too long.
fn more(until: Timestamp, times: &PageTimes) -> String {
    match until.since(times.now()).as_secs() / 60 {
        0 => "less than a minute".to_owned(),
        minutes => counted(minutes, "more minute", "more minutes"),
    }
}

#[derive(Template)]
#[template(path = "people/export.html")]
struct PersonExportPage {
    frame: Frame,
    id: String,
    name: String,
    /// The account of the admin, for the browser's memory of passwords.
    me: String,
    needs_password: bool,
    exports: Vec<ExportRow>,
}

async fn person_page(
    visit: AdminVisit,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    exports: web::Data<Exports>,
    store: web::Data<Store>,
) -> PageResult {
    let user = accounts.by_id(&id)?;
    let times = visit.times()?;
    let found = export_page(&exports, &store, Some(id.clone()), None, LISTED).await?;
    let row = |one: &ExportLine| ExportRow {
        href: format!("/admin/exports/{}", one.id),
        made: times.minute(Timestamp::parse(&one.created_at).unwrap_or_else(|| times.now())),
        by: one.by.clone().unwrap_or_else(|| "the host".to_owned()),
        format: format_name(one.format),
        state: state_of(one, &times),
    };
    visit.page(&PersonExportPage {
        frame: visit.frame(format!("Export {}", plain(user.name())), NavEntry::People),
        id: id.clone(),
        name: user.name().to_owned(),
        me: visit.who().user().name().to_owned(),
        needs_password: !visit.open().is_proven(),
        exports: found.items.iter().filter(|one| one.whole).map(row).collect(),
    })
}

pub fn format_name(format: &str) -> &'static str {
    match format {
        "jsonl" => "JSON Lines",
        _ => "CSV",
    }
}

async fn export_person(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    exports: web::Data<Exports>,
    config: web::Data<Config>,
) -> PageResult {
    let user = accounts.by_id(&id)?;
    check_let_in(&user)?;
    let format = ExportFormat::parse(form.fields.filled("format"))?;
    form.needs_password(format!("export all that {} wrote and got", plain(user.name())))?;
    let actor = form.visit.actor();
    let export = exports.create(actor, Extent::WholeOf(id.clone()), format).await?;
    stream(&form, &exports, &export.public_id, format, &config).await
}

/// Returns an error for who still waits for approval: nothing is recorded of them.
pub fn check_let_in(user: &User) -> Result<(), Error> {
    if user.status == UserStatus::Pending {
        let message = format!("{} waits for approval, and nothing is recorded of them", plain(user.name()));
        return Err(Error::conflict(message));
    }
    Ok(())
}

/// Sends the file of an export.
async fn stream(
    form: &Posted<AdminVisit>,
    exports: &Exports,
    id: &str,
    format: ExportFormat,
    config: &Config,
) -> PageResult {
    // Only CSV has the mark, which Excel needs; the form has its box for both.
    let has_mark = form.fields.has("bom") && format == ExportFormat::Csv;
    let exporter = exports.open(form.visit.actor(), id, has_mark).await?;
    let failed = |_| Fault::Refused(Error::internal(anyhow::anyhow!("an export that was begun is refused")));
    download(form.visit.request(), Ok(exporter), &config.answers).map_err(failed)
}

/// Announces an export of what a filter finds; its page has the file.
async fn create(form: Posted<AdminVisit>, exports: web::Data<Exports>) -> PageResult {
    let format = ExportFormat::parse(form.fields.filled("format"))?;
    let filter = filter_of(&form.fields)?;
    let what = if filter == Filter::default() { "everybody's record" } else { "what this filter finds in the record" };
    form.needs_password(format!("export {what}"))?;
    let export = exports.create(form.visit.actor(), Extent::of(None, Some(filter))?, format).await?;
    form.visit.to(format!("/admin/exports/{}", export.public_id))
}

/// Reads the fields of a filter. One that is not known is refused: without it the export would hold more than was meant.
fn filter_of(fields: &FormFields) -> Result<Filter, Error> {
    let named = fields.own().filter(|(name, value)| !["format", "bom"].contains(name) && !value.trim().is_empty());
    let named: Map<String, Value> = named.map(|(name, value)| (name.to_owned(), Value::from(value.trim()))).collect();
    serde_json::from_value(Value::Object(named))
        .map_err(|cause| Error::invalid("filter", format!("the filter: {cause}")))
}

#[derive(Template)]
#[template(path = "people/one_export.html")]
struct ExportPage {
    frame: Frame,
    id: String,
    /// The user whose whole record is exported; `None`: what a filter finds.
    whole_of: Option<(String, String)>,
    /// The filter, with a label for each of its fields; empty: everything.
    filter: Vec<(&'static str, String)>,
    by: String,
    made: Moment,
    format: &'static str,
    is_csv: bool,
    state: String,
    is_finished: bool,
    is_running: bool,
    /// Whether the visitor made it: others can't fetch it.
    is_own: bool,
    needs_password: bool,
    me: String,
}

async fn one_page(
    visit: AdminVisit,
    id: web::Path<String>,
    exports: web::Data<Exports>,
    store: web::Data<Store>,
) -> PageResult {
    let times = visit.times()?;
    let found = exports.one(&id).await?;
    let people = store.people();
    let one = line(&found, &exports, &people)?;
    let whose = |name: String| {
        let href = one.user_id.as_ref().map(|id| format!("/admin/users/{id}")).unwrap_or_default();
        (name, href)
    };
    let filter: Filter = match &found.export.filter {
        Some(kept) => serde_json::from_str(kept).map_err(Error::internal)?,
        None => Filter::default(),
    };
    visit.page(&ExportPage {
        frame: visit.frame("An export", NavEntry::Record),
        id: one.id.clone(),
        whole_of: one.user.clone().filter(|_| one.whole).map(whose),
        filter: told(&filter, one.user.as_deref()),
        by: one.by.clone().unwrap_or_else(|| "the host".to_owned()),
        made: times.second(Timestamp::parse(&one.created_at).unwrap_or_else(|| times.now())),
        format: format_name(one.format),
        is_csv: one.format == ExportFormat::Csv.name(),
        state: state_of(&one, &times),
        is_finished: one.finished_at.is_some() && !one.running,
        is_running: one.running,
        is_own: found.export.by_user_id == Some(visit.who().user_id()),
        needs_password: !visit.open().is_proven(),
        me: visit.who().user().name().to_owned(),
    })
}

/// Returns the fields of a filter with their labels.
fn told(filter: &Filter, user: Option<&str>) -> Vec<(&'static str, String)> {
    let Filter { user_id, token_id, kind, outcome, act, subject_id, history_of, model, api, from, to, text } = filter;
    let person = user_id.as_ref().map(|id| user.map_or_else(|| id.clone(), str::to_owned));
    let all = [
        ("Person", person),
        ("Access token", token_id.clone()),
        ("Kind", kind.clone()),
        ("Outcome", outcome.clone()),
        ("Act", act.clone()),
        ("Acts about", subject_id.clone()),
        ("History of", history_of.clone()),
        ("Model", model.clone()),
        ("Route", api.clone()),
        ("From", from.clone()),
        ("To", to.clone()),
        ("Words", text.clone()),
    ];
    all.into_iter().filter_map(|(label, value)| Some((label, value?))).collect()
}

async fn fetch(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    exports: web::Data<Exports>,
    config: web::Data<Config>,
) -> PageResult {
    let found = exports.one(&id).await?;
    form.needs_password("download this export")?;
    let format = ExportFormat::parse(Some(&found.export.format))?;
    stream(&form, &exports, &id, format, &config).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_from_a_form_and_an_unknown_field_is_refused() {
        let of = |body: &[u8]| filter_of(&FormFields::parse(body).unwrap());

        let filter = of(b"csrf=x&format=jsonl&outcome=failed&model=&text=+pump+").unwrap();
        assert_eq!(
            (filter.outcome.as_deref(), filter.text.as_deref(), filter.model),
            (Some("failed"), Some("pump"), None)
        );
        assert_eq!(of(b"format=csv").unwrap(), Filter::default());
        assert_eq!(of(b"outcomes=failed").unwrap_err().field(), Some("filter"));
    }
}
