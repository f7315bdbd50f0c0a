//! Checkpoints of the record, for those who keep them elsewhere.

use actix_web::{HttpRequest, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::error::Error;
use crate::http::callers::Admin;
use crate::http::query::{page_size, query};
use crate::http::reply::{ApiResult, answer};
use crate::store::Store;
use crate::store::chain::CheckpointRow;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CheckpointsQuery {
    /// `next` of the previous page.
    cursor: Option<String>,
    /// Items of a page.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// A signed note about the record: a copy of it shows later that nothing up to its row was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckpointView {
    /// The last row of the record that it covers.
    pub log_id: i64,
    /// The time in the note: when its head was signed.
    #[schema(format = DateTime)]
    pub at: String,
    /// The hash of the record up to that row, in base64.
    #[schema(example = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")]
    pub head: String,
    /// The whole signed note, of several lines.
    pub note: String,
}

#[derive(Serialize, ToSchema)]
pub struct CheckpointPage {
    pub items: Vec<CheckpointView>,
    /// The cursor of the next page; null on the last.
    pub next: Option<String>,
}

/// Lists the checkpoints of the record, newest first.
///
/// A kept one shows later that the record was not changed up to its row: `lan-gateway verify --checkpoint FILE`.
#[utoipa::path(get, path = "/api/v1/checkpoints", operation_id = "list_checkpoints", tag = "record",
    params(CheckpointsQuery), responses((status = 200, body = CheckpointPage)))]
pub async fn list(_: Admin, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let page = async {
        let CheckpointsQuery { cursor, limit } = query(&request)?;
        let limit = page_size(limit)?;
        let before = cursor.map(|cursor| cursor.parse().map_err(|_| unknown_cursor())).transpose()?;
        let rows = store.checkpoints(before, limit as i64 + 1).await?;
        let next = if rows.len() > limit { Some(rows[limit - 1].log_id.to_string()) } else { None };
        Ok(CheckpointPage { items: rows.into_iter().take(limit).map(CheckpointView::from).collect(), next })
    };
    answer(&request, page.await)
}

fn unknown_cursor() -> Error {
    Error::invalid("cursor", "`cursor` must be `next` of the previous page")
}

impl From<CheckpointRow> for CheckpointView {
    fn from(row: CheckpointRow) -> Self {
        // A note that was changed in the database is shown as it is, without a head.
        let head = row.signed().map(|note| BASE64.encode(note.head)).unwrap_or_default();
        CheckpointView { log_id: row.log_id, at: row.at().rfc3339(), head, note: row.note }
    }
}
