//! What requests write to the record. The writer gets it as data, so that a batch takes few statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use diesel::prelude::*;

use crate::model::record::Outcome;
use crate::store::Tx;
use crate::store::audit::committed::commitment_on_disk;
use crate::store::audit::insert::{insert_intents, insert_lines, insert_pieces, insert_via_lines};
use crate::store::audit::rows::{NewPart, NewRow, NumberedPart, NumberedRow};
use crate::store::schema::{record_image, record_image_use};

pub enum NewEntry {
    Intent(Box<Opening>),
    /// A part of an answer that is still running. If it is not written, the result has it again.
    Segment {
        slot: IntentSlot,
        segment: Segment,
    },
    /// The result, with the last of its contents.
    Result(Box<Closing>),
    /// A row that belongs to no request that was forwarded.
    Refusal {
        row: Box<NewRow>,
        parts: Vec<NewPart>,
    },
}

impl NewEntry {
    pub fn is_intent(&self) -> bool {
        matches!(self, NewEntry::Intent(_))
    }

    /// Reduces a result that can't be written to what can't break a rule, so that its intent gets a result. Its commitment is to
    /// the parts that are written already. `false`: it is no result.
    pub fn shorten(&mut self, connection: &mut SqliteConnection) -> QueryResult<bool> {
        let NewEntry::Result(closing) = self else { return Ok(false) };
        let Closing { slot, row, parts, segments, .. } = &mut **closing;
        parts.clear();
        segments.clear();
        *row = NewRow {
            kind: row.kind,
            request_id: row.request_id,
            user_id: row.user_id,
            via_user_id: row.via_user_id,
            token_id: row.token_id,
            attempt: row.attempt,
            outcome: Some(Outcome::Failed),
            reason: Some("audit_unavailable"),
            prompt_tokens: row.prompt_tokens,
            answer_tokens: row.answer_tokens,
            queued_us: row.queued_us,
            first_token_us: row.first_token_us,
            total_us: row.total_us,
            gpu_us: row.gpu_us,
            load_us: row.load_us,
            prompt_us: row.prompt_us,
            answer_us: row.answer_us,
            commitment: slot.get().map(|intent| commitment_on_disk(connection, intent)).transpose()?.flatten(),
            ..NewRow::default()
        };
        Ok(true)
    }

    /// Notes whether a result was written in its short form.
    pub fn stands_short(&mut self, is_short: bool) {
        if let NewEntry::Result(closing) = self {
            closing.is_short = is_short;
        }
    }

    /// Notes whether its transaction was committed.
    pub fn settle(&self, committed: bool) {
        match self {
            NewEntry::Intent(opening) if !committed => opening.slot.never_written(),
            NewEntry::Segment { segment, .. } => segment.lost.store(!committed, Ordering::Release),
            NewEntry::Intent(_) | NewEntry::Result(_) | NewEntry::Refusal { .. } => {}
        }
    }
}

/// A part that was handed to the writer while the answer ran, kept until the result is written.
#[derive(Debug, Clone)]
pub struct Segment {
    pub part: NewPart,
    /// Its transaction failed.
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
    /// It broke a rule of the schema, and its short form was written instead: it must not be tried again.
    pub is_short: bool,
}

/// An image that was cut out of part 0.
#[derive(Debug)]
pub struct NewImage {
    pub offset: i64,
    pub sha256: Vec<u8>,
    pub body: Bytes,
}

/// The log_id of an intent whose row may not be written yet. The writer sets it; later rows of the request read it.
#[derive(Debug, Clone, Default)]
pub struct IntentSlot(Arc<AtomicI64>);

/// The transaction of the intent failed, so nothing was forwarded, and no later row is written.
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

