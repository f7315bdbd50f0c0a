//! The one file on disk: accounts and the record, in SQLite.
//!
//! Many readers, one writer. The writer is a thread of its own that drains a queue into one transaction per sync (group
//! commit), so the order of rows is the order of their log_ids. Accounts are read from a snapshot in memory that the
//! writer replaces after each commit that touched them. Nothing outside this folder knows diesel.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::oneshot;

use crate::base::error::Error;
use crate::base::vital::Vitals;
use crate::config::settings::Live;
use crate::model::people::People;

pub mod audit;
mod checkpoints;
pub mod erasure;
pub mod exports;
mod mailbox;
mod people;
pub mod quotas;
pub mod schema;
pub mod search;
pub mod settings;
pub mod today;
pub mod tokens;
mod undone;
pub mod usage;
pub mod users;
pub mod words;
mod writer;

use writer::{Claim, Writer};
pub use writer::{Failure, Tx};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

pub const FILE: &str = "lan-gateway.db";

/// Older versions can lose commits when two connections write or checkpoint at once (the WAL-reset race).
const SQLITE_LEAST: (u32, u32, u32) = (3, 51, 3);

const READERS: u32 = 4;

/// How long an account verb may wait for its turn on the writer.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Store {
    writer: Arc<Writer>,
    readers: Pool<ConnectionManager<SqliteConnection>>,
    people: Arc<RwLock<Arc<People>>>,
    settings: Live,
    vitals: Vitals,
    path: Arc<PathBuf>,
}

impl Store {
    /// Opens or makes the database in `data_dir`, migrates it, and starts the writer. What an admin has changed is set in
    /// `settings`, now and later.
    pub fn open(data_dir: &Path, settings: Live) -> anyhow::Result<Store> {
        let path = data_dir.join(FILE);
        let mut connection = connect(&path)?;
        check_version(&mut connection)?;
        migrate(&mut connection, &path)?;

        let people = Arc::new(RwLock::new(Arc::new(people::load(&mut connection)?)));
        settings::load(&mut connection, &settings)?;
        let vitals = Vitals::default();
        let writer = Writer::start(connection, connect(&path)?, people.clone(), settings.clone(), vitals.clone())?;
        let readers = Pool::builder()
            .max_size(READERS)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(5))
            .connection_customizer(Box::new(ReaderSettings))
            .build(ConnectionManager::new(path.to_string_lossy()))
            .context("can't open connections for reading")?;
        Ok(Store { writer: Arc::new(writer), readers, people, settings, vitals, path: Arc::new(path) })
    }

    /// Everybody who has an account, as of the last commit.
    pub fn people(&self) -> Arc<People> {
        self.people.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// What holds now of what an admin may change, as of the last commit.
    pub fn settings(&self) -> &Live {
        &self.settings
    }

    /// Returns what a worker has to run on its thread, so that the writer answers all its requests at once.
    pub fn serve_worker(&self) -> impl Future<Output = ()> + use<> {
        self.writer.serve_here()
    }

    /// `false` while nothing can be recorded.
    pub fn can_write(&self) -> bool {
        self.writer.healthy()
    }

    /// How many times something was written since the start: intents, results, segments, and what was done to accounts.
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// For how long the transaction that runs has been running.
    pub fn writing_for(&self) -> Duration {
        self.writer.writing_for()
    }

    /// The parts that must not end, and why the process has to when one did.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    pub fn file(&self) -> &Path {
        &self.path
    }

    /// Runs `verb` on the writer, alone, in a transaction of its own or not at all; returns after the sync.
    pub async fn write<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, mut wait) = oneshot::channel();
        let claim = Claim::default();
        self.writer.verb(verb, claim.clone(), answer);
        let gone = || Error::audit(anyhow::anyhow!("the writer did not answer"));
        let waited = match tokio::time::timeout(WRITE_WAIT_MAX, &mut wait).await {
            Ok(answered) => answered,
            // It will not be done any more.
            Err(_) if claim.take() => return Err(gone()),
            // It has begun, so what becomes of it is what has to be told.
            Err(_) => wait.await,
        };
        waited.map_err(|_| gone())?
    }

    /// Runs `verb` as `write` does, without waiting for it.
    pub fn write_soon<T: Send + 'static>(&self, verb: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static) {
        self.writer.verb(verb, Claim::default(), oneshot::channel().0);
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

fn connect(path: &Path) -> anyhow::Result<SqliteConnection> {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())
        .with_context(|| format!("can't open the database {}", path.display()))?;
    connection
        .batch_execute(&format!("{COMMON} PRAGMA synchronous={};", synchronous()))
        .with_context(|| format!("{} is not a database of this gateway, or it is damaged", path.display()))?;
    Ok(connection)
}

/// The order matters: the wait for a lock first, so that switching to WAL can use it.
const COMMON: &str = "PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON; \
    PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096; PRAGMA mmap_size=0; PRAGMA secure_delete=ON; \
    PRAGMA trusted_schema=OFF; PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=0;";

/// FULL: a commit returns only after its sync. The test of that must be able to fail, so debug builds can turn it off.
fn synchronous() -> &'static str {
    #[cfg(debug_assertions)]
    if std::env::var_os("LGW_DEBUG_SYNCHRONOUS_OFF").is_some() {
        return "OFF";
    }
    "FULL"
}

#[derive(QueryableByName)]
struct Damage {
    #[diesel(sql_type = diesel::sql_types::Text)]
    quick_check: String,
}

