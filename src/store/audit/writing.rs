//! Writing the record: rows are inserted, and contents with them.

use std::borrow::Cow;

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::commitment::{Committed, SALT_OF_ACTS, commitment_to};
use crate::model::people::Actor;
use crate::model::record::{Act, GATEWAY_STOPPED, Kind, Outcome};
use crate::model::token::Token;
use crate::store::Store;
use crate::store::audit::committed::commitment_on_disk;
use crate::store::audit::entries::NewEntry;
use crate::store::audit::insert::{insert_pieces, insert_via_lines};
use crate::store::audit::reading::{newest_log_id, open_intents};
use crate::store::audit::rows::{NewPart, NewRow, NumberedPart, NumberedRow};
use crate::store::audit::{CLOSED, PART_DETAIL, set_watermark};
use crate::store::mailbox::Letter;
use crate::store::people::check_acting_admin;

impl Store {
    /// Hands an entry to the writer. After the sync `after` gets it back: on the calling thread, if it is a worker's
    /// (`serve_worker`), or else on the writer's.
    pub fn append(&self, entry: NewEntry, after: impl FnOnce(NewEntry, Result<(), &str>) + Send + 'static) {
        self.writer.entry(Letter::new(entry, after));
    }

    /// Writes a result `interrupted` for every intent that an earlier process left without one.
    pub async fn close_interrupted(&self) -> Result<usize, Error> {
        self.write(|tx| {
            let (open, upto) = open_intents(tx.connection)?;
            for intent in &open {
                let row = NewRow {
                    kind: Kind::Result,
                    request_id: intent.request_id.as_slice().try_into().map_err(Error::internal)?,
                    user_id: intent.user_id,
                    via_user_id: intent.via_user_id,
                    token_id: intent.token_id,
                    credential: intent.credential.clone().map(Cow::Owned),
                    api: intent.api.clone().map(Cow::Owned),
                    attempt: Some(1),
                    model_asked: intent.model_asked.clone(),
                    outcome: Some(Outcome::Interrupted),
                    reason: Some(GATEWAY_STOPPED),
                    commitment: commitment_on_disk(tx.connection, intent.log_id)?,
                    ..NewRow::default()
                };
                insert_row(tx.connection, tx.now, Some(intent.log_id), &row)?;
            }
            set_watermark(tx.connection, CLOSED, upto)?;
            Ok(open.len())
        })
        .await
    }

    /// Moves the watermark up to which every intent has its result.
    pub async fn advance_closed(&self) -> Result<(), Error> {
        let (open, upto) = self.read(open_intents).await?;
        let upto = open.first().map_or(upto, |oldest| oldest.log_id - 1);
        self.write(move |tx| Ok(set_watermark(tx.connection, CLOSED, upto)?)).await
    }

    /// Notes that an admin searched contents, those of one user or of all users. The text that was searched for is not kept,
    /// because it may have to be erased one day.
    pub async fn note_search(&self, by: Actor, subject: Option<i64>, found: usize) -> Result<(), Error> {
        self.write(move |tx| {
            let detail = serde_json::json!({ "found": found }).to_string();
            insert_act(tx.connection, tx.now, Act::ContentsSearched, by.0, subject, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Notes that an admin read the contents of a user's request.
    pub async fn note_view(&self, by: Actor, subject: Option<i64>, log_id: i64) -> Result<(), Error> {
        self.write(move |tx| {
            let detail = serde_json::json!({ "log_id": log_id }).to_string();
            insert_act(tx.connection, tx.now, Act::ContentsViewed, by.0, subject, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Notes that JWTs are about to be signed with a new key, and whether older ones end.
    pub async fn note_key_rotation(&self, by: Actor, ends_older: bool) -> Result<(), Error> {
        self.write(move |tx| {
            let detail = serde_json::json!({ "ends_older": ends_older }).to_string();
            insert_act(tx.connection, tx.now, Act::KeysRotated, by.0, None, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Notes that an admin cancelled a user's request.
    pub async fn note_cancel(&self, by: Actor, subject: i64, request: RequestId) -> Result<(), Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let detail = serde_json::json!({ "request_id": request.to_string() }).to_string();
            insert_act(tx.connection, tx.now, Act::RequestCancelled, by.0, Some(subject), Some(detail))?;
            Ok(())
        })
        .await
    }
}

pub fn insert_act(
    connection: &mut SqliteConnection,
    now: Timestamp,
    act: Act,
    by: Option<i64>,
    subject: Option<i64>,
    detail: Option<String>,
) -> QueryResult<i64> {
    insert_act_row(connection, now, &NewRow { subject_id: subject, ..act_row(now, act, by) }, detail)
}

/// Writes an act that came by a token, if there is one.
pub fn insert_act_by_token(
    connection: &mut SqliteConnection,
    now: Timestamp,
    act: Act,
    by: Option<i64>,
    subject: Option<i64>,
    token_id: Option<i64>,
) -> QueryResult<i64> {
    insert_act_row(connection, now, &NewRow { subject_id: subject, token_id, ..act_row(now, act, by) }, None)
}

/// What was done with a token, and by whom; `None`: on the host, or by the gateway itself, which then has a reason.
pub struct TokenAct {
    pub act: Act,
    pub by: Option<i64>,
    pub reason: Option<&'static str>,
    pub detail: Option<serde_json::Value>,
}

/// Writes an act on a token; its subject is the owner.
pub fn insert_token_act(
    connection: &mut SqliteConnection,
    now: Timestamp,
    token: &Token,
    act: TokenAct,
) -> QueryResult<()> {
    let row = NewRow {
        subject_id: Some(token.user_id),
        token_id: Some(token.id),
        reason: act.reason,
        ..act_row(now, act.act, act.by)
    };
    insert_act_row(connection, now, &row, act.detail.map(|detail| detail.to_string())).map(drop)
}

fn act_row(now: Timestamp, act: Act, by: Option<i64>) -> NewRow {
    NewRow {
        kind: Kind::Act,
        request_id: RequestId::at(now).0.into_bytes(),
        user_id: by,
        act: Some(act),
        ..NewRow::default()
    }
}

/// Writes an act, with its detail as JSON and the commitment to it.
pub fn insert_act_row(
    connection: &mut SqliteConnection,
    now: Timestamp,
    row: &NewRow,
    detail: Option<String>,
) -> QueryResult<i64> {
    let Some(detail) = detail else { return insert_row(connection, now, None, row) };
    let commitment = Some(commitment_to(&SALT_OF_ACTS, Committed::Detail, detail.as_bytes()));
    let log_id = insert_row(connection, now, None, &NewRow { commitment, ..row.clone() })?;
    let part = NewPart { part: 0, kind: PART_DETAIL, body: detail.into() };
    insert_pieces(connection, &[NumberedPart { log_id, part: &part }])?;
    Ok(log_id)
}

fn insert_row(
    connection: &mut SqliteConnection,
    now: Timestamp,
    intent_id: Option<i64>,
    row: &NewRow,
) -> QueryResult<i64> {
    let log_id = newest_log_id(connection)? + 1;
    insert_via_lines(connection, &[NumberedRow { log_id, at_us: now.0, intent_id, row }])?;
    Ok(log_id)
}
