//! Puts a backup in the place of the database, while no gateway runs on the folder.
//!
//! What was there is moved aside and never deleted. The order is such that a start after a crash finds the old database, or the
//! new one with new keys, or refuses: see `app`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::auth::jwt::JwtKeys;
use crate::base::clock::Timestamp;
use crate::base::durable::{free_bytes, rename_new, sync_folder};
use crate::base::owner;
use crate::config::{CHECKPOINTS, Config};
use crate::serve::app::{RESTORING, SECRETS, lock};
use crate::store::FILE;
use crate::store::backup::{self, Backup, NewestRow};

/// What a restore did.
pub struct Restored {
    pub backup: Backup,
    /// The database that was there, where it is now.
    pub aside: Option<PathBuf>,
    /// Its newest row, if that is newer than the backup's.
    pub newer: Option<NewestRow>,
}

/// Restores a backup. A database that is there is refused, or moved aside with `replace`.
pub fn restore(config: &Config, file: &Path, replace: bool) -> anyhow::Result<Restored> {
    let claimed = backup::about(file)?;
    let _lock = lock(config)?;
    let folder = &config.data_dir;
    let database = folder.join(FILE);
    let exists = fs::metadata(&database).is_ok_and(|old| old.len() > 0);
    ensure!(
        replace || !exists,
        "there is a database at {}; --replace moves it aside (it is not deleted) and restores the backup in its place",
        database.display()
    );
    let restoring = folder.join(RESTORING);
    let backup = bring(file, &restoring, claimed.bytes).inspect_err(|_| {
        // Ignored: the next restore replaces it.
        let _ = fs::remove_file(&restoring);
    })?;
    let old = exists.then(|| backup::newest_row(&database)).flatten();
    let checkpoints = match config.audit.checkpoint_file_outside(folder) {
        Some(_) => folder.join(CHECKPOINTS),
        None => config.audit.checkpoint_file(folder),
    };
    let aside = move_aside(folder, exists, &checkpoints)?;
    fs::rename(&restoring, &database).context("can't put the backup in place")?;
    sync_folder(folder)?;
    // The start would make them, but also say that they were lost.
    let secrets = folder.join(SECRETS);
    fs::DirBuilder::new().mode(0o700).create(&secrets).context("can't make the folder of secrets")?;
    JwtKeys::load(&secrets, &config.accounts)?;
    sync_folder(folder)?;
    owner::hand_over_all(folder).with_context(|| format!("files in {} may belong to root now", folder.display()))?;
    let newer = old.filter(|old| backup.about.newest_at().is_none_or(|newest| old.at() > newest));
    Ok(Restored { backup, aside, newer })
}

/// Copies a backup into the data folder, checks the copy, and makes it a database that a gateway can use.
fn bring(file: &Path, restoring: &Path, bytes: u64) -> anyhow::Result<Backup> {
    let folder = restoring.parent().unwrap_or(Path::new("."));
    // A migration needs room, too.
    let (needed, free) = (bytes + bytes / 8, free_bytes(folder)?);
    ensure!(
        free >= needed,
        "not enough space in {}: {} MiB are needed, {} MiB are free",
        folder.display(),
        needed.div_ceil(1 << 20),
        free >> 20
    );
    match fs::remove_file(restoring) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause).context("can't remove an old copy"),
        _ => {}
    }
    let mut from = File::open(file).with_context(|| format!("can't open {}", file.display()))?;
    let mut to = File::options().write(true).create_new(true).mode(0o600).open(restoring)?;
    std::io::copy(&mut from, &mut to).with_context(|| format!("can't copy {}", file.display()))?;
    owner::hand_over(&to, folder)?;
    let checked = backup::check(restoring);
    let checked = checked.map_err(|cause| anyhow::anyhow!("{}: {cause:#}", file.display()))?;
    backup::make_live(restoring, &checked.about)?;
    to.sync_all().context("can't sync the copy")?;
    sync_folder(folder)?;
    Ok(Backup { file: file.to_owned(), ..checked })
}

/// Moves the database, its WAL, its checkpoints and the keys aside; returns where the database is now.
fn move_aside(folder: &Path, exists: bool, checkpoints: &Path) -> anyhow::Result<Option<PathBuf>> {
    let suffix = format!("before-restore-{}", Timestamp::now().compact());
    let aside = folder.join(format!("{FILE}.{suffix}"));
    let named = |base: &Path, end: &str| PathBuf::from(format!("{}{end}", base.display()));
    let database = folder.join(FILE);
    // Their newest may be about rows that the backup doesn't have. A file outside the folder stays: it is there to tell of that.
    rename_existing(checkpoints, &named(checkpoints, &format!(".{suffix}")))?;
    for end in ["", "-wal", "-shm"] {
        rename_existing(&named(&database, end), &named(&aside, end))?;
    }
    rename_existing(&folder.join(SECRETS), &folder.join(format!("{SECRETS}.{suffix}")))?;
    sync_folder(folder)?;
    Ok(exists.then_some(aside))
}

fn rename_existing(from: &Path, to: &Path) -> anyhow::Result<()> {
    match rename_new(from, to) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed.with_context(|| format!("can't move {} to {}", from.display(), to.display())),
    }
}
