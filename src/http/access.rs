//! One line of the log, and one count, for each request, when its answer has ended or its client has left.
//!
//! The line has words of the code, of the catalog and ids of accounts: nothing that a client wrote, so no path and no query; only
//! a foreign `Host` name is shown, with hidden characters as numbers. Where nobody signed in, a refusal has the client's address.
//! What the layers inside know of a request they leave in `ForLine`.

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};
use bytes::Bytes;
use tracing::Level;

use crate::auth::Identity;
use crate::base::ids::RequestId;
use crate::base::text::visible;
use crate::http::head::address;
use crate::http::stranger_lines;
use crate::metrics::Metrics;
use crate::model::record::Outcome;
use crate::rules::audit::EndNote;

/// The pattern of the route that a request took; kept with the route.
#[derive(Clone, Copy)]
pub struct MatchedRoute(pub &'static str);

/// Swagger UI's own service has no place for a `MatchedRoute`.
pub const DOCS: &str = "/docs/{_:.*}";

/// The command line's requests, which come over the control socket.
pub const CONTROL: &str = "control";

/// Routes that programs ask again and again. Their lines have the level debug.
const QUIET: [&str; 4] = ["/health", "/metrics", "/assets/", "/live/"];

/// What is known of a request inside, for its line.
#[derive(Default)]
pub struct ForLine {
    who: OnceCell<Identity>,
    api: Cell<Option<&'static str>>,
    /// The code of the error with which it was refused.
    refused: Cell<Option<&'static str>>,
    address: Cell<Option<IpAddr>>,
    why: Cell<Option<Why>>,
    /// The account whose credential was tried, if there is one.
    tried: OnceCell<String>,
    /// The foreign name in `Host`.
    host: OnceCell<String>,
    end: EndNote,
}

/// Why a request was refused, for the log alone: a client is told less.
#[derive(Debug, Clone, Copy)]
pub struct Why {
    pub cause: &'static str,
    pub remedy: Option<&'static str>,
}

/// Longer `Host` names are cut.
const HOST_CHARS_MAX: usize = 100;

/// Notes who sent a request.
pub fn sent_by(request: &HttpRequest, who: &Identity) {
    if let Some(line) = of(request) {
        // The first one counts; a form may ask for the password again.
        let _ = line.who.set(who.clone());
    }
}

/// Notes that a request was refused, with the code of its error.
pub fn was_refused(request: &HttpRequest, code: &'static str) {
    if let Some(line) = of(request) {
        line.refused.set(Some(code));
        line.address.set(address(request));
    }
}

/// Notes why a request is refused.
pub fn explain(request: &HttpRequest, cause: &'static str, remedy: Option<&'static str>) {
    if let Some(line) = of(request) {
        line.why.set(Some(Why { cause, remedy }));
    }
}

/// Notes the account whose credential was tried in vain.
pub fn was_tried(request: &HttpRequest, public_id: &str) {
    if let Some(line) = of(request) {
        // The first one counts.
        let _ = line.tried.set(public_id.to_owned());
    }
}

/// Notes the name in `Host` that is none of this gateway. `host` is empty if it is no ASCII text.
pub fn has_foreign_host(request: &HttpRequest, host: &str) {
    if let Some(line) = of(request) {
        let sent = request.headers().get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let name = if host.is_empty() { String::from_utf8_lossy(sent) } else { host.into() };
        let shown: String = name.chars().take(HOST_CHARS_MAX).collect();
        // There is one name.
        let _ = line.host.set(visible(&shown).into_owned());
    }
}

/// Notes the API of a request for a model. Returns where to note how it ends.
pub fn asks_a_model(request: &HttpRequest, api: &'static str) -> EndNote {
    of(request)
        .map(|line| {
            line.api.set(Some(api));
            line.end.clone()
        })
        .unwrap_or_default()
}

fn of(request: &HttpRequest) -> Option<Rc<ForLine>> {
    request.extensions().get::<Rc<ForLine>>().cloned()
}

/// Writes the line of one request when it is dropped.
pub struct AccessLine {
    started: Instant,
    id: RequestId,
    method: &'static str,
    route: Option<&'static str>,
    status: Option<u16>,
    bytes: u64,
    line: Rc<ForLine>,
    metrics: Option<web::Data<Metrics>>,
}

impl AccessLine {
    /// Begins the line of a request, and lets the layers inside add to it.
    pub fn begin(request: &HttpRequest, id: RequestId, is_from_the_host: bool) -> AccessLine {
        let line = Rc::<ForLine>::default();
        request.extensions_mut().insert(line.clone());
        let route = if is_from_the_host { Some(CONTROL) } else { request.path().starts_with("/docs/").then_some(DOCS) };
        AccessLine {
            started: Instant::now(),
            id,
            method: method(request.method()),
            route,
            status: None,
            bytes: 0,
            line,
            metrics: request.app_data::<web::Data<Metrics>>().cloned(),
        }
    }

    /// Notes an answer whose body nobody follows.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Follows an answer to its last byte.
    pub fn follow(mut self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        self.status = Some(response.status().as_u16());
        let matched = response.request().app_data::<MatchedRoute>().map(|matched| matched.0);
        self.route = self.route.or(matched);
        response.map_body(|_, body| BoxBody::new(Followed { body, line: self }))
    }

    fn write(&self, metrics: Option<&Metrics>) {
        let route = self.route.or(self.line.api.get());
        if let Some(metrics) = metrics {
            metrics.routes.answered(route, self.status);
        }
        let is_quiet = route.is_some_and(|route| QUIET.iter().any(|quiet| route.starts_with(quiet)));
        let end = self.line.end.told();
        let (outcome, reason) = match (self.line.refused.get(), end) {
            (Some(code), _) => (Some(Outcome::Refused), Some(code)),
            (None, Some(end)) => (Some(end.outcome), end.reason),
            // Its client left before it was recorded.
            (None, None) => (self.status.is_none().then_some(Outcome::Abandoned), None),
        };
        let model = end.and_then(|end| metrics.map(|metrics| metrics.requests.model_name(end.model)));
        let who = self.line.who.get();
        let is_stranger = who.is_none() && route != Some(CONTROL);
        let address = self.line.address.get().filter(|_| is_stranger);
        // Quiet lines are not written, as a rule.
        if is_stranger && !is_quiet && !stranger_lines::admits(address) {
            return;
        }
        let why = self.line.why.get();
        let user_id = who.map(|who| who.user().public_id.as_str()).or(self.line.tried.get().map(String::as_str));
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        /// The level of a line is fixed where it is written, so there are two.
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "lan_gateway::access",
                    $level,
                    request.id = %self.id,
                    method = self.method,
                    route = route.unwrap_or("unmatched"),
                    status = self.status,
                    duration_ms = ms(self.started.elapsed()),
                    bytes_out = self.bytes,
                    api = self.line.api.get(),
                    model,
                    outcome = outcome.map(Outcome::name),
                    reason,
                    queue_ms = end.and_then(|end| end.queued).map(ms),
                    first_token_ms = end.and_then(|end| end.first_token).map(ms),
                    tokens_in = end.and_then(|end| end.tokens_in),
                    tokens_out = end.and_then(|end| end.tokens_out),
                    user.id = user_id,
                    token.id = who.and_then(Identity::token).map(|token| token.public_id.as_str()),
                    client.address = address.map(tracing::field::display),
                    host = self.line.host.get().map(String::as_str),
                    cause = why.map(|why| why.cause),
                    remedy = why.and_then(|why| why.remedy),
                    "request"
                )
            };
        }
        if is_quiet { line!(Level::DEBUG) } else { line!(Level::INFO) }
    }
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        self.write(self.metrics.as_ref().map(|metrics| metrics.get_ref()));
    }
}

/// A method by its name; methods that nothing here has are clients' own words.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "HEAD", "PATCH", "DELETE", "PUT", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The body of an answer, with its line.
struct Followed {
    /// Dropped before the line, so that what ends with the body is known when the line is written.
    body: BoxBody,
    line: AccessLine,
}

impl MessageBody for Followed {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.line.bytes += bytes.len() as u64;
        }
        polled
    }
}