/// Writes a batch. Intents are first, so that the other rows of a request find their intent.
pub fn write<'a>(tx: &mut Tx<'_>, entries: impl ExactSizeIterator<Item = &'a NewEntry> + Clone) -> QueryResult<()> {
    let at_us = tx.now.0;
    let mut lines = Lines { plain: Vec::with_capacity(entries.len()), via: Vec::new() };
    // An intent mostly has two parts, and a result one.
    let mut pieces = Vec::with_capacity(2 * entries.len());
    for entry in entries.clone() {
        let NewEntry::Intent(opening) = entry else { continue };
        let log_id = tx.next_log_id()?;
        opening.slot.set(log_id);
        lines.push(NumberedRow { log_id, at_us, intent_id: None, row: &opening.row });
        pieces.extend(opening.parts.iter().map(|part| NumberedPart { log_id, part }));
        insert_images(tx.connection, log_id, opening.row.user_id.unwrap_or(0), &opening.images)?;
    }
    insert_intents(tx.connection, &lines.plain)?;
    lines.plain.clear();
    for entry in entries {
        match entry {
            NewEntry::Intent(_) => {}
            NewEntry::Segment { slot, segment } => {
                pieces.extend(slot.get().map(|log_id| NumberedPart { log_id, part: &segment.part }));
            }
            NewEntry::Result(closing) => {
                let Some(intent_id) = closing.slot.get() else { continue };
                // The writer keeps the order, so by now it is known which segments are lost.
                let lost = closing.segments.iter().filter(|segment| segment.lost.load(Ordering::Acquire));
                let parts = lost.map(|segment| &segment.part).chain(&closing.parts);
                pieces.extend(parts.map(|part| NumberedPart { log_id: intent_id, part }));
                let row = &closing.row;
                lines.push(NumberedRow { log_id: tx.next_log_id()?, at_us, intent_id: Some(intent_id), row });
            }
            NewEntry::Refusal { row, parts } => {
                let log_id = tx.next_log_id()?;
                pieces.extend(parts.iter().map(|part| NumberedPart { log_id, part }));
                lines.push(NumberedRow { log_id, at_us, intent_id: None, row });
            }
        }
    }
    insert_lines(tx.connection, &lines.plain)?;
    insert_via_lines(tx.connection, &lines.via)?;
    insert_pieces(tx.connection, &pieces)
}

/// Rows that were not inserted yet, by the statement that inserts them.
struct Lines<'a> {
    plain: Vec<NumberedRow<'a>>,
    /// Those that came by a delegating token, intents as well.
    via: Vec<NumberedRow<'a>>,
}

impl<'a> Lines<'a> {
    fn push(&mut self, line: NumberedRow<'a>) {
        if line.row.via_user_id.is_some() { self.via.push(line) } else { self.plain.push(line) }
    }
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::settings::{Live, Settings};
    use crate::model::record::Kind;
    use crate::store::Store;
    use crate::store::audit::{PART_ANSWER, PART_ORIGIN, PART_REQUEST, Row};
    use crate::store::schema::{record, record_part};

    /// One statement of each size.
    const REQUESTS: u8 = 31;

    fn part(part: i64, kind: &'static str, number: u8) -> NewPart {
        NewPart { part, kind, body: Bytes::from(vec![number]) }
    }

    fn row(kind: Kind, number: u8) -> NewRow {
        NewRow { kind, request_id: [number; 16], ..NewRow::default() }
    }

