//! The one handler that all dialects share: who, how often, what; then the answer, whole or as a stream.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, stream};
use tracing::{debug, info};

use crate::auth::{Auth, Identity, Whose};
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::base::vital::panic_on_purpose;
use crate::config::Config;
use crate::dialect::{Decoded, Delivery, Dialect, Encoder, Route, wire};
use crate::gateway::{Answer, Asked, Gateway, News, Refused, Stood, stopped};
use crate::http::head::{RequestHead, address, request_id};
use crate::http::{body, reply};
use crate::model::chat::{ChatEvent, Fold, Piece};
use crate::model::credential::Credential;
use crate::model::rights::Class;
use crate::rules::audit::{Ending, Refusal};
use crate::rules::limits::bodies::Sender;
use crate::rules::limits::{Admission, Standing};

/// What was learnt on the way, for a refusal's row and headers.
///
/// With it goes what is held for a request that was not handed on.
#[derive(Default)]
struct Learnt {
    who: Option<Identity>,
    /// The same for the record alone: known of a credential that was right and has ended, too.
    whose: Option<Whose>,
    admission: Option<Admission>,
    /// How the caller stands who was not let in.
    denied: Option<Standing>,
    model: Option<String>,
    /// Its intent is on record, and so will be its result.
    on_record: bool,
}

impl Learnt {
    /// Who was let in, if somebody was.
    fn admitted(&self) -> Option<&Identity> {
        self.who.as_ref().filter(|_| self.admission.is_some())
    }

    /// OpenAI's names, which its SDKs read.
    fn standing_headers(&self) -> impl Iterator<Item = Named> {
        static REQUESTS: [HeaderName; 3] = [
            HeaderName::from_static("x-ratelimit-limit-requests"),
            HeaderName::from_static("x-ratelimit-remaining-requests"),
            HeaderName::from_static("x-ratelimit-reset-requests"),
        ];
        static TOKENS: [HeaderName; 3] = [
            HeaderName::from_static("x-ratelimit-limit-tokens"),
            HeaderName::from_static("x-ratelimit-remaining-tokens"),
            HeaderName::from_static("x-ratelimit-reset-tokens"),
        ];
        let admission = self.admission.as_ref();
        let requests = admission.map(|admission| admission.requests).or(self.denied);
        let tokens = admission.and_then(|admission| admission.tokens);
        let headers =
            |names: &'static [HeaderName; 3], standing: Standing| names.iter().cloned().zip(standing_values(&standing));
        let requests = requests.map(|standing| headers(&REQUESTS, standing));
        let tokens = tokens.map(|standing| headers(&TOKENS, standing));
        requests.into_iter().flatten().chain(tokens.into_iter().flatten())
    }
}

pub async fn answer(
    dialect: &'static dyn Dialect,
    route: &'static Route,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let id = request_id(&request);
    let (Some(gateway), Some(auth), Some(config)) = (
        request.app_data::<web::Data<Gateway>>().cloned(),
        request.app_data::<web::Data<Auth>>().cloned(),
        request.app_data::<web::Data<Config>>().cloned(),
    ) else {
        return reply::respond(dialect.error(&Error::internal(anyhow::anyhow!("the parts are missing")), &id));
    };
    let mut learnt = Learnt::default();
    let api = route.path;
    let door = Door { dialect, route, id, request: &request, gateway: &gateway, auth: &auth, config: &config };
    let mut refused = match AssertUnwindSafe(door.pass(payload, &mut learnt)).catch_unwind().await {
        Ok(Ok(response)) => return response,
        Ok(Err(refused)) => refused,
        // What was below the bar has been closed as it was dropped.
        Err(_) => Refused { recorded: learnt.on_record, ..panicked().into() },
    };
    reply::log(&refused.error, &id);
    let told = dialect.error(&refused.error, &id);
    if let Some(record) = refused.late.take() {
        record.close_soon(Ending::Refused(refused.error.code()), Some(told.status));
    } else if !refused.recorded {
        if let Some(who) = learnt.admitted() {
            gateway.breaker().refused(who, &refused.error);
        }
        gateway.audit().refused(Refusal {
            id,
            who: learnt.whose,
            address: address(&request),
            api,
            model: learnt.model.as_deref(),
            provider: learnt.model.as_deref().and_then(|model| gateway.provider_of(model, &refused.error)),
            reason: refused.error.code(),
            status: told.status,
        });
    }
    info!(request.id = %id, code = refused.error.code(), status = told.status, "refused `{api}`");
    let mut response = reply::respond(told);
    let stood = refused.stood.into_iter().flat_map(queue_headers);
    for (name, value) in learnt.standing_headers().chain(stood) {
        response.headers_mut().insert(name, value);
    }
    if gateway.is_stopping() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

struct Door<'a> {
    dialect: &'static dyn Dialect,
    route: &'static Route,
    id: RequestId,
    request: &'a HttpRequest,
    gateway: &'a web::Data<Gateway>,
    auth: &'a Auth,
    config: &'a Config,
}

