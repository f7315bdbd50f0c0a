//! A person's account: the password, how pages look in this browser, and open sessions.

use std::time::Duration;

use actix_web::cookie::{Cookie, time};
use actix_web::http::header;
use actix_web::web;
use askama::Template;

use crate::auth::Auth;
use crate::auth::sessions::SessionEntry;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, retry_after_seconds};
use crate::http::head::address;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::{self, Moment, PageTimes};
use crate::http::pages::frame::{Frame, KEYS, NavEntry, THEME, Theme};
use crate::http::pages::own::browsers;
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::{Member, keep_flash, own_cookie, see_other, session_cookie};
use crate::http::pages::words::{counted, sentences, states};
use crate::http::refusals::note_refusal;
use crate::model::credential::Username;
use crate::rules::accounts::Accounts;

page_routes! {
    "GET" "/me/account" Member account_page;
    "POST" "/me/account/password" Member change_password;
    "POST" "/me/account/look" Member change_look;
    "POST" "/me/account/sessions/end" Member end_session;
    "POST" "/me/account/sessions/end-others" Member end_others;
}

const ACCOUNT: &str = "/me/account";
const PASSWORD_CHANGED: &str = "Your password was changed. Every other session has ended; your access tokens go on.";
const WRONG_PASSWORD: &str = "This is not your password.";

/// How long a browser keeps what was chosen in it.
const CHOICE_DAYS: i64 = 365;

#[derive(Template)]
#[template(path = "own/account.html")]
struct AccountPage {
    frame: Frame,
    name: String,
    role: &'static str,
    since: Moment,
    themes: [(&'static str, &'static str, bool); 3],
    has_keys: bool,
    sessions: Vec<SessionLine>,
    problem: Option<FormProblem>,
}

/// An open session.
struct SessionLine {
    handle: String,
    is_this: bool,
    /// The browser's name, for example `Firefox on Linux`.
    browser: Option<String>,
    /// What it says of itself.
    agent: String,
    address: Option<String>,
    since: Moment,
    used: Moment,
}

impl SessionLine {
    fn of(entry: SessionEntry, own: &str, times: &PageTimes) -> SessionLine {
        let seen_us = i64::try_from(entry.seen.as_micros()).unwrap_or(i64::MAX);
        let agent = entry.browser.unwrap_or_default();
        SessionLine {
            is_this: entry.handle == own,
            handle: entry.handle,
            browser: browsers::in_short(&agent),
            agent,
            address: entry.address,
            since: times.in_sentence(entry.created_at),
            used: times.since(Timestamp(times.now().0.saturating_sub(seen_us))),
        }
    }
}

impl AccountPage {
    fn of(visit: &Member, auth: &Auth, problem: Option<FormProblem>) -> Result<AccountPage, Fault> {
        let (user, times) = (visit.who().user(), visit.times()?);
        let title = if problem.is_some() { "Problem: Your account" } else { "Your account" };
        let frame = visit.frame(title, NavEntry::Elsewhere);
        let theme = frame.theme;
        let choice = |one: Theme, label| (one.name(), label, one == theme);
        let own = visit.open().handle();
        Ok(AccountPage {
            name: user.name().to_owned(),
            role: states::role(user.role),
            since: times.date_in_full(Timestamp(user.approved_at_us.unwrap_or(user.created_at_us))),
            themes: [
                choice(Theme::Browser, "As the browser prefers"),
                choice(Theme::Light, "Light"),
                choice(Theme::Dark, "Dark"),
            ],
            has_keys: frame.has_keys(),
            sessions: auth.sessions.of(user).into_iter().map(|entry| SessionLine::of(entry, &own, &times)).collect(),
            frame,
            problem,
        })
    }
}

async fn account_page(visit: Member, auth: web::Data<Auth>) -> PageResult {
    visit.page(&AccountPage::of(&visit, &auth, None)?)
}

async fn change_password(form: Posted<Member>, accounts: web::Data<Accounts>, auth: web::Data<Auth>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let (new, name) = (fields.secret("new_password"), visit.who().user().name().to_owned());
    let source = address(visit.request());
    let changed = async {
        if new.expose() != fields.text("repeated") {
            return Err(Error::invalid("repeated", "The two passwords differ"));
        }
        accounts.change_password(&name, fields.secret("current_password"), new.clone(), source).await
    };
    if let Err(error) = changed.await {
        note_refusal(visit.request(), Some(visit.who().whose()), &error);
        let problem = refusal_of_password(error)?;
        return visit.page_as(problem.status(), &AccountPage::of(visit, &auth, Some(problem))?);
    }
    // The session has ended with the old password: the next one begins here.
    let browser = visit.request().headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let Ok(id) = auth.sign_in(&Username::of(&name), new, source, browser).await else {
        return visit.to("/sign-in?done=password");
    };
    if let Some(session) = auth.sessions.find(id.expose()) {
        keep_flash(&session, PASSWORD_CHANGED);
    }
    let mut response = see_other(ACCOUNT);
    add_cookie(&mut response, &session_cookie(visit.request(), &id))?;
    Ok(response)
}

/// Returns what the form says about a password that was refused.
fn refusal_of_password(error: Error) -> Result<FormProblem, Fault> {
    match error {
        Error::Unauthenticated { .. } => Ok(FormProblem::new(Some("current_password"), WRONG_PASSWORD)),
        Error::RateLimited { retry_after, .. } => {
            let wait = format::seconds(Duration::from_secs(retry_after_seconds(retry_after)));
            Ok(FormProblem::new(Some("current_password"), format!("Too many tries. Try again in {wait}.")))
        }
        error => FormProblem::of(error),
    }
}

async fn change_look(form: Posted<Member>) -> PageResult {
    let theme = Theme::parse(form.fields.text("theme"));
    let keys = if form.fields.has("keys") { "on" } else { "off" };
    let mut response = form.visit.done(ACCOUNT, "Saved in this browser.")?;
    for (name, value) in [(THEME, theme.name()), (KEYS, keys)] {
        let mut cookie = own_cookie(form.visit.request(), name, value);
        cookie.set_max_age(time::Duration::days(CHOICE_DAYS));
        add_cookie(&mut response, &cookie)?;
    }
    Ok(response)
}

async fn end_session(form: Posted<Member>, auth: web::Data<Auth>) -> PageResult {
    let (visit, handle) = (&form.visit, form.fields.text("session"));
    let ended = auth.sessions.end_some(visit.who().user(), |one| one == handle).await?;
    visit.done(ACCOUNT, if ended > 0 { "The session was ended." } else { "That session had ended already." })
}

async fn end_others(form: Posted<Member>, auth: web::Data<Auth>) -> PageResult {
    let (visit, own) = (&form.visit, form.visit.open().handle());
    let ended = auth.sessions.end_some(visit.who().user(), |one| one != own).await?;
    let ended = counted(u64::try_from(ended).unwrap_or(0), "other session was", "other sessions were");
    visit.done(ACCOUNT, format!("{ended} ended."))
}

fn add_cookie(response: &mut actix_web::HttpResponse, cookie: &Cookie<'_>) -> Result<(), Error> {
    response.add_cookie(cookie).map_err(|cause| Error::internal(anyhow::anyhow!("{cause}")))
}
