//! `lan-gateway verify`: whether the record is as it was written.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;

use crate::base::clock::Timestamp;
use crate::base::text::visible;
use crate::config::{CHECKPOINTS, Config};
use crate::model::kept_notes::KeptNotes;
use crate::serve::app::SECRETS;
use crate::serve::socket::is_answered;
use crate::store::chain::OwnKey;
use crate::store::verify::{VerifyProgress, VerifySummary, VerifyWish, verify};

#[derive(Args)]
#[command(
    after_help = "Exit code 0: all of it is as it was written. 1: something is not; each line names the place and what is \
    wrong there, the first 20 of them. 2: it can't be read.\n\nIt changes nothing, needs no gateway, and works while one runs. \
    Without a checkpoint that was kept on another machine, it can't find out that the owner of this host wrote the whole \
    record anew: docs/chain.md says what to keep.\n\nExamples:\n  \
    lan-gateway verify --checkpoint /mnt/safe/checkpoints.txt\n  \
    lan-gateway verify /mnt/nas/lan-gateway-2026-11-29.db"
)]
pub struct VerifyCommand {
    /// A file with one or more checkpoints that were kept elsewhere; - is standard input
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// A data folder, a copy of one, or a backup [default: the data folder of the configuration]
    #[arg(value_name = "FOLDER_OR_BACKUP")]
    path: Option<PathBuf>,
}

impl VerifyCommand {
    /// Whether the command line says all that is needed, so that the configuration may be wrong or missing.
    pub fn needs_no_config(&self) -> bool {
        self.path.is_some()
    }
}

/// No file of checkpoints is larger: those of a century have 300 MB, those of twenty years 60.
const NOTES_BYTES_MAX: u64 = 64 << 20;

/// Time between two messages of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// Receipts that are listed.
const RECEIPTS_MAX: usize = 10;

/// Exit code for what can't be read.
const UNREADABLE: u8 = 2;

pub fn run(config: Option<&Config>, command: &VerifyCommand) -> ExitCode {
    match examine(config, command) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(cause) => {
            eprintln!("lan-gateway: {}", visible(&format!("{cause:#}")));
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Verifies, prints what was found, and returns the number of faults.
fn examine(config: Option<&Config>, command: &VerifyCommand) -> anyhow::Result<u64> {
    let path = match (&command.path, config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => config.data_dir.clone(),
        (None, None) => PathBuf::from("."),
    };
    let outside = command.checkpoint.as_deref().map(read_outside).transpose()?.unwrap_or_default();
    let folder = path.is_dir().then_some(path.as_path());
    // Before the database is opened, which then has every checkpoint of this file.
    let beside = folder.map(|folder| read_beside(folder, config)).transpose()?.flatten();
    let wish = VerifyWish {
        path: &path,
        is_in_use: folder.is_some_and(|folder| is_answered(folder).unwrap_or(true)),
        beside: beside.as_ref(),
        outside: &outside,
        own_key: folder.and_then(|folder| OwnKey::read(&folder.join(SECRETS))),
    };
    let mut shown = Shown::new();
    let summary = verify(
        &wish,
        &mut |fault| println!("{}", visible(&format!("{}: {}", fault.place, fault.what))),
        &mut |progress| shown.tell(&progress),
    )?;
    shown.end();
    lines(&summary, command.checkpoint.as_deref()).iter().for_each(|line| println!("{}", visible(line)));
    Ok(summary.faults)
}

fn read_outside(path: &Path) -> anyhow::Result<KeptNotes> {
    let shown = path.display();
    let kept = match path.as_os_str() == "-" {
        true => read_notes(std::io::stdin().lock()),
        false => File::open(path).map_err(anyhow::Error::from).and_then(read_notes),
    };
    let kept = kept.with_context(|| format!("can't read the checkpoints in {shown}"))?;
    ensure!(
        kept.rest().is_empty(),
        "{shown} has something that is no whole checkpoint; docs/chain.md shows what one looks like"
    );
    ensure!(!kept.is_empty(), "{shown} has no checkpoint");
    Ok(kept)
}

/// Reads the file of checkpoints of a data folder. `None`: there is none.
fn read_beside(folder: &Path, config: Option<&Config>) -> anyhow::Result<Option<KeptNotes>> {
    let own = config.filter(|config| config.data_dir == folder);
    let path = own.map_or_else(|| folder.join(CHECKPOINTS), |config| config.audit.checkpoint_file(folder));
    match File::open(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        file => file
            .map_err(anyhow::Error::from)
            .and_then(read_notes)
            .map(Some)
            .with_context(|| format!("can't read {}", path.display())),
    }
}

fn read_notes(from: impl Read) -> anyhow::Result<KeptNotes> {
    let mut bytes = Vec::new();
    from.take(NOTES_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= NOTES_BYTES_MAX, "it has more than {} MiB", NOTES_BYTES_MAX >> 20);
    Ok(KeptNotes::read(&String::from_utf8_lossy(&bytes)))
}

/// Returns what is printed of a summary.
fn lines(summary: &VerifySummary, outside: Option<&Path>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<13} {text}"));
    line("rows", summary.rows.map_or_else(|| "none".into(), |(oldest, newest)| format!("{oldest} to {newest}")));
    line("chain", format!("{} links, up to row {}", summary.links, summary.chained_to));
    if let Some((count, since)) = summary.later {
        line("not in chain", format!("{count} rows, since {}", Timestamp(since).rfc3339()));
    }
    let beside = match summary.beside {
        Some(beside) => format!(", {beside} in {CHECKPOINTS}"),
        None => String::new(),
    };
    line("checkpoints", format!("{}{beside}", summary.checkpoints));
    line("key", summary.key.clone().unwrap_or_else(|| "none yet".into()));
    if let Some(outside) = outside {
        let removed = match summary.removed_since {
            0 => String::new(),
            count => format!(", and {count} about rows that were removed since"),
        };
        line("kept outside", format!("{} in {} compared{removed}", summary.compared, outside.display()));
    }
    for (log_id, act, count) in summary.erased.iter().rev().take(RECEIPTS_MAX) {
        line("erased", format!("contents of {count} requests and refusals, receipt in row {log_id} ({act})"));
    }
    if summary.erased.len() > RECEIPTS_MAX {
        line("erased", format!("more under {} older receipts", summary.erased.len() - RECEIPTS_MAX));
    }
    if let Some((to, log_id)) = summary.removed {
        line("removed", format!("rows up to {to}, receipt in row {log_id}"));
    }
    lines.push(match summary.faults {
        0 => "good: all of it is as it was written".into(),
        1 => "bad: 1 fault".into(),
        count => format!("bad: {count} faults"),
    });
    lines
}

/// The line of progress on a terminal.
struct Shown {
    is_terminal: bool,
    told: Instant,
    is_shown: bool,
}

impl Shown {
    fn new() -> Shown {
        Shown { is_terminal: std::io::stderr().is_terminal(), told: Instant::now(), is_shown: false }
    }

    fn tell(&mut self, progress: &VerifyProgress) {
        if self.is_terminal && self.told.elapsed() >= PROGRESS {
            eprint!("\rrow {} of {}", progress.row, progress.last);
            (self.told, self.is_shown) = (Instant::now(), true);
        }
    }

    fn end(&self) {
        if self.is_shown {
            eprintln!();
        }
    }
}
