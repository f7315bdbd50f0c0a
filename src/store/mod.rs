//! The database: accounts and the record in one SQLite file.
//!
//! There are many readers and one writer, a thread that drains a queue into one transaction per sync (group commit). So the
//! order of rows is the order of their log_ids. Accounts are read from a snapshot in memory, which the writer replaces after
//! each commit that changed them. Nothing outside this folder uses diesel.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use tokio::sync::oneshot;

use crate::base::error::Error;
use crate::base::vital::Vitals;
use crate::config::settings::Live;
use crate::metrics::Histogram;
use crate::model::people::People;

pub mod audit;
pub mod backup;
pub mod chain;
mod checkpoints;
pub mod erasure;
pub mod exports;
mod file;
pub mod incidents;
pub mod look;
mod mailbox;
mod migrations;
pub mod model_changes;
pub mod notices;
mod people;
pub mod prompt_starts;
pub mod pulse;
pub mod quotas;
pub mod retention;
pub mod schema;
pub mod search;
pub mod sessions;
pub mod settings;
mod size;
pub mod snippets;
pub mod today;
pub mod tokens;
mod undone;
pub mod usage;
pub mod users;
pub mod verify;
pub mod words;
mod writer;

pub use file::{FILE, has_accounts, quick_check};
use file::{ReaderSettings, check_version, connect};
use migrations::migrate;
pub use size::RecordSize;
use writer::{JobClaim, RecordWriter};
pub use writer::{RECEIPT_US, Tx, WriteFailure};

const READERS: u32 = 4;

/// How long an account verb may wait for its turn on the writer.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The watermark that is written to find out whether something can be written.
const TRIED_TO_WRITE: &str = "tried_to_write";

#[derive(Clone)]
pub struct Store {
    writer: Arc<RecordWriter>,
    readers: Pool<ConnectionManager<SqliteConnection>>,
    people: Arc<RwLock<Arc<People>>>,
    settings: Live,
    vitals: Vitals,
    path: Arc<PathBuf>,
    last_looks: users::LastLooks,
    chain: Arc<chain::ChainState>,
}

