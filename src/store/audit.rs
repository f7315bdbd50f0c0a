//! The record: rows are inserted and never changed. A result is a row of its own that names its intent.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::base::clock::Timestamp;
use crate::model::record::{Act, Kind, Outcome};
use crate::store::schema::watermark;
use crate::store::search::Search;

mod committed;
mod entries;
mod insert;
mod kept;
mod paging;
mod reading;
mod rows;
mod writing;

pub use committed::commitment_of_result;
pub use entries::{Closing, IntentSlot, NewEntry, NewImage, Opening, Segment, write};
pub use kept::{KeptFor, KeptRequest};
pub use paging::{Beginning, SearchedTo};
pub use reading::{Neighbours, contents, last_at, last_before, newest_log_id, open_intents, put_back};
pub use rows::{NewPart, NewRow, Row, StoredPart};
pub use writing::{TokenAct, insert_act, insert_act_by_token, insert_act_row, insert_token_act};

pub const PART_REQUEST: &str = "request";
pub const PART_ANSWER: &str = "answer";
pub const PART_REASONING: &str = "reasoning";
pub const PART_TOOL_CALLS: &str = "tool_calls";
pub const PART_NOTES: &str = "notes";
pub const PART_DETAIL: &str = "detail";
/// The client's address of a refusal, or the network that it is counted under, as older versions wrote it.
pub const PART_ADDRESS: &str = "address";
/// The salt of the commitments of a request or refusal, then the client's address, if it is known.
pub const PART_ORIGIN: &str = "origin";
/// What a dialect needs for a later request about this answer.
pub const PART_SETTINGS: &str = "settings";
/// An answer that was cut at its limit of tokens; only beside settings.
pub const PART_CUT: &str = "cut";

/// The watermark up to which every intent has its result.
const CLOSED: &str = "closed";

/// Which rows are looked for; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub kind: Option<Kind>,
    /// One of these; empty: any.
    pub outcomes: Vec<Outcome>,
    pub act: Option<Act>,
    /// Acts about this user.
    pub subject_id: Option<i64>,
    /// Acts about this user, and acts of this user.
    pub history_of: Option<i64>,
    pub model: Option<String>,
    pub api: Option<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    pub text: Option<Search>,
}

impl Wanted {
    /// Whether only acts can match.
    pub fn takes_acts_alone(&self) -> bool {
        self.kind == Some(Kind::Act) || self.act.is_some() || self.subject_id.is_some() || self.history_of.is_some()
    }

    /// Whether the search index is needed. A user's rows, the acts of a kind and those about a user have indexes of their own, and
    /// a time is a place in the record.
    fn needs_words(&self) -> bool {
        let has_index = self.act.is_some() || self.subject_id.is_some();
        let filters = self.token_id.is_some()
            || self.kind.is_some()
            || !self.outcomes.is_empty()
            || self.model.is_some()
            || self.api.is_some();
        self.text.is_some() || filters && !has_index
    }

    /// Whether a running request is looked for. It has no outcome and no end yet.
    fn takes_running(&self, row: &Row) -> bool {
        self.user_id.is_none_or(|id| row.user_id == Some(id))
            && self.token_id.is_none_or(|id| row.token_id == Some(id))
            && self.kind.is_none_or(|kind| kind == Kind::Result)
            && !self.takes_acts_alone()
            && self.text.is_none()
            && self.outcomes.is_empty()
            && self.model.as_ref().is_none_or(|model| row.model_asked.as_ref() == Some(model))
            && self.api.as_ref().is_none_or(|api| row.api.as_ref() == Some(api))
            && self.from.is_none_or(|from| row.at_us >= from.0)
            && self.to.is_none_or(|to| row.at_us < to.0)
    }
}

/// A request with its first and its last row. For a refusal or an act, both are the same row.
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

/// Returns up to which row every intent has its result.
pub fn closed_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    watermark_of(connection, CLOSED)
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
