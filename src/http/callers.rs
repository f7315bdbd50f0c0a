//! Extractors of callers: what a handler names in its signature is identified and checked before the handler runs.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use crate::auth::own_acts::OwnAct;
use crate::auth::{Auth, Denied, Identity};
use crate::base::error::Error;
use crate::dialect::{Dialect, openai::OpenAi};
use crate::http::head::{RequestHead, address};
use crate::http::refusals::note_refusal;
use crate::http::reply::ApiError;
use crate::model::people::Actor;
use crate::model::rights::Scope;

/// A user with a JWT. Tokens are refused.
pub struct Caller(pub Identity);

/// A user with a JWT, or a token with the scope `models` or `chat`.
pub struct ModelReader(pub Identity);

/// A user with a JWT, or a token with the scope `usage`.
pub struct UsageReader(pub Identity);

/// A user with a JWT, or a token with the scope `chat`, `embeddings` or `usage`.
pub struct QueueReader(pub Identity);

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

/// Identifies the caller, checks and wraps. A refusal is recorded, with the user where that is known.
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

/// Refuses tokens: managing users and tokens needs a JWT.
fn check_person(who: &Identity) -> Result<(), Error> {
    match who.token() {
        None => Ok(()),
        Some(_) => Err(Error::forbidden("no token opens this; sign in and use the JWT from POST /auth/token")),
    }
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
