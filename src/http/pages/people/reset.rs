//! Resetting a password: what kind, and the one-time code, shown once.

use actix_web::web;
use askama::Template;

use crate::base::error::Error;
use crate::config::Config;
use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::sentences;
use crate::model::people::UserStatus;
use crate::rules::accounts::{Accounts, ResetMode};

page_routes! {
    "GET" "/admin/users/{id}/reset" Admin reset_page;
    "POST" "/admin/users/{id}/reset" Admin reset;
    "GET" "/admin/users/{id}/code" Admin code_page;
}

/// What the session keeps for the page with the code.
const CODE: &str = "one_time_code";

#[derive(Template)]
#[template(path = "people/reset.html")]
struct ResetPage {
    frame: Frame,
    id: String,
    name: String,
}

async fn reset_page(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let user = accounts.by_id(&id)?;
    if user.status == UserStatus::Pending {
        return Err(Error::conflict(format!("{} waits for approval: let them in first", plain(user.name()))).into());
    }
    let frame = visit.frame(format!("Reset the password of {}", plain(user.name())), NavEntry::People);
    visit.page(&ResetPage { frame, id: id.clone(), name: user.name().to_owned() })
}

async fn reset(form: Posted<AdminVisit>, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let name = accounts.by_id(&id)?.name().to_owned();
    let mode = match fields.text("mode") {
        "code" => ResetMode::Code,
        "initial" => ResetMode::Initial,
        _ => return Err(Error::invalid("mode", "choose a one-time code or `admin123`").into()),
    };
    form.needs_password(format!("reset the password of {}", plain(&name)))?;
    let (_, code) = accounts.reset_password(visit.actor(), &id, mode, fields.has("revoke_tokens")).await?;
    let Some(code) = code else {
        let text = format!("The password of {} is admin123 now, good for setting a new one alone.", plain(&name));
        return visit.done(format!("/admin/users/{id}"), text);
    };
    // With the id, so that the code is never shown under another name.
    visit.open().keep(CODE, format!("{id} {code}"));
    visit.to(format!("/admin/users/{id}/code"))
}

#[derive(Template)]
#[template(path = "people/code.html")]
struct CodePage {
    frame: Frame,
    id: String,
    name: String,
    /// `None`: it was shown before.
    code: Option<String>,
    /// How to give it to whom.
    about: String,
}

async fn code_page(
    visit: AdminVisit,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> PageResult {
    let user = accounts.by_id(&id)?;
    let kept = visit.open().take(CODE);
    let code = kept.as_ref().and_then(|kept| kept.expose().strip_prefix(&format!("{id} "))).map(str::to_owned);
    let minutes = config.accounts.reset_lifetime.as_secs().div_ceil(60);
    visit.page(&CodePage {
        frame: visit.frame(format!("A one-time code for {}", plain(user.name())), NavEntry::People),
        id: id.clone(),
        name: user.name().to_owned(),
        code,
        about: sentences::one_time_code(&plain(user.name()), minutes),
    })
}
