//! The rows of the record as they are written and read. A new column is named in `Row` and in `new_row!`.

use std::borrow::Cow;

use bytes::Bytes;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::base::ids::RequestId;
use crate::model::record::{Act, Kind, Outcome};
use crate::store::schema::{record, record_part};

/// A row as it was written.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = record)]
pub struct Row {
    pub log_id: i64,
    pub kind: String,
    pub at_us: i64,
    pub request_id: Vec<u8>,
    pub intent_id: Option<i64>,
    pub user_id: Option<i64>,
    pub via_user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub act: Option<String>,
    pub subject_id: Option<i64>,
    pub credential: Option<String>,
    pub api: Option<String>,
    pub host: Option<String>,
    pub model_asked: Option<String>,
    pub model_served: Option<String>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub status: Option<i64>,
    pub prompt_tokens: Option<i64>,
    pub answer_tokens: Option<i64>,
    pub queued_us: Option<i64>,
    pub first_token_us: Option<i64>,
    pub total_us: Option<i64>,
    pub gpu_us: Option<i64>,
    pub until_us: Option<i64>,
    pub repeat: Option<i64>,
    pub load_us: Option<i64>,
    pub prompt_us: Option<i64>,
    pub answer_us: Option<i64>,
}

impl Row {
    /// Returns what the row is; `None`: a word that this version doesn't know.
    pub fn kind(&self) -> Option<Kind> {
        Kind::parse(&self.kind)
    }

    /// Returns the word under which the row is shown.
    pub fn shown_kind(&self) -> &str {
        self.kind().map_or(self.kind.as_str(), |kind| kind.shown())
    }

    pub fn request_id(&self) -> Option<RequestId> {
        uuid::Uuid::from_slice(&self.request_id).ok().map(RequestId)
    }

    /// The row under which the contents of this request are kept.
    pub fn contents_id(&self) -> i64 {
        self.intent_id.unwrap_or(self.log_id)
    }
}

/// Makes a statement that inserts rows of `record` with these columns, each from the field of its name.
macro_rules! insert_rows {
    ($(#[doc = $about:literal])+ $name:ident: $($column:ident: $kind:ty,)*) => {
        $(#[doc = $about])+
        pub struct $name<'a, const N: usize>(pub &'a [NumberedRow<'a>; N]);

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

/// Makes `NewRow` and the statement that inserts it, from the columns with their types in Rust and in SQL.
macro_rules! new_row {
    ($($column:ident: $kind:ty as $sql:ty,)+) => {
        /// A row to be inserted, without what the writer adds: its `log_id`, its time, and the row of its intent.
        #[derive(Debug, Clone, Default)]
        pub struct NewRow {
            $(pub $column: $kind,)+
            /// The owner of the delegating token that a request came by.
            pub via_user_id: Option<i64>,
        }

        insert_rows! {
            /// Inserts rows of any kind, without the column that few have: each bound value costs time.
            InsertRows:
            $($column: $sql,)+
        }

        insert_rows! {
            /// Inserts rows of any kind that came by a delegating token.
            InsertViaRows:
            $($column: $sql,)+
            via_user_id: Nullable<BigInt>,
        }
    };
}

new_row! {
    kind: Kind as Text,
    request_id: [u8; 16] as Binary,
    user_id: Option<i64> as Nullable<BigInt>,
    token_id: Option<i64> as Nullable<BigInt>,
    act: Option<Act> as Nullable<Text>,
    subject_id: Option<i64> as Nullable<BigInt>,
    credential: Option<Cow<'static, str>> as Nullable<Text>,
    api: Option<Cow<'static, str>> as Nullable<Text>,
    provider: Option<&'static str> as Nullable<Text>,
    host: Option<String> as Nullable<Text>,
    attempt: Option<i64> as Nullable<BigInt>,
    model_asked: Option<String> as Nullable<Text>,
    model_served: Option<String> as Nullable<Text>,
    outcome: Option<Outcome> as Nullable<Text>,
    reason: Option<&'static str> as Nullable<Text>,
    status: Option<i64> as Nullable<BigInt>,
    prompt_tokens: Option<i64> as Nullable<BigInt>,
    answer_tokens: Option<i64> as Nullable<BigInt>,
    queued_us: Option<i64> as Nullable<BigInt>,
    first_token_us: Option<i64> as Nullable<BigInt>,
    total_us: Option<i64> as Nullable<BigInt>,
    gpu_us: Option<i64> as Nullable<BigInt>,
    until_us: Option<i64> as Nullable<BigInt>,
    repeat: Option<i64> as Nullable<BigInt>,
    commitment: Option<[u8; 32]> as Nullable<Binary>,
    load_us: Option<i64> as Nullable<BigInt>,
    prompt_us: Option<i64> as Nullable<BigInt>,
    answer_us: Option<i64> as Nullable<BigInt>,
}

insert_rows! {
    /// Inserts intents, with the columns that are known before anything is forwarded: each bound value costs time.
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

/// Contents to be written.
#[derive(Debug, Clone)]
pub struct NewPart {
    pub part: i64,
    pub kind: &'static str,
    pub body: Bytes,
}

/// A row with what the writer adds to it.
pub struct NumberedRow<'a> {
    pub log_id: i64,
    pub at_us: i64,
    pub intent_id: Option<i64>,
    pub row: &'a NewRow,
}

/// A part with the request that it belongs to.
pub struct NumberedPart<'a> {
    pub log_id: i64,
    pub part: &'a NewPart,
}

/// Contents as they were written.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = record_part)]
pub struct StoredPart {
    pub id: i64,
    pub kind: String,
    pub body: Vec<u8>,
}

/// Stores the words of an enum as text.
macro_rules! stored_as_text {
    ($($name:ident),+) => {
        $(impl ToSql<Text, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
                out.set_value(self.name());
                Ok(IsNull::No)
            }
        })+
    };
}

stored_as_text!(Kind, Outcome, Act);
