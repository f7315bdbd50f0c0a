//! Extractors for callers: what a handler names in its signature is authenticated and checked before it runs.

use std::future::{Future, ready};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use crate::auth::own_acts::OwnAct;
use crate::auth::{Auth, Denied, Identity};
use crate::base::error::Error;
use crate::dialect::{Dialect, openai::OpenAi};
use crate::http::access::sent_by;
use crate::http::head::{RequestHead, address, values_of};
use crate::http::refusals::note_refusal;
use crate::http::reply::ApiError;
use crate::model::credential::Credential;
use crate::model::people::Actor;
use crate::model::rights::Scope;
use crate::rules::accounts::Accounts;

/// A user with a JWT. Tokens are refused.
pub struct Caller(pub Identity);

/// The caller: a user, or the operator of the host over the control socket.
pub enum Asker {
    Host,
    Account(Identity),
}

impl Asker {
    /// Returns who acts, for the record. The host has no account.
    pub fn actor(&self) -> Actor {
        Actor(self.identity().map(Identity::user_id))
    }

    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Asker::Host => None,
            Asker::Account(who) => Some(who),
        }
    }
}

/// Marks the services behind the control socket, and no others: their callers are the operator of the host.
pub struct HostDoor;

pub fn is_from_the_host(request: &HttpRequest) -> bool {
    request.app_data::<HostDoor>().is_some()
}

/// A user with a JWT, or a token with the scope `usage`.
pub struct UsageReader(pub Identity);

/// A user with a JWT, or a token with the scope `chat`, `embeddings` or `usage`.
pub struct QueueReader(pub Asker);

impl Caller {
    pub fn actor(&self) -> Actor {
        Actor(Some(self.0.user_id()))
    }
}

/// A user with a JWT whose act leaves a permanent row. Such acts are counted and limited.
pub struct Doer(pub Identity);

impl Doer {
    pub fn actor(&self) -> Actor {
        Actor(Some(self.0.user_id()))
    }
}

/// Who may see tokens: a user with a JWT, or the host.
pub struct TokenReader(pub Asker);

/// Who may change tokens: a user with a JWT, whose changes are counted, or the host.
pub struct TokenKeeper(pub Asker);

/// An admin with a JWT, or the host.
pub struct Admin(pub Asker);

/// An admin with a JWT, a token of an admin with the scope `metrics`, or the host.
pub struct MetricsReader(pub Asker);

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
        extract(request, check_doer, Doer)
    }
}

impl FromRequest for TokenReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract_asker(request, |_, who| check_person(who), TokenReader)
    }
}

impl FromRequest for TokenKeeper {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract_asker(request, check_doer, TokenKeeper)
    }
}

impl FromRequest for UsageReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check = |request: &HttpRequest, who: &Identity| {
            check_own_token(who)?;
            who.check_use(&[Scope::Usage], address(request))
        };
        extract(request, check, UsageReader)
    }
}

impl FromRequest for QueueReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let scopes = [Scope::Chat, Scope::Embeddings, Scope::Usage];
        let check = move |request: &HttpRequest, who: &Identity| {
            check_own_token(who)?;
            who.check_use(&scopes, address(request))
        };
        extract_asker(request, check, QueueReader)
    }
}

impl FromRequest for MetricsReader {
    type Error = ApiError;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let check = |request: &HttpRequest, who: &Identity| match who.token() {
            Some(_) => who.check_use(&[Scope::Metrics], address(request)),
            None if who.is_admin() => Ok(()),
            None => Err(Error::forbidden("only an admin may do this")),
        };
        extract_asker(request, check, MetricsReader)
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
        extract_asker(request, check, Admin)
    }
}

/// Extracts the caller of a route that the host has, too. The rights of the socket file are its authentication.
fn extract_asker<T: 'static>(
    request: &HttpRequest,
    check: impl Fn(&HttpRequest, &Identity) -> Result<(), Error> + 'static,
    wrap: impl Fn(Asker) -> T + 'static,
) -> Extracting<T> {
    if is_from_the_host(request) {
        return Box::pin(ready(Ok(wrap(Asker::Host))));
    }
    extract(request, check, move |who| wrap(Asker::Account(who)))
}

