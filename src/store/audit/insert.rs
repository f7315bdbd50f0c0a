//! The INSERT statements of which there are many.
//!
//! diesel can make them from a struct, but then it walks over all columns again and again, to ask of each whether it is a
//! part of the statement at all: for a row of the record that costs more than SQLite's own work. Here each statement is
//! written down, and a walk only binds its values. diesel still prepares it once and checks every type.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::store::audit::writing::{NewPart, NewRow};

/// Makes a statement that inserts a row of `record` with these columns, each from the field of its name.
macro_rules! insert_row {
    ($(#[doc = $about:literal])+ $name:ident: $($column:ident: $kind:ty,)*) => {
        $(#[doc = $about])+
        pub struct $name<'a> {
            pub log_id: i64,
            pub row: &'a NewRow,
        }

        impl QueryFragment<Sqlite> for $name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!("INSERT INTO record (log_id", $(", ", stringify!($column),)* ") VALUES ("));
                out.push_bind_param::<BigInt, _>(&self.log_id)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<$kind, _>(&self.row.$column)?;
                )*
                out.push_sql(")");
                Ok(())
            }
        }

        impl QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl RunQueryDsl<SqliteConnection> for $name<'_> {}
    };
}

insert_row! {
    /// An intent: what is known before anything is forwarded. A value that is not bound costs nothing.
    InsertIntent:
    kind: Text,
    at_us: BigInt,
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

insert_row! {
    /// Any row.
    InsertRow:
    kind: Text,
    at_us: BigInt,
    request_id: Binary,
    intent_id: Nullable<BigInt>,
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

/// So many parts of one request, in one statement. `OR FAIL`: an error undoes the whole transaction anyway, so SQLite need
/// not keep what it would take to undo this statement alone.
pub struct InsertParts<'a, const N: usize> {
    pub log_id: i64,
    pub parts: &'a [NewPart; N],
}

impl<const N: usize> QueryFragment<Sqlite> for InsertParts<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT OR FAIL INTO record_part (log_id, part, kind, encoding, body) VALUES ");
        for (at, part) in self.parts.iter().enumerate() {
            out.push_sql(if at == 0 { "(" } else { ", (" });
            out.push_bind_param::<BigInt, _>(&self.log_id)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&part.part)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(&part.kind)?;
            out.push_sql(", 0, ");
            out.push_bind_param::<Binary, [u8]>(&part.body)?;
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
