//! Settings that admins have changed: a row for each, which overrides the configuration file.

use diesel::prelude::*;
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::config::settings::{Live, Setting, TABLE};
use crate::model::people::Actor;
use crate::model::record::Act;
use crate::store::people::check_acting_admin;
use crate::store::schema::settings;
use crate::store::{Store, audit};

/// A setting that was changed, and by whom last; `None`: on the host.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = settings)]
pub struct Override {
    pub name: String,
    pub value: i64,
    pub changed_at_us: i64,
    pub changed_by: Option<i64>,
}

/// A setting with its current value.
pub struct SettingState {
    pub setting: &'static Setting,
    pub value: u64,
    /// The value in the configuration file, or the default.
    pub of_file: u64,
    /// `None`: the value is that of the file.
    pub changed: Option<Override>,
}

/// A setting and its new value, checked; `None`: the file's again.
pub type Change = (&'static Setting, Option<u64>);

/// Makes the stored settings the current ones.
pub fn load(connection: &mut SqliteConnection, live: &Live) -> QueryResult<()> {
    let rows = all(connection)?;
    live.set(rows.iter().filter_map(|row| Some((row.name.as_str(), u64::try_from(row.value).ok()?))));
    Ok(())
}

fn all(connection: &mut SqliteConnection) -> QueryResult<Vec<Override>> {
    settings::table.select(Override::as_select()).load(connection)
}

impl Store {
    /// Returns all settings, in the order of the file.
    pub async fn setting_states(&self) -> Result<Vec<SettingState>, Error> {
        let rows = self.read(all).await?;
        let (start, now) = (self.settings().start(), self.settings().now());
        let state = |setting: &'static Setting| SettingState {
            setting,
            value: (setting.get)(&now),
            of_file: (setting.get)(&start),
            changed: rows.iter().find(|row| row.name == setting.name).cloned(),
        };
        Ok(TABLE.iter().map(state).collect())
    }

    /// Changes settings, all or none; the act has the values before and after.
    pub async fn change_settings(&self, by: Actor, changes: Vec<Change>) -> Result<(), Error> {
        self.change_settings_seen(by, changes, Vec::new()).await
    }

    /// The same, unless one of the settings in `seen` has another value by now than the caller saw.
    pub async fn change_settings_seen(
        &self,
        by: Actor,
        changes: Vec<Change>,
        seen: Vec<(&'static Setting, u64)>,
    ) -> Result<(), Error> {
        let live = self.settings().clone();
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let rows = all(tx.connection)?;
            check_seen(&live, &rows, &seen)?;
            check_together(&live, &rows, &changes)?;
            let (mut old, mut new) = (Map::new(), Map::new());
            for (setting, value) in changes {
                let was = rows.iter().find(|row| row.name == setting.name);
                let value_now = value.and_then(|value| i64::try_from(value).ok());
                if was.map(|row| row.value) == value_now {
                    continue;
                }
                let of_file = (setting.get)(&live.start());
                old.insert(setting.name.into(), was.map_or(Value::from(of_file), |row| row.value.into()));
                new.insert(setting.name.into(), value.unwrap_or(of_file).into());
                diesel::delete(settings::table.find(setting.name)).execute(tx.connection)?;
                if let Some(value) = value_now {
                    diesel::insert_into(settings::table)
                        .values((
                            settings::name.eq(setting.name),
                            settings::value.eq(value),
                            settings::changed_at_us.eq(tx.now.0),
                            settings::changed_by.eq(by.0),
                        ))
                        .execute(tx.connection)?;
                }
            }
            if new.is_empty() {
                return Ok(());
            }
            tx.settings_changed();
            let detail = serde_json::json!({ "old": old, "new": new }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::SettingsChanged, by.0, None, Some(detail))?;
            Ok(())
        })
        .await
    }
}

/// Refuses changes that were decided on by values of before.
fn check_seen(live: &Live, rows: &[Override], seen: &[(&'static Setting, u64)]) -> Result<(), Error> {
    let rows = rows.iter().filter_map(|row| Some((row.name.as_str(), u64::try_from(row.value).ok()?)));
    let now = live.start().with(rows);
    match seen.iter().find(|(setting, value)| (setting.get)(&now) != *value) {
        None => Ok(()),
        Some((setting, value)) => {
            let now = (setting.get)(&now);
            Err(Error::conflict(format!("`{}` was changed meanwhile from {value} to {now}", setting.name)))
        }
    }
}

/// Refuses changes after which a changed setting contradicts another one. An outer bound can be lowered at any time: it
/// holds then, and the bounds inside it have no effect above it.
fn check_together(live: &Live, rows: &[Override], changes: &[Change]) -> Result<(), Error> {
    let changed = |setting: &Setting| changes.iter().any(|(other, _)| other.name == setting.name);
    let kept = rows.iter().filter(|row| Setting::named(&row.name).is_none_or(|setting| !changed(setting)));
    let kept = kept.filter_map(|row| Some((row.name.as_str(), u64::try_from(row.value).ok()?)));
    let new = changes.iter().filter_map(|(setting, value)| Some((setting.name, (*value)?)));
    let after = live.start().with(kept.chain(new));
    for found in after.contradictions().into_iter().filter(|found| found.is_said) {
        let at_fault = if changed(found.setting) { found.setting } else { found.most };
        if changed(at_fault) && (changed(found.setting) || found.is_between_steps) {
            let message = format!("{found}; change the other one first, or both in one request");
            return Err(Error::invalid(at_fault.name, message));
        }
    }
    Ok(())
}

/// Names and values as they were asked for, checked; the first that is wrong is named.
pub fn check_changes(asked: impl IntoIterator<Item = (String, Option<Value>)>) -> Result<Vec<Change>, Error> {
    asked
        .into_iter()
        .map(|(name, value)| {
            let Some(setting) = Setting::named(&name) else {
                let known: Vec<_> = TABLE.iter().map(|setting| setting.name).collect();
                let message = format!("there is no setting `{name}`; there are {}", known.join(", "));
                return Err(Error::invalid(name, message));
            };
            let value = value.map(|value| setting.check(value.as_u64().ok_or_else(|| setting.wrong())?)).transpose()?;
            Ok((setting, value))
        })
        .collect()
}
