//! Pages of the record.

use actix_web::{HttpRequest, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::callers::Admin;
use crate::http::query::query;
use crate::http::record_items::{AuditPage, PageQuery, audit_page};
use crate::http::reply::{ApiResult, answer};
use crate::model::record::{Act, Kind, Outcome};
use crate::rules::export::filter::Filter;
use crate::store::Store;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only this user.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// Only this token.
    token_id: Option<String>,
    /// Only rows of this kind.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Only requests with this outcome, or with one of several, separated by commas.
    #[param(value_type = Option<Vec<Outcome>>, style = Form, explode = false)]
    outcome: Option<String>,
    /// Only acts of this kind.
    #[param(value_type = Option<Act>)]
    act: Option<String>,
    /// Only acts about this user.
    #[param(format = Uuid)]
    subject_id: Option<String>,
    /// Only acts about this user and acts of this user.
    #[param(format = Uuid)]
    history_of: Option<String>,
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

impl AuditQuery {
    fn filter(self) -> Filter {
        let AuditQuery { user_id, token_id, kind, outcome, act, subject_id, history_of, .. } = self;
        let AuditQuery { model, api, from, to, text, .. } = self;
        Filter { user_id, token_id, kind, outcome, act, subject_id, history_of, model, api, from, to, text }
    }
}

/// Lists the record, newest first.
///
/// It holds requests (running ones on the first page, without an outcome), refusals and acts. A search for `text` finds
/// requests that have ended, and leaves an act on the record as every look at contents does.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "list_requests", tag = "record", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = 503)))]
pub async fn audit(admin: Admin, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    let result = async {
        let query: AuditQuery = query(&request)?;
        let place = PageQuery { cursor: query.cursor, after: query.after, limit: query.limit };
        let wanted = query.filter().wanted(&store).await?;
        let searched = wanted.text.is_some();
        let subject = wanted.user_id;
        let page = audit_page(&store, wanted, place).await?;
        if searched {
            store.note_search(admin.0.actor(), subject, page.items.len()).await?;
        }
        Ok(page)
    };
    answer(&request, result.await)
}
