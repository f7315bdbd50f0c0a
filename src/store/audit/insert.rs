//! The INSERT statements that run often.
//!
//! diesel can make them from a struct, but then it walks over all columns several times, to ask of each whether it is a part of
//! the statement at all: for a row of the record that costs more than SQLite's own work. Here (and in `rows.rs`) the statements
//! are written out, and a walk only binds their values. diesel still prepares each once and checks every type.
//!
//! A statement costs about as much as a row, so one statement inserts several rows of a kind. `OR FAIL`: an error undoes the
//! whole transaction anyway, so SQLite need not keep what it takes to undo one statement.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;

use crate::store::audit::rows::{InsertIntents, InsertRows, InsertViaRows, NumberedPart, NumberedRow};

struct InsertParts<'a, const N: usize>(&'a [NumberedPart<'a>; N]);

impl<const N: usize> QueryFragment<Sqlite> for InsertParts<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT OR FAIL INTO record_part (log_id, part, kind, encoding, body) VALUES ");
        for (at, piece) in self.0.iter().enumerate() {
            out.push_sql(if at == 0 { "(" } else { ", (" });
            out.push_bind_param::<BigInt, _>(&piece.log_id)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&piece.part.part)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&piece.part.kind)?;
            out.push_sql(", 0, ");
            out.push_bind_param::<Binary, [u8]>(&piece.part.body)?;
            out.push_sql(")");
        }
        Ok(())
    }
}

impl<const N: usize> QueryId for InsertParts<'_, N> {
    type QueryId = InsertParts<'static, N>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const N: usize> RunQueryDsl<SqliteConnection> for InsertParts<'_, N> {}

/// Inserts them all, in order, in statements of as many rows as there are, by powers of two up to sixteen: each size is prepared
/// once.
macro_rules! insert_all {
    ($connection:expr, $rows:expr, $statement:ident) => {{
        let (chunks, rest) = $rows.as_chunks::<16>();
        for rows in chunks {
            $statement(rows).execute($connection)?;
        }
        let (chunks, rest) = rest.as_chunks::<8>();
        for rows in chunks {
            $statement(rows).execute($connection)?;
        }
        let (chunks, rest) = rest.as_chunks::<4>();
        for rows in chunks {
            $statement(rows).execute($connection)?;
        }
        let (chunks, rest) = rest.as_chunks::<2>();
        for rows in chunks {
            $statement(rows).execute($connection)?;
        }
        for row in rest {
            $statement(std::array::from_ref(row)).execute($connection)?;
        }
        Ok(())
    }};
}

pub fn insert_intents(connection: &mut SqliteConnection, lines: &[NumberedRow<'_>]) -> QueryResult<()> {
    insert_all!(connection, lines, InsertIntents)
}

pub fn insert_lines(connection: &mut SqliteConnection, lines: &[NumberedRow<'_>]) -> QueryResult<()> {
    insert_all!(connection, lines, InsertRows)
}

/// Inserts rows of requests that came by a delegating token.
pub fn insert_via_lines(connection: &mut SqliteConnection, lines: &[NumberedRow<'_>]) -> QueryResult<()> {
    insert_all!(connection, lines, InsertViaRows)
}

pub fn insert_pieces(connection: &mut SqliteConnection, pieces: &[NumberedPart<'_>]) -> QueryResult<()> {
    insert_all!(connection, pieces, InsertParts)
}
