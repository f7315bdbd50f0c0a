//! Extractors for visitors of pages: what a handler names in its signature has a session that allows it.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use askama::Template;

use crate::auth::sessions::{OpenSession, SessionId, SessionStanding};
use crate::auth::{Auth, Identity};
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::access::sent_by;
use crate::http::client::Client;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::Flash;
use crate::model::people::Actor;

/// The cookies of a session over plain HTTP and over https. A browser keeps the second one from https alone and sends it
/// nowhere else, so who changes plain traffic can't plant a session there.
const PLAIN_SESSION: &str = "lgw_session";
const SECURE_SESSION: &str = "__Host-lgw_session";

/// What a session keeps for its next page.
const FLASH: &str = "flash";

/// A request for a page, with its session if there is one.
#[derive(Clone)]
pub struct Visit {
    request: HttpRequest,
    session: Option<OpenSession>,
}

impl AsRef<Visit> for Visit {
    fn as_ref(&self) -> &Visit {
        self
    }
}

/// Anyone, with or without a session.
pub struct Guest(Visit);

/// Somebody with a session, also a restricted one.
pub struct SignedIn {
    visit: Visit,
    session: OpenSession,
}

/// A person whose session is open.
pub struct Member {
    visit: Visit,
    session: OpenSession,
    who: Identity,
}

/// A member who is an admin. For others the page doesn't exist.
pub struct AdminVisit(Member);

/// The new id of the session, for the cookie of the answer.
pub struct RenewedId(pub SessionId);

/// Who may make a visit.
pub trait PageEntry: Sized + AsRef<Visit> {
    /// Whether forms carry the session's field. Those of the door don't: they may be older than the session.
    const HAS_FORM_TOKEN: bool = true;

    fn enter(visit: Visit) -> Result<Self, Fault>;
}

impl Visit {
    /// Looks the session of a request up, and notes its use unless the request is for a live part.
    pub fn of(request: &HttpRequest) -> Visit {
        let renewed = request.extensions().get::<RenewedId>().map(|renewed| renewed.0.clone());
        let id = renewed
            .or_else(|| request.cookie(session_name(request)).map(|cookie| SessionId::new(cookie.value().to_owned())));
        let auth = request.app_data::<web::Data<Auth>>();
        let session = id.zip(auth).and_then(|(id, auth)| {
            let session = auth.sessions.find(id.expose())?;
            if !is_live(request) {
                auth.sessions.touch(&session);
            }
            Some(session)
        });
        Visit { request: request.clone(), session }
    }

    pub fn request(&self) -> &HttpRequest {
        &self.request
    }

    pub fn session(&self) -> Option<&OpenSession> {
        self.session.as_ref()
    }

    /// Returns a part that every worker has.
    pub fn part<T: 'static>(&self) -> Result<&T, Error> {
        let part = self.request.app_data::<web::Data<T>>().map(|part| part.get_ref());
        part.ok_or_else(|| Error::internal(anyhow::anyhow!("no {} among the parts", std::any::type_name::<T>())))
    }

    /// Returns a page.
    pub fn page(&self, page: &impl Template) -> PageResult {
        self.page_as(StatusCode::OK, page)
    }

    /// Returns a page with another status, as of a form that has to be corrected.
    pub fn page_as(&self, status: StatusCode, page: &impl Template) -> PageResult {
        Ok(html(status, render(page)?))
    }

    /// Leads to another page.
    pub fn to(&self, path: impl AsRef<str>) -> PageResult {
        Ok(see_other(path.as_ref()))
    }

    /// Leads to another page, which begins with what was just done.
    pub fn done(&self, path: impl AsRef<str>, flash: impl Into<Flash>) -> PageResult {
        if let Some(session) = &self.session {
            keep_flash(session, flash);
        }
        self.to(path)
    }

    /// Returns what was done before this page, once.
    pub fn take_flash(&self) -> Option<Flash> {
        let kept = self.session.as_ref()?.take(FLASH)?;
        serde_json::from_str(kept.expose()).ok()
    }

    /// Returns a cookie's value, as of the theme.
    pub fn choice(&self, cookie: &str) -> Option<String> {
        self.request.cookie(cookie).map(|cookie| cookie.value().to_owned())
    }

    /// Returns the first value of a field in the address.
    pub fn query(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.request.query_string().as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
    }

    /// Returns how times are written on this page: as of now, in the gateway's zone.
    pub fn times(&self) -> Result<PageTimes, Error> {
        Ok(PageTimes::new(self.part::<Config>()?.timezone.clone(), Timestamp::now()))
    }

    /// Returns the name under which the browser reached this host, as it wrote it.
    pub fn host(&self) -> String {
        let host = self.request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        host.unwrap_or("localhost").to_owned()
    }

    /// Returns the base of addresses that clients can use, as the browser wrote it.
    pub fn base_url(&self) -> String {
        format!("{}://{}", if is_https(&self.request) { "https" } else { "http" }, self.host())
    }

    /// Returns whether others on the network can read what the visitor sends.
    pub fn is_plain(&self) -> bool {
        Client::of(&self.request).is_some_and(Client::is_readable)
    }
}

