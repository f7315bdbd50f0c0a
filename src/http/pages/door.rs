//! The door: sign in, ask for an account, wait for approval, change a password, sign out.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use askama::Template;

use crate::auth::Auth;
use crate::auth::sessions::SessionStanding;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, retry_after_seconds};
use crate::base::secret::Secret;
use crate::http::head::address;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::format;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::live;
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::{Guest, SignedIn, Visit, local_path, no_session_cookie, session_cookie};
use crate::http::pages::words::sentences;
use crate::http::refusals::{note_refusal, note_sign_in};
use crate::model::credential::Username;
use crate::rules::accounts::Accounts;
use crate::store::Store;
use crate::store::retention::RetentionDays;

page_routes! {
    "HEAD" "/" Anyone probe;
    "GET" "/" Anyone home;
    "GET" "/sign-in" Anyone sign_in_page;
    "POST" "/sign-in" Anyone sign_in;
    "GET" "/register" Anyone register_page;
    "POST" "/register" Anyone register;
    "GET" "/password" Anyone password_page;
    "POST" "/password" Anyone change_password;
    "GET" "/waiting" SignedIn waiting_page;
    "GET" "/live/waiting" SignedIn waiting_part;
    "POST" "/sign-out" SignedIn sign_out;
}

const PASSWORD_CHANGED: &str = "The password was changed. Sign in with the new one.";
const SIGNED_OUT: &str = "Signed out.";
const SIGNED_OUT_BY_WRONG_PASSWORDS: &str = "You were signed out after three wrong passwords.";
const SIGN_IN_TO_GO_ON: &str = "Sign in to go on where you were.";

/// Answers the probe of Ollama's clients.
async fn probe() -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// Leads to the page that fits the visitor.
async fn home(guest: Guest) -> PageResult {
    guest.to(home_of(&guest))
}

/// Returns the first page of a visitor.
pub fn home_of(visit: &Visit) -> &'static str {
    match visit.session() {
        None => "/sign-in",
        Some(session) => match session.standing() {
            SessionStanding::Waiting => "/waiting",
            SessionStanding::MustChange => "/password?must=1",
            SessionStanding::Open if session.user().is_admin() => "/admin",
            SessionStanding::Open => "/me",
        },
    }
}

#[derive(Template)]
#[template(path = "door/sign_in.html")]
struct SignInPage {
    frame: Frame,
    username: String,
    /// Where to go on.
    to: String,
    problem: Option<FormProblem>,
    /// What was done before, as a registration.
    notice: Option<&'static str>,
    is_first: bool,
}

impl SignInPage {
    fn of(visit: &Visit, to: &str) -> SignInPage {
        let is_first = visit.part::<Accounts>().is_ok_and(Accounts::first_admin_waits);
        let to = local_path(to).unwrap_or_default().to_owned();
        let frame = visit.frame("Sign in", NavEntry::Elsewhere);
        SignInPage { frame, username: String::new(), to, problem: None, notice: None, is_first }
    }
}

async fn sign_in_page(guest: Guest) -> PageResult {
    if guest.session().is_some() {
        return guest.to(home_of(&guest));
    }
    let notice = match guest.query("done").as_deref() {
        Some("registered") => Some(sentences::REGISTERED),
        Some("password") => Some(PASSWORD_CHANGED),
        Some("out") => Some(SIGNED_OUT),
        Some("wrong") => Some(SIGNED_OUT_BY_WRONG_PASSWORDS),
        _ => None,
    };
    let to = guest.query("next").unwrap_or_default();
    let page =
        SignInPage { notice: notice.or((!to.is_empty()).then_some(SIGN_IN_TO_GO_ON)), ..SignInPage::of(&guest, &to) };
    guest.page(&page)
}

