//! The one handler that all dialects share: authenticates, counts, reads the body, then calls the gateway.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::http::{ConnectionType, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::FutureExt;

use crate::auth::{Auth, Denied, Identity, Whose};
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::base::vital::panic_on_purpose;
use crate::config::Config;
use crate::dialect::{Decoded, Delivery, Dialect, Route};
use crate::gateway::{DecodedRequest, Gateway, Refused, stopped};
use crate::http::access::{asks_a_model, sent_by, was_refused};
use crate::http::callers::identified;
use crate::http::delivery::{Exchange, panicked};
use crate::http::head::{RequestHead, address, request_id};
use crate::http::kept::{followed, referred};
use crate::http::refusals::{note_owner, note_sign_in};
use crate::http::standing::{Named, add_headers, limit_headers, queue_headers};
use crate::http::{body, reply};
use crate::model::credential::Credential;
use crate::model::rights::Class;
use crate::rules::audit::{EndNote, Ending, Refusal};
use crate::rules::limits::bodies::{BodyBytes, Sender};
use crate::rules::limits::{Admission, Standing};

/// Serves a route of a dialect. Each refusal leaves one row.
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
    let mut known = Known::default();
    let api = route.path;
    let end = asks_a_model(&request, api);
    let door = Door { dialect, route, id, request: &request, gateway: &gateway, auth: &auth, config: &config, end };
    let mut refused = match AssertUnwindSafe(door.pass(payload, &mut known)).catch_unwind().await {
        Ok(Ok(response)) => return response,
        Ok(Err(refused)) => refused,
        // What the gateway held for the request was released when it was dropped.
        Err(_) => Refused { recorded: known.is_on_record, ..panicked().into() },
    };
    reply::log(&refused.error, &id);
    let told = dialect.error(&refused.error, &id);
    refused.recorded |= !refused.late.is_empty();
    for record in refused.late.drain(..) {
        record.close_soon(Ending::Refused(refused.error.code()), Some(told.status));
    }
    if !refused.recorded {
        if let Some(admitted) = &known.caller.admitted {
            gateway.breaker().refused(&admitted.who, &refused.error);
        }
        was_refused(&request, refused.error.code());
        gateway.audit().refused(Refusal {
            id,
            who: known.caller.whose,
            address: address(&request),
            api,
            model: known.model.as_deref(),
            provider: known.model.as_deref().and_then(|model| gateway.provider_of(model, &refused.error)),
            reason: refused.error.code(),
            status: told.status,
        });
    }
    let mut response = reply::respond(told);
    let stood = refused.stood.into_iter().flat_map(queue_headers);
    for (name, value) in known.caller.limit_headers().chain(stood) {
        response.headers_mut().insert(name, value);
    }
    if gateway.is_stopping() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

/// What is known of a request so far, for the row and the headers of a refusal. It outlives a panic.
#[derive(Default)]
struct Known {
    caller: CallerKnown,
    model: Option<String>,
    /// The intent is on record, so a result will be, too.
    is_on_record: bool,
}

#[derive(Default)]
struct CallerKnown {
    /// For the record: known for an expired credential, too.
    whose: Option<Whose>,
    admitted: Option<Admitted>,
    /// The rate limit of a caller who was refused for it.
    denied: Option<Standing>,
}

impl CallerKnown {
    fn limit_headers(&self) -> impl Iterator<Item = Named> {
        let admission = self.admitted.as_ref().map(|admitted| &admitted.admission);
        limit_headers(
            admission.map(|admission| admission.requests).or(self.denied),
            admission.and_then(|admission| admission.tokens),
        )
    }
}

/// A caller whose request was identified and counted. Dropping it releases what is reserved for a request that the gateway
/// did not run.
struct Admitted {
    who: Identity,
    admission: Admission,
}

impl Admitted {
    fn limit_headers(&self) -> impl Iterator<Item = Named> {
        limit_headers(Some(self.admission.requests), self.admission.tokens)
    }
}

/// An admitted request with its body.
struct Read<'k> {
    admitted: &'k mut Admitted,
    decoded: Decoded,
    memory: BodyBytes,
}

struct Door<'a> {
    dialect: &'static dyn Dialect,
    route: &'static Route,
    id: RequestId,
    request: &'a HttpRequest,
    gateway: &'a web::Data<Gateway>,
    auth: &'a Auth,
    config: &'a Config,
    end: EndNote,
}