    /// Holds the writer until it is told to go on: what is handed over meanwhile becomes one batch.
    async fn hold(store: &Store) -> impl AsyncFnOnce() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (begins, begun) = oneshot::channel();
        let holder = store.clone();
        let held = tokio::spawn(async move {
            let hold = move |_: &mut Tx<'_>| {
                let _ = begins.send(());
                let _ = released.recv();
                Ok(())
            };
            holder.write(hold).await
        });
        begun.await.unwrap();
        async move || {
            release.send(()).unwrap();
            held.await.unwrap().unwrap();
        }
    }

    type Written = oneshot::Receiver<Result<(), String>>;

    fn append(store: &Store, entry: NewEntry) -> Written {
        let (done, written) = oneshot::channel();
        let after = move |_, committed: Result<(), &str>| done.send(committed.map_err(str::to_owned)).unwrap();
        store.append(entry, after);
        written
    }

    fn request(store: &Store, number: u8, intent: NewRow, result: NewRow) -> (Written, Written) {
        let slot = IntentSlot::default();
        let opening =
            Opening { slot: slot.clone(), row: intent, parts: vec![part(0, PART_REQUEST, number)], images: Vec::new() };
        let parts = vec![part(1, PART_ANSWER, number)];
        let closing = Closing { slot, row: result, parts, segments: Vec::new(), is_short: false };
        (append(store, NewEntry::Intent(Box::new(opening))), append(store, NewEntry::Result(Box::new(closing))))
    }

    #[tokio::test]
    async fn an_entry_that_breaks_a_rule_is_left_out_and_the_others_of_its_batch_are_written() {
        for with_a_verb in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
            let go_on = hold(&store).await;
            let long = Some("h".repeat(65));
            let good = request(&store, 1, row(Kind::Intent, 1), row(Kind::Result, 1));
            let bad_result = NewRow { host: long.clone(), answer_tokens: Some(7), ..row(Kind::Result, 2) };
            let bad_end = request(&store, 2, row(Kind::Intent, 2), bad_result);
            let verb = with_a_verb.then(|| {
                let store = store.clone();
                tokio::spawn(
                    async move { store.write(|tx| Ok(crate::store::audit::newest_log_id(tx.connection)?)).await },
                )
            });
            tokio::task::yield_now().await;
            let bad_intent = NewRow { api: Some("a".repeat(65).into()), ..row(Kind::Intent, 3) };
            let bad_begin = request(&store, 3, bad_intent, row(Kind::Result, 3));
            let last = request(&store, 4, row(Kind::Intent, 4), row(Kind::Result, 4));

            go_on().await;
            for written in [good.0, good.1, bad_end.0, last.0, last.1] {
                assert_eq!(written.await.unwrap(), Ok(()));
            }
            assert!(bad_end.1.await.unwrap().unwrap_err().contains("length(host)"));
            assert!(bad_begin.0.await.unwrap().unwrap_err().contains("length(api)"));
            // It has no intent, so there is nothing to be written.
            assert_eq!(bad_begin.1.await.unwrap(), Ok(()));
            if let Some(verb) = verb {
                assert!(verb.await.unwrap().is_ok());
            }

            let rows = store.read(|connection| record::table.select(Row::as_select()).load::<Row>(connection));
            let rows = rows.await.unwrap();
            let of = |number: u8| rows.iter().filter(move |row| row.request_id == [number; 16]).collect::<Vec<_>>();
            assert_eq!([1, 2, 3, 4].map(|number| of(number).len()), [2, 2, 0, 2], "with a verb: {with_a_verb}");
            let short = of(2).into_iter().find(|row| row.kind() == Some(Kind::Result)).unwrap();
            assert_eq!(
                (short.outcome.as_deref(), short.reason.as_deref(), &short.host, short.answer_tokens),
                (Some("failed"), Some("audit_unavailable"), &None, Some(7))
            );
            assert!(store.can_write());
            store.close();
            assert_eq!(store.vitals().reason(), None);
        }
    }

    #[tokio::test]
    async fn a_batch_is_written_whole_and_each_result_finds_its_intent() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let release = hold(&store).await;
        let mut told = Vec::new();
        for number in 0..REQUESTS {
            let slot = IntentSlot::default();
            let parts = vec![part(0, PART_REQUEST, number), part(1, PART_ORIGIN, number)];
            let opening = Opening { slot: slot.clone(), row: row(Kind::Intent, number), parts, images: Vec::new() };
            store.append(NewEntry::Intent(Box::new(opening)), |_, _| {});
            let parts = vec![part(2, PART_ANSWER, number)];
            let closing =
                Closing { slot, row: row(Kind::Result, number), parts, segments: Vec::new(), is_short: false };
            let (done, written) = oneshot::channel();
            let after = move |_, committed: Result<(), &str>| done.send(committed.is_ok()).unwrap();
            store.append(NewEntry::Result(Box::new(closing)), after);
            told.push(written);
        }
        release().await;
        for written in told {
            assert!(written.await.unwrap());
        }

        let rows =
            store.read(|connection| record::table.select(Row::as_select()).order(record::log_id).load(connection));
        let rows = rows.await.unwrap();
        let parts = store.read(|connection| {
            record_part::table
                .select((record_part::log_id, record_part::kind, record_part::body))
                .order((record_part::log_id, record_part::part))
                .load::<(i64, String, Vec<u8>)>(connection)
        });
        let parts = parts.await.unwrap();

        assert_eq!(rows.len(), 2 * usize::from(REQUESTS));
        for (at, number) in (0..REQUESTS).enumerate() {
            let (intent, result) = (&rows[at], &rows[usize::from(REQUESTS) + at]);
            assert_eq!((intent.kind.as_str(), &intent.request_id[..]), ("intent", &[number; 16][..]));
            assert_eq!((result.kind.as_str(), &result.request_id[..]), ("result", &[number; 16][..]));
            assert_eq!(result.intent_id, Some(intent.log_id));
            let of_intent =
                [PART_REQUEST, PART_ORIGIN, PART_ANSWER].map(|kind| (intent.log_id, kind.to_owned(), vec![number]));
            assert_eq!(parts[3 * at..3 * at + 3], of_intent);
        }
        store.close();
    }
}
