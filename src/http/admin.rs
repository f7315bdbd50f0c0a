//! Admins: people, the record, and its exports.

use std::collections::HashMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::{Accounts, ResetMode};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::Error;
use crate::export::{Exporter, Format};
use crate::http::account::UserView;
use crate::http::body;
use crate::http::guard::Admin;
use crate::http::head::request_id;
use crate::http::reply::{self, ApiError};
use crate::store::Store;
use crate::store::audit::{self as rows, Row, Wanted};
use crate::store::exports::Export;
use crate::store::users::{People, User};

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
    let result = (|| {
        let query: UsersQuery = query(&request)?;
        let limit = page_size(query.limit)?;
        if let Some(status) = query.status.as_deref()
            && !["pending", "active", "disabled"].contains(&status)
        {
            return Err(Error::invalid("status", "`status` must be pending, active or disabled"));
        }
        let before = match query.cursor {
            Some(cursor) => {
                let last = accounts.by_id(&cursor);
                Some(last.map_err(|_| Error::invalid("cursor", "`cursor` is not the `next` of a page"))?.id)
            }
            None => None,
        };
        let found = accounts.list(query.search.as_deref(), query.status.as_deref(), before, limit + 1);
        let more = found.len() > limit;
        let items: Vec<&User> = found.iter().take(limit).map(|user| &**user).collect();
        let next = items.last().filter(|_| more).map(|user| user.public_id.clone());
        Ok(UserPage { items: items.into_iter().map(UserView::from).collect(), next })
    })();
    answer(&request, result)
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

