//! The INSERT statements of which there are many.
//!
//! diesel can make them from a struct, but then it walks over all columns again and again, to ask of each whether it is a
//! part of the statement at all: for a row of the record that costs more than SQLite's own work. Here each statement is
//! written down, and a walk only binds its values. diesel still prepares it once and checks every type.
//!
//! A statement costs about as much as a row, so rows of a kind go into one statement, as many as there are of its sizes.
//! `OR FAIL`: an error undoes the whole transaction anyway, so SQLite need not keep what it would take to undo one statement.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::store::audit::rows::{NumberedPart, NumberedRow};

/// Makes a statement that inserts rows of `record` with these columns, each from the field of its name.
macro_rules! insert_rows {
    ($(#[doc = $about:literal])+ $name:ident: $($column:ident: $kind:ty,)*) => {
        $(#[doc = $about])+
        struct $name<'a, const N: usize>(&'a [NumberedRow<'a>; N]);

        impl<const N: usize> QueryFragment<Sqlite> for $name<'_, N> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!(
                    "INSERT OR FAIL INTO record (log_id, at_us, intent_id", $(", ", stringify!($column),)* ") VALUES "
                ));
                for (at, line) in self.0.iter().enumerate() {
                    out.push_sql(if at == 0 { "(" } else { ", (" });
                    out.push_bind_param::<BigInt, _>(&line.log_id)?;
                    out.push_sql(", ");
                    out.push_bind_param::<BigInt, _>(&line.at_us)?;
                    out.push_sql(", ");
                    out.push_bind_param::<Nullable<BigInt>, _>(&line.intent_id)?;
                    $(
                        out.push_sql(", ");
                        out.push_bind_param::<$kind, _>(&line.row.$column)?;
                    )*
                    out.push_sql(")");
                }
                Ok(())
            }
        }

        impl<const N: usize> QueryId for $name<'_, N> {
            type QueryId = $name<'static, N>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl<const N: usize> RunQueryDsl<SqliteConnection> for $name<'_, N> {}
    };
}

insert_rows! {
    /// Intents: what is known before anything is forwarded. A value that is not bound costs nothing.
    InsertIntents:
    kind: Text,
    request_id: Binary,
    user_id: Nullable<BigInt>,
    token_id: Nullable<BigInt>,
    credential: Nullable<Text>,
    api: Nullable<Text>,
    provider: Nullable<Text>,
    attempt: Nullable<BigInt>,
    model_asked: Nullable<Text>,
    commitment: Nullable<Binary>,
}

insert_rows! {
    /// Any rows.
    InsertRows:
    kind: Text,
    request_id: Binary,
    user_id: Nullable<BigInt>,
    token_id: Nullable<BigInt>,
    act: Nullable<Text>,
    subject_id: Nullable<BigInt>,
    credential: Nullable<Text>,
    api: Nullable<Text>,
    provider: Nullable<Text>,
    host: Nullable<Text>,
    attempt: Nullable<BigInt>,
    model_asked: Nullable<Text>,
    model_served: Nullable<Text>,
    outcome: Nullable<Text>,
    reason: Nullable<Text>,
    status: Nullable<BigInt>,
    prompt_tokens: Nullable<BigInt>,
    answer_tokens: Nullable<BigInt>,
    queued_us: Nullable<BigInt>,
    first_token_us: Nullable<BigInt>,
    total_us: Nullable<BigInt>,
    gpu_us: Nullable<BigInt>,
    until_us: Nullable<BigInt>,
    repeat: Nullable<BigInt>,
    commitment: Nullable<Binary>,
}

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

pub fn insert_pieces(connection: &mut SqliteConnection, pieces: &[NumberedPart<'_>]) -> QueryResult<()> {
    insert_all!(connection, pieces, InsertParts)
}
