//! Routes to an account: register, sign in, change the password.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Auth;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::config::Config;
use crate::dialect::wire;
use crate::http::body;
use crate::http::errors::ErrorBody;
use crate::http::head::{address, request_id};
use crate::http::refusals::{note_refusal, note_sign_in};
use crate::http::reply::{self, ApiError};
use crate::model::credential::Username;
use crate::rules::accounts::Accounts;

/// The message of every registration.
const NOTICE: &str = "Your registration waits for an admin's approval. Prompts and answers sent through this gateway are \
    recorded with your name and kept until an admin deletes them; admins can read them.";

#[derive(Deserialize, ToSchema)]
pub struct Register {
    #[schema(example = "ann@example.org")]
    email: String,
    /// At least 12 characters.
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// Always `pending`, whether the address was known or not.
    status: &'static str,
    message: &'static str,
}

/// Registers an account.
///
/// It can be used once an admin has approved it.
#[utoipa::path(post, path = "/api/v1/register", operation_id = "register", tag = "account", security(()), request_body = Register,
    responses((status = 202, body = Registered)))]
pub async fn register(
    request: HttpRequest,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let result = async {
        let asked: Register = body::json(&request, &mut payload, &config.limits).await?;
        accounts.register(&asked.email, asked.password, address(&request)).await
    };
    result.await.map_err(|error| ApiError::new(error, &request))?;
    Ok(reply::json(StatusCode::ACCEPTED, &Registered { status: "pending", message: NOTICE }))
}

#[derive(Deserialize, ToSchema)]
pub struct ChangePassword {
    #[schema(example = "ann@example.org")]
    username: String,
    #[schema(value_type = String, format = Password)]
    current_password: Secret<String>,
    /// At least 12 characters.
    #[schema(value_type = String, format = Password)]
    new_password: Secret<String>,
}

/// Changes your password.
///
/// A password that must be changed before anything else is changed here, too. JWTs issued before stop working.
#[utoipa::path(post, path = "/api/v1/password", operation_id = "change_password", tag = "account", security(()), request_body = ChangePassword,
    responses((status = 204, description = "Changed")))]
pub async fn password(
    request: HttpRequest,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let result = async {
        let asked: ChangePassword = body::json(&request, &mut payload, &config.limits).await?;
        let source = address(&request);
        let changed =
            accounts.change_password(&asked.username, asked.current_password, asked.new_password, source).await;
        changed.inspect_err(|error| note_sign_in(&request, &asked.username, error))
    };
    result.await.map_err(|error| {
        note_refusal(&request, None, &error);
        ApiError::new(error, &request)
    })?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize, ToSchema)]
pub struct Credentials {
    /// `password`, or absent.
    #[schema(example = "password")]
    grant_type: Option<String>,
    #[schema(example = "ann@example.org")]
    username: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

#[derive(Serialize, ToSchema)]
pub struct AccessToken {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 3600)]
    expires_in: u64,
}

/// RFC 6749, section 5.2.
#[derive(Serialize, ToSchema)]
pub struct TokenError {
    #[schema(example = "invalid_grant")]
    error: &'static str,
    error_description: String,
}

impl TokenError {
    /// Returns the status and the body of an error.
    pub fn of(error: &Error) -> (StatusCode, TokenError) {
        let (status, code) = match error {
            // SDKs and people expect 401 for a failed sign-in; RFC 6749 would say 400.
            Error::Unauthenticated { .. } | Error::Forbidden { .. } => (StatusCode::UNAUTHORIZED, "invalid_grant"),
            Error::Unsupported { .. } => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Error::EncodedBody { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Error::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
            Error::Unavailable { .. } | Error::AuditUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
            Error::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        (status, TokenError { error: code, error_description: error.to_string() })
    }
}

/// Too many wrong passwords, or too many requests from the address.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by the derive alone")]
enum TooOften {
    Ladder(TokenError),
    Address(ErrorBody),
}

/// Signs in and returns a JWT.
///
/// The name and the password come as JSON, or in the form of OAuth2's password flow.
#[utoipa::path(post, path = "/auth/token", operation_id = "sign_in", tag = "account", security(()),
    request_body = Credentials,
    responses(
        (status = 200, body = AccessToken),
        (status = 429, description = "Too many wrong passwords, or too many requests from this address", body = TooOften)))]
pub async fn token(
    request: HttpRequest,
    mut payload: web::Payload,
    auth: web::Data<Auth>,
    config: web::Data<Config>,
) -> HttpResponse {
    let result = async {
        let bytes = body::read_own(&request, &mut payload, &config.limits).await?;
        let asked = credentials(&request, &bytes)?;
        if asked.grant_type.as_deref().is_some_and(|grant| grant != "password") {
            return Err(Error::unsupported("grant_type", "`grant_type` must be `password`"));
        }
        let issued = auth.issue_token(&Username::of(&asked.username), asked.password, address(&request)).await;
        issued.inspect_err(|error| note_sign_in(&request, &asked.username, error))
    };
    match result.await {
        Ok((access_token, expires_in)) => {
            reply::json(StatusCode::OK, &AccessToken { access_token, token_type: "Bearer", expires_in })
        }
        Err(error) => {
            reply::log(&error, &request_id(&request));
            note_refusal(&request, None, &error);
            token_error(&error)
        }
    }
}

fn credentials(request: &HttpRequest, body: &[u8]) -> Result<Credentials, Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let form = media_type(kind).eq_ignore_ascii_case("application/x-www-form-urlencoded");
    // curl sends `-d` as a form unless a content type is given.
    if !form || body.trim_ascii_start().starts_with(b"{") {
        return body::parse(body);
    }
    web::Query::<Credentials>::from_query(std::str::from_utf8(body).unwrap_or_default())
        .map(web::Query::into_inner)
        .map_err(|_| Error::invalid("body", "the form needs `username` and `password`, each once"))
}

/// Returns the media type without parameters such as `charset`.
fn media_type(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

fn token_error(error: &Error) -> HttpResponse {
    let (status, body) = TokenError::of(error);
    let mut response = HttpResponse::build(status);
    for retry_header in wire::retry_headers(error) {
        response.insert_header(retry_header);
    }
    response.insert_header((header::CONTENT_TYPE, wire::JSON)).body(wire::json_bytes(&body))
}
