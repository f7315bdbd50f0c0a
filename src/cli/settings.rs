//! `lan-gateway settings …`: what can be changed while the gateway runs.

use clap::Subcommand;

use crate::cli::{host, print_json, table};
use crate::config::Config;
use crate::control::settings::{SettingLine, SettingsAsk};
use crate::control::{Answer, Ask};

#[derive(Subcommand)]
pub enum SettingsCommand {
    /// List the settings with their current and their configured value
    List {
        /// For scripts: one JSON list
        #[arg(long)]
        json: bool,
    },
    /// Change a setting from the next request on; the change survives a restart
    Set { name: String, value: u64 },
    /// Return a setting to its configured value
    Unset { name: String },
}

pub async fn run(config: &Config, command: Option<SettingsCommand>) -> anyhow::Result<()> {
    let command = command.unwrap_or(SettingsCommand::List { json: false });
    let json = matches!(command, SettingsCommand::List { json: true });
    let ask = match command {
        SettingsCommand::List { .. } => SettingsAsk::List,
        SettingsCommand::Set { name, value } => SettingsAsk::Change { name, value: Some(value) },
        SettingsCommand::Unset { name } => SettingsAsk::Change { name, value: None },
    };
    let listed = matches!(ask, SettingsAsk::List);
    match host::ask(config, Ask::Settings(ask)).await? {
        Answer::Settings { settings } if json => print_json(&settings)?,
        Answer::Settings { settings } if listed => print_settings(&settings),
        Answer::Settings { settings } => settings.iter().for_each(|setting| println!("{}", sentence(setting))),
        _ => anyhow::bail!("the gateway's answer is about something else"),
    }
    Ok(())
}

fn print_settings(settings: &[SettingLine]) {
    let rows: Vec<[String; 6]> = settings
        .iter()
        .map(|setting| {
            [
                setting.name.clone(),
                setting.value.to_string(),
                setting.unit.clone(),
                setting.of_file.to_string(),
                setting.changed_at.as_deref().map(table::minute).unwrap_or_default(),
                who(setting),
            ]
        })
        .collect();
    table::print(["SETTING", "CURRENT", "", "CONFIGURED", "CHANGED", "BY"], &rows);
}

fn who(setting: &SettingLine) -> String {
    match (&setting.changed_at, &setting.changed_by) {
        (Some(_), None) => "the host".to_owned(),
        (_, by) => by.clone().unwrap_or_default(),
    }
}

fn sentence(setting: &SettingLine) -> String {
    let SettingLine { name, value, of_file, .. } = setting;
    let source = if setting.changed_at.is_some() { "set here; the file says" } else { "as the file says:" };
    format!("{name} is {value} ({source} {of_file})")
}
