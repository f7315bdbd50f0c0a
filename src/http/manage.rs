//! Changes of the models of upstreams, in all dialects: for tokens of admins that may make them.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use crate::auth::{Auth, Identity, Whose};
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config::Config;
use crate::dialect::{ChangeAnswer, DecodedChange, Dialect, Manage, ManageRequest, wire};
use crate::gateway::{ChangeNews, ChangeRequest, Gateway, RunningChange, UPSTREAM_FIELD, stopped};
use crate::http::access::{asks_a_model, sent_by, was_refused};
use crate::http::callers::identified;
use crate::http::head::{RequestHead, address, request_id};
use crate::http::refusals::note_owner;
use crate::http::standing::{add_headers, limit_headers};
use crate::http::{body, reply};
use crate::model::manage::ModelChange;
use crate::rules::audit::Refusal;
use crate::rules::limits::Standing;
use crate::upstream::FileStream;

/// Serves a route of a dialect that is about changing models. Each refusal leaves one row.
pub async fn answer(
    dialect: &'static dyn Dialect,
    api: &'static str,
    manage: &'static Manage,
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
    asks_a_model(&request, api);
    let door = Door { dialect, api, manage, id, request: &request, gateway: &gateway, auth: &auth, config: &config };
    let mut known = Known::default();
    let error = match door.pass(payload, &mut known).await {
        Ok(response) => return response,
        Err(error) => error,
    };
    reply::log(&error, &id);
    let told = dialect.error(&error, &id);
    if !known.is_on_record {
        if let Some(who) = &known.who {
            gateway.breaker().refused(who, &error);
        }
        was_refused(&request, error.code());
        gateway.audit().refused(Refusal {
            id,
            who: known.whose,
            address: address(&request),
            api,
            model: known.model.as_deref(),
            provider: None,
            reason: error.code(),
            status: told.status,
        });
    }
    let mut response = reply::respond(told);
    for (name, value) in limit_headers(known.standing, None) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// What is known of a request so far, for the row and the headers of a refusal.
#[derive(Default)]
struct Known {
    /// For the record: known for an expired credential, too.
    whose: Option<Whose>,
    who: Option<Identity>,
    standing: Option<Standing>,
    model: Option<String>,
    /// The acts of a change are on record, so a failure needs no row of its own.
    is_on_record: bool,
}

struct Door<'a> {
    dialect: &'static dyn Dialect,
    api: &'static str,
    manage: &'static Manage,
    id: RequestId,
    request: &'a HttpRequest,
    gateway: &'a web::Data<Gateway>,
    auth: &'a Auth,
    config: &'a Config,
}

