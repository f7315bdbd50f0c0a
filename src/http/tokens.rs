//! API tokens: owners create and change them; admins list, revoke and resume all.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::body::{self, present};
use crate::http::callers::{Doer, TokenKeeper, TokenReader};
use crate::http::query::{page_size, query};
use crate::http::reply::{ApiResult, answer, answer_as, answer_done};
use crate::http::views::{FreshToken, TokenView};
use crate::model::rights::Class;
use crate::model::rights::quotas::Quotas;
use crate::model::token::TokenStatus;
use crate::rules::accounts::Accounts;
use crate::rules::tokens::{RotateWish, TokenEdit, Tokens, Wish};
use crate::store::tokens::TokenFilter;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TokensQuery {
    /// For admins: the owner. Default: yourself.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// `true`: the tokens of all users. For admins.
    #[serde(default)]
    #[param(required = false)]
    all: bool,
    /// Only tokens in this state.
    #[param(value_type = Option<TokenStatus>)]
    status: Option<String>,
    /// RFC 3339: those that have not ended and expire before this time.
    #[param(format = DateTime)]
    expiring_before: Option<String>,
    /// `next` of the previous page.
    cursor: Option<String>,
    /// Items of a page.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct TokenPage {
    items: Vec<TokenView>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// Lists your tokens, newest first.
///
/// Expired and revoked ones are included. Admins may list another user's, or those of all users.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "tokens", params(TokensQuery),
    responses((status = 200, body = TokenPage)))]
pub async fn list(
    reader: TokenReader,
    request: HttpRequest,
    tokens: web::Data<Tokens>,
    accounts: web::Data<Accounts>,
) -> ApiResult {
    let page = async {
        let asked: TokensQuery = query(&request)?;
        let limit = page_size(asked.limit)?;
        let own = reader.0.identity().map(Identity::user);
        if asked.all && asked.user_id.is_some() {
            return Err(Error::invalid("all", "`all` and `user_id` exclude each other"));
        }
        let user_id = match (asked.user_id, own) {
            (None, Some(own)) if asked.all && !own.is_admin() => {
                return Err(Error::forbidden("only an admin may see others' tokens"));
            }
            (None, _) if asked.all => None,
            // The host has no tokens of its own: it sees all.
            (None, own) => own.map(|own| own.id),
            (Some(id), Some(own)) if id == own.public_id => Some(own.id),
            (Some(_), Some(own)) if !own.is_admin() => {
                return Err(Error::forbidden("only an admin may see others' tokens"));
            }
            (Some(id), _) => Some(accounts.by_id(&id)?.id),
        };
        let before = asked.expiring_before.as_deref();
        let which = TokenFilter {
            user_id,
            status: asked.status.as_deref().map(TokenStatus::parse).transpose()?,
            expiring_before: before.map(|text| Timestamp::parse_field("expiring_before", text)).transpose()?,
        };
        let found = tokens.list(which, asked.cursor, limit + 1).await?;
        let next = if found.len() > limit { Some(found[limit - 1].public_id.clone()) } else { None };
        let items =
            found.iter().take(limit).map(|token| TokenView::of(token, tokens.owner(token).as_deref())).collect();
        Ok(TokenPage { items, next })
    };
    answer(&request, page.await)
}

/// Creates a token for a machine.
///
/// It never has more rights than you.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "create_token", tag = "tokens", request_body = Wish,
    responses((status = 201, body = FreshToken), (status = 409), (status = 429)))]
pub async fn create(
    caller: Doer,
    request: HttpRequest,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> ApiResult {
    let made = async {
        let wish: Wish = body::json(&request, &mut payload, &config.limits).await?;
        let fresh = tokens.create(caller.actor(), &caller.0.user().public_id, wish).await?;
        Ok(FreshToken::of(&fresh, tokens.owner(&fresh.token).as_deref()))
    };
    answer_as(StatusCode::CREATED, &request, made.await)
}

/// The fields to change. A field that is left out is not changed; null removes a limit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPatch {
    /// Which machine or pipeline it is for. Older rows of the record show the new name, too.
    #[schema(example = "nightly docs build", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Addresses and networks that it may be used from. Null: any.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["192.168.1.0/24"]))]
    networks: Option<Option<Vec<String>>>,
    /// Null: only its owner's limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000, example = 5)]
    requests_per_minute: Option<Option<u32>>,
    /// Quotas by name; one that is left out is not changed. Null: only its owner's.
    #[serde(default)]
    #[schema(value_type = Quotas, example = json!({ "tokens_per_day": 50_000, "gpu_seconds_per_day": null }))]
    quotas: BTreeMap<String, Option<u64>>,
    /// Null: its owner's.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Class>)]
    class: Option<Option<String>>,
}

/// Changes a token's name, networks and limits.
///
/// The change holds from its next request on. Admins can change any token.
#[utoipa::path(patch, path = "/api/v1/tokens/{id}", operation_id = "change_token", tag = "tokens", params(("id" = String, Path)),
    request_body = TokenPatch, responses((status = 200, body = TokenView), (status = 409), (status = 429)))]
pub async fn change(
    caller: TokenKeeper,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> ApiResult {
    let changed = async {
        let TokenPatch { name, networks, requests_per_minute, quotas, class } =
            body::json(&request, &mut payload, &config.limits).await?;
        tokens.edit(caller.0.actor(), &id, TokenEdit { name, networks, requests_per_minute, quotas, class }).await
    };
    answer(&request, changed.await.map(|token| TokenView::of(&token, tokens.owner(&token).as_deref())))
}

/// Revokes a token at once.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revoke_token", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204, description = "Revoked"), (status = 429)))]
pub async fn revoke(
    caller: TokenKeeper,
    request: HttpRequest,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
) -> ApiResult {
    answer_done(&request, tokens.revoke(caller.0.actor(), &id).await.map(drop))
}

/// Gives your token a new secret.
///
/// The previous secret stays valid for a while.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/rotate", operation_id = "rotate_token", tag = "tokens", params(("id" = String, Path)),
    request_body = Option<RotateWish>, responses((status = 200, body = FreshToken), (status = 409), (status = 429)))]
pub async fn rotate(
    caller: TokenKeeper,
    request: HttpRequest,
    id: web::Path<String>,
    mut payload: web::Payload,
    tokens: web::Data<Tokens>,
    config: web::Data<Config>,
) -> ApiResult {
    let rotated = async {
        let bytes = body::read_own(&request, &mut payload, &config.limits).await?;
        let wish = if bytes.is_empty() { RotateWish::default() } else { body::parse(&bytes)? };
        let fresh = tokens.rotate(caller.0.actor(), &id, wish).await?;
        Ok(FreshToken::of(&fresh, tokens.owner(&fresh.token).as_deref()))
    };
    answer(&request, rotated.await)
}

/// Resumes a token that was paused or suspended.
///
/// Tokens are paused when they run away, and suspended when their owner is disabled or reset.
#[utoipa::path(post, path = "/api/v1/tokens/{id}/resume", operation_id = "resume_token", tag = "tokens", params(("id" = String, Path)),
    responses((status = 200, body = TokenView), (status = 409), (status = 429)))]
pub async fn resume(
    caller: TokenKeeper,
    request: HttpRequest,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
) -> ApiResult {
    let resumed = tokens.resume(caller.0.actor(), &id).await;
    answer(&request, resumed.map(|token| TokenView::of(&token, tokens.owner(&token).as_deref())))
}
