//! Writing the record: rows are inserted, and contents with them.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::store::Store;
use crate::store::audit::entries::NewEntry;
use crate::store::audit::insert::{Line, Piece, insert_lines, insert_pieces};
use crate::store::audit::reading::{newest_log_id, open_intents};
use crate::store::audit::{ACT, CLOSED, PART_DETAIL, RESULT, set_watermark};
use crate::store::mailbox::{Letter, Mailbox};
use crate::store::schema::{record_image, record_image_use};
use crate::store::tokens::Token;
use crate::store::users::{Actor, check_acting_admin};

/// A row to be inserted, but for what the writer gives it: its `log_id`, its time, and the place of its intent.
#[derive(Debug, Clone, Default)]
pub struct NewRow {
    pub kind: &'static str,
    pub request_id: [u8; 16],
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub act: Option<&'static str>,
    pub subject_id: Option<i64>,
    pub credential: Option<Cow<'static, str>>,
    pub api: Option<Cow<'static, str>>,
    pub provider: Option<&'static str>,
    pub host: Option<String>,
    pub attempt: Option<i64>,
    pub model_asked: Option<String>,
    pub model_served: Option<String>,
    pub outcome: Option<&'static str>,
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

/// A part that was handed to the writer while the answer ran, kept until the result is written.
#[derive(Debug, Clone)]
pub struct Segment {
    pub part: NewPart,
    /// Its transaction came to nothing.
    pub lost: Arc<AtomicBool>,
}

impl Segment {
    pub fn new(part: NewPart) -> Self {
        Segment { part, lost: Arc::default() }
    }
}

/// All that an intent writes.
#[derive(Debug)]
pub struct Opening {
    pub slot: IntentSlot,
    pub row: NewRow,
    pub parts: Vec<NewPart>,
    pub images: Vec<NewImage>,
}

/// All that a result writes.
#[derive(Debug)]
pub struct Closing {
    pub slot: IntentSlot,
    pub row: NewRow,
    pub parts: Vec<NewPart>,
    pub segments: Vec<Segment>,
    /// It broke a rule of the schema, and what can't break one stands in its place: it must not be tried again.
    pub is_short: bool,
}

/// An image that was cut out of part 0.
#[derive(Debug)]
pub struct NewImage {
    pub offset: i64,
    pub sha256: Vec<u8>,
    pub body: Bytes,
}

/// The place of an intent whose row may not be written yet. The writer fills it in; later rows of the request, which it
/// writes after, read it.
#[derive(Debug, Clone, Default)]
pub struct IntentSlot(Arc<AtomicI64>);

/// The transaction of the intent came to nothing, so nothing was forwarded and there is nothing to add to.
const NEVER_WRITTEN: i64 = -1;

impl IntentSlot {
    pub fn set(&self, log_id: i64) {
        self.0.store(log_id, Ordering::Release);
    }

    pub fn never_written(&self) {
        self.set(NEVER_WRITTEN);
    }

    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|id| *id > 0)
    }
}

impl Store {
    /// Hands an entry to the writer. After the sync it comes back, to the thread of that mailbox, or on the writer's own.
    pub fn append(
        &self,
        entry: NewEntry,
        mailbox: Option<Arc<Mailbox>>,
        after: impl FnOnce(NewEntry, Result<(), &str>) + Send + 'static,
    ) {
        self.writer.entry(Letter::new(entry, after), mailbox);
    }

    /// Gives a result `interrupted` to every intent that an earlier process left without one.
    pub async fn close_interrupted(&self) -> Result<usize, Error> {
        self.write(|tx| {
            let (open, upto) = open_intents(tx.connection)?;
            for intent in &open {
                let row = NewRow {
                    kind: RESULT,
                    request_id: intent.request_id.as_slice().try_into().map_err(Error::internal)?,
                    user_id: intent.user_id,
                    token_id: intent.token_id,
                    credential: intent.credential.clone().map(Cow::Owned),
                    api: intent.api.clone().map(Cow::Owned),
                    attempt: Some(1),
                    model_asked: intent.model_asked.clone(),
                    outcome: Some("interrupted"),
                    reason: Some("gateway_stopped"),
                    ..NewRow::default()
                };
                insert_row(tx.connection, tx.now, Some(intent.log_id), &row)?;
            }
            set_watermark(tx.connection, CLOSED, upto)?;
            Ok(open.len())
        })
        .await
    }

