//! A person's own record as a file.

use actix_web::web;
use askama::Template;

use crate::auth::Auth;
use crate::auth::own_acts::OwnAct;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::exports::download;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::FormProblem;
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::Member;
use crate::rules::export::{ExportFormat, Exporter, Exports, Extent};

page_routes! {
    "GET" "/me/export" Member export_page;
    "POST" "/me/export" Member export;
}

#[derive(Template)]
#[template(path = "own/export.html")]
struct ExportPage {
    frame: Frame,
    is_jsonl: bool,
    problem: Option<FormProblem>,
}

async fn export_page(visit: Member) -> PageResult {
    let frame = visit.frame("Your record as a file", NavEntry::MyRecord);
    visit.page(&ExportPage { frame, is_jsonl: false, problem: None })
}

async fn export(
    form: Posted<Member>,
    exports: web::Data<Exports>,
    auth: web::Data<Auth>,
    config: web::Data<Config>,
) -> PageResult {
    let visit = &form.visit;
    match begin(&form, &exports, &auth).await {
        Ok(exporter) => {
            let failed = |_| Fault::Refused(Error::internal(anyhow::anyhow!("an export that was begun is refused")));
            download(visit.request(), Ok(exporter), &config.answers).map_err(failed)
        }
        Err(error) => {
            let problem = FormProblem::of(error)?;
            let frame = visit.frame("Problem: Your record as a file", NavEntry::MyRecord);
            let is_jsonl = form.fields.text("format") == "jsonl";
            visit.page_as(problem.status(), &ExportPage { frame, is_jsonl, problem: Some(problem) })
        }
    }
}

async fn begin(form: &Posted<Member>, exports: &Exports, auth: &Auth) -> Result<Exporter, Error> {
    let (visit, fields) = (&form.visit, &form.fields);
    let format = ExportFormat::parse(fields.filled("format"))?;
    // Only CSV has the mark, which Excel needs; the form has its box for both.
    let has_mark = fields.has("bom") && format == ExportFormat::Csv;
    auth.own_acts.count(visit.who(), OwnAct::Change)?;
    let own = Extent::WholeOf(visit.who().user().public_id.clone());
    let export = exports.create(visit.actor(), own, format).await?;
    exports.open(visit.actor(), &export.public_id, has_mark).await
}
