//! `lan-gateway checkpoints`: prints signed notes about the record, to be kept elsewhere.

use anyhow::Context;
use clap::Args;

use crate::cli::host::{HostApi, need};
use crate::cli::print_json;
use crate::model::checkpoint::Checkpoint;

#[derive(Args)]
#[command(
    after_help = "A note that is kept on another machine shows later that the record was not changed up to its row: \
    `lan-gateway verify --checkpoint FILE`.\n\nExamples:\n  \
    lan-gateway checkpoints > checkpoint.txt\n  \
    lan-gateway checkpoints --count 24"
)]
pub struct CheckpointsCommand {
    /// How many: the newest ones, the oldest of them first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Print one JSON list, the newest first, for scripts
    #[arg(long)]
    json: bool,
}

pub async fn run(host: &HostApi, command: &CheckpointsCommand) -> anyhow::Result<()> {
    let found = host.list("/api/v1/checkpoints", &[], Some(usize::from(command.count))).await?;
    if command.json {
        return print_json(&found);
    }
    if found.is_empty() {
        eprintln!("there is no checkpoint yet: the first is written soon after the start of the gateway");
    }
    for checkpoint in found.iter().rev() {
        let note = need(checkpoint, "note")?;
        // What was changed in the database is nothing to be kept, nor to be printed.
        Checkpoint::read(&note).context("a checkpoint was changed in the database; lan-gateway verify names it")?;
        print!("{note}");
    }
    Ok(())
}
