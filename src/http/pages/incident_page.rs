//! The form for an incident report. What it sends back is the report itself: a file of its own, shown or saved.

use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::incident::{ReportAsked, ReportParts, answer, made};
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::form_fields::FormFields;
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::record_page::typed_time::TypedTime;
use crate::http::pages::route::page_routes;
use crate::http::pages::usage_page::asked::query_of;
use crate::http::pages::visit::AdminVisit;
use crate::rules::incident::window::TimeWindow;
use crate::store::Store;
use crate::store::prompt_starts::PROMPT_START_CHARS;
use crate::store::pulse::{Counted, PulseFilter};

page_routes! {
    "GET" "/admin/incident" Admin form_page;
    "POST" "/admin/incident" Admin make;
}

/// Quarters of an hour in one.
const QUARTERS: i64 = 4;
const HOUR_SECONDS: i64 = 3_600;

#[derive(Template)]
#[template(path = "incident/form.html")]
struct IncidentFormPage {
    frame: Frame,
    from: String,
    to: String,
    contents: bool,
    problem: Option<FormProblem>,
    /// Addresses of this page with another time, and their labels.
    suggestions: Vec<(String, String)>,
    hours_max: u32,
    prompt_chars: usize,
    zone: String,
}

async fn form_page(visit: AdminVisit, store: web::Data<Store>, config: web::Data<Config>) -> PageResult {
    let times = visit.times()?;
    let typed = |name: &str| visit.query(name).filter(|text| !text.trim().is_empty());
    let from = typed("from").unwrap_or_else(|| "-1h".to_owned());
    let page = form(&visit, &store, &config, &times, (&from, &typed("to").unwrap_or_default(), false), None).await?;
    visit.page(&page)
}

async fn form(
    visit: &AdminVisit,
    store: &Store,
    config: &Config,
    times: &PageTimes,
    (from, to, contents): (&str, &str, bool),
    problem: Option<FormProblem>,
) -> Result<IncidentFormPage, Fault> {
    let in_field = |text: &str| match TypedTime::parse(text, times.zone()) {
        Some(time) => local(time.at(times), times),
        None => text.to_owned(),
    };
    let mut frame = visit.frame("Incident report", NavEntry::Record);
    if problem.is_some() {
        frame.title = format!("Problem: {}", frame.title);
    }
    Ok(IncidentFormPage {
        frame,
        from: in_field(from),
        to: in_field(to),
        contents,
        problem,
        suggestions: suggestions(store, times).await?,
        hours_max: config.incidents.window_hours_max,
        prompt_chars: PROMPT_START_CHARS,
        zone: times.zone().name().to_owned(),
    })
}

/// Returns a time as the form has it.
fn local(at: Timestamp, times: &PageTimes) -> String {
    let text: String = times.zone().local(at).rfc3339().chars().take(19).collect();
    text.replace('T', " ")
}

/// Returns times that are likely meant.
async fn suggestions(store: &Store, times: &PageTimes) -> Result<Vec<(String, String)>, Fault> {
    let now = times.now();
    let link = |from: Timestamp, to: Timestamp| {
        format!(
            "/admin/incident?{}",
            query_of([("from", local(from, times).as_str()), ("to", local(to, times).as_str())])
        )
    };
    let ago = |minutes: i64| link(now.plus_seconds(-60 * minutes), now);
    let today = times.zone().day_of(now).begins;
    let mut all = vec![
        (ago(15), "The last 15 minutes".to_owned()),
        (ago(60), "The last hour".to_owned()),
        (link(today, now), "Today".to_owned()),
    ];
    let wanted = PulseFilter { user_id: None, token_id: None, model: None, from: today, to: now };
    if let Some(begins) = busiest(&store.pulse(wanted, QUARTERS).await?) {
        let ends = begins.plus_seconds(HOUR_SECONDS);
        let clock = |at: Timestamp| times.zone().local(at).minute();
        let label = format!("The busiest hour of today, {} to {}", clock(begins), clock(ends));
        all.push((link(begins, ends.min(now)), label));
    }
    Ok(all)
}

