//! The record: rows are inserted and never changed. A result is a row of its own that names its intent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::RequestId;
use crate::store::schema::{record, record_image, record_image_use, record_part, watermark};
use crate::store::tokens::Token;
use crate::store::{Store, Tx};

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
pub const PART_ADDRESS: &str = "address";
pub const PART_SALT: &str = "salt";

/// The key of a part is `log_id << 20 | part`: an answer of 15 minutes has a few thousand parts.
const PART_BITS: u32 = 20;

/// How far results are known for all intents.
const CLOSED: &str = "closed";

/// A row to be inserted; the writer stamps `at_us`.
#[derive(Debug, Clone, Default, Insertable)]
#[diesel(table_name = record, treat_none_as_default_value = false)]
pub struct NewRow {
    pub kind: &'static str,
    pub at_us: i64,
    pub request_id: Vec<u8>,
    pub intent_id: Option<i64>,
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub act: Option<&'static str>,
    pub subject_id: Option<i64>,
    pub credential: Option<&'static str>,
    pub api: Option<&'static str>,
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
    pub commitment: Option<Vec<u8>>,
}

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
    pub kind: Option<&'static str>,
    pub outcome: Option<String>,
    pub model: Option<String>,
    pub api: Option<String>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

impl Wanted {
    /// A request that runs has no outcome and no end, so only these can tell whether it is looked for.
    fn takes_running(&self, row: &Row) -> bool {
        self.user_id.is_none_or(|id| row.user_id == Some(id))
            && self.kind.is_none_or(|kind| kind == RESULT)
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
    part: NewPart,
    /// Its transaction came to nothing.
    lost: Arc<AtomicBool>,
}

impl Segment {
    pub fn new(part: NewPart) -> Self {
        Segment { part, lost: Arc::default() }
    }
}

/// All that a result writes.
#[derive(Debug)]
pub struct Closing {
    pub slot: IntentSlot,
    pub row: NewRow,
    pub parts: Vec<NewPart>,
    pub segments: Vec<Segment>,
}

/// An image that was cut out of part 0.
#[derive(Debug)]
pub struct NewImage {
    pub offset: i64,
    pub sha256: Vec<u8>,
    pub body: Bytes,
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = record_part)]
pub struct Part {
    pub id: i64,
    pub kind: String,
    pub body: Vec<u8>,
}

/// The place of an intent whose row may not be written yet. The writer fills it in; later rows of the request, which it
/// writes after, read it.
#[derive(Debug, Clone, Default)]
pub struct IntentSlot(Arc<AtomicI64>);

/// The transaction of the intent came to nothing, so nothing was forwarded and there is nothing to add to.
const NEVER_WRITTEN: i64 = -1;

impl IntentSlot {
    fn set(&self, log_id: i64) {
        self.0.store(log_id, Ordering::Release);
    }

    fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|id| *id > 0)
    }
}

impl Store {
    /// Writes an intent with its contents; `done` is told after the sync.
    pub fn append_intent(
        &self,
        mut row: NewRow,
        parts: Vec<NewPart>,
        images: Vec<NewImage>,
        slot: IntentSlot,
        done: impl FnOnce(Result<(), &str>) + Send + 'static,
    ) {
        let written = slot.clone();
        self.writer.rows(
            move |tx| {
                row.at_us = tx.now.0;
                let log_id = insert_row(tx.connection, &row)?;
                insert_parts(tx.connection, log_id, &parts)?;
                insert_images(tx.connection, log_id, row.user_id.unwrap_or(0), &images)?;
                slot.set(log_id);
                Ok(())
            },
            move |committed| {
                if committed.is_err() {
                    written.set(NEVER_WRITTEN);
                }
                done(committed);
            },
        );
    }

