//! Makes the scheduled backups, beside the requests: on a thread of its own with a lower priority, with its own connection.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::config::{BackupSchedule, Config};
use crate::host::backups::{KeptBackup, VainTries, file_name, is_due, kept, time_of};
use crate::host::findings::bytes;
use crate::host::machine::Disk;
use crate::host::room::DiskMarks;
use crate::serve::app::App;
use crate::store::backup::{self, Backup, BackupNote, BackupWish};

/// When the folder is first looked at, and how often then.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How much a thread that makes a backup yields to others.
const NICENESS: i32 = 10;

/// Makes a backup whenever one is due, until it is dropped.
pub async fn keep_up(app: Arc<App>) {
    let Some(schedule) = app.config.backup.schedule.clone() else { return std::future::pending().await };
    let mut vain = VainTries::NONE;
    let mut pause = FIRST_LOOK;
    loop {
        tokio::time::sleep(pause).await;
        pause = LOOK_EVERY;
        let found = list(&app, &schedule.folder).await;
        let is_due = match &found {
            Ok(kept) => is_due(kept, schedule.every, vain, Timestamp::now()),
            Err(_) => is_due(&[], schedule.every, vain, Timestamp::now()),
        };
        if !is_due {
            continue;
        }
        let begun = Instant::now();
        let made = match found {
            Ok(_) => make_one(&app, &schedule).await,
            Err(cause) => Err(cause),
        };
        match made {
            Ok(None) => {}
            Ok(Some(backup)) => {
                vain = VainTries::NONE;
                app.watch.backups.ended(None);
                let (file, size) = (backup.file.display(), backup.bytes);
                info!(size, seconds = begun.elapsed().as_secs_f32(), "backed up {} to {file}", bytes(size));
                tell(&app, &schedule, &backup).await;
            }
            Err(cause) => {
                vain = VainTries { count: vain.count.saturating_add(1), last: Timestamp::now() };
                let cause = format!("{cause:#}");
                warn!(cause, tries = vain.count, "the scheduled backup failed; it is tried again later");
                app.watch.backups.ended(Some(cause));
            }
        }
    }
}

/// Has the record tell of a backup, and looks into the folder again.
async fn tell(app: &App, schedule: &BackupSchedule, backup: &Backup) {
    if let Err(error) = app.store.note_backup(BackupNote::of(backup, true)).await {
        warn!(cause = chain(&error), "the record doesn't tell of the scheduled backup");
    }
    if let Err(cause) = list(app, &schedule.folder).await {
        warn!(cause = format!("{cause:#}"), "the folder of the backups can't be read");
    }
}

async fn list(app: &App, folder: &Path) -> anyhow::Result<Vec<KeptBackup>> {
    let looked_at = folder.to_owned();
    let found = tokio::task::spawn_blocking(move || kept(&looked_at)).await?;
    let found = found.with_context(|| format!("the folder {} can't be read", folder.display()))?;
    app.watch.backups.found(found.first().cloned());
    Ok(found)
}

/// Makes a backup on a thread of its own. `None`: another gateway is making one in the folder.
async fn make_one(app: &App, schedule: &BackupSchedule) -> anyhow::Result<Option<Backup>> {
    let (done, made) = oneshot::channel();
    let (database, config, schedule) = (app.store.file().to_owned(), app.config.clone(), schedule.clone());
    std::thread::Builder::new()
        .name("backup".into())
        .spawn(move || {
            yield_to_others();
            // The gateway may be stopping.
            let _ = done.send(make(&database, &config, &schedule));
        })
        .context("can't start a thread")?;
    made.await.context("its thread panicked")?
}

fn make(database: &Path, config: &Config, schedule: &BackupSchedule) -> anyhow::Result<Option<Backup>> {
    let folder = &schedule.folder;
    // It is not made here: it may be the place of a disk that is not mounted.
    ensure!(folder.is_dir(), "there is no folder {}", folder.display());
    ensure!(
        !folder.canonicalize()?.starts_with(config.data_dir.canonicalize()?),
        "{} is in the data folder; choose another folder for backups",
        folder.display()
    );
    let lock = File::open(folder)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(cause)) => bail!("can't lock {}: {cause}", folder.display()),
    }
    remove_partials(folder)?;
    let file = folder.join(file_name(Timestamp::now()));
    let wish = BackupWish { database, file: &file, replace: false, leave_free: to_leave_free(config, folder) };
    let backup = backup::make(&wish, |_, _| {})?;
    // One whose time lies ahead, made before the clock was set back, must not push the new one out.
    let others = kept(folder)?.into_iter().filter(|other| folder.join(&other.file) != file);
    for old in others.skip(schedule.keep - 1) {
        let file = folder.join(&old.file);
        // The new one is complete all the same.
        if let Err(cause) = fs::remove_file(&file) {
            warn!(cause = chain(&cause), "the old backup {} can't be removed", file.display());
        }
    }
    Ok(Some(backup))
}

/// Lowers the priority of the calling thread, so that requests go first.
pub fn yield_to_others() {
    // Ignored: requests only wait a little longer then.
    let _ = rustix::process::nice(NICENESS);
}

/// Returns what a backup in `folder` has to leave free: on the disk of the data folder so much that requests are still answered.
pub fn to_leave_free(config: &Config, folder: &Path) -> u64 {
    let device = |folder: &Path| folder.metadata().ok().map(|folder| folder.dev());
    if device(folder).is_none() || device(folder) != device(&config.data_dir) {
        return 0;
    }
    Disk::of(folder).map_or(0, |disk| DiskMarks::of(&config.disk, disk).min)
}

/// Removes what scheduled backups left that were interrupted. The caller has locked the folder.
fn remove_partials(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().and_then(backup::partial_of).and_then(time_of).is_some() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
