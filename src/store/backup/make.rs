//! Makes a backup.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};

use crate::base::clock::Timestamp;
use crate::base::durable::{folder_of, free_bytes, rename_new, sync_folder};
use crate::base::owner;
use crate::base::secret::random_bytes;
use crate::store::backup::seal::{DIGEST_BYTES, seal};
use crate::store::backup::{
    ABOUT, APPLICATION_ID, Backup, BackupAbout, COUNTS, Number, ReadAs, has_table, read_only, unpublished,
};
use crate::store::size::USED_BYTES;

/// How often progress is told.
const LOOK: Duration = Duration::from_millis(200);

/// What is written is synced each time that it has grown by so much. All at once, the record's own syncs would wait for it.
const SYNC_BYTES: u64 = 32 << 20;

/// Room for what rows add while the copy is made.
const MARGIN_BYTES: u64 = 16 << 20;

/// The ending of a file that is not complete, after random hexadecimal digits.
const PARTIAL: &str = ".partial";
const RANDOM_BYTES: usize = 4;

/// Which file a backup is written to.
pub struct BackupWish<'a> {
    pub database: &'a Path,
    pub file: &'a Path,
    /// Whether a file that is there is replaced.
    pub replace: bool,
    /// What has to stay free on the disk of the backup.
    pub leave_free: u64,
}

/// Makes a backup of a database, whether or not a gateway uses it. It gets its name when it is complete and on disk. `progress`
/// is called with the bytes that are written and those that are expected.
pub fn make(wish: &BackupWish<'_>, progress: impl FnMut(u64, u64) + Send) -> anyhow::Result<Backup> {
    let BackupWish { database, file, replace, leave_free } = *wish;
    ensure!(replace || file.symlink_metadata().is_err(), "{} is there already; name another file", file.display());
    ensure!(!file.is_dir(), "{} is a folder; name a file in it", file.display());
    let shown = database.display();
    match database.try_exists() {
        Ok(false) => bail!("there is no database at {shown}"),
        Ok(true) => {}
        Err(cause) => bail!("can't look at {shown} ({cause}); run this as the gateway's user or root"),
    }
    let mut source = read_only(database, ReadAs::InUse).context("run this as the gateway's user or root")?;
    let draft = Draft::create(file, database)?;
    let made_at = copy(&mut source, &draft.path, leave_free, progress)?;
    drop(source);
    let about = describe(&draft.path, made_at)?;
    seal(&draft.path)?;
    let bytes = fs::metadata(&draft.path)?.len();
    draft.publish(file, replace)?;
    Ok(Backup { file: file.to_owned(), bytes, about })
}

/// Copies one state of the database to the empty file `to`; returns a time before it.
fn copy(
    source: &mut SqliteConnection,
    to: &Path,
    leave_free: u64,
    progress: impl FnMut(u64, u64) + Send,
) -> anyhow::Result<Timestamp> {
    let name = to.to_str().with_context(|| format!("{} is no text in UTF-8", to.display()))?;
    let expected = diesel::sql_query(USED_BYTES.replace("AS bytes", "AS value"));
    let expected = expected.get_result::<Number>(source).context("the database can't be read")?;
    let expected = u64::try_from(expected.value).unwrap_or(0);
    let (needed, free) = (expected + MARGIN_BYTES + leave_free, free_bytes(&folder_of(to))?);
    if free < needed {
        bail!(
            "not enough space in {}: {} MiB are needed, {} MiB are free",
            folder_of(to).display(),
            needed.div_ceil(1 << 20),
            free >> 20
        );
    }
    let file = File::open(to)?;
    let made_at = Timestamp::now();
    let copied = std::thread::scope(|scope| {
        let (done, ended) = sync_channel(1);
        let watch = std::thread::Builder::new().name("backup-progress".into());
        let file = &file;
        let watching = watch.spawn_scoped(scope, move || follow(file, expected, &ended, progress));
        let statement = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(name);
        let copied = watching.is_ok().then(|| statement.execute(source));
        drop(done);
        copied
    });
    copied.context("can't start a thread")?.map_err(|cause| match cause.to_string() {
        full if full.contains("disk is full") => {
            anyhow::anyhow!("the disk of {} became full", folder_of(to).display())
        }
        _ => anyhow::Error::from(cause).context("the database can't be copied"),
    })?;
    Ok(made_at)
}

