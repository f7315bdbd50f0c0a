//! Deleting a person, in three steps on one page: disable, export, delete.

use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::gateway::Gateway;
use crate::http::exports::export_page;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::Moment;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::people::exports::{check_let_in, state_of};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about, sentence};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::sentences;
use crate::http::record_items::{PageQuery, audit_page};
use crate::model::people::{User, UserStatus};
use crate::model::record::Act;
use crate::rules::accounts::Accounts;
use crate::rules::export::Exports;
use crate::rules::export::filter::Filter;
use crate::store::Store;

page_routes! {
    "GET" "/admin/users/{id}/delete" Admin delete_page;
    "POST" "/admin/users/{id}/delete" Admin delete;
}

/// The field with the admin's own password, which is always asked for here.
const OWN_PASSWORD: &str = "own_password";

#[derive(Template)]
#[template(path = "people/delete.html")]
struct DeletePage {
    frame: Frame,
    id: String,
    name: String,
    me: String,
    is_disabled: bool,
    disabled: Option<Moment>,
    /// Whether something of theirs still runs.
    runs: bool,
    /// The state of the latest export of the whole record, in a sentence.
    export: Option<String>,
    /// Whether an export opens the deletion now.
    is_exported: bool,
    /// Whether the latest download was cut off.
    was_cut_off: bool,
    needs_password: bool,
    receipt: String,
    /// Why the deletion was refused.
    refused: Option<String>,
    problem: Option<FormProblem>,
}

impl DeletePage {
    async fn of(visit: &AdminVisit, user: &User) -> Result<DeletePage, Fault> {
        let (exports, store, gateway): (&Exports, &Store, &Gateway) = (visit.part()?, visit.part()?, visit.part()?);
        let times = visit.times()?;
        let found = export_page(exports, store, Some(user.public_id.clone()), None, 50).await?;
        let mut whole = found.items.iter().filter(|one| one.whole);
        let opens = whole.clone().find(|one| one.opens_deletion_until.is_some());
        let latest = opens.or_else(|| whole.next());
        let is_disabled = user.status == UserStatus::Disabled;
        Ok(DeletePage {
            frame: visit.frame(format!("Delete {}", plain(user.name())), NavEntry::People),
            id: user.public_id.clone(),
            name: user.name().to_owned(),
            me: visit.who().user().name().to_owned(),
            is_disabled,
            disabled: if is_disabled { disabled_at(user, store).await?.map(|at| times.in_sentence(at)) } else { None },
            runs: gateway.running().has(user.id),
            export: latest.map(|one| state_of(one, &times)),
            is_exported: opens.is_some(),
            was_cut_off: latest.is_some_and(|one| !one.running && one.finished_at.is_none()),
            needs_password: !visit.open().is_proven(),
            receipt: String::new(),
            refused: None,
            problem: None,
        })
    }
}

/// Returns when an account was last disabled.
async fn disabled_at(user: &User, store: &Store) -> Result<Option<Timestamp>, Error> {
    let act = Some(Act::UserDisabled.name().to_owned());
    let filter = Filter { act, subject_id: Some(user.public_id.clone()), ..Filter::default() };
    let place = PageQuery { limit: Some(1), ..PageQuery::default() };
    let page = audit_page(store, filter.wanted(store).await?, place).await?;
    Ok(page.items.first().and_then(|item| Timestamp::parse(&item.at)))
}

async fn delete_page(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    check_let_in(&user)?;
    visit.page(&DeletePage::of(&visit, &user).await?)
}

async fn delete(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    let (form, wrong) = form.prove_by(OWN_PASSWORD).await?;
    let (visit, receipt) = (&form.visit, form.fields.text("receipt").trim().to_owned());
    if let Some(wrong) = wrong {
        return with_problem(visit, &user, receipt, FormProblem::new(Some(OWN_PASSWORD), sentence(&wrong))).await;
    }
    if receipt.is_empty() {
        let missing = "It is in the last line of the file of the export.";
        return with_problem(visit, &user, receipt, FormProblem::new(Some("receipt"), missing)).await;
    }
    match accounts.delete(visit.actor(), &id, &receipt).await {
        Ok(()) => visit.done("/admin/users", sentences::deleted(&plain(user.name()))),
        Err(Error::Conflict { message }) => {
            let user = accounts.by_id(&id)?;
            let mut page = DeletePage::of(visit, &user).await?;
            page.frame.title = format!("Problem: {}", page.frame.title);
            // Another export is needed.
            page.is_exported = false;
            page.refused = Some(sentence(&message));
            visit.page_as(StatusCode::CONFLICT, &page)
        }
        Err(error) => with_problem(visit, &user, receipt, FormProblem::of(error)?).await,
    }
}

async fn with_problem(visit: &AdminVisit, user: &User, receipt: String, problem: FormProblem) -> PageResult {
    let status = problem.status();
    let mut page = DeletePage { receipt, problem: Some(problem), ..DeletePage::of(visit, user).await? };
    page.frame.title = format!("Problem: {}", page.frame.title);
    visit.page_as(status, &page)
}
