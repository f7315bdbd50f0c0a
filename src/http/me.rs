//! The caller's own account and record.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::audit::{AuditPage, audit_page};
use crate::http::callers::{Caller, Doer};
use crate::http::exports::download;
use crate::http::query::query;
use crate::http::reply::{self, ApiResult, answer};
use crate::http::views::AccountView;
use crate::http::views::UserView;
use crate::rules::export::{ExportFormat, Exports, Extent, check_mark};
use crate::store::Store;
use crate::store::audit::Wanted;

/// Your own account.
#[derive(Serialize, ToSchema)]
pub struct OwnView {
    #[serde(flatten)]
    user: UserView,
    left: AccountView,
}

/// Your account and what is left of your quotas.
#[utoipa::path(get, path = "/api/v1/me", tag = "account",
    responses((status = 200, body = OwnView), crate::http::errors::Refusals))]
pub async fn me(caller: Caller, gateway: web::Data<Gateway>) -> HttpResponse {
    let user = caller.0.user();
    let left = AccountView::from(gateway.limits().account_of(user));
    reply::json(StatusCode::OK, &OwnView { user: UserView::from(user), left })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnRecordQuery {
    /// `next` of the previous page.
    cursor: Option<i64>,
    /// Default 50, at most 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// Your own record, newest first.
#[utoipa::path(get, path = "/api/v1/me/record", tag = "account", params(OwnRecordQuery),
    responses((status = 200, body = AuditPage), crate::http::errors::Refusals))]
pub async fn record(caller: Caller, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let page = async {
        let asked: OwnRecordQuery = query(&request)?;
        let wanted = Wanted { user_id: Some(caller.0.user_id()), ..Wanted::default() };
        audit_page(&store, wanted, asked.cursor, asked.limit).await
    };
    answer(&request, page.await)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnExportQuery {
    /// `csv` (the default) or `jsonl`
    format: Option<String>,
    /// `true`: starts a CSV with a byte order mark, which Excel needs to read UTF-8.
    #[serde(default)]
    #[param(required = false)]
    bom: bool,
}

/// Your own record as a file, with every prompt and answer.
#[utoipa::path(get, path = "/api/v1/me/export", operation_id = "export_own", tag = "account", params(OwnExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), crate::http::errors::Refusals))]
pub async fn export(
    caller: Doer,
    request: HttpRequest,
    exports: web::Data<Exports>,
    config: web::Data<Config>,
) -> ApiResult {
    let begun = async {
        let asked: OwnExportQuery = query(&request)?;
        let format = ExportFormat::parse(asked.format.as_deref())?;
        check_mark(asked.bom, format)?;
        let own = Extent::WholeOf(caller.0.user().public_id.clone());
        let export = exports.create(caller.actor(), own, format).await?;
        exports.open(caller.actor(), &export.public_id, asked.bom).await
    };
    download(&request, begun.await, &config.answers)
}
