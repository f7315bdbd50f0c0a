//! Who may pass: extractors for people, networks that are served, the quota of an address.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Instant;

use actix_governor::governor::NotUntil;
use actix_governor::governor::clock::{Clock, DefaultClock, QuantaInstant};
use actix_governor::{GovernorConfigBuilder, KeyExtractor};
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, web};
use futures_util::FutureExt;
use ipnet::IpNet;

use crate::auth::own_acts::OwnAct;
use crate::auth::{Auth, Denied, Identity, Whose};
use crate::base::error::Error;
use crate::dialect::{Dialect, legacy::Legacy, openai::OpenAi};
use crate::gateway::Gateway;
use crate::http::framing::Framing;
use crate::http::head::{RequestHead, address, request_id};
use crate::http::hosts::Hosts;
use crate::http::reply::{ApiError, respond};
use crate::http::{AddressQuota, GUARDED, refuse};
use crate::model::people::Actor;
use crate::model::rights::Scope;
use crate::rules::audit::Refusal;

/// A person with a JWT. No token opens what asks for one.
pub struct Caller(pub Identity);

/// Whoever may see which models there are: a person, or a token for that or for chats.
pub struct ModelReader(pub Identity);

/// Whoever may see what they used: a person, or a token for that.
pub struct UsageReader(pub Identity);

/// Whoever may see their place in the queue: a person, or a token that can have one or may see usage.
pub struct QueueReader(pub Identity);

impl Caller {
    pub fn actor(&self) -> Actor {
        Actor(Some(self.0.user_id()))
    }
}

/// A person with a JWT who is about to do what leaves a row for good. That is counted.
pub struct Doer(pub Identity);

impl Doer {
    pub fn actor(&self) -> Actor {
        Actor(Some(self.0.user_id()))
    }
}

/// An admin with a JWT.
pub struct Admin(pub Identity);

impl Admin {
    pub fn actor(&self) -> Actor {
        Actor(Some(self.0.user_id()))
    }
}

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract(request, |_, who| check_person(who), Caller)
    }
}

impl FromRequest for Doer {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check = |request: &HttpRequest, who: &Identity| {
            check_person(who)?;
            auth(request)?.own_acts.count(who.user(), OwnAct::Change)
        };
        extract(request, check, Doer)
    }
}

impl FromRequest for ModelReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check =
            |request: &HttpRequest, who: &Identity| who.check_use(&[Scope::Models, Scope::Chat], address(request));
        extract(request, check, ModelReader)
    }
}

impl FromRequest for UsageReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check = |request: &HttpRequest, who: &Identity| who.check_use(&[Scope::Usage], address(request));
        extract(request, check, UsageReader)
    }
}

impl FromRequest for QueueReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let scopes = [Scope::Chat, Scope::Embeddings, Scope::Usage];
        extract(request, move |request, who| who.check_use(&scopes, address(request)), QueueReader)
    }
}

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check = |_: &HttpRequest, who: &Identity| match check_person(who) {
            Ok(()) if !who.is_admin() => Err(Error::forbidden("only an admin may do this")),
            checked => checked,
        };
        extract(request, check, Admin)
    }
}

/// Identifies, checks and wraps; a refusal goes on record, with the person when that much is known.
fn extract<T: 'static>(
    request: &HttpRequest,
    check: impl Fn(&HttpRequest, &Identity) -> Result<(), Error> + 'static,
    wrap: impl Fn(Identity) -> T + 'static,
) -> Extracting<T> {
    let request = request.clone();
    Box::pin(async move {
        let denied = match identify(&request).await {
            Ok(who) => match check(&request, &who) {
                Ok(()) => return Ok(wrap(who)),
                Err(error) => Denied { error, whose: Some(who.whose()) },
            },
            Err(denied) => denied,
        };
        note_refusal(&request, denied.whose, &denied.error);
        Err(ApiError::new(denied.error, &request))
    })
}

/// A token is for asking models; what governs people and tokens needs the person.
fn check_person(who: &Identity) -> Result<(), Error> {
    match who.token() {
        None => Ok(()),
        Some(_) => Err(Error::forbidden("no token opens this; sign in and use the JWT from POST /auth/token")),
    }
}

/// Writes a refusal of the gateway's own routes to the record.
pub fn note_refusal(request: &HttpRequest, who: Option<Whose>, error: &Error) {
    let Some(gateway) = request.app_data::<web::Data<Gateway>>() else { return };
    let path = request.path();
    let api = GUARDED.iter().copied().find(|guarded| *guarded == path);
    let family = if path.starts_with("/v1/") { "/v1" } else { "/api/v1" };
    gateway.audit().refused(Refusal {
        id: request_id(request),
        who,
        address: address(request),
        api: api.unwrap_or(family),
        model: None,
        provider: None,
        reason: error.code(),
        status: OpenAi.error(error, &request_id(request)).status,
    });
}

