//! `lan-gateway incident`: writes one HTML file about a time, for an admin who has to find out what happened.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::base::durable::write_new;
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

/// How long a report may take. Every row of its time is read, and the host may be busy: that is why a report is made.
const REPORT_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a report that takes long says so.
const PROGRESS: Duration = Duration::from_secs(5);

pub async fn run(host: &HostApi, command: IncidentCommand) -> anyhow::Result<()> {
    let IncidentCommand { from, to, output, contents } = command;
    if let Some(path) = output.as_deref().filter(|path| path.exists()) {
        bail!("{} is there already; name another file", path.display());
    }
    let (from, to) = (host.times.from(Some(&from)), host.times.to(to.as_ref()));
    let asked = json!({ "from": from, "to": to, "contents": contents });
    let report = while_telling(host.make("/api/v1/incident-reports", &asked, REPORT_WAIT_MAX)).await?;
    match output {
        Some(path) => write_new(&path, &report).with_context(|| format!("can't write {}", path.display())),
        None => Ok(Output.write_all(&report)?),
    }
}

/// Waits for a report, and says on a terminal that it is still being made.
async fn while_telling<T>(report: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let mut report = std::pin::pin!(report);
    loop {
        match tokio::time::timeout(PROGRESS, &mut report).await {
            Ok(made) => return made,
            Err(_) if std::io::stderr().is_terminal() => {
                eprintln!("still reading the record, {} s", begun.elapsed().as_secs());
            }
            Err(_) => {}
        }
    }
}
