//! The pulse of the record.

use actix_web::{HttpRequest, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::base::error::Error;
use crate::config::Config;
use crate::http::callers::{Admin, Asker};
use crate::http::query::query;
use crate::http::reply::{ApiResult, answer};
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::model::record::{Act, Kind, Outcome};
use crate::provider;
use crate::rules::export::filter::Filter;
use crate::rules::pulse::{Pulse, pulse};
use crate::store::Store;

/// The filters of the record, without the place in the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PulseQuery {
    /// Only this user.
    #[param(format = Uuid)]
    user_id: Option<String>,
    /// Only this token.
    token_id: Option<String>,
    /// A model, in any of its spellings. Requests for unknown models are not counted for any.
    model: Option<String>,
    /// RFC 3339, rounded down to the beginning of an interval. Default: 24 hours before `to`.
    #[param(format = DateTime)]
    from: Option<String>,
    /// RFC 3339: before this time. Default: now.
    #[param(format = DateTime)]
    to: Option<String>,
    /// As in the record; with it, `items` is absent.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// As in the record; with it, `items` is absent.
    #[param(value_type = Option<Vec<Outcome>>, style = Form, explode = false)]
    outcome: Option<String>,
    /// As in the record; with it, `items` is absent.
    #[param(value_type = Option<Act>)]
    act: Option<String>,
    /// As in the record; with it, `items` is absent.
    #[param(format = Uuid)]
    subject_id: Option<String>,
    /// As in the record; with it, `items` is absent.
    #[param(format = Uuid)]
    history_of: Option<String>,
    /// As in the record; with it, `items` is absent.
    api: Option<String>,
    /// As in the record; with it, `items` is absent. No search is run.
    #[param(max_length = 400)]
    text: Option<String>,
}

impl PulseQuery {
    fn filter(self) -> Filter {
        let PulseQuery { user_id, token_id, kind, outcome, act, subject_id, history_of, .. } = self;
        let PulseQuery { model, api, from, to, text, .. } = self;
        Filter { user_id, token_id, kind, outcome, act, subject_id, history_of, model, api, from, to, text }
    }
}

/// Counts requests per quarter, hour or day.
///
/// The longer the time, the longer the interval. The filter is that of the record. Counts can be a moment behind the record.
#[utoipa::path(get, path = "/api/v1/audit/pulse", operation_id = "get_pulse", tag = "record", params(PulseQuery),
    responses((status = 200, body = Pulse)))]
pub async fn show(admin: Admin, request: HttpRequest, store: web::Data<Store>, config: web::Data<Config>) -> ApiResult {
    let shown = async {
        let filter = query::<PulseQuery>(&request)?.filter();
        if matches!(admin.0, Asker::Host) {
            // Perhaps no gateway runs that would sum up the record.
            while store.follow_usage(provider::canonical).await? {}
        }
        pulse_of(&store, &config, &filter).await
    };
    answer(&request, shown.await)
}

/// Returns the pulse of what a filter finds.
pub async fn pulse_of(store: &Store, config: &Config, filter: &Filter) -> Result<Pulse, Error> {
    let wanted = filter.wanted(store).await?;
    pulse(store, &config.timezone, &wanted, wanted.model.as_deref().map(canonical)).await
}

/// Returns the name under which the uses of a model are summed.
fn canonical(model: &str) -> String {
    let Ok(name) = ModelName::parse(model) else { return model.to_owned() };
    let (kind, _) = ProviderKind::NAMED[0];
    provider::canonical(kind, &name)
}
