//! Tokens of machines: their owners make and change them, admins see, end and resume anybody's.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::api_key;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::admin::{Answer, answer, page_size, query};
use crate::http::body::{self, present};
use crate::http::guard::{Caller, Doer};
use crate::http::reply::{self, ApiError};
use crate::model::rights::Class;
use crate::model::rights::quotas::Quotas;
use crate::model::runaway::Runaway;
use crate::rules::accounts::Accounts;
use crate::rules::tokens::{Edit, Fresh, RotateWish, Tokens, Wish};
use crate::store::tokens::Token;

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    #[schema(example = "4sTq9ZbM1x")]
    id: String,
    /// How the token begins.
    #[schema(example = "lgw_m_4sTq9ZbM1x")]
    prefix: String,
    name: String,
    /// The owner.
    #[schema(example = "ann@example.org")]
    user: String,
    /// `active`, `suspended`, `paused`, `expired` or `revoked`
    status: &'static str,
    /// How a paused token ran away: `repeats` or `errors`
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_reason: Option<&'static str>,
    /// Since when it is suspended or paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    suspended_at: Option<String>,
    scopes: Vec<&'static str>,
    /// Absent: all that the owner may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    /// Absent: anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<i64>,
    /// Its own quotas besides its owner's.
    quotas: Quotas,
    /// `interactive` or `batch`; absent: the owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// To within five minutes; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

impl TokenView {
    fn of(token: &Token, owner: String) -> Self {
        TokenView {
            id: token.public_id.clone(),
            prefix: api_key::prefix_of(&token.public_id),
            name: token.name.clone(),
            user: owner,
            status: token.status(Timestamp::now()),
            pause_reason: token.paused.map(Runaway::name),
            suspended_at: token.suspended_at_us.map(Timestamp).map(Timestamp::rfc3339),
            scopes: token.scopes.words(),
            models: token.models.words(),
            networks: token.networks.as_ref().map(|networks| networks.iter().map(ToString::to_string).collect()),
            requests_per_minute: token.requests_per_minute,
            quotas: token.quotas,
            class: token.class.map(Class::name),
            created_at: Timestamp(token.created_at_us).rfc3339(),
            expires_at: Timestamp(token.expires_at_us).rfc3339(),
            last_used_at: token.last_used_at().map(Timestamp::rfc3339),
        }
    }
}

/// A token with its secret: the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub struct FreshToken {
    /// Send it as `Authorization: Bearer …` or as `x-api-key`. It is not shown again.
    #[schema(example = "lgw_m_4sTq9ZbM1x_…")]
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

impl FreshToken {
    fn of(fresh: &Fresh, owner: String) -> Self {
        FreshToken { token: fresh.secret.expose().clone(), view: TokenView::of(&fresh.token, owner) }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TokensQuery {
    /// For admins: whose tokens. Your own when left out.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// 50 when left out, at most 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct TokenPage {
    items: Vec<TokenView>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// Your tokens, newest first, those that have ended too.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "tokens", params(TokensQuery),
    responses((status = 200, body = TokenPage), crate::http::docs::Refusals))]
pub async fn list(
    caller: Caller,
    request: HttpRequest,
    tokens: web::Data<Tokens>,
    accounts: web::Data<Accounts>,
) -> Answer {
    let page = async {
        let asked: TokensQuery = query(&request)?;
        let limit = page_size(asked.limit)?;
        let own = caller.0.user();
        let user_id = match asked.user_id {
            None => own.id,
            Some(id) if id == own.public_id => own.id,
            Some(_) if !own.is_admin() => return Err(Error::forbidden("only an admin may see others' tokens")),
            Some(id) => accounts.by_id(&id)?.id,
        };
        let found = tokens.list(Some(user_id), asked.cursor, limit + 1).await?;
        let next = if found.len() > limit { Some(found[limit - 1].public_id.clone()) } else { None };
        let items = found.iter().take(limit).map(|token| TokenView::of(token, tokens.owner(token))).collect();
        Ok(TokenPage { items, next })
    };
    answer(&request, page.await)
}

/// Makes a token of your own for a machine. Its rights are never more than yours.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "create_token", tag = "tokens", request_body = Wish,
    responses((status = 201, body = FreshToken), crate::http::docs::Refusals))]
pub async fn create(
    caller: Doer,
    request: HttpRequest,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> Answer {
    let made = async {
        let wish: Wish = body::json(&request, &mut payload, &config.limits).await?;
        tokens.create(caller.actor(), &caller.0.user().public_id, wish).await
    };
    match made.await {
        Ok(fresh) => Ok(reply::json(StatusCode::CREATED, &FreshToken::of(&fresh, tokens.owner(&fresh.token)))),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

/// What to change. A field that is left out stays as it is; null takes a limit away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPatch {
    /// Null: its owner's alone.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 5)]
    requests_per_minute: Option<Option<u32>>,
    /// By name; one that is left out stays as it is. Null: its owner's alone.
    #[serde(default)]
    #[schema(value_type = Quotas, example = json!({ "tokens_per_day": 50_000, "gpu_seconds_per_day": null }))]
    quotas: BTreeMap<String, Option<u64>>,
    /// `interactive` or `batch`; null: its owner's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "batch")]
    class: Option<Option<String>>,
}

/// Changes how much your token may use, or, for an admin, anybody's; felt on its next request.
#[utoipa::path(patch, path = "/api/v1/tokens/{id}", operation_id = "change_token", tag = "tokens", params(("id" = String, Path)),
    request_body = TokenPatch, responses((status = 200, body = TokenView), crate::http::docs::Refusals))]
pub async fn change(
    caller: Doer,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> Answer {
    let changed = async {
        let TokenPatch { requests_per_minute, quotas, class } =
            body::json(&request, &mut payload, &config.limits).await?;
        tokens.edit(caller.actor(), &id, Edit { requests_per_minute, quotas, class }).await
    };
    answer(&request, changed.await.map(|token| TokenView::of(&token, tokens.owner(&token))))
}

/// Ends a token at once.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revoke_token", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), crate::http::docs::Refusals))]
pub async fn revoke(caller: Doer, request: HttpRequest, id: web::Path<String>, tokens: web::Data<Tokens>) -> Answer {
    match tokens.revoke(caller.actor(), &id).await {
        Ok(_) => Ok(HttpResponse::NoContent().finish()),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

/// Gives your token a new secret; the one before is taken for a while, too.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/rotate", operation_id = "rotate_token", tag = "tokens", params(("id" = String, Path)),
    request_body = Option<RotateWish>, responses((status = 200, body = FreshToken), crate::http::docs::Refusals))]
pub async fn rotate(
    caller: Doer,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> Answer {
    let rotated = async {
        let bytes = body::read_own(&request, &mut payload, &config.limits).await?;
        let wish = if bytes.is_empty() { RotateWish::default() } else { body::parse(&bytes)? };
        let fresh = tokens.rotate(caller.actor(), &id, wish).await?;
        Ok(FreshToken::of(&fresh, tokens.owner(&fresh.token)))
    };
    answer(&request, rotated.await)
}

/// Lets a token in again that was paused because it ran away, or suspended when its owner was disabled or reset.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/resume", operation_id = "resume_token", tag = "tokens", params(("id" = String, Path)),
    responses((status = 200, body = TokenView), crate::http::docs::Refusals))]
pub async fn resume(caller: Doer, request: HttpRequest, id: web::Path<String>, tokens: web::Data<Tokens>) -> Answer {
    let resumed = tokens.resume(caller.actor(), &id).await;
    answer(&request, resumed.map(|token| TokenView::of(&token, tokens.owner(&token))))
}
