//! The caller's own account and record.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::callers::{Caller, Doer};
use crate::http::exports::download;
use crate::http::query::query;
use crate::http::record_items::{AuditPage, PageQuery, own_page};
use crate::http::reply::{self, ApiResult, answer};
use crate::http::views::AccountView;
use crate::http::views::UserView;
use crate::model::record::{Kind, Outcome};
use crate::rules::export::filter::Filter;
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

/// Returns your account and what is left of your quotas.
#[utoipa::path(get, path = "/api/v1/me", operation_id = "get_me", tag = "account",
    responses((status = 200, body = OwnView)))]
pub async fn me(caller: Caller, gateway: web::Data<Gateway>) -> HttpResponse {
    let user = caller.0.user();
    let left = AccountView::from(gateway.limits().account_of(user));
    reply::json(StatusCode::OK, &OwnView { user: UserView::from(user), left })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnRecordQuery {
    /// Only this token of yours.
    token_id: Option<String>,
    /// Only rows of this kind.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Only requests with this outcome, or with one of several, separated by commas.
    #[param(value_type = Option<Vec<Outcome>>, style = Form, explode = false)]
    outcome: Option<String>,
    /// The name of the requested model.
    model: Option<String>,
    /// A route, such as `/v1/chat/completions`.
    api: Option<String>,
    /// RFC 3339: at this time or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Words in prompts and answers: all must occur, quoted ones next to each other; `deploy*` finds every word with this
    /// beginning. Only the last 64 KiB of a long prompt and the first 64 KiB of an answer are searched.
    #[param(max_length = 400)]
    text: Option<String>,
    /// `next` of the previous page.
    #[param(minimum = 0)]
    cursor: Option<i64>,
    /// `newest` of an earlier page: only rows that came after it, oldest first. Not with `cursor`.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Items of a page.
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// Lists your own record, newest first.
///
/// A search in your own record is not recorded.
#[utoipa::path(get, path = "/api/v1/me/record", operation_id = "list_my_requests", tag = "account", params(OwnRecordQuery),
    responses((status = 200, body = AuditPage)))]
pub async fn record(caller: Caller, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let page = async {
        let asked: OwnRecordQuery = query(&request)?;
        let OwnRecordQuery { token_id, kind, outcome, model, api, from, to, text, cursor, after, limit } = asked;
        let filter = Filter { token_id, kind, outcome, model, api, from, to, text, ..Filter::default() };
        let wanted = own_rows(&store, caller.0.user_id(), &filter).await?;
        own_page(&store, wanted, PageQuery { cursor, after, limit }).await
    };
    answer(&request, page.await)
}

/// Returns the filter for rows of this user alone. Another user's token looks as if it did not exist.
pub async fn own_rows(store: &Store, user_id: i64, filter: &Filter) -> Result<Wanted, Error> {
    if let Some(token) = &filter.token_id
        && store.token_key(token.clone()).await?.user_id != user_id
    {
        return Err(Error::NotFound { what: "such token".into() });
    }
    Ok(Wanted { user_id: Some(user_id), ..filter.wanted(store).await? })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnExportQuery {
    /// Default: `csv`.
    #[param(value_type = Option<ExportFormat>)]
    format: Option<String>,
    /// `true`: starts a CSV with a byte order mark, which Excel needs to read UTF-8.
    #[serde(default)]
    #[param(required = false)]
    bom: bool,
}

/// Downloads your own record as a file.
///
/// It holds every prompt and answer.
#[utoipa::path(get, path = "/api/v1/me/export", operation_id = "export_my_record", tag = "account", params(OwnExportQuery),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))), (status = 429), (status = 503)))]
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
