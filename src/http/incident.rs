//! Incident reports: one HTML file about a time.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::base::clock::{RECORD_CLOCK, Timestamp};
use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::body;
use crate::http::callers::{Admin, Asker};
use crate::http::pages::format::PageTimes;
use crate::http::pages::incident_file::{REPORT_POLICY, ReportFrame, report_file};
use crate::http::record_items::{PageQuery, audit_page};
use crate::http::reply::{ApiError, ApiResult};
use crate::model::people::Actor;
use crate::model::record::Kind;
use crate::provider;
use crate::rules::incident::window::TimeWindow;
use crate::rules::incident::{IncidentDesk, IncidentQuestion};
use crate::store::Store;
use crate::store::audit::Wanted;

/// Acts that a report shows.
const ACTS_MAX: usize = 50;

/// The time that a report is to be about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIncidentReport {
    /// RFC 3339: requests that arrived at this time or later.
    #[schema(format = DateTime)]
    from: String,
    /// RFC 3339: before this time. One that is still to come is now, and so is an absent one.
    #[schema(format = DateTime)]
    to: Option<String>,
    /// `true`: shows how some prompts begin, of those who sent most. The report is then as confidential as the record.
    #[serde(default)]
    contents: bool,
}

/// A report that was asked for, checked.
#[derive(Debug, Clone, Copy)]
pub struct ReportAsked {
    pub window: TimeWindow,
    pub contents: bool,
    pub now: Timestamp,
}

/// Makes an incident report about a time.
///
/// It is one HTML file without script or outside references. It says who sent the requests of that time, by which tokens, how
/// often, and whether anything was misconfigured, and names the checkpoints of the record that cover it. That it was made is an
/// act on the record.
#[utoipa::path(post, path = "/api/v1/incident-reports", operation_id = "make_incident_report", tag = "record",
    request_body = NewIncidentReport,
    responses((status = 200, content((String = "text/html"))), (status = 409)))]
pub async fn make(admin: Admin, request: HttpRequest, mut payload: web::Payload, parts: ReportParts) -> ApiResult {
    let made = async {
        let (store, config, ..) = &parts;
        let asked: NewIncidentReport = body::json(&request, &mut payload, &config.limits).await?;
        let now = Timestamp::now();
        let from = Timestamp::parse_field("from", &asked.from)?;
        let to = asked.to.as_deref().map(|text| Timestamp::parse_field("to", text)).transpose()?;
        let window = TimeWindow::checked(from, to.unwrap_or(now), now, config.incidents.window_hours_max)?;
        let by = match &admin.0 {
            Asker::Host => "the host".to_owned(),
            Asker::Account(who) => who.user().name().to_owned(),
        };
        if matches!(admin.0, Asker::Host) {
            // Perhaps no gateway runs that would sum up the record.
            while store.follow_usage(provider::canonical).await? {}
        }
        let asked = ReportAsked { window, contents: asked.contents, now };
        Ok((asked, made(&parts, admin.0.actor(), &by, asked).await?))
    };
    let (asked, html) = made.await.map_err(|error: Error| ApiError::new(error, &request))?;
    Ok(answer(&asked, &parts.1, html, true))
}

/// What reports are made with.
pub type ReportParts = (web::Data<Store>, web::Data<Config>, web::Data<Gateway>, web::Data<IncidentDesk>);

/// Makes a report, and writes the act about it before anybody gets a byte of it.
pub async fn made(parts: &ReportParts, by: Actor, name: &str, asked: ReportAsked) -> Result<String, Error> {
    let (store, config, gateway, desk) = parts;
    let ReportAsked { mut window, contents, now } = asked;
    // Refusals of the last minute are counted in memory until it is over.
    gateway.audit().flush_refusals(true);
    store.until_written().await?;
    if window.to == now {
        // Rows that were on their way have a later time, and so have all if the host's clock was set back.
        window.to = window.to.max(Timestamp(RECORD_CLOCK.now().0.saturating_add(1)));
    }
    let slots = gateway.queue().upstreams().into_iter().map(|one| one.slots);
    let upstreams = gateway.upstream_names().zip(slots);
    let midnight = config.timezone.day_of(window.from).begins;
    let question = IncidentQuestion { window, midnight, contents, upstreams: upstreams.collect(), now };
    let report = desk.report(store, question).await?;
    let wanted = Wanted { kind: Some(Kind::Act), from: Some(window.from), to: Some(window.to), ..Wanted::default() };
    let acts = audit_page(store, wanted, PageQuery { limit: Some(ACTS_MAX), ..PageQuery::default() }).await?;
    let frame = ReportFrame { by: name, acts: &acts.items, has_more_acts: acts.next.is_some() };
    let times = PageTimes::new(config.timezone.clone(), now);
    let html = report_file(&report, &frame, &times).map_err(|cause| Error::internal(anyhow::anyhow!("{cause}")))?;
    store.note_incident_report(by, window.from, window.to, contents).await?;
    Ok(html)
}

/// Returns the file as an answer, to be shown or to be saved.
pub fn answer(asked: &ReportAsked, config: &Config, html: String, is_saved: bool) -> HttpResponse {
    let from = config.timezone.local(asked.window.from).rfc3339();
    // `2026-11-29T14:00:00+01:00` without what file names can't have.
    let name: String = from.chars().take(16).filter(|character| *character != ':').collect();
    let how = if is_saved { "attachment" } else { "inline" };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, format!("{REPORT_POLICY}; frame-ancestors 'none'")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("{how}; filename=\"incident-{name}.html\"")))
        .body(html)
}
