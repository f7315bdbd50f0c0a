//! `lan-gateway models`: lists the models of the upstreams.

use clap::Args;
use serde_json::Value;

use crate::cli::host::{HostApi, need, unexpected};
use crate::cli::{print_json, table};
use crate::config::Config;

#[derive(Args)]
pub struct ModelsCommand {
    /// Print one JSON list, for scripts
    #[arg(long)]
    json: bool,
}

pub async fn run(host: &HostApi, config: &Config, command: ModelsCommand) -> anyhow::Result<()> {
    host.check_running(&config.data_dir)?;
    let answer = host.get("/v1/models").await?;
    let models = answer["data"].as_array().ok_or_else(unexpected)?;
    if command.json {
        return print_json(models);
    }
    if models.is_empty() {
        println!("no upstream has a model");
        return Ok(());
    }
    let row = |model: &Value| Ok([need(model, "id")?, need(model, "owned_by")?]);
    let rows = models.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["MODEL", "OWNED BY"], &rows);
    Ok(())
}
