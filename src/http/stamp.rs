//! The outermost layer: checks the entrance, catches panics, frames the answer, adds the headers that each answer has, and begins
//! its line in the log.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use futures_util::FutureExt;

use crate::base::error::Error;
use crate::dialect::{Dialect, of_client};
use crate::http::access::{AccessLine, has_foreign_host, was_refused};
use crate::http::callers::is_from_the_host;
use crate::http::entrance::check_entrance;
use crate::http::framing::Framing;
use crate::http::head::{RequestHead, request_id};
use crate::http::pages::dress::refusal_page;
use crate::http::refusals::refuse;
use crate::http::reply::ApiError;
use crate::http::unknown::is_for_a_browser;

/// Answers every request, with its id and with headers against caching and sniffing.
pub async fn stamp(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let id = request_id(request.request());
    let mut line = AccessLine::begin(request.request(), id, is_from_the_host(request.request()));
    let dialect = of_client(&RequestHead::of(request.request(), ""));
    let spent_header = dialect.and_then(Dialect::spent_ms_header);
    let id_header = dialect.and_then(Dialect::request_id_header);
    let framing = Framing::of(&mut request);
    let mut response = match check_entrance(request.request()) {
        Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response.map_into_boxed_body(),
            Ok(Err(error)) => {
                line.answered(error.as_response_error().status_code().as_u16());
                return Err(error);
            }
            // The panic itself is in the log. Without an answer the client would wait.
            Err(_) => {
                line.answered(StatusCode::INTERNAL_SERVER_ERROR.as_u16());
                return Err(ApiError::of(Error::internal(anyhow::anyhow!("a request panicked")), id).into());
            }
        },
        Err(error) => {
            was_refused(request.request(), error.code());
            if let Error::Misdirected { host } = &error {
                has_foreign_host(request.request(), host);
            }
            let refusal = match is_for_a_browser(request.request()) {
                true => refusal_page(&error, request.request()),
                false => refuse(request.request(), error),
            };
            request.into_response(refusal).map_into_boxed_body()
        }
    };
    static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        if let Some(name) = id_header {
            headers.insert(HeaderName::from_static(name), id.clone());
        }
        headers.insert(REQUEST_ID.clone(), id);
    }
    if let Some(name) = spent_header {
        // For a stream, this is the time until its head.
        let spent_ms = started.elapsed().as_millis() as u64;
        headers.insert(HeaderName::from_static(name), spent_ms.into());
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::REFERRER_POLICY) {
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(line.follow(framing.apply(response)))
}