/// Tells the progress and syncs the file while it is written, until the other end of `ended` is gone.
fn follow(file: &File, expected: u64, ended: &Receiver<()>, mut progress: impl FnMut(u64, u64)) {
    let mut synced = 0;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        let Ok(written) = file.metadata().map(|file| file.len()) else { continue };
        progress(written, expected);
        if written >= synced + SYNC_BYTES && file.sync_data().is_ok() {
            synced = written;
        }
    }
}

/// Removes what opens something from the copy, and adds what it says of itself.
fn describe(file: &Path, made_at: Timestamp) -> anyhow::Result<BackupAbout> {
    let mut copy = unpublished(file)?;
    copy.transaction(|copy| {
        if has_table(copy, "sessions")? {
            copy.batch_execute("DELETE FROM sessions")?;
        }
        copy.batch_execute("UPDATE exports SET receipt = NULL WHERE receipt IS NOT NULL")?;
        copy.batch_execute("DROP TABLE IF EXISTS backup")?;
        copy.batch_execute(ABOUT)?;
        let insert = format!(
            "INSERT INTO backup (made_at_us, version, schema, newest_log_id, newest_at_us, record_rows, parts, requests, people, \
             digest) SELECT ?, ?, schema, newest_log_id, newest_at_us, record_rows, parts, requests, people, ? FROM (SELECT {COUNTS})"
        );
        diesel::sql_query(insert)
            .bind::<BigInt, _>(made_at.0)
            .bind::<Text, _>(env!("CARGO_PKG_VERSION"))
            .bind::<Binary, _>(random_bytes::<DIGEST_BYTES>().to_vec())
            .execute(copy)?;
        copy.batch_execute(&format!("PRAGMA application_id={APPLICATION_ID}"))?;
        diesel::sql_query("SELECT * FROM backup").get_result(copy)
    })
    .context("the copy can't be completed")
}

/// Removes what an interrupted backup to `file` left.
pub fn remove_partials(file: &Path) -> std::io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for entry in fs::read_dir(folder_of(file))? {
        let entry = entry?;
        if partial_of(&entry.file_name().to_string_lossy()) == Some(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Returns the name that a partial file would have got.
pub fn partial_of(partial: &str) -> Option<&str> {
    let (name, random) = partial.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    let is_random = random.len() == 2 * RANDOM_BYTES && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_random.then_some(name)
}

/// A file that is removed unless it is published.
struct Draft {
    path: PathBuf,
    published: bool,
}

impl Draft {
    /// Creates an empty file beside `file`, for this user alone. Root gives it to the owner of the folder if the database is
    /// theirs, too: so the service's user can remove old backups, and nobody else gets the record.
    fn create(file: &Path, database: &Path) -> anyhow::Result<Draft> {
        let folder = folder_of(file);
        let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
        let random: String = random_bytes::<RANDOM_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{}.{random}{PARTIAL}", name.to_string_lossy()));
        let path = std::path::absolute(path)?;
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let new = new.with_context(|| format!("can't write in {}", folder.display()))?;
        let draft = Draft { path, published: false };
        if fs::metadata(database).is_ok_and(|one| folder.metadata().is_ok_and(|other| one.uid() == other.uid())) {
            owner::hand_over(&new, &folder)?;
        }
        Ok(draft)
    }

    fn publish(mut self, file: &Path, replace: bool) -> anyhow::Result<()> {
        let renamed = if replace { fs::rename(&self.path, file) } else { rename_new(&self.path, file) };
        renamed.with_context(|| format!("can't write {}", file.display()))?;
        self.published = true;
        sync_folder(&folder_of(file)).with_context(|| format!("can't sync the folder of {}", file.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Ignored: its name says that it is not complete.
            let _ = fs::remove_file(&self.path);
        }
    }
}