/// Authenticates the caller, checks and wraps. A refusal is recorded, with the user if known.
fn extract<T: 'static>(
    request: &HttpRequest,
    check: impl Fn(&HttpRequest, &Identity) -> Result<(), Error> + 'static,
    wrap: impl Fn(Identity) -> T + 'static,
) -> Extracting<T> {
    let request = request.clone();
    Box::pin(async move {
        let checked = checked(&OpenAi, &request, check).await;
        checked.map(wrap).map_err(|error| ApiError::new(error, &request))
    })
}

/// Returns who asks for models: a user with a JWT, or a token with the scope `models` or `chat`, or the host.
pub async fn model_reader(dialect: &dyn Dialect, request: &HttpRequest) -> Result<Asker, Error> {
    if is_from_the_host(request) {
        return Ok(Asker::Host);
    }
    let check = |request: &HttpRequest, who: &Identity| who.check_use(&[Scope::Models, Scope::Chat], address(request));
    checked(dialect, request, check).await.map(Asker::Account)
}

/// Returns who asks for an answer of theirs: a user with a JWT, or a token with the scope `chat`.
pub async fn chat_caller(dialect: &dyn Dialect, request: &HttpRequest) -> Result<Identity, Error> {
    checked(dialect, request, |request, who| who.check_use(&[Scope::Chat], address(request))).await
}

/// Authenticates the caller by the credential that `dialect` finds, and checks. A refusal is recorded, with the user if known.
async fn checked(
    dialect: &dyn Dialect,
    request: &HttpRequest,
    check: impl Fn(&HttpRequest, &Identity) -> Result<(), Error>,
) -> Result<Identity, Error> {
    let denied = match identify(dialect, request).await {
        Ok(who) => {
            sent_by(request, &who);
            match check(request, &who) {
                Ok(()) => return Ok(who),
                Err(error) => Denied::of(who.whose(), error),
            }
        }
        Err(denied) => denied,
    };
    note_refusal(request, denied.whose(), &denied.error);
    Err(denied.error)
}

/// Refuses tokens, and users who make changes too often.
fn check_doer(request: &HttpRequest, who: &Identity) -> Result<(), Error> {
    check_person(who)?;
    auth(request)?.own_acts.count(who, OwnAct::Change)
}

/// Refuses tokens: managing users and tokens needs a JWT.
fn check_person(who: &Identity) -> Result<(), Error> {
    match who.token() {
        None => Ok(()),
        Some(_) => Err(Error::forbidden("no token opens this; sign in and use the JWT from POST /auth/token")),
    }
}

/// Refuses delegating tokens: what they bring of other people is requests to models, and the gateway's own API is closed to them.
fn check_own_token(who: &Identity) -> Result<(), Error> {
    match who.token().filter(|token| token.delegating) {
        None => Ok(()),
        Some(token) => Err(Error::forbidden(format!("the token `{}` is for requests to models alone", token.name))),
    }
}

pub fn auth(request: &HttpRequest) -> Result<&Auth, Error> {
    let auth = request.app_data::<web::Data<Auth>>();
    auth.map(|auth| auth.get_ref()).ok_or_else(|| Error::internal(anyhow::anyhow!("no Auth")))
}

/// Authenticates the sender of a request. A person without an account whom a tool names is registered, where that is set.
pub async fn identified(request: &HttpRequest, auth: &Auth, credential: Credential) -> Result<Identity, Denied> {
    let source = address(request);
    let mut denied = match auth.identify(credential, source, &values_of(request)).await {
        Ok(who) => return Ok(who),
        Err(denied) => denied,
    };
    if let Some(stranger) = &denied.stranger
        && let Some(accounts) = request.app_data::<web::Data<Accounts>>()
        && let Err(error) = accounts.register_by_token(stranger, source).await
    {
        denied.error = error;
    }
    Err(denied)
}

async fn identify(dialect: &dyn Dialect, request: &HttpRequest) -> Result<Identity, Denied> {
    let auth = auth(request)?;
    let credential = dialect.credential(&RequestHead::of(request, ""))?;
    let credential = credential.ok_or_else(|| Error::bad_token("none was sent; send `Authorization: Bearer …`"))?;
    identified(request, auth, credential).await
}
