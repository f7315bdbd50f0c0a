//! What was used: for admins of everybody, for everybody of themselves.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::Accounts;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::admin::{Answer, answer, query};
use crate::http::guard::{Admin, UsageReader};
use crate::http::reply::ApiError;
use crate::sheet::csv_line;
use crate::store::Store;
use crate::store::usage::{Sums, Used};

/// Without `from`, the last 30 days.
const DAYS_DEFAULT: i64 = 30;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// One person alone. For admins.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// RFC 3339; the quarter of an hour that holds it is the first. 30 days ago when left out.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time. Now when left out.
    #[param(format = DateTime)]
    to: Option<String>,
    /// `user` (the default), `model` or `hour`
    by: Option<String>,
    /// `json` (the default) or `csv`
    format: Option<String>,
}

/// What was used by one person, model or hour.
#[derive(Serialize, ToSchema)]
pub struct UsageItem {
    /// The person, the model, or the hour (UTC).
    key: String,
    requests: i64,
    failed: i64,
    refused: i64,
    prompt_tokens: i64,
    answer_tokens: i64,
    /// Time that the model server worked, in milliseconds.
    gpu_ms: i64,
    /// Time from the record's first row to its last, in milliseconds.
    total_ms: i64,
}

#[derive(Serialize, ToSchema)]
pub struct UsagePage {
    items: Vec<UsageItem>,
    next: Option<String>,
}

/// What everybody used.
#[utoipa::path(get, path = "/api/v1/usage", tag = "admin", params(UsageQuery),
    responses((status = 200, content((UsagePage = "application/json"), (String = "text/csv"))), crate::http::docs::Refusals))]
pub async fn of_everybody(
    _: Admin,
    request: HttpRequest,
    store: web::Data<Store>,
    accounts: web::Data<Accounts>,
) -> Answer {
    let asked = query::<UsageQuery>(&request).and_then(|asked| {
        let user = asked.user_id.as_deref().map(|id| accounts.by_id(id)).transpose()?;
        Ok((user.map(|user| user.id), asked))
    });
    match asked {
        Ok((user_id, asked)) => tell(&request, &store, user_id, asked).await,
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

/// What you used. A token needs the scope `usage`.
#[utoipa::path(get, path = "/api/v1/me/usage", tag = "account", params(UsageQuery),
    responses((status = 200, content((UsagePage = "application/json"), (String = "text/csv"))), crate::http::docs::Refusals))]
pub async fn of_mine(reader: UsageReader, request: HttpRequest, store: web::Data<Store>) -> Answer {
    let asked = query::<UsageQuery>(&request).and_then(|asked| match &asked.user_id {
        Some(_) => Err(Error::invalid("user_id", "`user_id` is for admins, on /api/v1/usage")),
        None => Ok(asked),
    });
    match asked {
        Ok(asked) => tell(&request, &store, Some(reader.0.user_id()), asked).await,
        Err(error) => Err(ApiError::new(error, &request)),
    }
}

async fn tell(request: &HttpRequest, store: &Store, user_id: Option<i64>, asked: UsageQuery) -> Answer {
    let csv = asked.format.as_deref() == Some("csv");
    let items = items(store, user_id, asked).await;
    match items {
        Ok(items) if csv => {
            Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8")).body(as_csv(&items)))
        }
        items => answer(request, items.map(|items| UsagePage { items, next: None })),
    }
}

async fn items(store: &Store, user_id: Option<i64>, asked: UsageQuery) -> Result<Vec<UsageItem>, Error> {
    if asked.format.as_deref().is_some_and(|format| !["csv", "json"].contains(&format)) {
        return Err(Error::invalid("format", "`format` must be json or csv"));
    }
    let to =
        asked.to.as_deref().map(|text| Timestamp::parse_field("to", text)).transpose()?.unwrap_or_else(Timestamp::now);
    let from = asked.from.as_deref().map(|text| Timestamp::parse_field("from", text)).transpose()?;
    let from = from.unwrap_or_else(|| to.plus_seconds(-DAYS_DEFAULT * 24 * 3600));
    let people = store.people();
    let name = |used: &Used| match used.user_id {
        0 => "(nobody known)".to_owned(),
        id => people.by_id(id).map_or_else(|| format!("(deleted {id})"), |user| user.name().to_owned()),
    };
    let key: &dyn Fn(&Used) -> String = match asked.by.as_deref() {
        None | Some("user") => &name,
        Some("model") => &|used| used.model.clone(),
        Some("hour") => &|used| Timestamp(used.quarter.0 - used.quarter.0.rem_euclid(3_600_000_000)).rfc3339(),
        Some(_) => return Err(Error::invalid("by", "`by` must be user, model or hour")),
    };
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for used in store.usage(user_id, from, to).await? {
        sums.entry(key(&used)).or_default().add(used.sums);
    }
    Ok(sums.into_iter().map(|(key, sums)| item(key, sums)).collect())
}

fn item(key: String, sums: Sums) -> UsageItem {
    UsageItem {
        key,
        requests: sums.requests,
        failed: sums.failed,
        refused: sums.refused,
        prompt_tokens: sums.prompt_tokens,
        answer_tokens: sums.answer_tokens,
        gpu_ms: sums.gpu_us / 1000,
        total_ms: sums.total_us / 1000,
    }
}

fn as_csv(items: &[UsageItem]) -> Vec<u8> {
    let mut out = Vec::new();
    let head = ["key", "requests", "failed", "refused", "prompt_tokens", "answer_tokens", "gpu_ms", "total_ms"];
    csv_line(&mut out, &head.map(str::to_owned));
    for item in items {
        let numbers = [
            item.requests,
            item.failed,
            item.refused,
            item.prompt_tokens,
            item.answer_tokens,
            item.gpu_ms,
            item.total_ms,
        ];
        let mut cells = vec![item.key.clone()];
        cells.extend(numbers.map(|number| number.to_string()));
        csv_line(&mut out, &cells);
    }
    out
}
