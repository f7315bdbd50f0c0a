//! Checks a file that is said to be a backup. Nothing is written, nor made beside it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use diesel::prelude::*;

use crate::store::backup::seal::is_sealed;
use crate::store::backup::{APPLICATION_ID, Backup, BackupAbout, COUNTS, ReadAs, number, read_only};
use crate::store::file::{Text, quick_check_of};
use crate::store::migrations::known;

/// The header of an SQLite file, and where things are in it.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const PAGE_SIZE: usize = 16;
const PAGES: usize = 28;
const ID: usize = 68;

/// Reads what a backup says of itself. Refuses what is no backup, is cut short, or was made by a newer gateway.
pub fn about(path: &Path) -> anyhow::Result<Backup> {
    let bytes = header(path)?;
    let damaged = || format!("{} is damaged: it doesn't say what it is", path.display());
    let mut file = read_only(path, ReadAs::AtRest).with_context(damaged)?;
    let about: BackupAbout = diesel::sql_query("SELECT * FROM backup").get_result(&mut file).with_context(damaged)?;
    let schemas: Vec<Text> = diesel::sql_query("SELECT version AS value FROM __diesel_schema_migrations")
        .load(&mut file)
        .with_context(damaged)?;
    let known = known()?;
    if let Some(newer) = schemas.iter().find(|schema| !known.contains(&schema.value)) {
        bail!(
            "{} was made by lan-gateway {}, whose schema {} this one ({}) doesn't know; use that version or a newer one",
            path.display(),
            about.version,
            newer.value,
            env!("CARGO_PKG_VERSION")
        );
    }
    Ok(Backup { file: path.to_owned(), bytes, about })
}

/// Reads all of a backup: it must be as it was made, whole, and hold what it says.
pub fn check(path: &Path) -> anyhow::Result<Backup> {
    let backup = about(path)?;
    let shown = path.display();
    let sealed = is_sealed(path).with_context(|| format!("{shown} is damaged"))?;
    ensure!(sealed, "{shown} is damaged: it is not as it was made, as its digest shows; use another backup");
    let mut file = read_only(path, ReadAs::AtRest)?;
    if let Some(first) = quick_check_of(&mut file)?.first() {
        bail!("{shown} is whole, but the database was damaged when it was made: {first}");
    }
    let broken = number(&mut file, "SELECT count(*) AS value FROM pragma_foreign_key_check()")?;
    ensure!(broken == 0, "{shown} has {broken} rows that refer to rows which it doesn't have");
    let counted = diesel::sql_query(format!("SELECT made_at_us, version, {COUNTS} FROM backup"));
    let counted: BackupAbout = counted.get_result(&mut file)?;
    ensure!(counted == backup.about, "{shown} doesn't hold what it says: {:?} and not {:?}", counted, backup.about);
    Ok(backup)
}

/// Looks at the first bytes of a file, returns its size.
fn header(path: &Path) -> anyhow::Result<u64> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("can't open {shown}"))?;
    let of_file = file.metadata()?;
    ensure!(of_file.is_file(), "{shown} is no file");
    let bytes = of_file.len();
    ensure!(bytes > 0, "{shown} is empty");
    let mut header = [0; HEADER_BYTES];
    let is_sqlite = file.read_exact_at(&mut header, 0).is_ok() && header.starts_with(MAGIC);
    ensure!(is_sqlite, "{shown} is no backup, nor an SQLite database at all");
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    ensure!(
        number(ID) == APPLICATION_ID,
        "{shown} is an SQLite database, but no complete backup of `lan-gateway backup`"
    );
    let page_size = match u16::from_be_bytes([header[PAGE_SIZE], header[PAGE_SIZE + 1]]) {
        1 => 1 << 16,
        size => u64::from(size),
    };
    let whole = page_size * u64::from(number(PAGES));
    ensure!(bytes == whole, "{shown} is damaged: it has {bytes} bytes and not {whole}, as a copy that was cut short");
    Ok(bytes)
}