    /// Adds a segment to an intent written before. When it does not come to disk, the result brings it.
    pub fn append_segment(&self, slot: IntentSlot, segment: Segment, done: impl FnOnce() + Send + 'static) {
        let lost = segment.lost.clone();
        let write = move |tx: &mut Tx<'_>| match slot.get() {
            Some(log_id) => insert_parts(tx.connection, log_id, std::slice::from_ref(&segment.part)),
            None => Ok(()),
        };
        self.writer.rows(write, move |committed| {
            lost.store(committed.is_err(), Ordering::Release);
            done();
        });
    }

    /// Writes the result of an intent written before, with the last of its contents.
    pub fn append_result(&self, closing: Arc<Closing>, done: impl FnOnce(Result<(), &str>) + Send + 'static) {
        let write = move |tx: &mut Tx<'_>| {
            let Some(log_id) = closing.slot.get() else { return Ok(()) };
            // Rows are written in the order in which they were handed over, so what is lost is known by now.
            for segment in closing.segments.iter().filter(|segment| segment.lost.load(Ordering::Acquire)) {
                insert_parts(tx.connection, log_id, std::slice::from_ref(&segment.part))?;
            }
            insert_parts(tx.connection, log_id, &closing.parts)?;
            let row = NewRow { at_us: tx.now.0, intent_id: Some(log_id), ..closing.row.clone() };
            insert_row(tx.connection, &row).map(drop)
        };
        self.writer.rows(write, done);
    }

    /// Writes a row that belongs to no request that was forwarded.
    pub fn append_refusal(
        &self,
        mut row: NewRow,
        parts: Vec<NewPart>,
        done: impl FnOnce(Result<(), &str>) + Send + 'static,
    ) {
        let write = move |tx: &mut Tx<'_>| {
            row.at_us = tx.now.0;
            let log_id = insert_row(tx.connection, &row)?;
            insert_parts(tx.connection, log_id, &parts)
        };
        self.writer.rows(write, done);
    }

    /// Gives a result `interrupted` to every intent that an earlier process left without one.
    pub async fn close_interrupted(&self) -> Result<usize, Error> {
        self.write(|tx| {
            let (open, upto) = open_intents(tx.connection)?;
            for intent in &open {
                let row = NewRow {
                    kind: RESULT,
                    at_us: tx.now.0,
                    request_id: intent.request_id.clone(),
                    intent_id: Some(intent.log_id),
                    user_id: intent.user_id,
                    token_id: intent.token_id,
                    attempt: Some(1),
                    model_asked: intent.model_asked.clone(),
                    outcome: Some("interrupted"),
                    reason: Some("gateway_stopped"),
                    ..NewRow::default()
                };
                insert_row(tx.connection, &row)?;
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

    /// Requests that are running, newest first.
    pub async fn running(&self, wanted: &Wanted) -> Result<Vec<Row>, Error> {
        let (mut rows, _) = self.read(open_intents).await?;
        rows.retain(|row| wanted.takes_running(row));
        rows.reverse();
        Ok(rows)
    }

    /// Results, refusals and acts that `wanted` describes, newest first, before `before`.
    pub async fn record_page(&self, wanted: Wanted, before: Option<i64>, limit: i64) -> Result<Vec<Row>, Error> {
        self.read(move |connection| {
            let mut query = record::table
                .filter(record::kind.ne(INTENT))
                .select(Row::as_select())
                .order(record::log_id.desc())
                .limit(limit)
                .into_boxed();
            if let Some(id) = wanted.user_id {
                query = query.filter(record::user_id.eq(id));
            }
            if let Some(kind) = wanted.kind {
                query = query.filter(record::kind.eq(kind));
            }
            if let Some(outcome) = wanted.outcome {
                query = query.filter(record::outcome.eq(outcome));
            }
            if let Some(model) = wanted.model {
                query = query.filter(record::model_asked.eq(model));
            }
            if let Some(api) = wanted.api {
                query = query.filter(record::api.eq(api));
            }
            if let Some(from) = wanted.from {
                query = query.filter(record::at_us.ge(from.0));
            }
            if let Some(to) = wanted.to {
                query = query.filter(record::at_us.lt(to.0));
            }
            if let Some(before) = before {
                query = query.filter(record::log_id.lt(before));
            }
            query.load(connection)
        })
        .await
    }

    /// The rows of one request: its intent and result, or its refusal.
    pub async fn request_rows(&self, id: RequestId) -> Result<Vec<Row>, Error> {
        self.read(move |connection| {
            let Some(first) = find_request(connection, id)? else { return Ok(Vec::new()) };
            let mut rows = vec![first];
            if rows[0].kind == INTENT {
                let intent = rows[0].log_id;
                let result = record::table
                    .filter(record::log_id.gt(intent))
                    .filter(record::user_id.eq(rows[0].user_id))
                    .filter(record::intent_id.eq(intent))
                    .select(Row::as_select())
                    .first(connection)
                    .optional()?;
                rows.extend(result);
            }
            Ok(rows)
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

    /// The newest row of the record.
    pub async fn record_end(&self) -> Result<i64, Error> {
        self.read(|connection| {
            let newest =
                record::table.select(record::log_id).order(record::log_id.desc()).first(connection).optional()?;
            Ok(newest.unwrap_or(0))
        })
        .await
    }

    /// Rows of one person in the order in which they were written.
    pub async fn record_after(&self, user_id: i64, after: i64, upto: i64, limit: i64) -> Result<Vec<Row>, Error> {
        self.read(move |connection| {
            record::table
                .filter(record::user_id.eq(user_id))
                .filter(record::log_id.gt(after))
                .filter(record::log_id.le(upto))
                .order(record::log_id)
                .limit(limit)
                .select(Row::as_select())
                .load(connection)
        })
        .await
    }

    /// The contents of a request in order, its images put back into part 0.
    pub async fn contents(&self, log_id: i64) -> Result<Vec<Part>, Error> {
        self.read(move |connection| {
            let mut parts: Vec<Part> = record_part::table
                .filter(record_part::id.ge(part_key(log_id, 0)))
                .filter(record_part::id.lt(part_key(log_id + 1, 0)))
                .order(record_part::id)
                .select(Part::as_select())
                .load(connection)?;
            if let Some(request) = parts.iter_mut().find(|part| part.kind == PART_REQUEST) {
                put_images_back(connection, log_id, &mut request.body)?;
            }
            Ok(parts)
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
    insert_act_row(connection, NewRow { subject_id: subject, ..act_row(now, act, by) }, detail)
}

/// An act on a token; the person concerned is its owner.
pub fn insert_token_act(
    connection: &mut SqliteConnection,
    now: Timestamp,
    act: &'static str,
    by: Option<i64>,
    token: &Token,
    detail: Option<String>,
) -> QueryResult<()> {
    let row = NewRow { subject_id: Some(token.user_id), token_id: Some(token.id), ..act_row(now, act, by) };
    insert_act_row(connection, row, detail).map(drop)
}

fn act_row(now: Timestamp, act: &'static str, by: Option<i64>) -> NewRow {
    NewRow {
        kind: ACT,
        at_us: now.0,
        request_id: RequestId::fresh().0.as_bytes().to_vec(),
        user_id: by,
        act: Some(act),
        ..NewRow::default()
    }
}

fn insert_act_row(connection: &mut SqliteConnection, row: NewRow, detail: Option<String>) -> QueryResult<i64> {
    let log_id = insert_row(connection, &row)?;
    if let Some(detail) = detail {
        insert_parts(connection, log_id, &[NewPart { part: 0, kind: PART_DETAIL, body: detail.into() }])?;
    }
    Ok(log_id)
}

/// The time on the newest row.
pub fn last_at(connection: &mut SqliteConnection) -> QueryResult<Timestamp> {
    let newest = record::table.select(record::at_us).order(record::log_id.desc()).first(connection).optional()?;
    Ok(Timestamp(newest.unwrap_or(0)))
}

fn insert_row(connection: &mut SqliteConnection, row: &NewRow) -> QueryResult<i64> {
    diesel::insert_into(record::table).values(row).returning(record::log_id).get_result(connection)
}

fn insert_parts(connection: &mut SqliteConnection, log_id: i64, parts: &[NewPart]) -> QueryResult<()> {
    for part in parts {
        diesel::insert_into(record_part::table)
            .values((
                record_part::id.eq(part_key(log_id, part.part)),
                record_part::kind.eq(part.kind),
                record_part::encoding.eq(0_i64),
                record_part::body.eq(&part.body[..]),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn insert_images(connection: &mut SqliteConnection, log_id: i64, user_id: i64, images: &[NewImage]) -> QueryResult<()> {
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

/// `offset` is where the image's base64 text begins in the whole body, so in ascending order each can be put back.
fn put_images_back(connection: &mut SqliteConnection, log_id: i64, body: &mut Vec<u8>) -> QueryResult<()> {
    use base64::Engine;
    let images: Vec<(i64, Vec<u8>)> = record_image_use::table
        .inner_join(record_image::table.on(record_image::id.eq(record_image_use::image_id)))
        .filter(record_image_use::log_id.eq(log_id))
        .order(record_image_use::offset)
        .select((record_image_use::offset, record_image::body))
        .load(connection)?;
    for (offset, image) in images {
        let at = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        let text = base64::engine::general_purpose::STANDARD.encode(image);
        body.splice(at..at, text.into_bytes());
    }
    Ok(())
}

pub fn part_key(log_id: i64, part: i64) -> i64 {
    (log_id << PART_BITS) | (part & ((1 << PART_BITS) - 1))
}

/// Intents without a result, oldest first, and the newest row that was looked at. Only the tail of the record is read.
pub fn open_intents(connection: &mut SqliteConnection) -> QueryResult<(Vec<Row>, i64)> {
    let closed =
        watermark::table.find(CLOSED).select(watermark::log_id).first::<i64>(connection).optional()?.unwrap_or(0);
    let tail: Vec<(i64, String, Option<i64>)> = record::table
        .filter(record::log_id.gt(closed))
        .order(record::log_id)
        .select((record::log_id, record::kind, record::intent_id))
        .load(connection)?;
    let upto = tail.last().map_or(closed, |(log_id, ..)| *log_id);
    let mut open = std::collections::BTreeSet::new();
    for (log_id, kind, intent_id) in tail {
        match (kind.as_str(), intent_id) {
            (INTENT, _) => {
                open.insert(log_id);
            }
            (RESULT, Some(intent)) => {
                open.remove(&intent);
            }
            _ => {}
        }
    }
    let mut rows = Vec::with_capacity(open.len());
    for log_id in open {
        rows.push(record::table.find(log_id).select(Row::as_select()).first(connection)?);
    }
    Ok((rows, upto))
}

/// Request ids hold their time, and rows are in the order of time: so the first row of a request is near where its time
/// is, and needs no index of its own.
fn find_request(connection: &mut SqliteConnection, id: RequestId) -> QueryResult<Option<Row>> {
    let Some(made) = id.0.get_timestamp() else { return Ok(None) };
    let (seconds, nanos) = made.to_unix();
    let made_us = (seconds * 1_000_000 + u64::from(nanos) / 1000) as i64;
    // The greatest log_id whose row is older; between two probes ids may be missing.
    let (mut low, mut high) =
        (0, record::table.select(diesel::dsl::max(record::log_id)).first::<Option<i64>>(connection)?.unwrap_or(0));
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let older: Option<(i64, i64)> = record::table
            .filter(record::log_id.le(middle))
            .order(record::log_id.desc())
            .select((record::log_id, record::at_us))
            .first(connection)
            .optional()?;
        match older {
            Some((_, at_us)) if at_us >= made_us => high = middle - 1,
            _ => low = middle,
        }
    }
    record::table
        .filter(record::log_id.gt(low))
        .filter(record::request_id.eq(id.0.as_bytes().to_vec()))
        .order(record::log_id)
        .select(Row::as_select())
        .first(connection)
        .optional()
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
