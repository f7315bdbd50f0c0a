//! Opens what is verified, for reading alone.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use diesel::prelude::*;

use crate::store::backup::{ReadAs, read_only};
use crate::store::file::{FILE, Text, quick_check_of, triggers_and_views};
use crate::store::migrations::known;
use crate::store::verify::VerifyWish;

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database that is open for reading.
pub struct Opened {
    pub connection: SqliteConnection,
    path: PathBuf,
    how: ReadAs,
}

impl Opened {
    /// Opens a database that has a chain in the form of this version.
    pub fn open(wish: &VerifyWish<'_>) -> anyhow::Result<Opened> {
        let path = if wish.path.is_dir() { wish.path.join(FILE) } else { wish.path.to_owned() };
        check_is_database(&path)?;
        let how = if wish.is_in_use { ReadAs::InUse } else { at_rest(&path) };
        let mut connection = read_only(&path, how)?;
        check_schema(&mut connection, &path)?;
        Ok(Opened { connection, path, how })
    }

    /// Fails if a gateway began to write to a database that was read as one at rest.
    pub fn check_that_it_rested(&self) -> anyhow::Result<()> {
        let was_started = self.how == ReadAs::AtRest && at_rest(&self.path) != ReadAs::AtRest;
        ensure!(!was_started, "a gateway was started on {} meanwhile; verify it again", self.path.display());
        Ok(())
    }
}

/// Returns the first thing that SQLite finds damaged, and what a database of a gateway does not have.
pub fn file_faults(connection: &mut SqliteConnection) -> Vec<String> {
    let damage = match quick_check_of(connection) {
        Ok(damage) => damage.into_iter().next(),
        Err(cause) => Some(format!("{cause:#}")),
    };
    // A schema that can't be read is damage.
    let foreign = triggers_and_views(connection).unwrap_or_default();
    let damage = damage.map(|damage| format!("SQLite finds damage: {damage}")).into_iter();
    damage.chain(foreign.into_iter().map(|foreign| format!("it has a {foreign}"))).collect()
}

/// Returns how a database is read on which no gateway runs. A copy that has a write-ahead log without its index gets one beside
/// it, by SQLite.
fn at_rest(path: &Path) -> ReadAs {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        std::fs::metadata(PathBuf::from(name))
    };
    match (beside("-wal").is_ok_and(|wal| wal.len() > 0), beside("-shm").is_ok()) {
        (false, _) => ReadAs::AtRest,
        (true, true) => ReadAs::LeftBehind,
        (true, false) => ReadAs::InUse,
    }
}

fn check_schema(connection: &mut SqliteConnection, path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let mut texts =
        |query: &str| diesel::sql_query(query).load::<Text>(connection).with_context(|| format!("can't read {shown}"));
    let tables = "SELECT name AS value FROM sqlite_schema WHERE type = 'table' AND name = '__diesel_schema_migrations'";
    ensure!(!texts(tables)?.is_empty(), "{shown} is no database of this gateway");
    let applied = texts("SELECT version AS value FROM __diesel_schema_migrations")?;
    let known = known()?;
    if let Some(newer) = applied.iter().find(|applied| !known.contains(&applied.value)) {
        bail!("{shown} was written by a newer lan-gateway (schema {}); verify it with that version", newer.value);
    }
    ensure!(
        applied.len() == known.len(),
        "{shown} was written by an older lan-gateway: verify it with that version, if its record has a chain; the next start of \
         this one brings it up to date"
    );
    Ok(())
}

fn check_is_database(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = match File::open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => bail!("there is no {shown}"),
        file => file.with_context(|| format!("can't open {shown}"))?,
    };
    ensure!(file.metadata()?.is_file(), "{shown} is no file");
    let mut begin = [0; MAGIC.len()];
    let is_database = file.read_exact(&mut begin).is_ok() && begin == MAGIC;
    ensure!(is_database, "{shown} is no database");
    Ok(())
}
