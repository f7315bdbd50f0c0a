//! Refusals outside of the dialects' routes: the row in the record, and the answer in the shape that the path's clients read.

use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::auth::Whose;
use crate::base::error::Error;
use crate::dialect::{Dialect, of_client, openai::OpenAi};
use crate::gateway::Gateway;
use crate::http::access::{explain, was_refused, was_tried};
use crate::http::head::{RequestHead, address, request_id};
use crate::http::reply::respond;
use crate::http::{GUARDED, OWN_API};
use crate::model::credential::Username;
use crate::model::people::UserStatus;
use crate::rules::audit::Refusal;
use crate::store::Store;

/// Records a refusal of one of the gateway's own routes.
pub fn note_refusal(request: &HttpRequest, who: Option<Whose>, error: &Error) {
    was_refused(request, error.code());
    if let Some(who) = who {
        note_owner(request, who);
    }
    let Some(gateway) = request.app_data::<web::Data<Gateway>>() else { return };
    let path = request.path();
    let api = GUARDED.iter().copied().find(|guarded| *guarded == path);
    let dialect = of_client(&RequestHead::of(request, ""));
    let family = dialect.map_or(OWN_API, Dialect::root);
    gateway.audit().refused(Refusal {
        id: request_id(request),
        who,
        address: address(request),
        api: api.unwrap_or(family),
        model: None,
        provider: None,
        reason: error.code(),
        status: dialect.unwrap_or(&OpenAi).error(error, &request_id(request)).status,
    });
}

/// Notes for the log whose credential was refused.
pub fn note_owner(request: &HttpRequest, who: Whose) {
    if let Some(store) = request.app_data::<web::Data<Store>>()
        && let Some(user) = store.people().by_id(who.user_id)
    {
        was_tried(request, &user.public_id);
    }
}

/// Notes for the log why a sign-in with this name was refused. The client is told the same in each case.
pub fn note_sign_in(request: &HttpRequest, name: &str, error: &Error) {
    let Some(store) = request.app_data::<web::Data<Store>>() else { return };
    let people = store.people();
    let user = people.by_name(Username::of(name).as_str());
    if let Some(user) = user {
        was_tried(request, &user.public_id);
    }
    if let Error::Unauthenticated { .. } = error {
        let cause = match user.map(|user| user.status) {
            None => "there is no account of this name",
            Some(UserStatus::Active) => "the password is wrong, or its one-time code is over",
            Some(UserStatus::Pending) => "the account waits for approval, or the password is wrong",
            Some(_) => "the account is disabled",
        };
        explain(request, cause, None);
    }
}

/// Answers a request that no handler takes, in the dialect of its path, and closes the connection.
pub fn refuse(request: &HttpRequest, error: Error) -> HttpResponse {
    refuse_in(of_client(&RequestHead::of(request, "")), request, error)
}

/// The same in this dialect; `None`: as the gateway's own API does.
pub fn refuse_in(dialect: Option<&'static dyn Dialect>, request: &HttpRequest, error: Error) -> HttpResponse {
    let dialect = dialect.unwrap_or(&OpenAi);
    let mut response = respond(dialect.error(&error, &request_id(request)));
    let id = HeaderValue::from_str(&request_id(request).to_string());
    if let (Some(name), Ok(id)) = (dialect.request_id_header(), id) {
        // The path may be that of another dialect, which has no such header.
        response.headers_mut().insert(HeaderName::from_static(name), id);
    }
    // The body was not read; keeping the connection would mean reading it to its end. actix writes `Connection` from this alone
    // and ignores a header of that name.
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}
