//! The record: rows are inserted and never changed. A result is a row of its own that names its intent.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::base::clock::Timestamp;
use crate::base::ids::RequestId;
use crate::store::schema::{record, record_part, watermark};
use crate::store::words::Search;

mod entries;
mod insert;
mod paging;
mod reading;
mod writing;

pub use entries::{NewEntry, write};
pub use paging::{Beginning, SearchedTo};
pub use reading::{contents, last_at, last_before, newest_log_id, open_intents};
pub use writing::{
    Closing, IntentSlot, NewImage, NewPart, NewRow, Opening, Segment, TokenAct, insert_act, insert_token_act,
};

pub const INTENT: &str = "intent";
pub const RESULT: &str = "result";
pub const REFUSAL: &str = "refusal";
pub const ACT: &str = "act";

pub const PART_REQUEST: &str = "request";
pub const PART_ANSWER: &str = "answer";
pub const PART_REASONING: &str = "reasoning";
pub const PART_TOOL_CALLS: &str = "tool_calls";
pub const PART_NOTES: &str = "notes";
pub const PART_DETAIL: &str = "detail";
/// Of a refusal: the client's address, or the network that it is counted under.
pub const PART_ADDRESS: &str = "address";
/// Of an intent: the salt of its commitments, then the client's address, as far as it is known.
pub const PART_ORIGIN: &str = "origin";
pub const SALT_BYTES: usize = 32;

/// How far results are known for all intents.
const CLOSED: &str = "closed";

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

/// Which rows are looked for; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub kind: Option<&'static str>,
    pub outcome: Option<String>,
    pub model: Option<String>,
    pub api: Option<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    pub text: Option<Search>,
}

impl Wanted {
    /// A person's rows have an index of their own, and a time is a place in the record; the rest takes the index of words.
    fn needs_words(&self) -> bool {
        self.token_id.is_some()
            || self.kind.is_some()
            || self.outcome.is_some()
            || self.model.is_some()
            || self.api.is_some()
            || self.text.is_some()
    }

    /// A request that runs has no outcome and no end, so only these can tell whether it is looked for.
    fn takes_running(&self, row: &Row) -> bool {
        self.user_id.is_none_or(|id| row.user_id == Some(id))
            && self.token_id.is_none_or(|id| row.token_id == Some(id))
            && self.kind.is_none_or(|kind| kind == RESULT)
            && self.text.is_none()
            && self.outcome.is_none()
            && self.model.as_ref().is_none_or(|model| row.model_asked.as_ref() == Some(model))
            && self.api.as_ref().is_none_or(|api| row.api.as_ref() == Some(api))
            && self.from.is_none_or(|from| row.at_us >= from.0)
            && self.to.is_none_or(|to| row.at_us < to.0)
    }
}

impl Row {
    pub fn request_id(&self) -> Option<RequestId> {
        uuid::Uuid::from_slice(&self.request_id).ok().map(RequestId)
    }

    /// The row under which the contents of this request are kept.
    pub fn contents_id(&self) -> i64 {
        self.intent_id.unwrap_or(self.log_id)
    }
}

/// A request from its first row to its last; of a refusal or an act, both are the same row.
#[derive(Debug)]
pub struct Entry {
    pub first: Row,
    /// None while the request is running.
    pub last: Option<Row>,
}

impl Entry {
    /// The row by which it was found.
    pub fn log_id(&self) -> i64 {
        self.last.as_ref().unwrap_or(&self.first).log_id
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = record_part)]
pub struct Part {
    pub id: i64,
    pub kind: String,
    pub body: Vec<u8>,
}

pub fn watermark_of(connection: &mut SqliteConnection, name: &str) -> QueryResult<i64> {
    Ok(watermark::table.find(name).select(watermark::log_id).first(connection).optional()?.unwrap_or(0))
}

pub fn set_watermark(connection: &mut SqliteConnection, name: &str, log_id: i64) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO watermark (name, log_id) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET log_id = excluded.log_id",
    )
    .bind::<diesel::sql_types::Text, _>(name)
    .bind::<BigInt, _>(log_id)
    .execute(connection)
    .map(drop)
}
