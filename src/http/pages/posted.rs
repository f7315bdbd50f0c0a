//! Forms: who sent them, and from where.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::auth::Auth;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::config::Config;
use crate::http::access::explain;
use crate::http::body;
use crate::http::head::address;
use crate::http::pages::fault::{Confirmation, Fault};
use crate::http::pages::form_fields::{FORM_TOKEN, FormFields, PASSWORD_AGAIN};
use crate::http::pages::visit::{PageEntry, RenewedId, Visit, is_https};
use crate::http::refusals::note_refusal;

/// A form that was sent from a page of this gateway by somebody whom `E` lets in.
pub struct Posted<E> {
    pub visit: E,
    pub fields: FormFields,
}

impl<E: AsRef<Visit>> Posted<E> {
    /// Asks for the password again before `deed` is done, unless it was given within the last minutes. `deed` is as in
    /// "let in ann@example.org".
    pub fn needs_password(&self, deed: impl Into<String>) -> Result<(), Fault> {
        if self.visit.as_ref().session().is_some_and(|session| session.is_proven()) {
            return Ok(());
        }
        let confirmation = Confirmation { deed: deed.into(), fields: self.fields.clone(), problem: wrong_again(self) };
        Err(Fault::Confirm(Box::new(confirmation)))
    }
}

impl<E: PageEntry> Posted<E> {
    /// Verifies the password in `field`, however lately one was given. Returns the form with what is wrong with it, if anything.
    pub async fn prove_by(self, field: &str) -> Result<(Self, Option<String>), Fault> {
        let request = self.visit.as_ref().request().clone();
        prove(&request, self.fields.secret(field)).await?;
        // The session has a new id now.
        let proven = Posted { visit: E::enter(Visit::of(&request))?, fields: self.fields };
        let wrong = wrong_again(&proven);
        Ok((proven, wrong))
    }
}

fn wrong_again<E: AsRef<Visit>>(posted: &Posted<E>) -> Option<String> {
    posted.visit.as_ref().request().extensions().get::<WrongAgain>().map(|wrong| wrong.0.clone())
}

/// Why the password that was given again was not accepted.
struct WrongAgain(String);

impl<E: PageEntry + 'static> FromRequest for Posted<E> {
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fault>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let visit = E::enter(Visit::of(&request))?;
            check_origin(&request).inspect_err(|_| note_forged(&request, visit.as_ref()))?;
            let config = request.app_data::<web::Data<Config>>().ok_or_else(|| missing("configuration"))?;
            let body = body::read_own(
                &request,
                &mut web::Payload::from_request(&request, &mut { payload }).await.map_err(unread)?,
                &config.limits,
            )
            .await?;
            let fields = FormFields::parse(&body)?;
            let Some(session) = visit.as_ref().session().cloned() else { return Ok(Posted { visit, fields }) };
            if E::HAS_FORM_TOKEN && !session.sent(fields.text(FORM_TOKEN)) {
                note_forged(&request, visit.as_ref());
                return Err(Fault::Forged);
            }
            if !fields.has(PASSWORD_AGAIN) || session.is_proven() {
                return Ok(Posted { visit, fields });
            }
            prove(&request, fields.secret(PASSWORD_AGAIN)).await?;
            // The session has a new id now.
            Ok(Posted { visit: E::enter(Visit::of(&request))?, fields })
        })
    }
}

/// Verifies the password that was given again. A wrong one is told on the page that asks for it.
async fn prove(request: &HttpRequest, password: Secret<String>) -> Result<(), Fault> {
    let auth = request.app_data::<web::Data<Auth>>().ok_or_else(|| missing("authentication"))?;
    let visit = Visit::of(request);
    let Some(session) = visit.session() else { return Err(Fault::SignedOut) };
    match auth.prove_again(session, password, address(request)).await {
        Ok(id) => {
            request.extensions_mut().insert(RenewedId(id));
        }
        Err(error @ (Error::Unauthenticated { .. } | Error::RateLimited { .. })) => {
            note_refusal(request, session.identity().map(|who| who.whose()), &error);
            if Visit::of(request).session().is_none() {
                // It was one wrong password too many.
                return Err(Fault::Away("/sign-in?done=wrong".into()));
            }
            request.extensions_mut().insert(WrongAgain(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Accepts a form of a page of this gateway alone. Browsers name the page's origin with each form; the one that they were led to
/// is in `Host`, which the entrance has checked.
fn check_origin(request: &HttpRequest) -> Result<(), Fault> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(Fault::Forged);
    }
    let origin = header(header::ORIGIN.as_str()).ok_or(Fault::Forged)?;
    // A proxy that is not trusted may speak https with the browser and not tell it.
    let schemes: &[&str] = if is_https(request) { &["https"] } else { &["http", "https"] };
    let authority = origin.split_once("://").filter(|(scheme, _)| schemes.contains(scheme)).map(|(_, host)| host);
    let host = header(header::HOST.as_str());
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Fault::Forged),
    }
}

fn note_forged(request: &HttpRequest, visit: &Visit) {
    let who = visit.session().and_then(|session| session.identity()).map(|who| who.whose());
    explain(request, "a form came from another site, or from before the sign-in", None);
    note_refusal(request, who, &Error::forbidden("the form came from elsewhere"));
}

fn missing(what: &'static str) -> Fault {
    Fault::Refused(Error::internal(anyhow::anyhow!("no {what} among the parts")))
}

fn unread(error: actix_web::Error) -> Fault {
    Fault::Refused(Error::invalid("body", format!("the form can't be read: {error}")))
}