async fn sign_in(form: Posted<Guest>, auth: web::Data<Auth>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let name = Username::of(fields.text("username"));
    let browser = visit.request().headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    match auth.sign_in(&name, fields.secret("password"), address(visit.request()), browser).await {
        Ok(id) => {
            let path = local_path(fields.text("next")).unwrap_or("/");
            let mut response = visit.to(path)?;
            response
                .add_cookie(&session_cookie(visit.request(), &id))
                .map_err(|cause| Error::internal(anyhow::anyhow!("{cause}")))?;
            Ok(response)
        }
        Err(error) => {
            note_sign_in(visit.request(), fields.text("username"), &error);
            note_refusal(visit.request(), None, &error);
            let status = status_of(&error);
            let problem = refusal_of_password(error)?;
            let mut page = SignInPage {
                problem: Some(problem),
                username: fields.text("username").to_owned(),
                ..SignInPage::of(visit, fields.text("next"))
            };
            page.frame.title = format!("Problem: {}", page.frame.title);
            visit.page_as(status, &page)
        }
    }
}

/// Returns the status of a sign-in that was refused.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        Error::Forbidden { .. } => StatusCode::FORBIDDEN,
        Error::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Returns what the form says about a password that was refused.
fn refusal_of_password(error: Error) -> Result<FormProblem, Fault> {
    match error {
        Error::Unauthenticated { .. } => Ok(FormProblem::new(None, sentences::WRONG_PASSWORD)),
        Error::RateLimited { retry_after, .. } => {
            let wait = format::seconds(Duration::from_secs(retry_after_seconds(retry_after)));
            Ok(FormProblem::new(None, sentences::too_many_wrong_passwords(&wait)))
        }
        error => FormProblem::of(error),
    }
}

#[derive(Template)]
#[template(path = "door/register.html")]
struct RegisterPage {
    frame: Frame,
    email: String,
    problem: Option<FormProblem>,
    /// For how many days contents are kept; `None`: until the account is deleted.
    kept_days: Option<u64>,
}

fn kept_days(store: &Store) -> Option<u64> {
    RetentionDays::of(&store.settings().now()).of_contents().map(u64::from)
}

async fn register_page(guest: Guest, store: web::Data<Store>) -> PageResult {
    let frame = guest.frame("Ask for an account", NavEntry::Elsewhere);
    guest.page(&RegisterPage { frame, email: String::new(), problem: None, kept_days: kept_days(&store) })
}

async fn register(form: Posted<Guest>, accounts: web::Data<Accounts>, store: web::Data<Store>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let email = fields.text("email");
    let registered = async {
        check_repeated(fields.text("password"), fields.text("repeated"))?;
        accounts.register(email, fields.secret("password"), address(visit.request())).await
    };
    let Err(error) = registered.await else { return visit.to("/sign-in?done=registered") };
    let problem = FormProblem::of(error)?;
    let frame = visit.frame("Problem: Ask for an account", NavEntry::Elsewhere);
    let page = RegisterPage { frame, email: email.to_owned(), problem: Some(problem), kept_days: kept_days(&store) };
    visit.page_as(page.problem.as_ref().map_or(StatusCode::BAD_REQUEST, FormProblem::status), &page)
}

fn check_repeated(password: &str, repeated: &str) -> Result<(), Error> {
    if password == repeated {
        return Ok(());
    }
    Err(Error::invalid("repeated", "The two passwords differ"))
}

#[derive(Template)]
#[template(path = "door/password.html")]
struct PasswordPage {
    frame: Frame,
    /// The user whose password must be changed; `None`: the form asks for name and password.
    must: Option<String>,
    /// Whether it is the documented first password of `admin`.
    is_first: bool,
    username: String,
    problem: Option<FormProblem>,
}