/// Returns when the hour begins in which most was sent.
fn busiest(hours: &[Counted]) -> Option<Timestamp> {
    let sent = |hour: &&Counted| (hour.requests.saturating_add(hour.refused), hour.begins_us);
    hours.iter().max_by_key(sent).map(|hour| Timestamp(hour.begins_us))
}

async fn make(form_sent: Posted<AdminVisit>, parts: ReportParts) -> PageResult {
    let Posted { visit, fields } = &form_sent;
    let times = visit.times()?;
    let (store, config, ..) = &parts;
    let asked = match asked(fields, &times, config.incidents.window_hours_max) {
        Ok(asked) => asked,
        Err(problem) => {
            let typed = (fields.text("from"), fields.text("to"), fields.has("contents"));
            let status = problem.status();
            let page = form(visit, store, config, &times, typed, Some(problem)).await?;
            return visit.page_as(status, &page);
        }
    };
    if asked.contents {
        form_sent.needs_password("read how prompts of others begin")?;
    }
    let html = made(&parts, visit.actor(), visit.who().user().name(), asked).await?;
    Ok(answer(&asked, config, html, fields.has("save")))
}

/// Reads the form, or says what is wrong with it.
fn asked(fields: &FormFields, times: &PageTimes, hours_max: u32) -> Result<ReportAsked, FormProblem> {
    let time = |name: &'static str| match fields.filled(name) {
        None => Ok(None),
        Some(text) => match TypedTime::parse(text, times.zone()) {
            Some(time) => Ok(Some(time.at(times))),
            None => Err(FormProblem::new(Some(name), "Type a time as in 2026-01-31 14:00, or today, or -2h.")),
        },
    };
    let from = time("from")?.ok_or_else(|| FormProblem::new(Some("from"), "Say when it begins."))?;
    let to = time("to")?.unwrap_or_else(|| times.now());
    let window = TimeWindow::checked(from, to, times.now(), hours_max).map_err(|error: Error| {
        let field = error.field().map(str::to_owned);
        FormProblem { field, message: crate::http::pages::problem::sentence(&error.to_string()) }
    })?;
    Ok(ReportAsked { window, contents: fields.has("contents"), now: times.now() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn read(body: &str) -> Result<ReportAsked, FormProblem> {
        let now = Timestamp::parse("2026-01-15T12:00:00Z").unwrap();
        let times = PageTimes::new(Zone::named("Europe/Berlin").unwrap(), now);
        asked(&FormFields::parse(body.as_bytes()).unwrap(), &times, 24)
    }

    #[test]
    fn a_form_is_read_in_local_times_and_without_an_end_until_now() {
        let asked = read("from=2026-01-15+11%3A00&to=2026-01-15+12%3A00&contents=1").unwrap();
        assert_eq!(asked.window.from.rfc3339(), "2026-01-15T10:00:00Z");
        assert_eq!((asked.window.to.rfc3339(), asked.contents), ("2026-01-15T11:00:00Z".to_owned(), true));
        let asked = read("from=-2h&to=+").unwrap();
        assert_eq!((asked.window.length_us(), asked.contents), (2 * 3_600_000_000, false));
        for (body, field) in [
            ("from=&to=", "from"),
            ("from=noon", "from"),
            ("from=-2h&to=later", "to"),
            ("from=2026-01-15+12%3A00&to=2026-01-15+12%3A00", "from"),
            ("from=-25h", "from"),
        ] {
            let problem = read(body).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{body}: {}", problem.message);
        }
    }

    #[test]
    fn the_busiest_hour_counts_refusals_too() {
        let hour = |begins_us, requests, refused| Counted { begins_us, requests, refused, failed: 0 };
        assert_eq!(busiest(&[hour(0, 9, 0), hour(1, 3, 7), hour(2, 9, 0)]), Some(Timestamp(1)));
        assert_eq!(busiest(&[]), None);
    }
}
