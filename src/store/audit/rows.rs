//! The rows of the record as they are written and read.

use std::borrow::Cow;

use bytes::Bytes;
use diesel::prelude::*;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Text;
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

/// A row to be inserted, but for what the writer gives it: its `log_id`, its time, and the place of its intent.
#[derive(Debug, Clone, Default)]
pub struct NewRow {
    pub kind: Kind,
    pub request_id: [u8; 16],
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub act: Option<Act>,
    pub subject_id: Option<i64>,
    pub credential: Option<Cow<'static, str>>,
    pub api: Option<Cow<'static, str>>,
    pub provider: Option<&'static str>,
    pub host: Option<String>,
    pub attempt: Option<i64>,
    pub model_asked: Option<String>,
    pub model_served: Option<String>,
    pub outcome: Option<Outcome>,
    pub reason: Option<&'static str>,
    pub status: Option<i64>,
    pub prompt_tokens: Option<i64>,
    pub answer_tokens: Option<i64>,
    pub queued_us: Option<i64>,
    pub first_token_us: Option<i64>,
    pub total_us: Option<i64>,
    pub gpu_us: Option<i64>,
    pub until_us: Option<i64>,
    pub repeat: Option<i64>,
    pub commitment: Option<[u8; 32]>,
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
pub struct Part {
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
