//! `lan-gateway incident`: one HTML file about a time, for who has to find out what happened.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::cli::host::HostApi;
use crate::cli::output::Output;
use crate::cli::times::CommandTime;

#[derive(Args)]
#[command(after_help = concat!(
    "The file says who sent the requests of that time, which pipeline, how often, and whether anything was misconfigured. It \
    opens in each browser, without a network, and can be printed. That it was made is on the record.\n\n",
    time_help!(),
    "\n\nExamples:\n  \
    lan-gateway incident --from 1h --output incident.html\n  \
    lan-gateway incident --from 2026-01-31T14:00 --to 2026-01-31T15:00 > incident.html"
))]
pub struct IncidentCommand {
    /// Requests that arrived at this time or later
    #[arg(long, value_name = "TIME")]
    from: CommandTime,
    /// Before this time, or until the end of this day [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<CommandTime>,
    /// Write to this file, which must not exist yet [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show how some prompts begin, of those who sent most: the file is then as confidential as the record
    #[arg(long)]
    contents: bool,
}

pub async fn run(host: &HostApi, command: IncidentCommand) -> anyhow::Result<()> {
    let IncidentCommand { from, to, output, contents } = command;
    if let Some(path) = output.as_deref().filter(|path| path.exists()) {
        bail!("{} is there already; name another file", path.display());
    }
    let (from, to) = (host.times.from(Some(&from)), host.times.to(to.as_ref()));
    let asked = json!({ "from": from, "to": to, "contents": contents });
    let report = host.make("/api/v1/incident-reports", &asked).await?;
    match output {
        Some(path) => write_whole(&path, &report),
        None => Ok(Output.write_all(&report)?),
    }
}

/// Writes a file that is whole or not there.
fn write_whole(path: &Path, report: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = (|| {
        let mut file = File::create(&part)?;
        file.write_all(report)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })();
    if written.is_err() {
        // It may not be there.
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(|| format!("can't write {}", path.display()))
}