impl Door<'_> {
    async fn pass(&self, mut payload: web::Payload, learnt: &mut Learnt) -> Result<HttpResponse, Refused> {
        let started = Instant::now();
        if self.gateway.is_stopping() {
            return Err(stopped().into());
        }
        let head = RequestHead::of(self.request, self.config.default_model.as_str());
        body::check_head(self.request)?;
        if let Some(credential) = self.dialect.credential(&head)? {
            self.let_in(credential, learnt).await?;
        } else if !self.reads_body_first() {
            return Err(Error::bad_token("none was sent; send `Authorization: Bearer …`").into());
        }
        let sender = match &learnt.who {
            Some(who) => Sender::User(who.user_id()),
            None => body::stranger(self.request),
        };
        let received = body::read(self.request, &mut payload, &self.config.limits, sender).await?;
        let mut decoded = self.dialect.decode(&head, &received)?;
        let mut memory = received.into_held();
        if learnt.who.is_none() {
            let credential = decoded.credential.take().ok_or_else(Error::bad_credentials)?;
            self.let_in(credential, learnt).await?;
        }
        let Some(who) = learnt.who.clone() else { return Err(Error::bad_credentials().into()) };
        if sender != Sender::User(who.user_id()) {
            memory = memory.identified(who.user_id())?;
        }

        let Decoded { work, reply, delivery, ignored, .. } = decoded;
        learnt.model = Some(work.model().as_str().to_owned());
        let asked = Asked {
            id: self.id,
            api: self.route.path,
            address: address(self.request),
            class: class(self.request, &who)?,
            who,
            work,
            ignored,
            memory,
        };
        let Some(admission) = &mut learnt.admission else { return Err(Error::bad_credentials().into()) };
        let answer = self.gateway.answer(asked, admission).await?;
        learnt.on_record = true;
        panic_on_purpose("handler");

        let mut response = HttpResponse::Ok();
        add_headers(&mut response, learnt.standing_headers());
        if !answer.ignored.is_empty() {
            response.insert_header(("x-ignored-parameters", answer.ignored.join(", ")));
        }
        if !answer.simplified.is_empty() {
            response.insert_header(("x-simplified-schema", answer.simplified.join(", ")));
        }
        let told = Told { dialect: self.dialect, api: self.route.path, id: self.id, started };
        match delivery {
            Delivery::Whole => told.whole(response, answer, reply).await,
            Delivery::Stream { content_type } => {
                let answers = self.gateway.answers();
                response.insert_header((header::CONTENT_TYPE, content_type));
                told.stream(response, answer, reply, answers.head_start, answers.heartbeat, answers.time_max).await
            }
        }
    }

    /// `/chat` alone may carry its credentials in the body.
    fn reads_body_first(&self) -> bool {
        self.route.path == "/chat"
    }

    /// Identified, then counted: the count comes before anything that costs.
    async fn let_in(&self, credential: Credential, learnt: &mut Learnt) -> Result<(), Refused> {
        let identified = self.auth.identify(credential, address(self.request)).await;
        learnt.whose = identified.as_ref().map_or_else(|denied| denied.whose, |who| Some(who.whose()));
        let who = identified.map_err(|denied| denied.error)?;
        let permitted = who.check_use(&[self.route.scope], address(self.request));
        let who = learnt.who.insert(who);
        permitted?;
        self.gateway.arrives(who).await?;
        let admitted = self.gateway.admit(who).await;
        match admitted {
            Ok(admission) => {
                learnt.admission = Some(admission);
                Ok(())
            }
            Err(denial) => {
                learnt.denied = Some(denial.standing);
                Err(denial.error.into())
            }
        }
    }
}

