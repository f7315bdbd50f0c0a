//! Refusals outside of the dialects' routes: the row in the record, and the answer in the shape that the path's clients read.

use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::auth::Whose;
use crate::base::error::Error;
use crate::dialect::{Dialect, of_client, openai::OpenAi};
use crate::gateway::Gateway;
use crate::http::access::was_refused;
use crate::http::head::{RequestHead, address, request_id};
use crate::http::reply::respond;
use crate::http::{GUARDED, OWN_API};
use crate::rules::audit::Refusal;

/// Records a refusal of one of the gateway's own routes.
pub fn note_refusal(request: &HttpRequest, who: Option<Whose>, error: &Error) {
    was_refused(request, error.code());
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

/// Answers a request that no handler takes, in the dialect of its path, and closes the connection.
pub fn refuse(request: &HttpRequest, error: Error) -> HttpResponse {
    let dialect = of_client(&RequestHead::of(request, "")).unwrap_or(&OpenAi);
    let mut response = respond(dialect.error(&error, &request_id(request)));
    // The body was not read; keeping the connection would mean reading it to its end. actix writes `Connection` from this alone
    // and ignores a header of that name.
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}
