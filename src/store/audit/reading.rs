//! Reading the record: running requests, the rows of one request, and its contents.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::commitment::SALT_BYTES;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::audit::{CLOSED, PART_ADDRESS, PART_DETAIL, PART_ORIGIN, PART_REQUEST, Row, StoredPart, Wanted};
use crate::store::schema::{record, record_image, record_image_use, record_part, sqlite_sequence, watermark};

/// The requests or refusals beside one in the record.
#[derive(Debug, Default)]
pub struct Neighbours {
    pub newer: Option<RequestId>,
    pub older: Option<RequestId>,
}

impl Store {
    /// Returns the requests that are running, newest first.
    pub async fn running(&self, wanted: &Wanted) -> Result<Vec<Row>, Error> {
        let (mut rows, _) = self.read(open_intents).await?;
        rows.retain(|row| wanted.takes_running(row));
        rows.reverse();
        Ok(rows)
    }

    /// Returns the rows of one request: its intent and result, or its refusal.
    pub async fn request_rows(&self, id: RequestId) -> Result<Vec<Row>, Error> {
        self.read(move |connection| {
            let Some(first) = find_request(connection, id)? else { return Ok(Vec::new()) };
            let mut rows = vec![first];
            if rows[0].kind() == Some(Kind::Intent) {
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

    /// Returns the details of acts, as JSON, by the act's log_id.
    pub async fn details(&self, acts: Vec<i64>) -> Result<HashMap<i64, String>, Error> {
        if acts.is_empty() {
            return Ok(HashMap::new());
        }
        let parts: Vec<(i64, Vec<u8>)> = self
            .read(move |connection| {
                record_part::table
                    .filter(record_part::log_id.eq_any(acts))
                    .filter(record_part::kind.eq(PART_DETAIL))
                    .select((record_part::log_id, record_part::body))
                    .load(connection)
            })
            .await?;
        Ok(parts.into_iter().map(|(act, body)| (act, String::from_utf8_lossy(&body).into_owned())).collect())
    }

    /// Returns the addresses of refusals, or the networks that they are counted under, by the refusal's log_id.
    pub async fn refused_addresses(&self, refusals: Vec<i64>) -> Result<HashMap<i64, String>, Error> {
        if refusals.is_empty() {
            return Ok(HashMap::new());
        }
        let parts: Vec<(i64, String, Vec<u8>)> = self
            .read(move |connection| {
                record_part::table
                    .filter(record_part::log_id.eq_any(refusals))
                    .filter(record_part::kind.eq_any([PART_ADDRESS, PART_ORIGIN]))
                    .select((record_part::log_id, record_part::kind, record_part::body))
                    .load(connection)
            })
            .await?;
        let address = |(row, kind, body): (i64, String, Vec<u8>)| {
            let salt = if kind == PART_ORIGIN { SALT_BYTES } else { 0 };
            (row, String::from_utf8_lossy(body.get(salt..).unwrap_or_default()).into_owned())
        };
        Ok(parts.into_iter().map(address).collect())
    }

    /// Returns the requests and refusals just before and after a row, of one user or of all. Acts are passed over: else a reader
    /// who goes on to newer ones would meet their own looks.
    pub async fn neighbours(&self, log_id: i64, user_id: Option<i64>) -> Result<Neighbours, Error> {
        self.read(move |connection| {
            let beside = || {
                let ended = [Kind::Result.name(), Kind::Refusal.name()];
                let mut rows = record::table.filter(record::kind.eq_any(ended)).select(Row::as_select()).into_boxed();
                if let Some(id) = user_id {
                    rows = rows.filter(record::user_id.eq(id));
                }
                rows
            };
            let newer = beside().filter(record::log_id.gt(log_id)).order(record::log_id.asc());
            let newer: Option<Row> = newer.first(connection).optional()?;
            let older = beside().filter(record::log_id.lt(log_id)).order(record::log_id.desc());
            let older: Option<Row> = older.first(connection).optional()?;
            let id = |row: Option<Row>| row.and_then(|row| row.request_id());
            Ok(Neighbours { newer: id(newer), older: id(older) })
        })
        .await
    }

    /// Returns the contents of a request in order, its images put back into part 0.
    pub async fn contents(&self, log_id: i64) -> Result<Vec<StoredPart>, Error> {
        self.read(move |connection| contents(connection, log_id)).await
    }
}

pub fn contents(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<Vec<StoredPart>> {
    let mut parts: Vec<StoredPart> = record_part::table
        .filter(record_part::log_id.eq(log_id))
        .order(record_part::part)
        .select(StoredPart::as_select())
        .load(connection)?;
    if let Some(request) = parts.iter_mut().find(|part| part.kind == PART_REQUEST) {
        put_images_back(connection, log_id, &mut request.body)?;
    }
    Ok(parts)
}

/// Returns the same without the request itself, which may be large.
pub fn contents_of_answer(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<Vec<StoredPart>> {
    record_part::table
        .filter(record_part::log_id.eq(log_id))
        .filter(record_part::kind.ne(PART_REQUEST))
        .order(record_part::part)
        .select(StoredPart::as_select())
        .load(connection)
}

/// Returns the time of the newest row.
pub fn last_at(connection: &mut SqliteConnection) -> QueryResult<Timestamp> {
    let newest = record::table.select(record::at_us).order(record::log_id.desc()).first(connection).optional()?;
    Ok(Timestamp(newest.unwrap_or(0)))
}

/// Returns the newest log_id that was ever given.
pub fn newest_log_id(connection: &mut SqliteConnection) -> QueryResult<i64> {
    let given = sqlite_sequence::table.find("record").select(sqlite_sequence::seq).first(connection).optional()?;
    Ok(given.unwrap_or(0))
}

/// Puts images back into a body. `offset` is where an image's base64 text begins in the whole body, so they are put back in
/// ascending order.
fn put_images_back(connection: &mut SqliteConnection, log_id: i64, body: &mut Vec<u8>) -> QueryResult<()> {
    let images: Vec<(i64, Vec<u8>)> = record_image_use::table
        .inner_join(record_image::table.on(record_image::id.eq(record_image_use::image_id)))
        .filter(record_image_use::log_id.eq(log_id))
        .order(record_image_use::offset)
        .select((record_image_use::offset, record_image::body))
        .load(connection)?;
    for (offset, image) in images {
        put_back(body, offset, &image);
    }
    Ok(())
}

/// Puts an image back into a body, as base64 at its place.
pub fn put_back(body: &mut Vec<u8>, offset: i64, image: &[u8]) {
    use base64::Engine;
    let at = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
    let text = base64::engine::general_purpose::STANDARD.encode(image);
    body.splice(at..at, text.into_bytes());
}

/// Returns the intents without a result, oldest first, and the newest row that was read. Only the tail of the record is read.
pub fn open_intents(connection: &mut SqliteConnection) -> QueryResult<(Vec<Row>, i64)> {
    let closed =
        watermark::table.find(CLOSED).select(watermark::log_id).first::<i64>(connection).optional()?.unwrap_or(0);
    // Read as a stream: under load the tail has tens of thousands of rows.
    let tail = record::table
        .filter(record::log_id.gt(closed))
        .order(record::log_id)
        .select((record::log_id, record::kind.eq(Kind::Intent.name()), record::intent_id))
        .load_iter::<(i64, bool, Option<i64>), diesel::connection::DefaultLoadingMode>(connection)?;
    let mut upto = closed;
    let mut open = std::collections::BTreeSet::new();
    for row in tail {
        let (log_id, is_intent, answered) = row?;
        upto = log_id;
        if is_intent {
            open.insert(log_id);
        }
        if let Some(intent) = answered {
            open.remove(&intent);
        }
    }
    let mut rows = Vec::with_capacity(open.len());
    for log_id in open {
        rows.push(record::table.find(log_id).select(Row::as_select()).first(connection)?);
    }
    Ok((rows, upto))
}

/// Finds the first row of a request without an index: request ids hold their time, and rows are in the order of time.
fn find_request(connection: &mut SqliteConnection, id: RequestId) -> QueryResult<Option<Row>> {
    let Some(made) = id.0.get_timestamp() else { return Ok(None) };
    let (seconds, nanos) = made.to_unix();
    let made = Timestamp((seconds * 1_000_000 + u64::from(nanos) / 1000) as i64);
    let older = last_before(connection, made)?;
    record::table
        .filter(record::log_id.gt(older))
        .filter(record::request_id.eq(id.0.as_bytes().to_vec()))
        .order(record::log_id)
        .select(Row::as_select())
        .first(connection)
        .optional()
}

/// Returns the log_id up to which all rows are older than `time`, and after which none is. Ids may be missing between rows.
pub fn last_before(connection: &mut SqliteConnection, time: Timestamp) -> QueryResult<i64> {
    let newest: Option<i64> = record::table.select(diesel::dsl::max(record::log_id)).first(connection)?;
    let (mut low, mut high) = (0, newest.unwrap_or(0));
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let probe: Option<i64> = record::table
            .filter(record::log_id.le(middle))
            .order(record::log_id.desc())
            .select(record::at_us)
            .first(connection)
            .optional()?;
        match probe {
            Some(at_us) if at_us >= time.0 => high = middle - 1,
            _ => low = middle,
        }
    }
    Ok(low)
}