fn auth(request: &HttpRequest) -> Result<&Auth, Error> {
    let auth = request.app_data::<web::Data<Auth>>();
    auth.map(|auth| auth.get_ref()).ok_or_else(|| Error::internal(anyhow::anyhow!("no Auth")))
}

async fn identify(request: &HttpRequest) -> Result<Identity, Denied> {
    let auth = auth(request)?;
    let credential = OpenAi.credential(&RequestHead::of(request, ""))?;
    let credential = credential.ok_or_else(|| Error::bad_token("none was sent; send `Authorization: Bearer …`"))?;
    auth.identify(credential, address(request)).await
}

/// Networks whose clients are served.
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    fn serve(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The outermost layer of ours: strangers are turned away, and every answer bears its id and the headers that keep it from
/// being misread.
pub async fn stamp(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let id = request_id(request.request());
    let is_openais = request.path().starts_with("/v1/");
    let framing = Framing::of(&mut request);
    let mut response = match check_way_in(request.request()) {
        Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(response) => response?.map_into_boxed_body(),
            // The panic itself is in the log. A client that hears nothing would wait.
            Err(_) => return Err(ApiError::of(Error::internal(anyhow::anyhow!("a request panicked")), id).into()),
        },
        Err(error) => {
            let refusal = refuse(request.request(), error);
            request.into_response(refusal).map_into_boxed_body()
        }
    };
    static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    static PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    if is_openais {
        // Of a stream this is the time to its head.
        let spent_ms = started.elapsed().as_millis() as u64;
        headers.insert(PROCESSING.clone(), spent_ms.into());
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(framing.apply(response))
}

/// Who comes from a foreign network, under a foreign name or from a foreign page is turned away unread.
fn check_way_in(request: &HttpRequest) -> Result<(), Error> {
    let served = match (request.app_data::<web::Data<Networks>>(), address(request)) {
        (Some(networks), Some(address)) => networks.serve(address),
        _ => false,
    };
    if !served {
        let message = "this gateway serves its own network alone; an admin can add yours to `allow_networks`";
        return Err(Error::forbidden(message));
    }
    let hosts = request.app_data::<web::Data<Hosts>>().ok_or_else(|| Error::internal(anyhow::anyhow!("no Hosts")))?;
    // Somebody of ours was led here, or uses a name that is missing in the configuration: an admin should see it.
    hosts.check(request).inspect_err(|error| note_refusal(request, None, error))
}

/// The key of the quota in front of passwords: the address of the peer. A refusal speaks the route's dialect.
#[derive(Clone)]
pub struct AddressKey(&'static dyn Dialect);

impl KeyExtractor for AddressKey {
    type Key = IpAddr;
    type KeyExtractionError = NoAddress;

    fn extract(&self, request: &ServiceRequest) -> Result<IpAddr, NoAddress> {
        address(request.request()).ok_or(NoAddress)
    }

    fn exceed_rate_limit_response(&self, negative: &NotUntil<QuantaInstant>, _: HttpResponseBuilder) -> HttpResponse {
        let retry_after = negative.wait_time_from(DefaultClock::default().now());
        let message = "too many requests from this address; try again in a moment".to_owned();
        respond(self.0.error(&Error::RateLimited { message, retry_after }, &crate::base::ids::RequestId::fresh()))
    }
}

/// A TCP connection always has an address; this is for the type alone.
#[derive(Debug)]
pub struct NoAddress;

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connection without an address")
    }
}

impl ResponseError for NoAddress {}

/// The quotas of an address, shared by all workers: one for accounts, one for `/chat`, each with its own dialect.
#[derive(Clone)]
pub struct AddressQuotas {
    pub accounts: AddressQuota,
    pub chat: AddressQuota,
}

impl AddressQuotas {
    /// `None` when the limit can't be made into a quota, which the configuration's bounds exclude.
    pub fn new(per_minute: u32) -> Option<Self> {
        Some(AddressQuotas { accounts: quota(per_minute, &OpenAi)?, chat: quota(per_minute, &Legacy)? })
    }

    /// Forgets addresses that have their whole quota again: the maps only grow by themselves.
    pub fn sweep(&self) {
        self.accounts.limiter().retain_recent();
        self.chat.limiter().retain_recent();
    }
}

fn quota(per_minute: u32, dialect: &'static dyn Dialect) -> Option<AddressQuota> {
    GovernorConfigBuilder::default()
        .milliseconds_per_request((60_000 / u64::from(per_minute.max(1))).max(1))
        .burst_size(per_minute)
        .key_extractor(AddressKey(dialect))
        .finish()
}
