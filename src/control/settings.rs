//! From the host: what can be changed while the gateway runs.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::control::{Answer, HOST};
use crate::store::Store;
use crate::store::settings::{SettingState, check_changes};

#[derive(Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum SettingsAsk {
    List,
    /// `None`: what the file says.
    Change {
        name: String,
        value: Option<u64>,
    },
}

#[derive(Serialize, Deserialize)]
pub struct SettingLine {
    pub name: String,
    pub value: u64,
    /// What the configuration file says, or the default.
    pub of_file: u64,
    pub least: u64,
    pub most: u64,
    pub unit: String,
    pub about: String,
    /// When it was changed; `None`: the file's value holds.
    pub changed_at: Option<String>,
    /// By whom; `None`: on the host.
    pub changed_by: Option<String>,
}

pub async fn perform(store: &Store, ask: SettingsAsk) -> Result<Answer, Error> {
    let asked = match &ask {
        SettingsAsk::List => None,
        SettingsAsk::Change { name, value } => {
            let changes = check_changes([(name.clone(), value.map(Into::into))])?;
            store.change_settings(HOST, changes).await?;
            Some(name)
        }
    };
    let states = store.setting_states().await?;
    let shown = states.iter().filter(|state| asked.is_none_or(|name| state.setting.name == name));
    Ok(Answer::Settings { settings: shown.map(|state| line(store, state)).collect() })
}

fn line(store: &Store, state: &SettingState) -> SettingLine {
    let changed = state.changed.as_ref();
    SettingLine {
        name: state.setting.name.to_owned(),
        value: state.value,
        of_file: state.of_file,
        least: state.setting.least,
        most: state.setting.most,
        unit: state.setting.unit.to_owned(),
        about: state.setting.about().to_owned(),
        changed_at: changed.map(|row| Timestamp(row.changed_at_us).rfc3339()),
        changed_by: changed.and_then(|row| row.changed_by).map(|id| store.people().name_of(id)),
    }
}
