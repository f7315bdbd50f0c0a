//! Admins: people.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::error::Error;
use crate::config::Config;
use crate::http::account::UserView;
use crate::http::body;
use crate::http::guard::Admin;
use crate::http::reply::{self, ApiError};
use crate::rules::accounts::{Accounts, ResetMode, Waiting, WaitingWish};
use crate::store::users::User;

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 500;

pub type Answer = Result<HttpResponse, ApiError>;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsersQuery {
    /// Part of the name.
    search: Option<String>,
    /// `pending`, `active` or `disabled`.
    status: Option<String>,
    /// The `next` of the page before.
    #[param(format = Uuid)]
    cursor: Option<String>,
    /// 50 when left out, at most 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct UserPage {
    items: Vec<UserView>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// Accounts, newest first.
#[utoipa::path(get, path = "/api/v1/users", tag = "admin", params(UsersQuery),
    responses((status = 200, body = UserPage), crate::http::docs::Refusals))]
pub async fn users(_: Admin, request: HttpRequest, accounts: web::Data<Accounts>) -> Answer {
    let page = async {
        let UsersQuery { search, status, cursor, limit } = query(&request)?;
        let limit = page_size(limit)?;
        let found = accounts.list(search.as_deref(), status.as_deref(), cursor, limit + 1).await?;
        let more = found.len() > limit;
        let items: Vec<&User> = found.iter().take(limit).map(|user| &**user).collect();
        let next = items.last().filter(|_| more).map(|user| user.public_id.clone());
        Ok(UserPage { items: items.into_iter().map(UserView::from).collect(), next })
    };
    answer(&request, page.await)
}

/// Lets a pending account in.
#[utoipa::path(post, path = "/api/v1/users/{id}/approve", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), crate::http::docs::Refusals))]
pub async fn approve(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> Answer {
    answer(&request, accounts.approve(admin.actor(), &id).await.map(|user| UserView::from(&user)))
}

/// Removes an account that waits for approval. It never came in, so nothing is lost and no receipt is needed.
#[utoipa::path(post, path = "/api/v1/users/{id}/turn-down", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 204, description = "Turned down"), crate::http::docs::Refusals))]
pub async fn turn_down(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> Answer {
    match accounts.turn_down(admin.actor(), &id).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

#[derive(Serialize, ToSchema)]
pub struct TurnedDown {
    /// How many accounts are gone.
    turned_down: usize,
}

/// Removes every account that waits for approval and meets all conditions that are given, of which one is needed.
#[utoipa::path(post, path = "/api/v1/users/turn-down", operation_id = "turn_down_all", tag = "admin",
    request_body = WaitingWish, responses((status = 200, body = TurnedDown), crate::http::docs::Refusals))]
pub async fn turn_down_all(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Answer {
    let result = async {
        let which = Waiting::parse(body::json(&request, &mut payload, &config.limits).await?)?;
        let turned_down = accounts.turn_down_all(admin.actor(), &which).await?;
        Ok(TurnedDown { turned_down })
    };
    answer(&request, result.await)
}

/// Shuts an account; its tokens end at once.
#[utoipa::path(post, path = "/api/v1/users/{id}/disable", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), crate::http::docs::Refusals))]
pub async fn disable(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> Answer {
    answer(&request, accounts.disable(admin.actor(), &id).await.map(|user| UserView::from(&user)))
}

/// Opens a disabled account again.
#[utoipa::path(post, path = "/api/v1/users/{id}/enable", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, body = UserView), crate::http::docs::Refusals))]
pub async fn enable(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
) -> Answer {
    answer(&request, accounts.enable(admin.actor(), &id).await.map(|user| UserView::from(&user)))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    /// `initial` (the default) sets `admin123`; `code` makes a random code that is shown once.
    #[schema(example = "code")]
    mode: Option<String>,
    /// Revokes the tokens of its machines for good. Else they sleep until the new password is set.
    revoke_tokens: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ResetDone {
    #[serde(flatten)]
    user: UserView,
    /// The code, in mode `code`: it is not shown again.
    one_time_code: Option<String>,
}

/// Gives an account a password that opens nothing but its own change, for an hour. Its tokens end at once.
#[utoipa::path(post, path = "/api/v1/users/{id}/reset-password", tag = "admin", params(("id" = String, Path, format = Uuid)),
    request_body = Option<Reset>, responses((status = 200, body = ResetDone), crate::http::docs::Refusals))]
pub async fn reset_password(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Answer {
    let result = async {
        let bytes = body::read_own(&request, &mut payload, &config.limits).await?;
        let asked = if bytes.is_empty() { Reset::default() } else { body::parse(&bytes)? };
        let mode = match asked.mode.as_deref() {
            None | Some("initial") => ResetMode::Initial,
            Some("code") => ResetMode::Code,
            Some(_) => return Err(Error::invalid("mode", "`mode` must be \"initial\" or \"code\"")),
        };
        let (user, one_time_code) = accounts.reset_password(admin.actor(), &id, mode, asked.revoke_tokens).await?;
        Ok(ResetDone { user: UserView::from(&user), one_time_code })
    };
    answer(&request, result.await)
}

pub fn answer(request: &HttpRequest, result: Result<impl Serialize, Error>) -> Answer {
    match result {
        Ok(view) => Ok(reply::json(StatusCode::OK, &view)),
        Err(error) => Err(ApiError::new(error, request)),
    }
}

pub fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Error> {
    web::Query::<T>::from_query(request.query_string()).map(web::Query::into_inner).map_err(|cause| {
        let message = cause.to_string();
        let field = message.split('`').nth(1).unwrap_or("query").to_owned();
        Error::invalid(field, message.chars().take(200).collect::<String>())
    })
}

pub fn page_size(asked: Option<usize>) -> Result<usize, Error> {
    match asked {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Error::invalid("limit", format!("`limit` must be from 1 to {PAGE_MAX}"))),
    }
}
