//! Exports of the record, as streams that end with their receipt.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use crate::base::error::Error;
use crate::base::fields::Fields;
use crate::config::{Answers, Config};
use crate::http::body;
use crate::http::callers::Admin;
use crate::http::head::request_id;
use crate::http::idle_reader::IdleReader;
use crate::http::query::query;
use crate::http::reply::{self, ApiError, ApiResult, answer_as};
use crate::rules::export::filter::Filter;
use crate::rules::export::{ExportFormat, Exporter, Exports, Extent, check_mark};

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
    /// `csv` (the default) or `jsonl`
    #[schema(example = "csv")]
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
    format: &'static str,
    /// Path of the download. Each complete download has a receipt of its own; the last one counts.
    url: String,
}

/// Prepares an export of one user's whole record, or of what a filter finds.
#[utoipa::path(post, path = "/api/v1/exports", tag = "admin", request_body = NewExport,
    responses((status = 201, body = ExportView), crate::http::errors::Refusals))]
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

/// Streams an export. The last line is the receipt. An aborted download has none, for example when a user in it is deleted.
#[utoipa::path(get, path = "/api/v1/exports/{id}", tag = "admin", params(("id" = String, Path, format = Uuid), ExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), crate::http::errors::Refusals))]
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
                warn!(request.id = %id, cause = %error, "an export was aborted, without a receipt");
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
