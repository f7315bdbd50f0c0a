//! Settings that an admin may change at run time.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::config::Config;
use crate::config::settings::Live;
use crate::http::body;
use crate::http::callers::Admin;
use crate::http::configuration::ConfigurationView;
use crate::http::reply::{ApiResult, answer};
use crate::http::views::SettingView;
use crate::store::Store;
use crate::store::settings::check_changes;

#[derive(Serialize, ToSchema)]
pub struct SettingList {
    pub items: Vec<SettingView>,
}

/// Lists the settings that can be changed at run time.
///
/// Each comes with its current value and its bounds.
#[utoipa::path(get, path = "/api/v1/settings", operation_id = "list_settings", tag = "settings",
    responses((status = 200, body = SettingList)))]
pub async fn list(_: Admin, request: HttpRequest, store: web::Data<Store>) -> ApiResult {
    answer(&request, view(&store).await)
}

/// Changes settings by name, all or none.
///
/// The changes hold from the next request on. Null restores the value of the file.
#[utoipa::path(patch, path = "/api/v1/settings", operation_id = "change_settings", tag = "settings",
    request_body(content = BTreeMap<String, Option<u64>>, example = json!({ "requests_per_minute": 20 })),
    responses((status = 200, body = SettingList)))]
pub async fn change(
    admin: Admin,
    request: HttpRequest,
    mut payload: web::Payload,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> ApiResult {
    let changed = async {
        let asked: BTreeMap<String, Option<Value>> = body::json(&request, &mut payload, &config.limits).await?;
        store.change_settings(admin.0.actor(), check_changes(asked)?).await?;
        view(&store).await
    };
    answer(&request, changed.await)
}

/// Returns the keys of the configuration file.
///
/// Each comes with its value and where it was read from. Secrets are never shown.
#[utoipa::path(get, path = "/api/v1/settings/file", operation_id = "get_configuration", tag = "settings",
    responses((status = 200, body = ConfigurationView)))]
pub async fn of_file(
    _: Admin,
    request: HttpRequest,
    config: web::Data<Config>,
    settings: web::Data<Live>,
) -> ApiResult {
    answer(&request, Ok(ConfigurationView::of(&config, &settings.now())))
}

/// Returns all settings with their current values.
pub async fn view(store: &Store) -> Result<SettingList, Error> {
    let (states, people) = (store.setting_states().await?, store.people());
    let items = states.iter().map(|state| SettingView::of(state, &people)).collect();
    Ok(SettingList { items })
}