impl SignedIn {
    pub fn open(&self) -> &OpenSession {
        &self.session
    }
}

impl Member {
    pub fn who(&self) -> &Identity {
        &self.who
    }

    pub fn open(&self) -> &OpenSession {
        &self.session
    }

    pub fn actor(&self) -> Actor {
        Actor(Some(self.who.user_id()))
    }
}

impl PageEntry for Guest {
    const HAS_FORM_TOKEN: bool = false;

    fn enter(visit: Visit) -> Result<Self, Fault> {
        Ok(Guest(visit))
    }
}

impl PageEntry for SignedIn {
    fn enter(visit: Visit) -> Result<Self, Fault> {
        let session = visit.session.clone().ok_or(Fault::SignedOut)?;
        Ok(SignedIn { visit, session })
    }
}

impl PageEntry for Member {
    fn enter(visit: Visit) -> Result<Self, Fault> {
        let session = visit.session.clone().ok_or(Fault::SignedOut)?;
        match (session.standing(), session.identity()) {
            (_, Some(who)) => {
                sent_by(&visit.request, &who);
                Ok(Member { visit, session, who })
            }
            (SessionStanding::Waiting, _) => Err(Fault::Away("/waiting".into())),
            (_, None) => Err(Fault::Away("/password?must=1".into())),
        }
    }
}

impl PageEntry for AdminVisit {
    fn enter(visit: Visit) -> Result<Self, Fault> {
        let member = Member::enter(visit)?;
        if member.who.is_admin() { Ok(AdminVisit(member)) } else { Err(Fault::Missing) }
    }
}

macro_rules! visits {
    ($($entry:ident through $field:tt to $target:ident;)+) => {$(
        impl Deref for $entry {
            type Target = $target;

            fn deref(&self) -> &$target {
                &self.$field
            }
        }

        impl AsRef<Visit> for $entry {
            fn as_ref(&self) -> &Visit {
                self.$field.as_ref()
            }
        }

        impl FromRequest for $entry {
            type Error = Fault;
            type Future = Ready<Result<Self, Fault>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready($entry::enter(Visit::of(request)))
            }
        }
    )+};
}

visits! {
    Guest through 0 to Visit;
    SignedIn through visit to Visit;
    Member through visit to Visit;
    AdminVisit through 0 to Member;
}

/// Returns whether a request is for a part of a page that renews itself.
pub fn is_live(request: &HttpRequest) -> bool {
    request.path().starts_with("/live/")
}

/// Returns whether the visitor speaks https, to the gateway or to a trusted proxy.
pub fn is_https(request: &HttpRequest) -> bool {
    Client::of(request).is_some_and(|client| client.is_https)
}

fn session_name(request: &HttpRequest) -> &'static str {
    if is_https(request) { SECURE_SESSION } else { PLAIN_SESSION }
}

/// Returns a cookie for the browser that sent `request`: for this gateway's own pages alone, and over https for no other way.
pub fn own_cookie(request: &HttpRequest, name: &'static str, value: impl Into<String>) -> Cookie<'static> {
    let cookie = Cookie::build(name, value.into()).path("/").http_only(true).same_site(SameSite::Strict);
    cookie.secure(is_https(request)).finish()
}

/// Returns the cookie that opens a session in the browser. Without an age it ends with the browser.
pub fn session_cookie(request: &HttpRequest, id: &SessionId) -> Cookie<'static> {
    own_cookie(request, session_name(request), id.expose().clone())
}

/// Returns the cookie that takes a session out of the browser.
pub fn no_session_cookie(request: &HttpRequest) -> Cookie<'static> {
    let mut cookie = own_cookie(request, session_name(request), "");
    cookie.make_removal();
    cookie
}

/// Keeps what was done for the next page of a session.
pub fn keep_flash(session: &OpenSession, flash: impl Into<Flash>) {
    session.keep(FLASH, serde_json::to_string(&flash.into()).unwrap_or_default());
}

pub fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

pub fn html(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8")).body(text)
}

pub fn render(page: &impl Template) -> Result<String, Fault> {
    page.render().map_err(|cause| Fault::Refused(Error::internal(anyhow::anyhow!("a page can't be rendered: {cause}"))))
}

/// Returns a path that stays on this gateway, as a place to go on after signing in.
pub fn local_path(path: &str) -> Option<&str> {
    const PATH_BYTES_MAX: usize = 2000;
    let is_local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic()) && path.len() <= PATH_BYTES_MAX;
    (is_local && is_plain).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_gateway() {
        for path in ["/", "/admin/record?text=a%20b&cursor=7", "/me"] {
            assert_eq!(local_path(path), Some(path));
        }
        for path in ["", "me", "//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/\r\nx: y", "/ä"]
        {
            assert_eq!(local_path(path), None, "{path:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(2000))), None);
    }
}
