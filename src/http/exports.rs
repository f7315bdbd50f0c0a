//! Exports of the record, as streams that end with their receipt.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, chain};
use crate::base::fields::Fields;
use crate::config::{Answers, Config};
use crate::http::body;
use crate::http::callers::Admin;
use crate::http::head::request_id;
use crate::http::idle_reader::IdleReader;
use crate::http::query::{page_size, query};
use crate::http::reply::{self, ApiError, ApiResult, answer, answer_as};
use crate::model::people::People;
use crate::rules::export::filter::Filter;
use crate::rules::export::{ExportFormat, Exporter, Exports, Extent, check_mark};
use crate::store::Store;
use crate::store::exports::{ErasureState, ListedExport};

/// Either `user_id` or `filter`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExport {
    /// The whole record of one user. Its receipt allows deleting them.
    #[schema(format = Uuid)]
    user_id: Option<String>,
    /// What the filter finds; `{}` finds everything. CSV holds requests and refusals, JSON Lines acts as well. A search text is
    /// kept in memory alone, so such an export has to be fetched within 15 minutes.
    #[schema(value_type = Option<Filter>)]
    filter: Option<Fields<Filter>>,
    /// Default: `csv`.
    #[schema(value_type = Option<ExportFormat>)]
    format: Option<String>,
    /// Adds a byte order mark to the CSV of `url`; Excel needs it to read UTF-8.
    #[serde(default)]
    bom: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// `true`: starts a CSV with a byte order mark, which Excel needs to read UTF-8.
    #[serde(default)]
    #[param(required = false)]
    bom: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ExportView {
    #[schema(format = Uuid)]
    id: String,
    #[schema(value_type = ExportFormat)]
    format: &'static str,
    /// Path of the download. Each complete download has a receipt of its own; the last one counts.
    url: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportsQuery {
    /// Only of this person's record, also if they were deleted.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// `next` of the previous page.
    cursor: Option<String>,
    /// Items of a page.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// An export that was made.
#[derive(Serialize, ToSchema)]
pub struct ExportLine {
    #[schema(format = Uuid)]
    pub id: String,
    #[schema(value_type = ExportFormat)]
    pub format: &'static str,
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it; absent: the operator, on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "maria@example.org")]
    pub by: Option<String>,
    /// The user whose requests it holds; absent: all users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ann@example.org")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub user_id: Option<String>,
    /// Whether it is the whole record of `user`, and not what a filter finds.
    pub whole: bool,
    /// Whether it is being read now.
    pub running: bool,
    /// Number of requests in it: so far while it is being read, in all once it was read to its end. Absent if it was never read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<i64>,
    /// When it was last read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Until when its receipt allows deleting `user`, unless they send a request first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub opens_deletion_until: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ExportPage {
    pub items: Vec<ExportLine>,
    /// With `user_id`, of a person who was deleted: `erasing` or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<&'static str>,
    /// The cursor of the next page; null on the last.
    pub next: Option<String>,
}

/// Lists the exports that were made, newest first.
#[utoipa::path(get, path = "/api/v1/exports", operation_id = "list_exports", tag = "record", params(ExportsQuery),
    responses((status = 200, body = ExportPage)))]
pub async fn list(_: Admin, request: HttpRequest, exports: web::Data<Exports>, store: web::Data<Store>) -> ApiResult {
    let page = async {
        let ExportsQuery { user_id, cursor, limit } = query(&request)?;
        export_page(&exports, &store, user_id, cursor, page_size(limit)?).await
    };
    answer(&request, page.await)
}

/// Returns a page of exports; of one person's record, or all.
pub async fn export_page(
    exports: &Exports,
    store: &Store,
    user_id: Option<String>,
    cursor: Option<String>,
    limit: usize,
) -> Result<ExportPage, Error> {
    let user_id = match user_id {
        Some(id) => Some(store.user_key(id).await?),
        None => None,
    };
    let erasure = match user_id {
        Some(id) => store.erasure_of(id).await?.map(ErasureState::name),
        None => None,
    };
    let found = exports.list(user_id, cursor, limit + 1).await?;
    let next = if found.len() > limit { Some(found[limit - 1].export.public_id.clone()) } else { None };
    let people = store.people();
    let items = found.iter().take(limit).map(|one| line(one, exports, &people)).collect::<Result<_, Error>>()?;
    Ok(ExportPage { items, erasure, next })
}