impl PasswordPage {
    fn of(visit: &Visit, problem: Option<FormProblem>, name: &str) -> PasswordPage {
        let restricted = visit.session().filter(|session| session.standing() == SessionStanding::MustChange);
        let user = restricted.map(|session| session.user().clone());
        let is_first = user.as_ref().is_some_and(|user| user.has_first_password());
        let title = if is_first { "Choose the first password" } else { "Choose a new password" };
        let title = if problem.is_some() { format!("Problem: {title}") } else { title.to_owned() };
        let signed_in = visit.session().map(|session| session.user().name().to_owned());
        let username = if name.is_empty() { signed_in.unwrap_or_default() } else { name.to_owned() };
        let frame = Frame { user: None, ..visit.frame(title, NavEntry::Elsewhere) };
        PasswordPage { frame, must: user.map(|user| user.name().to_owned()), is_first, username, problem }
    }
}

async fn password_page(guest: Guest) -> PageResult {
    guest.page(&PasswordPage::of(&guest, None, ""))
}

async fn change_password(form: Posted<Guest>, accounts: web::Data<Accounts>, auth: web::Data<Auth>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let (new, source) = (fields.secret("new_password"), address(visit.request()));
    let restricted = visit.session().filter(|session| session.standing() == SessionStanding::MustChange);
    let name =
        restricted.map_or_else(|| fields.text("username").to_owned(), |session| session.user().name().to_owned());
    let changed = async {
        check_repeated(new.expose(), fields.text("repeated"))?;
        match restricted {
            Some(session) => accounts.choose_password(session, new.clone(), source).await,
            None => accounts.change_password(&name, fields.secret("current_password"), new.clone(), source).await,
        }
    };
    if let Err(error) = changed.await {
        note_sign_in(visit.request(), &name, &error);
        note_refusal(visit.request(), None, &error);
        let problem = refusal_of_password(error)?;
        return visit.page_as(problem.status(), &PasswordPage::of(visit, Some(problem), &name));
    }
    go_on(visit, &auth, &name, new).await
}

/// Opens a session with a password that was just set: the one before has ended with the old password.
async fn go_on(visit: &Visit, auth: &Auth, name: &str, password: Secret<String>) -> PageResult {
    let browser = visit.request().headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let Ok(id) = auth.sign_in(&Username::of(name), password, address(visit.request()), browser).await else {
        return visit.to("/sign-in?done=password");
    };
    let mut response = visit.to("/")?;
    response
        .add_cookie(&session_cookie(visit.request(), &id))
        .map_err(|cause| Error::internal(anyhow::anyhow!("{cause}")))?;
    Ok(response)
}

#[derive(Template)]
#[template(path = "door/waiting.html")]
struct WaitingPage {
    frame: Frame,
    name: String,
    asked: format::Moment,
}

async fn waiting_page(visit: SignedIn) -> PageResult {
    if visit.open().standing() != SessionStanding::Waiting {
        return visit.to("/");
    }
    let user = visit.open().user();
    let frame = visit.frame("Waiting for approval", NavEntry::Elsewhere);
    let asked = visit.times()?.in_sentence(Timestamp(user.created_at_us));
    visit.page(&WaitingPage { frame, name: user.name().to_owned(), asked })
}

/// The live part of the waiting page: it leads on once the visitor was let in.
#[derive(Template)]
#[template(source = r#"<section id="waiting" data-go="/"></section>"#, ext = "html")]
struct LetIn;

async fn waiting_part(visit: SignedIn) -> PageResult {
    if visit.open().standing() == SessionStanding::Waiting { live::nothing() } else { live::part(&visit, &LetIn) }
}

async fn sign_out(form: Posted<SignedIn>, auth: web::Data<Auth>) -> PageResult {
    auth.sessions.sign_out(form.visit.open()).await?;
    let mut response = form.visit.to("/sign-in?done=out")?;
    let failed = |cause| Error::internal(anyhow::anyhow!("{cause}"));
    response.add_cookie(&no_session_cookie(form.visit.request())).map_err(failed)?;
    response.headers_mut().insert(
        header::HeaderName::from_static("clear-site-data"),
        header::HeaderValue::from_static("\"cache\", \"storage\""),
    );
    Ok(response)
}
