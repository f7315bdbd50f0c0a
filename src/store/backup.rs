//! Backups: the database in one file that is complete in itself.
//!
//! `VACUUM INTO` copies one state of the database while the gateway goes on writing. The copy then loses what opens something
//! (sessions, receipts) and gets a table that says what it is, with a digest of the whole file. Passwords are argon2 hashes and
//! tokens SHA-256 digests of 256 random bits, so they stay, and a restore keeps logins and tokens. The keys of JWTs are in no
//! database.

use std::path::{Path, PathBuf};

use anyhow::Context;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::base::clock::Timestamp;

mod check;
mod live;
mod make;
mod noted;
mod seal;

pub use check::{about, check};
pub use live::{NewestRow, make_live, newest_row};
pub use make::{BackupWish, make, partial_of, remove_partials};
pub use noted::{BackupNote, note_without_gateway};

/// `PRAGMA application_id` of a backup: `LGWB`. That of a database in use is 0.
const APPLICATION_ID: u32 = 0x4C47_5742;

/// The table that a backup says in what it is. No database in use has it.
const ABOUT: &str = "CREATE TABLE backup (made_at_us BIGINT NOT NULL, version TEXT NOT NULL, schema TEXT NOT NULL, \
    newest_log_id BIGINT NOT NULL, newest_at_us BIGINT, record_rows BIGINT NOT NULL, parts BIGINT NOT NULL, \
    requests BIGINT NOT NULL, people BIGINT NOT NULL, digest BLOB NOT NULL)";

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct BackupAbout {
    #[diesel(sql_type = BigInt)]
    made_at_us: i64,
    /// The version of the gateway that made it.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// The newest migration of its schema.
    #[diesel(sql_type = Text)]
    pub schema: String,
    #[diesel(sql_type = BigInt)]
    pub newest_log_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    newest_at_us: Option<i64>,
    #[diesel(sql_type = BigInt)]
    record_rows: i64,
    #[diesel(sql_type = BigInt)]
    parts: i64,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub people: i64,
}

impl BackupAbout {
    /// Returns the time of its state: what was committed before is in it.
    pub fn made_at(&self) -> Timestamp {
        Timestamp(self.made_at_us)
    }

    /// Returns the time of the newest row of the record.
    pub fn newest_at(&self) -> Option<Timestamp> {
        self.newest_at_us.map(Timestamp)
    }
}

/// What a database holds, in the form of `BackupAbout`.
const COUNTS: &str = "(SELECT coalesce(max(version), '') FROM __diesel_schema_migrations) AS schema, \
    (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'record') AS newest_log_id, \
    (SELECT at_us FROM record ORDER BY log_id DESC LIMIT 1) AS newest_at_us, \
    (SELECT count(*) FROM record) AS record_rows, (SELECT count(*) FROM record_part) AS parts, \
    (SELECT count(*) FROM record WHERE kind = 'intent') AS requests, \
    (SELECT count(*) FROM users WHERE deleted_at_us IS NULL) AS people";

/// A backup and its size.
#[derive(Debug, Clone)]
pub struct Backup {
    pub file: PathBuf,
    pub bytes: u64,
    pub about: BackupAbout,
}

/// How a file is opened for reading alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadAs {
    /// A database that a gateway may be using.
    InUse,
    /// A database that a killed gateway left with its write-ahead log and the index of that. SQLite then keeps an index of its own
    /// in memory, and changes neither.
    LeftBehind,
    /// A file that nobody writes; nothing is made beside it.
    AtRest,
}

/// In a URI all other characters are escaped.
const IN_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// Opens a file that must exist, for reading alone. SQLite gives the `-wal` and `-shm` that it makes as root beside a database in
/// use to the owner of the database.
pub(super) fn read_only(path: &Path, how: ReadAs) -> anyhow::Result<SqliteConnection> {
    let path = std::path::absolute(path)?;
    let at_rest = match how {
        ReadAs::InUse => "",
        ReadAs::LeftBehind => "&readonly_shm=1",
        ReadAs::AtRest => "&immutable=1",
    };
    let uri = format!("file:{}?mode=ro{at_rest}", percent_encode(path.as_os_str().as_encoded_bytes(), IN_URI));
    let mut connection = SqliteConnection::establish(&uri).with_context(|| format!("can't open {}", path.display()))?;
    connection
        .batch_execute(
            "PRAGMA busy_timeout=5000; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY",
        )
        .with_context(|| format!("can't read {}", path.display()))?;
    Ok(connection)
}

/// Opens a copy that no other process knows, for changing it. What is written is synced when the copy is complete. Nothing is undone
/// in it: after a failure it is removed.
fn unpublished(path: &Path) -> anyhow::Result<SqliteConnection> {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())
        .with_context(|| format!("can't open {}", path.display()))?;
    connection
        .batch_execute(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA secure_delete=ON; \
             PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY",
        )
        .with_context(|| format!("can't read {}", path.display()))?;
    Ok(connection)
}

/// A column `value` of one number.
#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

fn number(connection: &mut SqliteConnection, query: &str) -> QueryResult<i64> {
    Ok(diesel::sql_query(query).get_result::<Number>(connection)?.value)
}

fn has_table(connection: &mut SqliteConnection, name: &str) -> QueryResult<bool> {
    let query = format!("SELECT count(*) AS value FROM sqlite_schema WHERE type = 'table' AND name = '{name}'");
    Ok(number(connection, &query)? > 0)
}

#[cfg(test)]
mod tests;
