//! What an admin may change while the gateway runs.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::Config;
use crate::http::admin::{Answer, answer};
use crate::http::body;
use crate::http::guard::Admin;
use crate::store::Store;
use crate::store::settings::check_changes;

#[derive(Serialize, ToSchema)]
pub struct SettingView {
    #[schema(example = "requests_per_minute")]
    name: &'static str,
    /// What holds now.
    #[schema(example = 20)]
    value: u64,
    /// What the configuration file says, or the default; null in a change puts it back.
    #[schema(example = 10)]
    of_file: u64,
    /// Whether `value` was set here.
    overridden: bool,
    /// The smallest value that can be set.
    least: u64,
    /// The largest.
    most: u64,
    #[schema(example = "requests")]
    unit: &'static str,
    about: &'static str,
    /// When it was set here.
    #[schema(format = DateTime)]
    changed_at: Option<String>,
    /// Who set it here; null when it was done on the host.
    changed_by: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct SettingList {
    items: Vec<SettingView>,
}

/// What can be changed while the gateway runs, and what holds now. The configuration file alone has the rest.
#[utoipa::path(get, path = "/api/v1/settings", operation_id = "settings", tag = "admin",
    responses((status = 200, body = SettingList), crate::http::docs::Refusals))]
pub async fn list(_: Admin, request: HttpRequest, store: web::Data<Store>) -> Answer {
    answer(&request, view(&store).await)
}

/// Changes settings by name, all or none; felt on the next request. Null: what the file says.
#[utoipa::path(patch, path = "/api/v1/settings", operation_id = "change_settings", tag = "admin",
    request_body(content = BTreeMap<String, Option<u64>>, example = json!({ "requests_per_minute": 20 })),
    responses((status = 200, body = SettingList), crate::http::docs::Refusals))]
pub async fn change(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> Answer {
    let changed = async {
        let asked: BTreeMap<String, Option<Value>> = body::json(&request, &mut payload, &config.limits).await?;
        store.change_settings(admin.actor(), check_changes(asked)?).await?;
        view(&store).await
    };
    answer(&request, changed.await)
}

async fn view(store: &Store) -> Result<SettingList, Error> {
    let (states, people) = (store.setting_states().await?, store.people());
    let items = states.iter().map(|state| {
        let changed = state.changed.as_ref();
        SettingView {
            name: state.setting.name,
            value: state.value,
            of_file: state.of_file,
            overridden: changed.is_some(),
            least: state.setting.least,
            most: state.setting.most,
            unit: state.setting.unit,
            about: state.setting.about(),
            changed_at: changed.map(|row| Timestamp(row.changed_at_us).rfc3339()),
            changed_by: changed.and_then(|row| row.changed_by).map(|id| people.name_of(id)),
        }
    });
    Ok(SettingList { items: items.collect() })
}
