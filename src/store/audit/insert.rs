//! The two INSERT statements of which there are many.
//!
//! diesel can make them from a struct, but then it walks over all columns again and again, to ask of each whether it is a
//! part of the statement at all: for a row of the record that costs more than SQLite's own work. Here the statement is
//! written down, and a walk only binds its values. diesel still prepares it once and checks every type.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::store::audit::writing::{NewPart, NewRow};

pub struct InsertRow<'a> {
    pub log_id: i64,
    pub row: &'a NewRow,
}

pub struct InsertPart<'a> {
    pub log_id: i64,
    pub part: &'a NewPart,
}

/// Writes the columns of `record` into the statement and binds their values, each under its own name.
macro_rules! insert_row {
    ($out:ident, $insert:ident, $($column:ident: $kind:ty,)*) => {
        $out.push_sql(concat!("INSERT INTO record (log_id", $(", ", stringify!($column),)* ") VALUES ("));
        $out.push_bind_param::<BigInt, _>(&$insert.log_id)?;
        $(
            $out.push_sql(", ");
            $out.push_bind_param::<$kind, _>(&$insert.row.$column)?;
        )*
        $out.push_sql(")");
    };
}

impl QueryFragment<Sqlite> for InsertRow<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        insert_row! {
            out, self,
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
        Ok(())
    }
}

impl QueryFragment<Sqlite> for InsertPart<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO record_part (log_id, part, kind, encoding, body) VALUES (");
        out.push_bind_param::<BigInt, _>(&self.log_id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.part.part)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.part.kind)?;
        out.push_sql(", 0, ");
        out.push_bind_param::<Binary, [u8]>(&self.part.body)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryId for InsertRow<'_> {
    type QueryId = InsertRow<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for InsertPart<'_> {
    type QueryId = InsertPart<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for InsertRow<'_> {}
impl RunQueryDsl<SqliteConnection> for InsertPart<'_> {}