impl Door<'_> {
    async fn pass(&self, mut payload: web::Payload, known: &mut Known) -> Result<HttpResponse, Error> {
        if self.gateway.is_stopping() {
            return Err(stopped());
        }
        let who = self.identify(known).await?;
        if let ManageRequest::HasFile(digest) = self.manage.asks {
            let found = self.gateway.has_blob(self.upstream(), &digest(&self.path_id().await)?).await?;
            let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
            return Ok(HttpResponse::build(status).finish());
        }
        self.count(&who, known).await?;
        let (decoded, file) = match self.manage.asks {
            ManageRequest::Change(read) => {
                (read(&body::read_own(self.request, &mut payload, &self.config.limits).await?)?, None)
            }
            ManageRequest::Upload(digest) | ManageRequest::HasFile(digest) => {
                let change = ModelChange::Upload(digest(&self.path_id().await)?);
                let longest = self.config.models.file_bytes_max;
                body::check_file(self.request, longest)?;
                (
                    DecodedChange { change, answer: ChangeAnswer::Status, ignored: Vec::new() },
                    Some(file(payload, longest)),
                )
            }
        };
        let DecodedChange { change, answer, ignored } = decoded;
        known.model = change.model().map(|model| model.as_str().to_owned());
        let done = if file.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let upstream = self.upstream().map(str::to_owned);
        let asked = ChangeRequest { id: self.id, who, api: self.api, upstream, change, file };
        let change = self.gateway.change(asked).await?;
        known.is_on_record = true;
        let mut response = HttpResponse::build(done);
        add_headers(&mut response, limit_headers(known.standing, None));
        if !ignored.is_empty() {
            response.insert_header(("x-ignored-parameters", ignored.join(", ")));
        }
        match answer {
            ChangeAnswer::Stream => self.stream(response, change, self.gateway.answers().head_start).await,
            ChangeAnswer::Last | ChangeAnswer::Status => self.whole(response, change, answer).await,
        }
    }

    /// Returns the caller, if they may change models.
    async fn identify(&self, known: &mut Known) -> Result<Identity, Error> {
        let credential = self.dialect.credential(&RequestHead::of(self.request, ""))?;
        let credential = credential.ok_or_else(|| Error::bad_token("none was sent; send `Authorization: Bearer …`"))?;
        let who = identified(self.request, self.auth, credential).await.map_err(|denied| {
            known.whose = denied.whose();
            denied.whose().iter().for_each(|whose| note_owner(self.request, *whose));
            denied.error
        })?;
        known.whose = Some(who.whose());
        sent_by(self.request, &who);
        who.check_manages_models(address(self.request))?;
        Ok(who)
    }

    /// Counts the request, before its body is read.
    async fn count(&self, who: &Identity, known: &mut Known) -> Result<(), Error> {
        self.gateway.audit().check_disk()?;
        self.gateway.arrives(who).await?;
        match self.gateway.admit(who).await {
            Ok(admission) => {
                known.standing = Some(admission.requests);
                known.who = Some(who.clone());
                Ok(())
            }
            Err(denial) => {
                known.standing = Some(denial.standing);
                Err(denial.error)
            }
        }
    }

    /// Returns the upstream that the client named.
    fn upstream(&self) -> Option<&str> {
        // A name that is no text is none of an upstream.
        let name = self.request.headers().get(UPSTREAM_FIELD)?;
        Some(name.to_str().unwrap_or(""))
    }

    async fn path_id(&self) -> String {
        web::Path::<String>::extract(self.request).await.map(web::Path::into_inner).unwrap_or_default()
    }

    /// Answers when the change is done.
    async fn whole(
        &self,
        mut response: HttpResponseBuilder,
        mut change: RunningChange,
        answer: ChangeAnswer,
    ) -> Result<HttpResponse, Error> {
        let last = loop {
            match change.next().await {
                ChangeNews::Step(_) => {}
                ChangeNews::Done(step) => break step,
                ChangeNews::Failed(error) => return Err(error),
            }
        };
        if answer == ChangeAnswer::Status {
            return Ok(response.finish());
        }
        let mut out = BytesMut::new();
        (self.manage.step)(&last, &mut out);
        Ok(response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(out.freeze()))
    }

    /// Answers step by step. An error before the first step still has a status of its own.
    async fn stream(
        &self,
        mut response: HttpResponseBuilder,
        mut change: RunningChange,
        head_start: Duration,
    ) -> Result<HttpResponse, Error> {
        let first = match tokio::time::timeout(head_start, change.next()).await {
            Ok(ChangeNews::Failed(error)) => return Err(error),
            Ok(news) => Some(news),
            Err(_) => None,
        };
        let (manage, id) = (self.manage, self.id);
        let steps = stream::unfold((Some(change), first), move |(change, first)| async move {
            let mut change = change?;
            let news = match first {
                Some(first) => first,
                None => change.next().await,
            };
            let mut out = BytesMut::new();
            let more = match news {
                ChangeNews::Step(step) => {
                    (manage.step)(&step, &mut out);
                    Some(change)
                }
                ChangeNews::Done(step) => {
                    (manage.step)(&step, &mut out);
                    None
                }
                ChangeNews::Failed(error) => {
                    reply::log(&error, &id);
                    (manage.error)(&error, &mut out);
                    None
                }
            };
            Some((Ok::<Bytes, Error>(out.freeze()), (more, None)))
        });
        response.insert_header((header::CONTENT_TYPE, self.manage.content_type));
        response.insert_header((header::CACHE_CONTROL, "no-cache")).insert_header(("x-accel-buffering", "no"));
        Ok(response.streaming(steps))
    }
}

/// Returns a body as a file that is passed on while it arrives. One that grows beyond `longest` bytes breaks off.
fn file(payload: web::Payload, longest: u64) -> FileStream {
    Box::pin(payload.scan(0u64, move |length, chunk| {
        let chunk = chunk.map_err(|_| Error::invalid("body", "the request body was cut short")).and_then(|chunk| {
            *length = length.saturating_add(chunk.len() as u64);
            if *length > longest { Err(body::file_too_large(longest)) } else { Ok(chunk) }
        });
        async move { Some(chunk) }
    }))
}