#[derive(Deserialize, ToSchema)]
pub struct Reset {
    /// `initial` (the default) sets `admin123`; `code` makes a random code that is shown once.
    #[schema(example = "code")]
    mode: Option<String>,
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
        body::check_head(&request)?;
        let bytes = body::read(&request, &mut payload, &config.limits).await?;
        let asked = if bytes.is_empty() { Reset { mode: None } } else { body::parse(&bytes)? };
        let mode = match asked.mode.as_deref() {
            None | Some("initial") => ResetMode::Initial,
            Some("code") => ResetMode::Code,
            Some(_) => return Err(Error::invalid("mode", "`mode` must be \"initial\" or \"code\"")),
        };
        let (user, one_time_code) = accounts.reset_password(admin.actor(), &id, mode).await?;
        Ok(ResetDone { user: UserView::from(&user), one_time_code })
    };
    answer(&request, result.await)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// One person alone.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// `request`, `refusal` or `act`
    kind: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`
    outcome: Option<String>,
    /// The name of a model, as it was asked for.
    model: Option<String>,
    /// A route, as in `/v1/chat/completions`.
    api: Option<String>,
    /// RFC 3339: at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// The `next` of the page before.
    cursor: Option<i64>,
    /// 50 when left out, at most 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// A request, a refusal or an admin's act. Fields that say nothing here are absent.
#[derive(Serialize, ToSchema)]
pub struct AuditItem {
    /// The number under which the contents are kept and exported.
    log_id: i64,
    /// `request`, `refusal` or `act`
    kind: &'static str,
    #[schema(format = DateTime)]
    at: String,
    #[schema(format = Uuid)]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// The name of the token that was shown, or that the act is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_served: Option<String>,
    /// `completed`, `failed`, `refused`, `abandoned` or `interrupted`; absent while the request is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_ms: Option<i64>,
    /// How many refusals of this kind the row stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<i64>,
}

impl AuditItem {
    fn of(row: &Row, people: &People, tokens: &HashMap<i64, String>) -> Self {
        let name = |id: Option<i64>| {
            id.map(|id| people.by_id(id).map_or_else(|| format!("(deleted {id})"), |user| user.name().to_owned()))
        };
        let millis = |value: Option<i64>| value.map(|micros| micros / 1000);
        AuditItem {
            log_id: row.contents_id(),
            kind: match row.kind.as_str() {
                "refusal" => "refusal",
                "act" => "act",
                _ => "request",
            },
            at: Timestamp(row.at_us).rfc3339(),
            request_id: row.request_id().map(|id| id.to_string()),
            user: name(row.user_id),
            act: row.act.clone(),
            subject: name(row.subject_id),
            credential: row.credential.clone(),
            token: row.token_id.map(|id| tokens.get(&id).cloned().unwrap_or_else(|| format!("(deleted {id})"))),
            api: row.api.clone(),
            host: row.host.clone(),
            model_asked: row.model_asked.clone(),
            model_served: row.model_served.clone(),
            outcome: row.outcome.clone(),
            reason: row.reason.clone(),
            status: row.status,
            prompt_tokens: row.prompt_tokens,
            answer_tokens: row.answer_tokens,
            queued_ms: millis(row.queued_us),
            first_token_ms: millis(row.first_token_us),
            total_ms: millis(row.total_us),
            repeat: row.repeat,
        }
    }
}

/// Rows as they are shown, with the names that belong to them.
pub async fn audit_items(store: &Store, rows: &[Row]) -> Result<Vec<AuditItem>, Error> {
    let mut tokens: Vec<i64> = rows.iter().filter_map(|row| row.token_id).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let tokens = store.token_names(tokens).await?;
    let people = store.people();
    Ok(rows.iter().map(|row| AuditItem::of(row, &people, &tokens)).collect())
}

#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    items: Vec<AuditItem>,
    /// The cursor of the next page; null on the last.
    next: Option<i64>,
}

/// The record, newest first: requests (running ones on the first page, without an outcome), refusals and acts.
#[utoipa::path(get, path = "/api/v1/audit", tag = "admin", params(AuditQuery),
    responses((status = 200, body = AuditPage), crate::http::docs::Refusals))]
pub async fn audit(_: Admin, request: HttpRequest, store: web::Data<Store>, accounts: web::Data<Accounts>) -> Answer {
    let result = async {
        let query: AuditQuery = query(&request)?;
        let wanted = Wanted {
            user_id: query.user_id.as_deref().map(|id| accounts.by_id(id)).transpose()?.map(|user| user.id),
            kind: query.kind.as_deref().map(record_kind).transpose()?,
            outcome: query.outcome,
            model: query.model,
            api: query.api,
            from: query.from.as_deref().map(|text| moment("from", text)).transpose()?,
            to: query.to.as_deref().map(|text| moment("to", text)).transpose()?,
        };
        audit_page(&store, wanted, query.cursor, query.limit).await
    };
    answer(&request, result.await)
}

fn record_kind(name: &str) -> Result<&'static str, Error> {
    match name {
        "request" => Ok(rows::RESULT),
        "refusal" => Ok(rows::REFUSAL),
        "act" => Ok(rows::ACT),
        _ => Err(Error::invalid("kind", "`kind` must be request, refusal or act")),
    }
}

pub fn moment(field: &str, text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse(text)
        .ok_or_else(|| Error::invalid(field, format!("`{field}` must be a time, as in 2026-01-31T12:00:00Z")))
}

/// A page of the record: running requests come first, on the first page.
pub async fn audit_page(
    store: &Store,
    wanted: Wanted,
    cursor: Option<i64>,
    limit: Option<usize>,
) -> Result<AuditPage, Error> {
    let limit = page_size(limit)?;
    let mut rows = if cursor.is_none() { store.running(&wanted).await? } else { Vec::new() };
    let page = store.record_page(wanted, cursor, limit as i64 + 1).await?;
    let next = if page.len() > limit { page.get(limit - 1).map(|row| row.log_id) } else { None };
    rows.extend(page.into_iter().take(limit));
    Ok(AuditPage { items: audit_items(store, &rows).await?, next })
}

#[derive(Deserialize, ToSchema)]
pub struct NewExport {
    #[schema(format = Uuid)]
    user_id: String,
    /// `csv` (the default) or `jsonl`
    #[schema(example = "csv")]
    format: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ExportView {
    #[schema(format = Uuid)]
    id: String,
    format: &'static str,
    /// Where to get it. Each complete download has a receipt of its own; the last one counts.
    url: String,
}

/// Prepares an export of one person's whole record.
#[utoipa::path(post, path = "/api/v1/exports", tag = "admin", request_body = NewExport,
    responses((status = 201, body = ExportView), crate::http::docs::Refusals))]
pub async fn create_export(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    store: web::Data<Store>,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
) -> Answer {
    let result = async {
        let asked: NewExport = body::json(&request, &mut payload, &config.limits).await?;
        let format = Format::parse(asked.format.as_deref().unwrap_or("csv"))?;
        let user = accounts.by_id(&asked.user_id)?;
        let export = store.create_export(admin.0.user_id(), user.id, format.name()).await?;
        Ok(ExportView {
            url: format!("/api/v1/exports/{}", export.public_id),
            id: export.public_id,
            format: format.name(),
        })
    };
    match result.await {
        Ok(view) => Ok(reply::json(StatusCode::CREATED, &view)),
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

/// Streams an export. Its last line is the receipt; a download that was cut off has none.
#[utoipa::path(get, path = "/api/v1/exports/{id}", tag = "admin", params(("id" = String, Path, format = Uuid)),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), crate::http::docs::Refusals))]
pub async fn export(admin: Admin, request: HttpRequest, id: web::Path<String>, store: web::Data<Store>) -> Answer {
    let begun = async {
        let export = store.export(admin.0.user_id(), id.into_inner()).await?;
        let people = store.people();
        let user = export.user_id.and_then(|id| people.by_id(id).cloned());
        let user = user.ok_or_else(|| Error::NotFound { what: "such user".into() })?;
        Format::parse(&export.format).map(|format| (export, format, user))
    };
    match begun.await {
        Ok((export, format, user)) => download(&request, &store, export, format, &user).await,
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

/// Streams an export to its end, the receipt.
pub async fn download(request: &HttpRequest, store: &Store, export: Export, format: Format, user: &User) -> Answer {
    let exporter = Exporter::begin(store.clone(), export, format, user).await;
    let exporter = exporter.map_err(|error| ApiError::new(error, request))?;
    let id = request_id(request);
    let pieces = stream::unfold(exporter, move |mut exporter| async move {
        match exporter.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), exporter)),
            Ok(None) => None,
            Err(error) => {
                reply::log(&error, &id);
                Some((Err(error), exporter))
            }
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"record.{}\"", format.name())))
        .streaming(pieces))
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
