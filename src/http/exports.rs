//! Exports of the record, as streams that end with their receipt.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::Accounts;
use crate::config::Config;
use crate::error::Error;
use crate::export::{Exporter, Format};
use crate::http::admin::Answer;
use crate::http::body;
use crate::http::guard::Admin;
use crate::http::head::request_id;
use crate::http::reply::{self, ApiError};
use crate::store::Store;
use crate::store::exports::Export;
use crate::store::users::User;

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
