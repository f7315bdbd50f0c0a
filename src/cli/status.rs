//! `lan-gateway status`: whether the gateway runs and can serve. Unlike other commands it never opens the data folder itself.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::base::text::visible;
use crate::cli::host::{maybe, need, unexpected};
use crate::cli::socket::Socket;
use crate::cli::{print_json, table};
use crate::config::Config;
use crate::host::findings::bytes;
use crate::serve::socket::{SOCKET, is_answered};

#[derive(Args)]
pub struct StatusCommand {
    /// Print what `GET /api/v1/host` answers, for scripts
    #[arg(long)]
    json: bool,
}

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Prints what the running gateway says of itself. Fails if none runs, or if it can't record, since then it answers no request.
pub async fn run(config: &Config, command: &StatusCommand) -> anyhow::Result<()> {
    let folder = &config.data_dir;
    if !is_answered(folder).context("run this as the gateway's user or root")? {
        bail!("no gateway runs on {}; `systemctl status lan-gateway` or its log may say why", folder.display());
    }
    let socket = Socket::at(&folder.join(SOCKET));
    let ask = async |path| -> anyhow::Result<Value> {
        let reply = tokio::time::timeout(ANSWER_WAIT_MAX, socket.ask("GET", path, None)).await;
        let reply = reply.with_context(|| format!("it did not answer in {} s", ANSWER_WAIT_MAX.as_secs()))??;
        ensure!(reply.status == 200, unexpected());
        serde_json::from_slice(&reply.body).map_err(|_| unexpected())
    };
    let host = ask("/api/v1/host").await?;
    if command.json {
        print_json(&host)?;
    } else {
        let queue = ask("/api/v1/queue").await?;
        lines(&host, &queue)?.iter().for_each(|line| println!("{}", visible(line)));
    }
    ensure!(host["record"]["can_record"] == true, "the record can't be written, so no request is answered");
    Ok(())
}

fn lines(host: &Value, queue: &Value) -> anyhow::Result<Vec<String>> {
    let size = |field: &str| host["record"][field].as_u64().map_or("unknown".into(), bytes);
    let since =
        maybe(host, "started_at").map(|since| format!(" since {} UTC", table::minute(&since))).unwrap_or_default();
    let mut lines = vec![
        format!("gateway   {} runs{since}, on {}", need(host, "version")?, need(host, "listen")?),
        format!("record    {}; {} are free on its disk", size("bytes"), size("disk_free_bytes")),
        format!("requests  {} running, {} waiting", need(queue, "running")?, need(queue, "waiting")?),
    ];
    for upstream in host["hosts"].as_array().ok_or_else(unexpected)? {
        let error = maybe(upstream, "last_error").map(|error| format!(": {error}")).unwrap_or_default();
        let [name, url, state] = ["name", "url", "state"].map(|field| need(upstream, field));
        let [models, free, slots] = ["models", "free", "slots"].map(|field| need(upstream, field));
        lines.push(format!(
            "upstream  `{}` at {}: {}{error}; {}, {} of {} slots free",
            name?,
            url?,
            state?,
            match models?.as_str() {
                "1" => "1 model".to_owned(),
                models => format!("{models} models"),
            },
            free?,
            slots?
        ));
    }
    let warnings = host["warnings"].as_array().ok_or_else(unexpected)?;
    for warning in warnings {
        lines.push(format!("warning   {}; {}", need(warning, "message")?, need(warning, "remedy")?));
    }
    Ok(lines)
}