impl Store {
    /// Opens or creates the database in `data_dir`, migrates it, and starts the writer. It keeps `settings` at what admins have
    /// changed.
    pub fn open(data_dir: &Path, settings: Live) -> anyhow::Result<Store> {
        let path = data_dir.join(FILE);
        let mut connection = connect(&path)?;
        check_version(&mut connection)?;
        migrate(&mut connection, &path)?;

        let people = Arc::new(RwLock::new(Arc::new(people::load(&mut connection)?)));
        settings::load(&mut connection, &settings)?;
        let vitals = Vitals::default();
        let writer =
            RecordWriter::start(connection, connect(&path)?, people.clone(), settings.clone(), vitals.clone())?;
        let readers = Pool::builder()
            .max_size(READERS)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(5))
            .connection_customizer(Box::new(ReaderSettings))
            .build(ConnectionManager::new(path.to_string_lossy()))
            .context("can't open connections for reading")?;
        Ok(Store {
            writer: Arc::new(writer),
            readers,
            people,
            settings,
            vitals,
            path: Arc::new(path),
            last_looks: users::LastLooks::default(),
            chain: Arc::default(),
        })
    }

    /// Returns all users and tokens, as of the last commit.
    pub fn people(&self) -> Arc<People> {
        self.people.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Returns the current settings, as of the last commit.
    pub fn settings(&self) -> &Live {
        &self.settings
    }

    /// Returns what a worker has to run on its thread, so that the writer answers all its requests at once.
    pub fn serve_worker(&self) -> impl Future<Output = ()> + use<> {
        self.writer.serve_here()
    }

    /// Whether the record can be written.
    pub fn can_write(&self) -> bool {
        self.writer.healthy()
    }

    /// Writes a row of its own, if the record could not be written lately: whether it can be written again shows in no other way
    /// while no request comes.
    pub async fn try_to_write(&self) -> Result<(), Error> {
        if self.can_write() {
            return Ok(());
        }
        self.write(|tx| Ok(audit::set_watermark(tx.connection, TRIED_TO_WRITE, tx.now.0)?)).await
    }

    /// Returns after something could not be written, for one caller at a time.
    pub async fn write_failed(&self) {
        self.writer.failed().await;
    }

    /// Returns how many jobs were written since the start: intents, results, segments and verbs.
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Measures from now on how long transactions take. Only the first call counts.
    pub fn measure_commits(&self, commits: Histogram) {
        self.writer.measure_commits(commits);
    }

    /// Returns for how long the current transaction has been running.
    pub fn writing_for(&self) -> Duration {
        self.writer.writing_for()
    }

    /// Returns the watch over the parts that must not end.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    pub fn file(&self) -> &Path {
        &self.path
    }

    /// Runs `verb` on the writer, alone, in a transaction of its own or not at all; returns after the sync.
    pub async fn write<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, WriteFailure> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, mut wait) = oneshot::channel();
        let claim = JobClaim::default();
        self.writer.verb(verb, claim.clone(), answer);
        let gone = || Error::audit(anyhow::anyhow!("the writer did not answer"));
        let waited = match tokio::time::timeout(WRITE_WAIT_MAX, &mut wait).await {
            Ok(answered) => answered,
            // It was not begun, and is not done any more.
            Err(_) if claim.take() => return Err(gone()),
            // It was begun, so its result has to be awaited.
            Err(_) => wait.await,
        };
        waited.map_err(|_| gone())?
    }

    /// Runs `verb` as `write` does, without waiting for it.
    pub fn write_soon<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, WriteFailure> + Send + 'static,
    ) {
        self.writer.verb(verb, JobClaim::default(), oneshot::channel().0);
    }

    /// Moves everything out of the WAL and empties it, so that erased text is gone from there too.
    pub async fn truncate_wal(&self) -> Result<(), Error> {
        let (answer, wait) = oneshot::channel();
        self.writer.truncate(answer);
        match tokio::time::timeout(WRITE_WAIT_MAX, wait).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::audit(anyhow::anyhow!("the WAL could not be emptied"))),
        }
    }

    /// Runs `query` on a reading connection, off the worker threads.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.readers.clone();
        let work = move || -> anyhow::Result<T> { Ok(query(&mut *readers.get()?)?) };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(Error::internal),
            Err(panicked) => Err(Error::internal(panicked)),
        }
    }

    /// Waits until everything handed to the writer is on disk, then ends it. The file is then whole by itself, and its WAL
    /// is empty. Later writes are refused.
    pub fn close(&self) {
        self.writer.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    #[tokio::test]
    async fn a_wal_that_is_written_without_a_pause_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let wal = folder.path().join(format!("{FILE}-wal"));
        // The salts in the header of the WAL change when it begins anew.
        let salts = || {
            use std::os::unix::fs::FileExt;
            let mut salts = [0; 8];
            std::fs::File::open(&wal).unwrap().read_exact_at(&mut salts, 16).unwrap();
            salts
        };
        let row = "INSERT INTO record_part (log_id, part, kind, body) SELECT coalesce(max(log_id), 0) + 1, 0, 'detail', \
            zeroblob(16000) FROM record_part";

        let add = || store.write(move |tx| Ok(diesel::sql_query(row).execute(tx.connection)?));
        let mib = || std::fs::metadata(&wal).unwrap().len() / (1024 * 1024);
        while mib() <= 16 {
            add().await.unwrap();
        }
        let before = salts();
        while salts() == before {
            add().await.unwrap();
            assert!(mib() < 256, "the WAL grows without end");
        }
        store.close();
    }

    #[tokio::test]
    async fn a_reader_who_takes_long_such_as_a_backup_does_not_hold_up_the_writer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let row = "INSERT INTO record_part (log_id, part, kind, body) SELECT coalesce(max(log_id), 0) + 1, 0, 'detail', \
            zeroblob(16000) FROM record_part";
        let add = || store.write(move |tx| Ok(diesel::sql_query(row).execute(tx.connection)?));
        add().await.unwrap();
        let mut reader = connect(&folder.path().join(FILE)).unwrap();
        diesel::connection::SimpleConnection::batch_execute(&mut reader, "BEGIN; SELECT count(*) FROM users").unwrap();
        add().await.unwrap();

        let mut waited = Duration::MAX;
        // Its own wait would be part of each attempt, a busy machine is not.
        for _ in 0..5 {
            let begun = std::time::Instant::now();
            assert!(store.truncate_wal().await.is_err(), "the reader needs what is in the WAL");
            add().await.unwrap();
            waited = waited.min(begun.elapsed());
        }

        assert!(waited < Duration::from_secs(4), "SQLite would have waited for five seconds");
        drop(reader);
        // While a checkpoint runs, this is refused.
        let emptied = async { while store.truncate_wal().await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(60), emptied).await.unwrap();
        store.close();
        assert_eq!(store.vitals().reason(), None);
    }

    #[tokio::test]
    async fn a_writer_that_has_died_records_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        assert!(store.can_write() && store.vitals().reason().is_none());

        let died = store.write::<()>(|_| panic!("on purpose")).await;

        assert!(died.is_err());
        assert_eq!(store.vitals().failed().await, "the record's writer panicked");
        assert!(!store.can_write());
        assert!(store.write(|_| Ok(())).await.is_err());
        store.close();
    }

    #[tokio::test]
    async fn a_verb_that_was_given_up_is_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let (answer, wait) = oneshot::channel::<Result<(), Error>>();
        let claim = JobClaim::default();
        assert!(claim.take(), "its caller takes it back first");

        store.writer.verb(|_| unreachable!("it was given up"), claim, answer);

        assert!(wait.await.is_err());
        store.write(|_| Ok(())).await.unwrap();
        store.close();
        assert_eq!(store.vitals().reason(), None);
    }
}
