//! `lan-gateway settings …`: lists and changes settings at run time.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use crate::cli::host::{HostApi, maybe, need, unexpected};
use crate::cli::numbers::within;
use crate::cli::{print_json, table};
use crate::config::settings::TABLE;

#[derive(Subcommand)]
pub enum SettingsCommand {
    /// List the settings with their current and their configured value
    List {
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Change a setting from the next request on; the change survives a restart
    Set {
        /// Name of the setting; `lan-gateway settings` lists them
        #[arg(value_parser = names(), hide_possible_values = true)]
        name: String,
        /// The new value
        #[arg(allow_negative_numbers = true, value_parser = within(0_u64, u64::MAX))]
        value: u64,
        /// Print the setting as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Return a setting to its configured value
    Unset {
        /// Name of the setting; `lan-gateway settings` lists them
        #[arg(value_parser = names(), hide_possible_values = true)]
        name: String,
        /// Print the setting as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List every key of the configuration that the gateway has read, with where its value comes from; secrets are not shown
    File {
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(host: &HostApi, command: Option<SettingsCommand>) -> anyhow::Result<()> {
    match command.unwrap_or(SettingsCommand::List { json: false }) {
        SettingsCommand::List { json } => {
            let settings = items(host.get(PATH).await?)?;
            if json { print_json(&settings) } else { print_settings(&settings) }
        }
        SettingsCommand::Set { name, value, json } => change(host, &name, Some(value), json).await,
        SettingsCommand::Unset { name, json } => change(host, &name, None, json).await,
        SettingsCommand::File { json } => {
            let keys = items(host.get(FILE).await?)?;
            if json { print_json(&keys) } else { print_keys(&keys) }
        }
    }
}

/// Returns the names of all settings.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(TABLE.iter().map(|setting| setting.name))
}

const PATH: &str = "/api/v1/settings";
const FILE: &str = "/api/v1/settings/file";

fn items(mut answer: Value) -> anyhow::Result<Vec<Value>> {
    match answer["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

async fn change(host: &HostApi, name: &str, value: Option<u64>, json: bool) -> anyhow::Result<()> {
    let settings = items(host.patch(PATH, &json!({ name: value })).await?)?;
    let setting = settings.iter().find(|setting| setting["name"] == name).ok_or_else(unexpected)?;
    if json {
        return print_json(setting);
    }
    let source = if setting["changed_at"].is_null() { "as the file says:" } else { "set here; the file says" };
    println!("{name} is {} ({source} {})", need(setting, "value")?, need(setting, "of_file")?);
    Ok(())
}

fn print_settings(settings: &[Value]) -> anyhow::Result<()> {
    let row = |setting: &Value| {
        Ok([
            need(setting, "name")?,
            need(setting, "value")?,
            need(setting, "unit")?,
            need(setting, "of_file")?,
            maybe(setting, "changed_at").as_deref().map(table::minute).unwrap_or_default(),
            who(setting),
        ])
    };
    let rows = settings.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["SETTING", "CURRENT", "", "CONFIGURED", "CHANGED", "BY"], &rows);
    Ok(())
}

fn print_keys(keys: &[Value]) -> anyhow::Result<()> {
    let row = |key: &Value| {
        let value = key.get("value").map_or_else(|| "(secret)".to_owned(), Value::to_string);
        let source = maybe(key, "variable").map_or_else(|| need(key, "source"), Ok)?;
        Ok([need(key, "key")?, value, source, maybe(key, "changed_to").unwrap_or_default()])
    };
    let rows = keys.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["KEY", "VALUE", "FROM", "CHANGED TO"], &rows);
    Ok(())
}

fn who(setting: &Value) -> String {
    match (maybe(setting, "changed_at"), maybe(setting, "changed_by")) {
        (Some(_), None) => "the host".to_owned(),
        (_, by) => by.unwrap_or_default(),
    }
}
