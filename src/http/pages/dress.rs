//! What every page gets: headers that allow nothing but the gateway's own style and script, and a page in place of a fault.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use askama::Template;

use crate::base::error::{Error, chain, retry_after_seconds};
use crate::dialect::{Dialect, openai::OpenAi};
use crate::http::head::request_id;
use crate::http::pages::fault::{Confirmation, Fault};
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::problem::sentence;
use crate::http::pages::visit::{RenewedId, Visit, html, is_live, local_path, render, see_other, session_cookie};
use crate::http::reply;

/// Nothing but the gateway's own files. `connect-src` is for live parts.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'";

const PERMISSIONS_POLICY: &str = "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), \
    payment=(), usb=()";

/// The layer around all routes of pages.
pub async fn dress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let head = request.request().clone();
    let response = next.call(request).await?;
    let page =
        response.response().error().and_then(|error| error.as_error::<Fault>()).map(|fault| page_of(fault, &head));
    let mut response = match page {
        Some(page) => response.into_response(page).map_into_left_body(),
        None => response.map_into_right_body(),
    };
    let renewed = head.extensions_mut().remove::<RenewedId>();
    if let Some(renewed) = renewed {
        response.response_mut().add_cookie(&session_cookie(&head, &renewed.0))?;
    }
    add_headers(response.headers_mut());
    Ok(response)
}

/// Adds the headers that every page has, unless a handler has set its own.
pub fn add_headers(headers: &mut header::HeaderMap) {
    static PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
    static OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    static RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let mut add = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    add(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    // With `no-referrer`, browsers send `Origin: null` with forms, and the check of the origin would refuse them.
    add(header::REFERRER_POLICY, "same-origin");
    add(PERMISSIONS.clone(), PERMISSIONS_POLICY);
    add(OPENER.clone(), "same-origin");
    add(RESOURCE.clone(), "same-origin");
}

/// Returns the page for a fault.
pub fn page_of(fault: &Fault, request: &HttpRequest) -> HttpResponse {
    let visit = Visit::of(request);
    match fault {
        Fault::Away(path) => see_other(path),
        Fault::SignedOut if is_live(request) => HttpResponse::Unauthorized().finish(),
        Fault::SignedOut => see_other(&sign_in_path(request)),
        Fault::Missing => missing_page(&visit),
        Fault::Forged => told(&visit, StatusCode::FORBIDDEN, "This form can't be used", FORGED, &[]),
        Fault::Confirm(confirmation) => confirm_page(&visit, confirmation),
        Fault::Refused(error) => error_page(&visit, error),
    }
}

const FORGED: &str = "It came from another site, or it is older than your last sign-in. Nothing was changed. Go back, load the \
    page again, and send it once more.";

/// Returns the path of the sign-in page that leads back to where the visitor was.
fn sign_in_path(request: &HttpRequest) -> String {
    let asked = request.uri().path_and_query().map(|path| path.as_str().to_owned());
    // A form is not sent again: back to the page that it was on.
    let referrer = request.headers().get(header::REFERER).and_then(|from| from.to_str().ok()?.parse::<Uri>().ok());
    let from = referrer.and_then(|from| from.path_and_query().map(|path| path.as_str().to_owned()));
    let back = if request.method() == Method::GET { asked } else { from };
    match back.as_deref().and_then(local_path).filter(|path| *path != "/") {
        Some(path) => {
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
            format!("/sign-in?{query}")
        }
        None => "/sign-in".to_owned(),
    }
}

/// A page that says what happened and what to do.
#[derive(Template)]
#[template(path = "told.html")]
struct ToldPage<'a> {
    frame: Frame,
    paragraphs: Vec<&'a str>,
    request_id: Option<String>,
}

fn told(visit: &Visit, status: StatusCode, title: &str, text: &str, more: &[&str]) -> HttpResponse {
    let paragraphs = std::iter::once(text).chain(more.iter().copied()).collect();
    let request_id = (status != StatusCode::NOT_FOUND).then(|| request_id(visit.request()).to_string());
    let page = ToldPage { frame: visit.frame(title, NavEntry::Elsewhere), paragraphs, request_id };
    rendered(status, &page, visit)
}

/// Returns the page for an address without one, and for what the visitor may not see: the same bytes.
pub fn missing_page(visit: &Visit) -> HttpResponse {
    let text = "Nothing is here, or it is not for you to see. Was the address copied whole?";
    told(visit, StatusCode::NOT_FOUND, "No such page", text, &[])
}

/// Returns the page for a request that was refused before any handler, and closes its connection: the body was not read.
pub fn refusal_page(error: &Error, request: &HttpRequest) -> HttpResponse {
    let mut page = error_page(&Visit::of(request), error);
    add_headers(page.headers_mut());
    page.head_mut().set_connection_type(ConnectionType::Close);
    page
}

fn error_page(visit: &Visit, error: &Error) -> HttpResponse {
    reply::log(error, &request_id(visit.request()));
    let status = OpenAi.error(error, &request_id(visit.request())).status;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match status {
        StatusCode::FORBIDDEN => "This is not allowed",
        StatusCode::CONFLICT => "This does not fit any more",
        StatusCode::TOO_MANY_REQUESTS => "Too often",
        StatusCode::SERVICE_UNAVAILABLE => "Not now",
        status if status.is_server_error() => "Something went wrong",
        _ => "This can't be done",
    };
    let text = sentence(&error.to_string());
    let wait = error.retry_after().map(|wait| format!("Try again in {} s.", retry_after_seconds(wait)));
    let more: Vec<&str> = wait.as_deref().into_iter().collect();
    let mut response = told(visit, status, title, &text, &more);
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after_seconds(wait).into());
    }
    response
}

/// Asks for the password again, and sends the form with it to where it was sent before.
#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    frame: Frame,
    action: String,
    deed: &'a str,
    name: String,
    fields: Vec<(&'a str, &'a str)>,
    problem: Option<String>,
}

fn confirm_page(visit: &Visit, confirmation: &Confirmation) -> HttpResponse {
    let Some(session) = visit.session() else { return see_other("/sign-in") };
    let page = ConfirmPage {
        frame: visit.frame("Your password again", NavEntry::Elsewhere),
        action: visit.request().path().to_owned(),
        deed: &confirmation.deed,
        name: session.user().name().to_owned(),
        fields: confirmation.fields.own().collect(),
        problem: confirmation.problem.as_deref().map(sentence),
    };
    let status = if page.problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    rendered(status, &page, visit)
}

fn rendered(status: StatusCode, page: &impl Template, visit: &Visit) -> HttpResponse {
    match render(page) {
        Ok(text) => html(status, text),
        Err(fault) => {
            tracing::error!(request.id = %request_id(visit.request()), cause = chain(&fault), "a page can't be rendered");
            HttpResponse::InternalServerError().body("an error inside the gateway")
        }
    }
}