/// Lines of damage that are told.
const DAMAGE_LINES_MAX: usize = 100;

/// Reads the whole file and tells what is damaged in it; nothing when it is whole. A gateway that runs on it goes on.
pub fn quick_check(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())?;
    connection.batch_execute("PRAGMA busy_timeout=5000; PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;")?;
    let lines = diesel::sql_query(format!("PRAGMA quick_check({DAMAGE_LINES_MAX})")).load::<Damage>(&mut connection);
    match lines {
        Ok(lines) => Ok(lines.into_iter().map(|line| line.quick_check).filter(|line| line != "ok").collect()),
        Err(cause) if cause.to_string().contains("locked") => Err(cause.into()),
        // So damaged that it can't be looked through.
        Err(cause) => Ok(vec![cause.to_string()]),
    }
}

/// Whether `data_dir` has a database with accounts in it. Nothing is made.
pub fn has_accounts(data_dir: &Path) -> anyhow::Result<bool> {
    let path = data_dir.join(FILE);
    // An empty file is what `touch` or a failed copy leaves.
    if std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
        return Ok(false);
    }
    let mut connection = connect(&path)?;
    let tables = "SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name = 'users'";
    Ok(!diesel::sql_query(tables).load::<Text>(&mut connection)?.is_empty())
}

#[derive(Debug)]
struct ReaderSettings;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReaderSettings {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(&format!("{COMMON} PRAGMA query_only=ON;")).map_err(diesel::r2d2::Error::QueryError)
    }
}

#[derive(QueryableByName)]
struct Text {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

fn check_version(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let version = diesel::sql_query("SELECT sqlite_version() AS value").get_result::<Text>(connection)?.value;
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let found = (next(), next(), next());
    ensure!(found >= SQLITE_LEAST, "SQLite {version} can lose commits; {SQLITE_LEAST:?} is the least");
    Ok(())
}

/// Brings the schema up to date. A file of a newer gateway is refused; one of an older gateway is copied first.
fn migrate(connection: &mut SqliteConnection, path: &Path) -> anyhow::Result<()> {
    let explain = |cause| anyhow::anyhow!("the database schema can't be read or changed: {cause}");
    let applied = connection.applied_migrations().map_err(explain)?;
    let known: Vec<_> = {
        use diesel::migration::MigrationSource;
        let all = MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS).map_err(explain)?;
        all.iter().map(|migration| migration.name().version().as_owned()).collect()
    };
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        bail!(
            "{} was written by a newer lan-gateway (schema {newer}); install that one, or restore a backup",
            path.display()
        );
    }
    if applied.is_empty() || applied.len() < known.len() {
        if !applied.is_empty() {
            let copy =
                path.with_extension(format!("db.before-{}", known.last().map(ToString::to_string).unwrap_or_default()));
            if !copy.exists() {
                let statement = diesel::sql_query("VACUUM INTO ?");
                statement
                    .bind::<diesel::sql_types::Text, _>(copy.to_string_lossy().into_owned())
                    .execute(connection)?;
            }
        }
        connection.run_pending_migrations(MIGRATIONS).map_err(explain)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;

    #[test]
    fn a_database_of_a_newer_gateway_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path(), Live::new(Settings::default())).unwrap().close();
        let mut connection = connect(&folder.path().join(FILE)).unwrap();
        connection.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')").unwrap();

        let refusal = Store::open(folder.path(), Live::new(Settings::default())).err().unwrap().to_string();

        assert!(refusal.contains("newer lan-gateway"), "{refusal}");
    }

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
        let claim = Claim::default();
        assert!(claim.take(), "its caller takes it back first");

        store.writer.verb(|_| unreachable!("it was given up"), claim, answer);

        assert!(wait.await.is_err());
        store.write(|_| Ok(())).await.unwrap();
        store.close();
        assert_eq!(store.vitals().reason(), None);
    }

    #[test]
    fn the_schema_file_tells_what_the_migrations_make() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path(), Live::new(Settings::default())).unwrap().close();
        let mut connection = connect(&folder.path().join(FILE)).unwrap();
        let written = include_str!("schema.rs");

        for table in [
            "users",
            "tokens",
            "record",
            "record_part",
            "record_image",
            "record_image_use",
            "watermark",
            "exports",
            "erasure",
            "usage",
            "settings",
        ] {
            // `pragma_table_info` leaves generated columns out, as an INSERT does.
            let query =
                format!("SELECT name || ':' || type || ':' || \"notnull\" AS value FROM pragma_table_info('{table}')");
            let made: Vec<Text> = diesel::sql_query(query).load(&mut connection).unwrap();
            let made: Vec<String> = made.iter().map(|column| in_diesel(&column.value)).collect();
            let begin = written.find(&format!("    {table} (")).unwrap();
            let body = &written[begin..begin + written[begin..].find("    }\n").unwrap()];
            let told: Vec<String> =
                body.lines().skip(1).map(|line| line.trim().trim_end_matches(',').to_owned()).collect();
            assert_eq!(told, made, "{table}");
        }
    }

    fn in_diesel(column: &str) -> String {
        let mut parts = column.split(':');
        let (name, kind, not_null) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap() == "1");
        let kind = match kind {
            "INTEGER" | "BIGINT" => "BigInt",
            "TEXT" => "Text",
            "BLOB" => "Binary",
            "BOOLEAN" => "Bool",
            other => panic!("{other}"),
        };
        if not_null { format!("{name} -> {kind}") } else { format!("{name} -> Nullable<{kind}>") }
    }
}
