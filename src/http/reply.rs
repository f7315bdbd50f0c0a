//! Values to responses: a dialect's `Reply`, and the JSON of the gateway's own API.

use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use tracing::{error, warn};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::{Dialect, Reply, openai::OpenAi, wire};
use crate::http::head::request_id;

pub fn respond(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in reply.headers {
        response.insert_header((name, value));
    }
    response.insert_header((header::CONTENT_TYPE, reply.content_type)).body(reply.body)
}

/// An error of the gateway's own API: OpenAI's envelope.
pub struct ApiError {
    error: Error,
    id: RequestId,
}

/// What a handler of the gateway's own API returns.
pub type ApiResult = Result<HttpResponse, ApiError>;

impl ApiError {
    pub fn new(error: Error, request: &HttpRequest) -> Self {
        ApiError { error, id: request_id(request) }
    }

    pub fn of(error: Error, id: RequestId) -> Self {
        ApiError { error, id }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        let reply = OpenAi.error(&self.error, &self.id);
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        log(&self.error, &self.id);
        respond(OpenAi.error(&self.error, &self.id))
    }
}

/// Logs an error that someone should look into, once, at the boundary. A refusal is not one.
pub fn log(error: &Error, id: &RequestId) {
    match error {
        Error::Internal { cause } | Error::AuditUnavailable { cause } => {
            error!(request.id = %id, code = error.code(), cause = format!("{cause:#}"), "request failed");
        }
        Error::UpstreamDown { cause } => {
            warn!(request.id = %id, code = error.code(), cause = format!("{cause:#}"), "the upstream can't be reached");
        }
        Error::UpstreamRefused { .. } | Error::UpstreamDied { .. } | Error::Timeout { .. } => {
            // The upstream's message may quote the prompt or the answer, which only the record may hold.
            warn!(request.id = %id, code = error.code(), "the upstream failed");
        }
        _ => {}
    }
}

pub fn json(status: StatusCode, value: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, wire::JSON)).body(wire::json_bytes(value))
}

/// Returns a view as JSON with status 200, or the error.
pub fn answer(request: &HttpRequest, result: Result<impl Serialize, Error>) -> ApiResult {
    answer_as(StatusCode::OK, request, result)
}

/// Returns a view as JSON with this status, or the error.
pub fn answer_as(status: StatusCode, request: &HttpRequest, result: Result<impl Serialize, Error>) -> ApiResult {
    result.map(|view| json(status, &view)).map_err(|error| ApiError::new(error, request))
}

/// Returns status 204 without a body, or the error.
pub fn answer_done(request: &HttpRequest, result: Result<(), Error>) -> ApiResult {
    result.map(|()| HttpResponse::NoContent().finish()).map_err(|error| ApiError::new(error, request))
}