impl Door<'_> {
    async fn pass(&self, payload: web::Payload, known: &mut Known) -> Result<HttpResponse, Refused> {
        let started = Instant::now();
        if self.gateway.is_stopping() {
            return Err(stopped().into());
        }
        let Read { admitted, decoded, memory } = self.read(payload, &mut known.caller).await?;
        let Decoded { work, reply, delivery, ignored, continuation, .. } = decoded;
        known.model = Some(work.model().as_str().to_owned());
        let asked = DecodedRequest {
            id: self.id,
            api: self.route.path,
            address: address(self.request),
            class: class(self.request, &admitted.who)?,
            who: admitted.who.clone(),
            work,
            ignored,
            notes: Vec::new(),
            settings: continuation.settings,
            memory,
            end: self.end.clone(),
        };
        let answers = self.gateway.answer_choices(asked, reply.choices(), &mut admitted.admission).await?;
        known.is_on_record = true;
        panic_on_purpose("handler");

        let mut response = HttpResponse::Ok();
        add_headers(&mut response, admitted.limit_headers());
        if !answers.ignored.is_empty() {
            response.insert_header(("x-ignored-parameters", answers.ignored.join(", ")));
        }
        if !answers.simplified.is_empty() {
            response.insert_header(("x-simplified-schema", answers.simplified.join(", ")));
        }
        let exchange = Exchange { dialect: self.dialect, api: self.route.path, id: self.id, started };
        match delivery {
            Delivery::Whole => exchange.whole(response, answers, reply).await,
            Delivery::Count => exchange.count(response, answers, reply, self.gateway.answers().count_wait).await,
            Delivery::Stream { content_type } => {
                let config = self.gateway.answers();
                response.insert_header((header::CONTENT_TYPE, content_type));
                exchange.stream(response, answers, reply, config.head_start, config.heartbeat, config.time_max).await
            }
        }
    }

    /// Admits the caller and reads the body, in the order that the credential asks for.
    async fn read<'k>(&self, mut payload: web::Payload, caller: &'k mut CallerKnown) -> Result<Read<'k>, Refused> {
        let head = RequestHead::of(self.request, self.config.default_model.as_str());
        body::check_head(self.request)?;
        match self.dialect.credential(&head)? {
            Some(credential) => {
                let admitted = self.admit(credential, caller).await?;
                let sender = Sender::User(admitted.who.user_id());
                let received = body::read(self.request, &mut payload, &self.config.limits, sender).await?;
                let decoded = self.dialect.decode(&head, &received)?;
                let (mut decoded, more) = self.refer(&head, &received, decoded, &admitted.who).await?;
                let mut memory = received.into_held();
                memory.add(more)?;
                self.follow(&mut decoded, &admitted.who, &mut memory).await?;
                Ok(Read { admitted, decoded, memory })
            }
            None if self.may_carry_credentials_in_its_body() => {
                let sender = body::stranger(self.request);
                let received = body::read(self.request, &mut payload, &self.config.limits, sender).await?;
                let mut decoded = self.dialect.decode(&head, &received)?;
                let memory = received.into_held();
                let credential = decoded.credential.take().ok_or_else(Error::bad_credentials)?;
                let admitted = self.admit(credential, caller).await?;
                let memory = memory.identified(admitted.who.user_id())?;
                Ok(Read { admitted, decoded, memory })
            }
            None => Err(Error::bad_token("none was sent; send `Authorization: Bearer …`").into()),
        }
    }

    /// Puts in the parts of earlier answers that the request has by their id. Returns the bytes that they take, too.
    async fn refer(
        &self,
        head: &RequestHead<'_>,
        body: &[u8],
        decoded: Decoded,
        who: &Identity,
    ) -> Result<(Decoded, usize), Error> {
        if decoded.continuation.refers.is_empty() {
            return Ok((decoded, 0));
        }
        let kept = referred(self.request, who, &decoded.continuation.refers, self.route.path).await?;
        let whole = self.dialect.decode_referring(head, body, &kept)?;
        let more = whole.work.bytes_held().saturating_sub(decoded.work.bytes_held());
        Ok((whole, more))
    }

    /// Puts the answer that the request goes on from, and its conversation, before its messages.
    async fn follow(&self, decoded: &mut Decoded, who: &Identity, memory: &mut BodyBytes) -> Result<(), Error> {
        let Some(follows) = decoded.continuation.follows else { return Ok(()) };
        let before = decoded.work.bytes_held();
        let kept = followed(self.request, who, follows, self.route.path).await?;
        self.dialect.follow(kept, &decoded.continuation, &mut decoded.work)?;
        memory.add(decoded.work.bytes_held().saturating_sub(before))
    }

    /// Returns whether the route takes credentials in the body: `/chat` alone.
    fn may_carry_credentials_in_its_body(&self) -> bool {
        self.route.path == "/chat"
    }

    /// Authenticates the caller, then counts the request, before anything that costs.
    async fn admit<'k>(
        &self,
        credential: Credential,
        caller: &'k mut CallerKnown,
    ) -> Result<&'k mut Admitted, Refused> {
        let name = match &credential {
            Credential::Password { username, .. } => Some(username.as_str().to_owned()),
            Credential::Bearer(_) => None,
        };
        let identified = identified(self.request, self.auth, credential).await;
        if let Err(denied) = &identified {
            name.iter().for_each(|name| note_sign_in(self.request, name, &denied.error));
            denied.whose().iter().for_each(|whose| note_owner(self.request, *whose));
        }
        caller.whose = identified.as_ref().map_or_else(Denied::whose, |who| Some(who.whose()));
        let who = identified.map_err(|denied| denied.error)?;
        sent_by(self.request, &who);
        who.check_use(&[self.route.scope()], address(self.request))?;
        self.gateway.audit().check_disk()?;
        self.gateway.arrives(&who).await?;
        match self.gateway.admit(&who).await {
            Ok(admission) => Ok(caller.admitted.insert(Admitted { who, admission })),
            Err(denial) => {
                caller.denied = Some(denial.standing);
                Err(denial.error.into())
            }
        }
    }
}

/// Returns the request's class: a header may lower it to `batch`, but never raise it.
fn class(request: &HttpRequest, who: &Identity) -> Result<Class, Error> {
    let Some(wish) = request.headers().get("x-queue-class") else { return Ok(who.class()) };
    let wish = wish.to_str().ok().and_then(|word| Class::parse(word).ok());
    let unknown = || Error::invalid("x-queue-class", "the header `x-queue-class` must be `interactive` or `batch`");
    Ok(who.class().max(wish.ok_or_else(unknown)?))
}