    /// Moves the mark up to which every intent has its result.
    pub async fn advance_closed(&self) -> Result<(), Error> {
        let (open, upto) = self.read(open_intents).await?;
        let upto = open.first().map_or(upto, |oldest| oldest.log_id - 1);
        self.write(move |tx| Ok(set_watermark(tx.connection, CLOSED, upto)?)).await
    }

    /// Notes that somebody searched contents, those of one person or everybody's. What was searched for is not kept: it may
    /// be what is to be erased one day.
    pub async fn note_search(&self, by: i64, subject: Option<i64>, found: usize) -> Result<(), Error> {
        self.write(move |tx| {
            let detail = serde_json::json!({ "found": found }).to_string();
            insert_act(tx.connection, tx.now, "contents_searched", Some(by), subject, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Notes that somebody looked at somebody's contents.
    pub async fn note_view(&self, by: i64, subject: Option<i64>, log_id: i64) -> Result<(), Error> {
        self.write(move |tx| {
            let detail = serde_json::json!({ "log_id": log_id }).to_string();
            insert_act(tx.connection, tx.now, "contents_viewed", Some(by), subject, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Notes that an admin ended somebody's request before its time.
    pub async fn note_cancel(&self, by: Actor, subject: i64, request: RequestId) -> Result<(), Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let detail = serde_json::json!({ "request_id": request.to_string() }).to_string();
            insert_act(tx.connection, tx.now, "request_cancelled", by.0, Some(subject), Some(detail))?;
            Ok(())
        })
        .await
    }
}

pub fn insert_act(
    connection: &mut SqliteConnection,
    now: Timestamp,
    act: &'static str,
    by: Option<i64>,
    subject: Option<i64>,
    detail: Option<String>,
) -> QueryResult<i64> {
    insert_act_row(connection, now, &NewRow { subject_id: subject, ..act_row(now, act, by) }, detail)
}

/// What was done with a token, and by whom; `None`: on the host, or by the gateway itself, which then has a reason.
pub struct TokenAct {
    pub act: &'static str,
    pub by: Option<i64>,
    pub reason: Option<&'static str>,
    pub detail: Option<serde_json::Value>,
}

/// An act on a token; the person concerned is its owner.
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

fn act_row(now: Timestamp, act: &'static str, by: Option<i64>) -> NewRow {
    NewRow {
        kind: ACT,
        request_id: RequestId::at(now).0.into_bytes(),
        user_id: by,
        act: Some(act),
        ..NewRow::default()
    }
}

fn insert_act_row(
    connection: &mut SqliteConnection,
    now: Timestamp,
    row: &NewRow,
    detail: Option<String>,
) -> QueryResult<i64> {
    let log_id = insert_row(connection, now, None, row)?;
    if let Some(detail) = detail {
        let part = NewPart { part: 0, kind: PART_DETAIL, body: detail.into() };
        insert_pieces(connection, &[Piece { log_id, part: &part }])?;
    }
    Ok(log_id)
}

fn insert_row(
    connection: &mut SqliteConnection,
    now: Timestamp,
    intent_id: Option<i64>,
    row: &NewRow,
) -> QueryResult<i64> {
    let log_id = newest_log_id(connection)? + 1;
    insert_lines(connection, &[Line { log_id, at_us: now.0, intent_id, row }])?;
    Ok(log_id)
}

pub fn insert_images(
    connection: &mut SqliteConnection,
    log_id: i64,
    user_id: i64,
    images: &[NewImage],
) -> QueryResult<()> {
    for image in images {
        let kept = record_image::table
            .filter(record_image::user_id.eq(user_id))
            .filter(record_image::sha256.eq(&image.sha256))
            .select(record_image::id)
            .first::<i64>(connection)
            .optional()?;
        let image_id = match kept {
            Some(id) => id,
            None => diesel::insert_into(record_image::table)
                .values((
                    record_image::user_id.eq(user_id),
                    record_image::sha256.eq(&image.sha256),
                    record_image::body.eq(&image.body[..]),
                ))
                .returning(record_image::id)
                .get_result(connection)?,
        };
        diesel::insert_into(record_image_use::table)
            .values((
                record_image_use::log_id.eq(log_id),
                record_image_use::offset.eq(image.offset),
                record_image_use::image_id.eq(image_id),
            ))
            .execute(connection)?;
    }
    Ok(())
}