/// Returns what is told of an export.
pub fn line(one: &ListedExport, exports: &Exports, people: &People) -> Result<ExportLine, Error> {
    let export = &one.export;
    let so_far = exports.lines_so_far(&export.public_id);
    Ok(ExportLine {
        id: export.public_id.clone(),
        format: ExportFormat::parse(Some(&export.format))?.name(),
        created_at: Timestamp(export.created_at_us).rfc3339(),
        by: export.by_user_id.map(|id| people.name_of(id)),
        user: export.user_id.map(|id| people.name_of(id)),
        user_id: export.user_id.and_then(|id| people.by_id(id)).map(|user| user.public_id.clone()),
        whole: export.filter.is_none(),
        running: so_far.is_some(),
        lines: so_far.or(one.lines),
        finished_at: export.finished_at_us.map(|at| Timestamp(at).rfc3339()),
        opens_deletion_until: one.opens_deletion_until(Timestamp::now()).map(Timestamp::rfc3339),
    })
}

/// Prepares an export of the record.
///
/// It holds one user's whole record, or what a filter finds. `url` downloads it.
#[utoipa::path(post, path = "/api/v1/exports", operation_id = "create_export", tag = "record", request_body = NewExport,
    responses((status = 201, body = ExportView), (status = 404)))]
pub async fn create_export(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    exports: web::Data<Exports>,
    config: web::Data<Config>,
) -> ApiResult {
    let result = async {
        let asked: NewExport = body::json(&request, &mut payload, &config.limits).await?;
        let format = ExportFormat::parse(asked.format.as_deref())?;
        check_mark(asked.bom, format)?;
        let filter = asked.filter.map(|Fields(filter)| filter);
        let export = exports.create(admin.0.actor(), Extent::of(asked.user_id, filter)?, format).await?;
        Ok(ExportView {
            url: format!("/api/v1/exports/{}{}", export.public_id, if asked.bom { "?bom=true" } else { "" }),
            id: export.public_id,
            format: format.name(),
        })
    };
    answer_as(StatusCode::CREATED, &request, result.await)
}

/// Downloads an export.
///
/// The last line is the receipt. An aborted download has none, for example when a user in it is deleted.
#[utoipa::path(get, path = "/api/v1/exports/{id}", operation_id = "download_export", tag = "record", params(("id" = String, Path, format = Uuid), ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), (status = 409), (status = 503)))]
pub async fn export(
    admin: Admin,
    request: HttpRequest,
    id: web::Path<String>,
    exports: web::Data<Exports>,
    config: web::Data<Config>,
) -> ApiResult {
    let begun = async {
        let asked: ExportQuery = query(&request)?;
        exports.open(admin.0.actor(), &id, asked.bom).await
    };
    download(&request, begun.await, &config.answers)
}

/// Streams an export to its end, the receipt.
pub fn download(request: &HttpRequest, begun: Result<Exporter, Error>, answers: &Answers) -> ApiResult {
    let exporter = begun.map_err(|error| ApiError::new(error, request))?;
    let (format, id) = (exporter.format(), request_id(request));
    // The same limit as for the reader of an answer.
    let (reader, limit) = (IdleReader::of(request), answers.time_max);
    let mut response = HttpResponse::Ok();
    if reader.is_some() {
        // The timer of the last piece must not meet another request.
        response.force_close();
    }
    let pieces = stream::unfold((exporter, reader), move |(mut exporter, reader)| async move {
        reader.iter().for_each(IdleReader::took);
        match exporter.next().await {
            Ok(Some(piece)) => {
                reader.iter().for_each(|reader| reader.waits(limit));
                Some((Ok(Bytes::from(piece)), (exporter, reader)))
            }
            Ok(None) => None,
            Err(error) => {
                // The connection closes without the last chunk, so the client can tell that the body is incomplete.
                warn!(request.id = %id, cause = chain(&error), "an export was aborted, without a receipt");
                reply::log(&error, &id);
                Some((Err(error), (exporter, reader)))
            }
        }
    });
    Ok(response
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"record.{}\"", format.name())))
        .streaming(pieces))
}
