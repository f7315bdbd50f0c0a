//! Letting people in and keeping them out.

use actix_web::web;
use askama::Template;

use crate::base::error::Error;
use crate::http::pages::fault::PageResult;
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::sentences;
use crate::model::people::UserStatus;
use crate::rules::accounts::Accounts;

page_routes! {
    "POST" "/admin/users/{id}/approve" Admin approve;
    "GET" "/admin/users/{id}/turn-down" Admin turn_down_page;
    "POST" "/admin/users/{id}/turn-down" Admin turn_down;
    "GET" "/admin/users/{id}/disable" Admin disable_page;
    "POST" "/admin/users/{id}/disable" Admin disable;
    "POST" "/admin/users/{id}/enable" Admin enable;
}

const PEOPLE: &str = "/admin/users";

/// Asks whether something is meant: the title is the verb and the name, one sentence says what ends, the button repeats the verb.
#[derive(Template)]
#[template(path = "people/sure.html")]
pub struct SurePage {
    pub frame: Frame,
    /// Where it came from: links with their words.
    pub crumbs: Vec<(String, String)>,
    pub text: String,
    pub action: String,
    pub button: String,
    pub keep: String,
}

async fn approve(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let name = accounts.by_id(&id)?.name().to_owned();
    form.needs_password(format!("let in {}", plain(&name)))?;
    accounts.approve(form.visit.actor(), &id).await?;
    form.visit.done(PEOPLE, sentences::approved(&plain(&name)))
}

async fn turn_down_page(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    if user.status != UserStatus::Pending {
        return Err(decided(&plain(user.name())).into());
    }
    let title = format!("Turn down {}", plain(user.name()));
    visit.page(&SurePage {
        crumbs: vec![(PEOPLE.into(), "People".into())],
        text: "The account goes, and nothing is kept of it but that this happened. They can ask again.".into(),
        action: format!("{PEOPLE}/{id}/turn-down"),
        button: "Turn down".into(),
        keep: PEOPLE.into(),
        frame: visit.frame(title, NavEntry::People),
    })
}

async fn turn_down(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let name = accounts.by_id(&id)?.name().to_owned();
    accounts.turn_down(form.visit.actor(), &id).await?;
    form.visit.done(PEOPLE, sentences::turned_down(&plain(&name)))
}

fn decided(name: &str) -> Error {
    Error::conflict(format!("{name} does not wait for approval any more"))
}

async fn disable_page(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    let name = plain(user.name());
    visit.page(&SurePage {
        crumbs: vec![(PEOPLE.into(), "People".into()), (format!("{PEOPLE}/{id}"), name.to_string())],
        text: sentences::disable(&name),
        action: format!("{PEOPLE}/{id}/disable"),
        button: "Disable".into(),
        keep: format!("{PEOPLE}/{id}"),
        frame: visit.frame(format!("Disable {name}"), NavEntry::People),
    })
}

async fn disable(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.disable(form.visit.actor(), &id).await?;
    let text = format!("{} is disabled. What ran was cut off.", plain(user.name()));
    let home = back(&form, &id);
    form.visit.done(home, Flash::with_undo(text, format!("{PEOPLE}/{id}/enable"), &[]))
}

async fn enable(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let name = accounts.by_id(&id)?.name().to_owned();
    form.needs_password(format!("enable {}", plain(&name)))?;
    accounts.enable(form.visit.actor(), &id).await?;
    let text = format!("{} may sign in again.", plain(&name));
    form.visit.done(format!("{PEOPLE}/{id}"), Flash::with_undo(text, format!("{PEOPLE}/{id}/disable"), &[]))
}

/// Returns where a form of a person leads: to the page that deletes them, if it came from there.
fn back(form: &Posted<AdminVisit>, id: &str) -> String {
    match form.fields.text("from") {
        "delete" => format!("{PEOPLE}/{id}/delete"),
        _ => format!("{PEOPLE}/{id}"),
    }
}