/// The names under which a request is answered and logged.
#[derive(Clone, Copy)]
struct Told {
    dialect: &'static dyn Dialect,
    api: &'static str,
    id: RequestId,
    started: Instant,
}

impl Told {
    async fn whole(
        self,
        mut response: HttpResponseBuilder,
        answer: Answer,
        mut encoder: Box<dyn Encoder>,
    ) -> Result<HttpResponse, Refused> {
        let mut fold = Fold::default();
        match answer.whole().await {
            Ok(events) => events.into_iter().for_each(|event| fold.add(event)),
            Err(error) => return Err(self.failed(answer, error).await),
        }
        let Some(reply) = fold.finish() else {
            let error = Error::UpstreamRefused { message: "the model server's answer has no end mark".into() };
            return Err(self.failed(answer, error).await);
        };
        add_headers(&mut response, queue_headers(answer.stood()));
        answer.close(200).await.map_err(recorded)?;
        let mut out = BytesMut::new();
        encoder.whole(&reply, &mut out);
        self.log("answered");
        Ok(response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(out.freeze()))
    }

    async fn stream(
        self,
        mut response: HttpResponseBuilder,
        answer: Answer,
        encoder: Box<dyn Encoder>,
        head_start: std::time::Duration,
        heartbeat: std::time::Duration,
        delivery_max: std::time::Duration,
    ) -> Result<HttpResponse, Refused> {
        // Until the first event, an error can still have a status of its own.
        let first = match tokio::time::timeout(head_start, answer.news()).await {
            Ok(News::Failed(error)) => return Err(self.failed(answer, error).await),
            Ok(news) => Some(news),
            Err(_) => None,
        };
        add_headers(&mut response, queue_headers(answer.stood()));
        let sent = Instant::now();
        let flow = Flow { told: self, answer: Some(answer), encoder, first, end: None, heartbeat, sent, delivery_max };
        let body = stream::unfold(flow, |mut flow| async move {
            if flow.is_overdue() {
                // Dropping the answer leaves the row `abandoned`; the error closes the connection without an end mark.
                flow.answer = None;
                let error = Error::Timeout { message: "the client took too long to read the answer".into() };
                return Some((Err(error), flow));
            }
            let bytes = match AssertUnwindSafe(flow.next()).catch_unwind().await {
                Ok(bytes) => bytes?,
                Err(_) => flow.break_off().await,
            };
            Some((Ok(bytes), flow))
        });
        response.insert_header((header::CACHE_CONTROL, "no-cache")).insert_header(("x-accel-buffering", "no"));
        Ok(response.streaming(body))
    }

    /// Records an answer that failed before its first byte was sent.
    async fn failed(self, answer: Answer, error: Error) -> Refused {
        let status = self.dialect.error(&error, &self.id).status;
        let stood = Some(answer.stood());
        let error = answer.close(status).await.err().unwrap_or(error);
        Refused { stood, ..recorded(error) }
    }

    /// For who looks closely: the record has a row for each anyway.
    fn log(&self, how: &str) {
        let duration_ms = self.started.elapsed().as_millis() as u64;
        debug!(request.id = %self.id, duration_ms, "{how} `{}`", self.api);
    }
}

/// The panic itself is in the log.
fn panicked() -> Error {
    Error::internal(anyhow::anyhow!("a request panicked"))
}

fn recorded(error: Error) -> Refused {
    Refused { recorded: true, ..error.into() }
}

/// About what a piece of text takes on the wire, with what stands around it.
const EVENT_BYTES: usize = 256;

/// A stream on its way to the client. Dropping it drops the answer, which ends the generation.
struct Flow {
    told: Told,
    answer: Option<Answer>,
    encoder: Box<dyn Encoder>,
    first: Option<News>,
    /// The end mark, held back until the result is on disk.
    end: Option<ChatEvent>,
    heartbeat: std::time::Duration,
    /// When the first byte was ready to be sent.
    sent: Instant,
    delivery_max: std::time::Duration,
}

