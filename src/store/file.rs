//! The database file: how it is opened, and how it is checked.

use std::path::Path;

use anyhow::{Context, ensure};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;

pub const FILE: &str = "lan-gateway.db";

/// Older versions can lose commits when two connections write or checkpoint at once (the WAL-reset race).
const SQLITE_LEAST: (u32, u32, u32) = (3, 51, 3);

/// Opens the file for reading and writing.
pub fn connect(path: &Path) -> anyhow::Result<SqliteConnection> {
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

/// Returns FULL: a commit returns only after its sync. Debug builds can turn it off, so that the test of it can fail.
fn synchronous() -> &'static str {
    #[cfg(debug_assertions)]
    #[allow(clippy::disallowed_methods, reason = "a test's override, only in debug builds")]
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

/// Lines of damage that are reported.
const DAMAGE_LINES_MAX: usize = 100;

/// Reads the whole file and returns what is damaged in it. A gateway may be running on it.
pub fn quick_check(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())?;
    connection.batch_execute("PRAGMA busy_timeout=5000; PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;")?;
    quick_check_of(&mut connection)
}

/// Returns what is damaged in an open file.
pub fn quick_check_of(connection: &mut SqliteConnection) -> anyhow::Result<Vec<String>> {
    let lines = diesel::sql_query(format!("PRAGMA quick_check({DAMAGE_LINES_MAX})")).load::<Damage>(connection);
    match lines {
        Ok(lines) => Ok(lines.into_iter().map(|line| line.quick_check).filter(|line| line != "ok").collect()),
        Err(cause) if cause.to_string().contains("locked") => Err(cause.into()),
        // So damaged that it can't be read through.
        Err(cause) => Ok(vec![cause.to_string()]),
    }
}

/// Returns what can change rows while they are written, or show others: no gateway makes triggers and views.
pub fn triggers_and_views(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    let query =
        "SELECT type || ', which no gateway makes' AS value FROM sqlite_schema WHERE type IN ('trigger', 'view')";
    Ok(diesel::sql_query(query).load::<Text>(connection)?.into_iter().map(|found| found.value).collect())
}

/// Whether `data_dir` has a database with accounts in it. Creates nothing.
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

/// Makes connections of the pool read only.
#[derive(Debug)]
pub struct ReaderSettings;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for ReaderSettings {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(&format!("{COMMON} PRAGMA query_only=ON;")).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// A column `value` of one word.
#[derive(QueryableByName)]
pub struct Text {
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub value: String,
}

/// Refuses an SQLite that can lose commits.
pub fn check_version(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let version = diesel::sql_query("SELECT sqlite_version() AS value").get_result::<Text>(connection)?.value;
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let found = (next(), next(), next());
    ensure!(found >= SQLITE_LEAST, "SQLite {version} can lose commits; {SQLITE_LEAST:?} is the least");
    Ok(())
}
