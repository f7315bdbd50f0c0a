//! Reads rows of the record as their hashes: each column as SQLite keeps it, straight into the bytes that are hashed.

use diesel::deserialize::{self, QueryableByName};
use diesel::prelude::*;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteType};

use crate::model::chain::{HASH_BYTES, HASHED_COLUMNS, Hash, HashedValue, RowBytes};

/// A row as a leaf of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedRow {
    pub log_id: i64,
    /// `None`: a column holds a number with a fraction, which no gateway writes.
    pub hash: Option<Hash>,
}

impl QueryableByName<Sqlite> for HashedRow {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let mut bytes = Some(RowBytes::begin());
        let mut log_id = 0;
        for (at, name) in HASHED_COLUMNS.iter().enumerate() {
            let field = Row::get(row, at).ok_or_else(|| format!("there is no column `{name}`"))?;
            let mut value = field.value();
            let kind = value.as_ref().and_then(|value| value.value_type());
            let (Some(row), value) = (&mut bytes, &mut value) else { break };
            match (kind, value) {
                (None, _) | (_, None) => row.add(HashedValue::Null),
                (Some(SqliteType::Long), Some(value)) => {
                    let number = value.read_long();
                    log_id = if at == 0 { number } else { log_id };
                    row.add(HashedValue::Integer(number));
                }
                (Some(SqliteType::Text), Some(value)) => {
                    let text = value.read_text();
                    // diesel replaces what is not UTF-8; the bytes themselves are hashed. Reading them copies the text.
                    match text.contains(char::REPLACEMENT_CHARACTER) {
                        false => row.add(HashedValue::Text(text.as_bytes())),
                        true => row.add(HashedValue::Text(value.read_blob())),
                    }
                }
                (Some(SqliteType::Binary), Some(value)) => row.add(HashedValue::Blob(value.read_blob())),
                (Some(_), Some(_)) => bytes = None,
            }
        }
        Ok(HashedRow { log_id, hash: bytes.map(RowBytes::hash) })
    }
}

/// Returns the rows after `after` up to `upto`, in order.
pub fn hashed_rows(connection: &mut SqliteConnection, after: i64, upto: i64) -> QueryResult<Vec<HashedRow>> {
    let columns = HASHED_COLUMNS.map(|column| format!("\"{column}\"")).join(", ");
    diesel::sql_query(format!("SELECT {columns} FROM record WHERE log_id > ? AND log_id <= ? ORDER BY log_id"))
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(upto)
        .load(connection)
}

/// The leaves of a link.
pub struct Leaves {
    pub first: i64,
    pub last: i64,
    pub bytes: Vec<u8>,
    /// A row that can't be hashed. Its leaf is zeros.
    pub odd: Option<i64>,
}

/// Returns the leaves of the numbers after `after` up to `upto`: of numbers that no row has, zeros.
pub fn leaves(connection: &mut SqliteConnection, after: i64, upto: i64) -> QueryResult<Leaves> {
    let count = usize::try_from(upto.saturating_sub(after)).unwrap_or(0);
    let mut leaves =
        Leaves { first: after.saturating_add(1), last: upto, bytes: vec![0; count * HASH_BYTES], odd: None };
    for row in hashed_rows(connection, after, upto)? {
        let at = usize::try_from(row.log_id - leaves.first).unwrap_or(usize::MAX);
        let (hashes, _) = leaves.bytes.as_chunks_mut::<HASH_BYTES>();
        match (hashes.get_mut(at), row.hash) {
            (Some(leaf), Some(hash)) => *leaf = hash,
            _ => leaves.odd = Some(row.log_id),
        }
    }
    Ok(leaves)
}