impl Flow {
    /// Whether a client that reads, but ever so slowly, is to be cut off. It has as long as an answer may run, from the
    /// turn on, or from the first byte if that came later: a stream may have sent heartbeats while it waited for its turn.
    fn is_overdue(&self) -> bool {
        let began = self.answer.as_ref().and_then(Answer::began);
        began.is_some_and(|began| began.max(self.sent).elapsed() >= self.delivery_max)
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            let answer = self.answer.as_ref()?;
            let news = match self.first.take() {
                Some(news) => news,
                None => match tokio::time::timeout(self.heartbeat, answer.news()).await {
                    Ok(news) => news,
                    Err(_) => {
                        self.encoder.heartbeat(&mut out);
                        continue;
                    }
                },
            };
            panic_on_purpose("stream");
            match news {
                News::Events(events) => {
                    out.reserve(events.len() * EVENT_BYTES);
                    for event in events {
                        if matches!(event.what, Piece::End(_)) {
                            self.end = Some(event);
                        } else {
                            self.encoder.event(&event, &mut out);
                        }
                    }
                }
                News::Complete => self.finish(&mut out).await,
                News::Failed(error) => {
                    self.fail(&error, &mut out);
                    if let Some(answer) = self.answer.take()
                        && let Err(unrecorded) = answer.close(StatusCode::OK.as_u16()).await
                    {
                        reply::log(&unrecorded, &self.told.id);
                    }
                }
            }
        }
        Some(out.freeze())
    }

    /// Ends a stream whose making has panicked.
    async fn break_off(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        if let Some(answer) = self.answer.take() {
            answer.fails(panicked());
            if let Err(unrecorded) = answer.close(StatusCode::OK.as_u16()).await {
                reply::log(&unrecorded, &self.told.id);
            }
        }
        self.fail(&panicked(), &mut out);
        out.freeze()
    }

    async fn finish(&mut self, out: &mut BytesMut) {
        let Some(answer) = self.answer.take() else { return };
        match (answer.close(StatusCode::OK.as_u16()).await, self.end.take()) {
            (Ok(()), Some(end)) => {
                self.encoder.event(&end, out);
                self.told.log("streamed");
            }
            (Ok(()), None) => {
                let message = "the model server's answer has no end mark".to_owned();
                self.fail(&Error::UpstreamRefused { message }, out);
            }
            (Err(error), _) => self.fail(&error, out),
        }
    }

    fn fail(&mut self, error: &Error, out: &mut BytesMut) {
        reply::log(error, &self.told.id);
        self.encoder.error(error, out);
        self.told.log("broke off");
    }
}

/// A request may ask to stand behind the interactive ones, never before them.
fn class(request: &HttpRequest, who: &Identity) -> Result<Class, Error> {
    let Some(wish) = request.headers().get("x-queue-class") else { return Ok(who.class()) };
    let wish = wish.to_str().ok().and_then(|word| Class::parse(word).ok());
    let unknown = || Error::invalid("x-queue-class", "the header `x-queue-class` must be `interactive` or `batch`");
    Ok(who.class().max(wish.ok_or_else(unknown)?))
}

type Named = (HeaderName, header::HeaderValue);

fn add_headers(response: &mut HttpResponseBuilder, headers: impl IntoIterator<Item = Named>) {
    for header in headers {
        response.insert_header(header);
    }
}

fn queue_headers(stood: Stood) -> [Named; 2] {
    static POSITION: HeaderName = HeaderName::from_static("x-queue-position");
    static WAIT: HeaderName = HeaderName::from_static("x-queue-wait-ms");
    [(POSITION.clone(), stood.position.into()), (WAIT.clone(), (stood.wait.as_millis() as u64).into())]
}

/// Limit, remaining and reset, as OpenAI writes them.
fn standing_values(standing: &Standing) -> [header::HeaderValue; 3] {
    let reset = standing.reset.as_millis();
    let reset = if reset >= 1000 { format!("{}s", reset.div_ceil(1000)) } else { format!("{reset}ms") };
    let reset = header::HeaderValue::from_str(&reset).unwrap_or(header::HeaderValue::from_static("60s"));
    [standing.limit.into(), standing.remaining.into(), reset]
}
