//! `lan-gateway backup` and `lan-gateway restore`. A backup is made by the command itself, also while a gateway runs, so that
//! it lies where the caller says.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::base::durable::folder_of;
use crate::base::owner;
use crate::cli::socket::Socket;
use crate::config::Config;
use crate::host::findings::bytes;
use crate::serve::app::lock;
use crate::serve::backups::{to_leave_free, yield_to_others};
use crate::serve::restore::restore;
use crate::serve::socket::{SOCKET, is_answered};
use crate::store::FILE;
use crate::store::backup::{self, Backup, BackupNote, BackupWish};

#[derive(Args)]
#[command(
    after_help = "The gateway may run or not; requests go on. FILE is one SQLite file with all accounts, tokens, settings \
    and the record with prompts and answers, readable by you alone. The keys in `secrets` are not in it, nor are sessions. \
    The configuration file is not in it either: copy it yourself.\n\nExample:\n  \
    lan-gateway backup /mnt/nas/lan-gateway-$(date +%F).db"
)]
pub struct BackupCommand {
    /// Write the backup to this file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
#[command(
    after_help = "Stop the gateway first. Logins, API tokens, settings and the record are as they were at the time of the \
    backup. Keys of JWTs are made anew and sessions are not in a backup, so everybody signs in again.\n\nExamples:\n  \
    lan-gateway restore --check /mnt/nas/lan-gateway-2026-11-29.db\n  \
    lan-gateway restore --replace /mnt/nas/lan-gateway-2026-11-29.db"
)]
pub struct RestoreCommand {
    /// A file that `lan-gateway backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read the backup and say whether it is whole; nothing is changed, and a gateway may run
    #[arg(long, conflicts_with = "replace")]
    check: bool,
    /// Move a database that is there aside (it is not deleted)
    #[arg(long)]
    replace: bool,
}

pub async fn make(config: &Config, command: BackupCommand) -> anyhow::Result<()> {
    let BackupCommand { file, force } = command;
    let database = config.data_dir.join(FILE);
    let (wanted, to) = (database.clone(), file.clone());
    let leave_free = to_leave_free(config, &folder_of(&file));
    // A thread of its own, and not one of the runtime: that would wait for it, though the command was interrupted.
    let (done, made) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("backup".into()).spawn(move || {
        yield_to_others();
        let mut progress = Progress::new();
        let wish = BackupWish { database: &wanted, file: &to, replace: force, leave_free };
        // The command may have been interrupted.
        let _ = done.send(backup::make(&wish, move |written, expected| progress.tell(written, expected)));
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let backup = tokio::select! {
        made = made => made??,
        _ = tokio::signal::ctrl_c() => return interrupted(&file),
        _ = terminate.recv() => return interrupted(&file),
    };
    println!("{} is a backup of {}", file.display(), database.display());
    print_about(&backup);
    // It is whole all the same.
    if let Err(cause) = note(config, &database, &backup).await {
        eprintln!("the record doesn't tell of this backup: {cause:#}");
    }
    Ok(())
}

fn interrupted(file: &Path) -> anyhow::Result<()> {
    backup::remove_partials(file)?;
    bail!("interrupted; {} was not written", file.display())
}

/// Has the record tell of a backup: by the gateway that runs, or in the file.
async fn note(config: &Config, database: &Path, backup: &Backup) -> anyhow::Result<()> {
    let note = BackupNote::of(backup, false);
    if is_answered(&config.data_dir)? {
        let socket = Socket::at(&config.data_dir.join(SOCKET));
        let reply = socket.ask("POST", "/host/backups", Some(&serde_json::to_value(&note)?)).await?;
        ensure!(reply.status == 201, "the running gateway refused it (version mismatch?)");
        return Ok(());
    }
    let _lock = lock(config)?;
    let noted = backup::note_without_gateway(database, &note);
    owner::hand_over_all(&config.data_dir)?;
    ensure!(noted?, "it has the schema of an older version");
    Ok(())
}

pub async fn bring_back(config: &Config, command: RestoreCommand) -> anyhow::Result<()> {
    let RestoreCommand { file, check, replace } = command;
    if check {
        let backup = tokio::task::spawn_blocking(move || backup::check(&file)).await??;
        println!("{} is a whole backup", backup.file.display());
        print_about(&backup);
        return Ok(());
    }
    let owned = config.clone();
    let restored = tokio::task::spawn_blocking(move || restore(&owned, &file, replace)).await??;
    let backup = &restored.backup;
    println!("restored {} to {}", backup.file.display(), config.data_dir.display());
    print_about(backup);
    if let Some(aside) = &restored.aside {
        println!("\nthe database that was there is now {}", aside.display());
    }
    if let Some(newer) = restored.newer {
        let rows = newer.log_id.saturating_sub(backup.about.newest_log_id);
        let rows = match rows {
            ..=0 => String::new(),
            1 => " (one row more)".to_owned(),
            rows => format!(" ({rows} rows more)"),
        };
        println!("its record goes on until {}{rows}: what came after the backup is only there", newer.at().rfc3339());
    }
    if let Some(outside) = config.audit.checkpoint_file_outside(&config.data_dir) {
        println!(
            "\nthe checkpoints in {0} that are newer than the backup don't verify any more, and `lan-gateway verify` says so. Keep\n\
             them: mv {0} {0}.before-restore",
            outside.display()
        );
    }
    println!(
        "\nnext: start the gateway. Passwords and API tokens are those of the backup; keys for JWTs are new, so everybody signs in\n\
         again. Requests that ran when the backup was made are recorded as interrupted."
    );
    Ok(())
}

fn print_about(backup: &Backup) {
    let Backup { bytes: size, about, .. } = backup;
    println!("snapshot    {}, by version {}", about.made_at().rfc3339(), about.version);
    println!("size        {}", bytes(*size));
    println!("people      {}", about.people);
    println!("requests    {}", about.requests);
    let newest = about.newest_at().map(|at| format!(", of {}", at.rfc3339())).unwrap_or_default();
    println!("newest row  {}{newest}", about.newest_log_id);
}

/// A line that is written again and again, on a terminal only.
struct Progress {
    shown: bool,
    is_terminal: bool,
}

impl Progress {
    fn new() -> Progress {
        Progress { shown: false, is_terminal: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, written: u64, expected: u64) {
        if self.is_terminal {
            self.shown = true;
            eprint!("\r{} of about {}   ", bytes(written), bytes(expected.max(written)));
            // Ignored: it is shown a moment later.
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprintln!();
        }
    }
}
