//! `lan-gateway queue …`: lists running and waiting requests, and cancels one.

use clap::Subcommand;
use serde_json::Value;

use crate::cli::host::{HostApi, escaped, maybe, need, unexpected};
use crate::cli::{print_json, table};
use crate::config::Config;

#[derive(Subcommand)]
pub enum QueueCommand {
    /// List running and waiting requests, the upstreams, and tokens that run away
    List {
        /// Print one JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Cancel a running or waiting request
    Cancel {
        /// As the list shows it
        request_id: String,
    },
}

const PATH: &str = "/api/v1/queue";

pub async fn run(host: &HostApi, config: &Config, command: Option<QueueCommand>) -> anyhow::Result<()> {
    host.check_running(&config.data_dir)?;
    match command.unwrap_or(QueueCommand::List { json: false }) {
        QueueCommand::List { json } => {
            let queue = host.get(PATH).await?;
            if json { print_json(&queue) } else { print_queue(&queue) }
        }
        QueueCommand::Cancel { request_id } => {
            host.delete(&format!("{PATH}/{}", escaped(&request_id)), None).await?;
            println!("{} is cancelled", crate::base::text::visible(&request_id));
            Ok(())
        }
    }
}

fn rows<const N: usize>(
    list: &Value,
    row: impl Fn(&Value) -> anyhow::Result<[String; N]>,
) -> anyhow::Result<Vec<[String; N]>> {
    list.as_array().ok_or_else(unexpected)?.iter().map(row).collect()
}

fn print_queue(queue: &Value) -> anyhow::Result<()> {
    println!("{} running, {} waiting", need(queue, "running")?, need(queue, "waiting")?);
    let hosts = rows(&queue["hosts"], |host| {
        let loaded = maybe(host, "loaded").unwrap_or_default();
        Ok([need(host, "name")?, need(host, "state")?, need(host, "slots")?, need(host, "free")?, loaded])
    })?;
    println!();
    table::print(["UPSTREAM", "STATE", "SLOTS", "FREE", "LOADED"], &hosts);
    let items = rows(&queue["items"], |item| {
        Ok([
            need(item, "request_id")?,
            need(item, "state")?,
            need(item, "user")?,
            maybe(item, "token_name").unwrap_or_default(),
            need(item, "model")?,
            need(item, "class")?,
            table::minute(&need(item, "entered_at")?),
            maybe(item, "position").unwrap_or_default(),
        ])
    })?;
    if !items.is_empty() {
        println!();
        table::print(["REQUEST", "STATE", "USER", "TOKEN", "MODEL", "CLASS", "CAME", "PLACE"], &items);
    }
    let runaways = rows(&queue["runaways"], |one| {
        let since = table::minute(&need(one, "since")?);
        Ok([
            need(one, "token")?,
            need(one, "name")?,
            need(one, "user")?,
            need(one, "state")?,
            need(one, "reason")?,
            maybe(one, "count").unwrap_or_default(),
            since,
        ])
    })?;
    if !runaways.is_empty() {
        println!();
        table::print(["TOKEN", "NAME", "USER", "STATE", "REASON", "COUNT", "SINCE"], &runaways);
    }
    Ok(())
}
