//! Usage: of all users for admins, their own for users.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::clock::Timestamp;
use crate::base::clock::zone::Zone;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::callers::{Admin, Asker, UsageReader};
use crate::http::query::query;
use crate::http::reply::{ApiError, ApiResult, answer};
use crate::model::words::words_schema;
use crate::provider;
use crate::rules::usage::timeline::{Span, Timeline, timeline};
use crate::rules::usage::{Question, UsageBy, UsageItem, UsageSort, as_csv, lines};

use crate::store::Store;

words_schema! {
    /// The form of the answer.
    UsageFormat: ["json", "csv"]
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Only this user. For admins.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// Only this token.
    token_id: Option<String>,
    /// RFC 3339, rounded down to a quarter of an hour. Default: 30 days before `to`.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time. Default: now.
    #[param(format = DateTime)]
    to: Option<String>,
    /// What makes a line: a user (the default), token or model, an `hour` (UTC) or `day` (in the gateway's `timezone`), or both, as
    /// in `user,day`. More than 10,000 hours or days are refused. Of more than 10,000 users, tokens or models, those with the
    /// least usage are summed up at the end as `(others)`.
    #[param(value_type = Option<UsageBy>)]
    by: Option<String>,
    /// Default: `name`, by name or by time. Otherwise the largest first; with two keys, the user, token or model with the largest
    /// total comes first.
    #[param(value_type = Option<UsageSort>)]
    sort: Option<String>,
    /// Default: `json`.
    #[param(value_type = Option<UsageFormat>)]
    format: Option<String>,
    /// `true`: starts a CSV with a byte order mark, which Excel needs to read UTF-8.
    #[serde(default)]
    #[param(required = false)]
    bom: bool,
}

#[derive(Serialize, ToSchema)]
pub struct UsagePage {
    items: Vec<UsageItem>,
    next: Option<String>,
}

/// Returns the usage of all users.
#[utoipa::path(get, path = "/api/v1/usage", operation_id = "get_usage", tag = "usage", params(UsageQuery),
    responses((status = 200, content((UsagePage = "application/json"), (String = "text/csv")))))]
pub async fn of_everybody(
    admin: Admin,
    request: HttpRequest,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> ApiResult {
    if matches!(admin.0, Asker::Host) {
        catch_up(&store).await.map_err(|error| ApiError::new(error, &request))?;
    }
    tell(&request, &store, &config.timezone, query(&request)).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    /// Default: `hour`, shown in minutes. A `day` is shown in quarters of an hour, a `week` in hours.
    #[param(value_type = Option<Span>)]
    span: Option<String>,
    /// RFC 3339: the last interval holds this time, or ends with it. Default: now.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Only this user.
    #[param(format = Uuid)]
    user_id: Option<String>,
}

/// Returns who used the GPU when, and who waited.
///
/// The answer has a line for each minute, quarter of an hour or hour. It answers questions like: what happened at 14:05?
#[utoipa::path(get, path = "/api/v1/usage/timeline", operation_id = "get_usage_timeline", tag = "usage", params(TimelineQuery),
    responses((status = 200, body = Timeline)))]
pub async fn story(admin: Admin, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let told = async {
        let TimelineQuery { span, to, user_id } = query(&request)?;
        let span = Span::parse(span.as_deref().unwrap_or("hour"))?;
        let to = to.as_deref().map(|text| Timestamp::parse_field("to", text)).transpose()?;
        if matches!(admin.0, Asker::Host) {
            catch_up(&store).await?;
        }
        timeline(&store, span, to, user_id).await
    };
    answer(&request, told.await)
}

/// On the host, sums the record up to the last request: perhaps no gateway runs that would do it.
async fn catch_up(store: &Store) -> Result<(), Error> {
    while store.follow_usage(provider::canonical).await? {}
    Ok(())
}

/// Returns your own usage.
///
/// A token needs the scope `usage`.
#[utoipa::path(get, path = "/api/v1/me/usage", operation_id = "get_my_usage", tag = "account", params(UsageQuery),
    responses((status = 200, content((UsagePage = "application/json"), (String = "text/csv")))))]
pub async fn of_mine(
    reader: UsageReader,
    request: HttpRequest,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> ApiResult {
    let asked = query::<UsageQuery>(&request).and_then(|asked| match &asked.user_id {
        Some(_) => Err(Error::invalid("user_id", "`user_id` is for admins, on /api/v1/usage")),
        None => Ok(UsageQuery { user_id: Some(reader.0.user().public_id.clone()), ..asked }),
    });
    tell(&request, &store, &config.timezone, asked).await
}

async fn tell(request: &HttpRequest, store: &Store, zone: &Zone, asked: Result<UsageQuery, Error>) -> ApiResult {
    let told = async {
        let UsageQuery { user_id, token_id, from, to, by, sort, format, bom } = asked?;
        let csv = match format.as_deref() {
            None | Some("json") => false,
            Some("csv") => true,
            Some(_) => return Err(Error::invalid("format", "`format` must be json or csv")),
        };
        if bom && !csv {
            return Err(Error::invalid("bom", "`bom` is for CSV alone; JSON begins without one"));
        }
        Ok((csv, bom, lines(store, zone, Question { user_id, token_id, from, to, by, sort }).await?))
    };
    match told.await {
        Ok((true, bom, items)) => Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
            .body(as_csv(&items, bom))),
        Ok((false, _, items)) => answer(request, Ok(UsagePage { items, next: None })),
        Err(error) => Err(ApiError::new(error, request)),
    }
}
