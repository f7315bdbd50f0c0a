//! The record of one request: opened durably before anything is forwarded, told what comes back, closed in any case.
//!
//! No audit, no service: `open` returns only after its sync, and an answer's last byte waits for `close`. Dropping a
//! record hands over its result row without waiting, so a request that ends in the middle of an await is recorded too.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use ring::{digest, hmac};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::auth::Identity;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::base::secret::thread_random_bytes;
use crate::base::vital::{Vitals, panic_on_purpose};
use crate::config;
use crate::model::chat::{ChatEvent, End, Piece, Spent, ToolCall};
use crate::model::model_name::ModelName;
use crate::model::record::{Kind, Outcome};
use crate::provider::Call;
use crate::store::Store;
use crate::store::audit::{self as rows, Closing, IntentSlot, NewEntry, NewImage, NewPart, NewRow, Opening, Segment};

mod ending;
mod numbers;
mod refusals;

pub use ending::Ending;
use numbers::Numbers;
pub use refusals::Refusal;
use refusals::Refusals;

pub struct Audit {
    store: Store,
    /// One permit per byte that waits for the disk.
    room: Arc<Semaphore>,
    config: config::Audit,
    refusals: Refusals,
    /// Results whose transaction came to nothing: as many at most as requests run at once.
    unwritten: Mutex<Vec<Closing>>,
}

/// What an intent needs to know.
pub struct Intent<'a> {
    pub id: RequestId,
    pub who: &'a Identity,
    pub api: &'static str,
    pub provider: &'static str,
    pub model: &'a ModelName,
    pub call: &'a Call,
    pub address: Option<IpAddr>,
    /// Fields that had no effect, hints that were left out, values that were clamped.
    pub notes: Vec<String>,
}

/// The place that a result's last segment takes in the queue, reserved before the intent is written. A single event that
/// is larger overdraws it, by no more than the longest line of an upstream.
const RESULT_BYTES: usize = 32 * 1024;

/// What a row costs besides its contents.
const ROW_BYTES: usize = 512;

/// How long a request may wait for room in the queue, and for the sync of its intent.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// A request that is not on record, or can't be said to be.
pub struct Unopened {
    pub error: Error,
    /// Its intent may still come to disk, so it has to be closed with what the client is told.
    pub late: Option<Record>,
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Unopened { error, late: None }
    }
}

impl Audit {
    pub fn new(store: Store, config: config::Audit) -> Self {
        Audit {
            store,
            room: Arc::new(Semaphore::new(config.queue_bytes_max)),
            config,
            refusals: Refusals::default(),
            unwritten: Mutex::default(),
        }
    }

    /// Writes the intent and returns after its sync. On an error nothing may be forwarded.
    pub async fn open(self: &Arc<Self>, intent: Intent<'_>) -> Result<Record, Unopened> {
        let opened = Instant::now();
        let mut room = self.room_for(intent.call.body.len() + RESULT_BYTES + 2 * ROW_BYTES).await?;
        // The intent's share is free again after its sync; the result's stays reserved.
        let for_result = room.split(RESULT_BYTES + ROW_BYTES);

        let salt = thread_random_bytes::<{ rows::SALT_BYTES }>();
        let row = NewRow {
            kind: Kind::Intent,
            request_id: intent.id.0.into_bytes(),
            user_id: Some(intent.who.user_id()),
            token_id: intent.who.token_id(),
            credential: Some(intent.who.credential().into()),
            api: Some(intent.api.into()),
            provider: Some(intent.provider),
            attempt: Some(1),
            model_asked: Some(intent.model.as_str().to_owned()),
            commitment: Some(commitment(&salt, &[(KIND_REQUEST, &intent.call.body)])),
            ..NewRow::default()
        };
        let (body, images) = cut_images(intent.call);
        let mut parts = vec![
            NewPart { part: 0, kind: rows::PART_REQUEST, body },
            NewPart { part: 1, kind: rows::PART_ORIGIN, body: origin(&salt, intent.address) },
        ];
        if !intent.notes.is_empty() {
            parts.push(NewPart { part: 2, kind: rows::PART_NOTES, body: intent.notes.join("\n").into() });
        }

        let slot = IntentSlot::default();
        let result = NewRow { kind: Kind::Result, commitment: None, ..row.clone() };
        // The guard exists before the await: if the client leaves during it, the result row follows the intent's.
        let record = Record {
            audit: self.clone(),
            slot: slot.clone(),
            next_part: parts.len() as i64,
            salt,
            row: Some(result),
            opened,
            begun: None,
            prompt_guess: None,
            flushed_at: opened,
            contents: Contents::default(),
            pieces: 0,
            end: None,
            room: for_result,
            segments: Vec::new(),
            notes: Vec::new(),
        };
        let (done, synced) = oneshot::channel();
        let opening = NewEntry::Intent(Box::new(Opening { slot, row, parts, images }));
        self.store.append(opening, move |_, committed| {
            drop(room);
            // Whoever waited may have gone.
            let _ = done.send(committed.map_err(|cause| anyhow!("{cause}")));
        });
        match tokio::time::timeout(OPEN_WAIT_MAX, synced).await {
            Ok(synced) => came_to_disk(synced).map(|()| record).map_err(Unopened::from),
            Err(_) => Err(Unopened { error: Error::audit(anyhow!("the sync took too long")), late: Some(record) }),
        }
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = u32::try_from(bytes.min(self.config.queue_bytes_max)).unwrap_or(u32::MAX);
        let acquire = self.room.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(OPEN_WAIT_MAX, acquire).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Error::audit(anyhow!("no room in the queue to the disk"))),
        }
    }

    /// Hands a result to the writer; one that does not come to disk is tried again by `write_unwritten`.
    fn write_result(self: Arc<Self>, closing: Closing, done: impl FnOnce(Result<(), &str>) + Send + 'static) {
        let store = self.store.clone();
        store.append(NewEntry::Result(Box::new(closing)), move |entry, committed| {
            if let (NewEntry::Result(closing), Err(_)) = (entry, committed)
                && !closing.is_short
            {
                self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(*closing);
            }
            done(committed);
        });
    }

    /// Tries again to write results that did not come to disk. Their clients were told that the answer failed.
    pub fn write_unwritten(self: &Arc<Self>) {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for mut closing in unwritten {
            let row = &mut closing.row;
            if row.outcome == Some(Outcome::Completed) {
                (row.outcome, row.reason) = (Some(Outcome::Failed), Some("audit_unavailable"));
            }
            self.clone().write_result(closing, |_| {});
        }
    }

    /// Returns what each worker has to run on its thread, so that the writer answers all its requests at once.
    pub fn serve_worker(&self) -> impl Future<Output = ()> + use<> {
        self.store.serve_worker()
    }

    pub fn vitals(&self) -> &Vitals {
        self.store.vitals()
    }

    pub fn can_record(&self) -> bool {
        self.store.can_write()
    }
}

/// What the writer told, or that it has ended without a word.
fn came_to_disk(synced: Result<anyhow::Result<()>, oneshot::error::RecvError>) -> Result<(), Error> {
    synced.map_err(|_| Error::audit(anyhow!("the writer has ended")))?.map_err(Error::audit)
}

/// What came back so far, and how much of it was handed to the writer.
#[derive(Default)]
struct Contents {
    text: Vec<u8>,
    text_flushed: usize,
    reasoning: Vec<u8>,
    reasoning_flushed: usize,
    /// As they stand in the record.
    tool_calls: Vec<u8>,
    tool_calls_flushed: usize,
    numbers: Numbers,
}

impl Contents {
    fn waiting(&self) -> usize {
        let of = |bytes: &[u8], flushed: usize| bytes.len() - flushed;
        of(&self.text, self.text_flushed)
            + of(&self.reasoning, self.reasoning_flushed)
            + of(&self.tool_calls, self.tool_calls_flushed)
    }

    /// The parts that were not handed over yet, numbered from `next`.
    fn take(&mut self, next: &mut i64) -> Vec<NewPart> {
        let mut parts = Vec::new();
        for (kind, bytes, flushed) in [
            (rows::PART_REASONING, &self.reasoning, &mut self.reasoning_flushed),
            (rows::PART_ANSWER, &self.text, &mut self.text_flushed),
            (rows::PART_TOOL_CALLS, &self.tool_calls, &mut self.tool_calls_flushed),
        ] {
            if bytes.len() > *flushed {
                parts.push(NewPart { part: *next, kind, body: Bytes::copy_from_slice(&bytes[*flushed..]) });
                *next += 1;
                *flushed = bytes.len();
            }
        }
        parts
    }
}

pub struct Record {
    audit: Arc<Audit>,
    slot: IntentSlot,
    next_part: i64,
    salt: [u8; rows::SALT_BYTES],
    /// The result row, until it is handed over.
    row: Option<NewRow>,
    opened: Instant,
    /// When its turn came.
    begun: Option<Instant>,
    /// Tokens of the prompt, as far as they can be guessed.
    prompt_guess: Option<u64>,
    flushed_at: Instant,
    contents: Contents,
    /// Pieces of text, reasoning and calls: about a token each.
    pieces: u64,
    end: Option<End>,
    room: Option<OwnedSemaphorePermit>,
    segments: Vec<Segment>,
    /// Notes that came after the intent's; they are written with the result.
    notes: Vec<String>,
}

impl Record {
    /// The turn has come, on `host`.
    pub fn begins(&mut self, host: &str) {
        let now = Instant::now();
        let waited = micros(now.duration_since(self.opened));
        self.begun = Some(now);
        if let Some(row) = &mut self.row {
            row.host = Some(host.to_owned());
            row.queued_us = Some(waited);
        }
    }

    /// Notes a guess at the prompt's tokens, for an answer that is cut off before its model has counted them.
    pub fn guess_prompt(&mut self, tokens: u64) {
        self.prompt_guess = Some(tokens);
    }

    pub fn saw(&mut self, event: &ChatEvent) {
        panic_on_purpose("record");
        let Some(row) = &mut self.row else { return };
        if row.first_token_us.is_none() {
            row.first_token_us = Some(micros(self.opened.elapsed()));
        }
        if matches!(event.what, Piece::Text(_) | Piece::Reasoning(_) | Piece::ToolCall(_)) {
            self.pieces += 1;
        }
        match &event.what {
            Piece::Text(text) => self.contents.text.extend_from_slice(text.as_bytes()),
            Piece::Reasoning(text) => self.contents.reasoning.extend_from_slice(text.as_bytes()),
            Piece::ToolCall(call) => write_call(&mut self.contents.tool_calls, call),
            // Numbers about the text, which is kept itself.
            Piece::Logprobs(_) => {}
            Piece::Embedding(embedding) => self.contents.numbers.add(embedding),
            Piece::End(end) => {
                self.contents.text.extend_from_slice(self.contents.numbers.summary().as_bytes());
                row.prompt_tokens = Some(column(end.usage.prompt_tokens));
                row.answer_tokens = Some(column(end.usage.answer_tokens));
                row.gpu_us = Some(column(end.timings.worked_ns() / 1000));
                self.end = Some(end.clone());
            }
        }
        if self.contents.waiting() >= self.audit.config.segment_bytes {
            self.flush();
        }
    }

    /// The request did not get through to `host` and goes to another: a new attempt, told in the result.
    pub fn failed_attempt(&mut self, host: &str, error: &Error) {
        let Some(row) = &mut self.row else { return };
        let attempt = row.attempt.unwrap_or(1);
        row.attempt = Some(attempt.saturating_add(1));
        self.notes.push(format!("attempt {attempt} on `{host}` failed with {}: {error}", error.code()));
    }

    /// Notes something that the result's readers should know, on a line of its own.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Hands a segment to the writer when the last one is old enough. To be called on a beat.
    pub fn beat(&mut self) {
        if self.contents.waiting() > 0 && self.flushed_at.elapsed() >= self.audit.config.segment_time {
            self.flush();
        }
    }

    fn flush(&mut self) {
        // No room now: the segment stays here, grows, and is tried again on the next event or beat.
        let bytes = self.contents.waiting() + ROW_BYTES;
        let Ok(room) = self.audit.room.clone().try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)) else {
            return;
        };
        self.flushed_at = Instant::now();
        let room = Arc::new(room);
        for part in self.contents.take(&mut self.next_part) {
            let (segment, room) = (Segment::new(part), room.clone());
            self.segments.push(segment.clone());
            let segment = NewEntry::Segment { slot: self.slot.clone(), segment };
            self.audit.store.append(segment, move |_, _| drop(room));
        }
    }

    /// What the upstream says that the answer took, once it has ended.
    pub fn gpu_time(&self) -> Option<Duration> {
        let micros = self.row.as_ref()?.gpu_us?;
        u64::try_from(micros).ok().filter(|micros| *micros > 0).map(Duration::from_micros)
    }

    /// The model is done with it, or was cut off: what it cost. One that was cut off has not told, so what came and the
    /// time since its turn came are what is known.
    pub fn stops(&mut self) -> Spent {
        let Some(row) = &mut self.row else { return Spent::default() };
        if self.end.is_none() {
            let came = i64::try_from(self.pieces).unwrap_or(i64::MAX);
            row.answer_tokens = row.answer_tokens.or(Some(came).filter(|came| *came > 0));
            // A model that answers has read its prompt.
            let read = self.prompt_guess.filter(|_| came > 0).and_then(|guess| i64::try_from(guess).ok());
            row.prompt_tokens = row.prompt_tokens.or(read);
            row.gpu_us = row.gpu_us.or(self.begun.map(|begun| micros(begun.elapsed())));
        }
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Spent {
            prompt_tokens: number(row.prompt_tokens),
            answer_tokens: number(row.answer_tokens).unwrap_or(0),
            gpu: Duration::from_micros(number(row.gpu_us).unwrap_or(0)),
        }
    }

    /// Bytes of the answer so far.
    pub fn answer_bytes(&self) -> usize {
        let Contents { text, reasoning, tool_calls, numbers, .. } = &self.contents;
        text.len() + reasoning.len() + tool_calls.len() + numbers.bytes()
    }

    /// Writes the result and returns after its sync. On an error the answer's last byte must not leave.
    ///
    /// However long the disk takes: a client who is told something before has been told what may turn out wrong. A disk that
    /// never answers ends the process.
    pub async fn close(mut self, ending: Ending, status: u16) -> Result<(), Error> {
        let (done, synced) = oneshot::channel();
        let recorded = self.hand_over(ending, Some(status), move |committed| {
            // Whoever waited may have gone.
            let _ = done.send(committed.map_err(|cause| anyhow!("{cause}")));
        });
        came_to_disk(synced.await)?;
        if recorded != Some(ending) {
            return Err(Error::internal(anyhow!("the result of a request could not be put together")));
        }
        Ok(())
    }

    /// Writes the result without waiting for it.
    pub fn close_soon(mut self, ending: Ending, status: Option<u16>) {
        self.hand_over(ending, status, |_| {});
    }

    /// Gives the writer the result, once, and returns how it then ends.
    fn hand_over(
        &mut self,
        ending: Ending,
        status: Option<u16>,
        done: impl FnOnce(Result<(), &str>) + Send + 'static,
    ) -> Option<Ending> {
        self.row.as_ref()?;
        // Whatever goes wrong with its contents, the intent gets a result.
        let contents = catch_unwind(AssertUnwindSafe(|| self.last_contents()));
        let mut row = self.row.take()?;
        let (ending, parts, commitment) = match contents {
            Ok((parts, commitment)) => (ending, parts, Some(commitment)),
            Err(_) => (Ending::Failed(PANICKED), Vec::new(), None),
        };
        row.outcome = Some(ending.outcome());
        row.reason = ending.reason();
        row.status = status.map(i64::from);
        row.total_us = Some(micros(self.opened.elapsed()));
        let asked = row.model_asked.as_deref().filter(|_| self.end.is_some());
        // The model's own name: spellings of it are told apart by what was asked alone.
        let served = asked.and_then(|asked| ModelName::parse(asked).ok());
        row.model_served = served.map(|model| model.canonical().to_owned());
        row.commitment = commitment;
        let room = self.room.take();
        let segments = std::mem::take(&mut self.segments);
        let closing = Closing { slot: self.slot.clone(), row, parts, segments, is_short: false };
        self.audit.clone().write_result(closing, move |committed| {
            drop(room);
            done(committed);
        });
        Some(ending)
    }

    /// The parts that are left to be written, and the commitment to all of them.
    fn last_contents(&mut self) -> (Vec<NewPart>, [u8; 32]) {
        panic_on_purpose("result");
        self.stops();
        let mut parts = self.contents.take(&mut self.next_part);
        if !self.notes.is_empty() {
            let body = self.notes.join("\n").into();
            parts.push(NewPart { part: self.next_part, kind: rows::PART_NOTES, body });
        }
        let Contents { text, reasoning, tool_calls, .. } = &self.contents;
        let said: [(u8, &[u8]); 3] = [(KIND_ANSWER, text), (KIND_REASONING, reasoning), (KIND_TOOL_CALLS, tool_calls)];
        (parts, commitment(&self.salt, &said))
    }
}

/// The reason of a result whose request met a panic.
const PANICKED: &str = "internal_error";

impl Drop for Record {
    fn drop(&mut self) {
        // A panic drops a request as a client does who leaves.
        let ending = if std::thread::panicking() { Ending::Failed(PANICKED) } else { Ending::Abandoned };
        self.hand_over(ending, None, |_| {});
    }
}

/// A number as a column holds it.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Adds a call as a line of JSON, so that what was written before a crash can be read. Its arguments stay as the model wrote
/// them, with numbers that no type of ours holds.
fn write_call(out: &mut Vec<u8>, call: &ToolCall) {
    let (id, name) = (Value::from(call.id.as_str()), Value::from(call.name.as_str()));
    let line = format!("{{\"id\":{id},\"name\":{name},\"arguments\":{}}}\n", call.arguments.get());
    out.extend_from_slice(line.as_bytes());
}

const KIND_REQUEST: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_REASONING: u8 = 3;
const KIND_TOOL_CALLS: u8 = 4;

/// HMAC-SHA-256(salt, 0x01, then for each kind: its byte, its length as a big-endian u64, its bytes). Keyed by the salt,
/// so that a short prompt can't be guessed from it once the contents and the salt are erased.
fn commitment(salt: &[u8; rows::SALT_BYTES], contents: &[(u8, &[u8])]) -> [u8; 32] {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    mac.update(&[0x01]);
    for (kind, bytes) in contents {
        mac.update(&[*kind]);
        mac.update(&(bytes.len() as u64).to_be_bytes());
        mac.update(bytes);
    }
    let mut commitment = [0; 32];
    commitment.copy_from_slice(mac.sign().as_ref());
    commitment
}

/// Two things of few bytes share a row: a row of its own costs many times their size.
fn origin(salt: &[u8; rows::SALT_BYTES], address: Option<IpAddr>) -> Bytes {
    let mut origin = salt.to_vec();
    if let Some(address) = address {
        origin.extend_from_slice(address.to_string().as_bytes());
    }
    origin.into()
}

/// The body without its images, and the images. `offset` counts in the whole body.
fn cut_images(call: &Call) -> (Bytes, Vec<NewImage>) {
    if call.images.is_empty() {
        return (call.body.clone(), Vec::new());
    }
    let mut body = Vec::with_capacity(call.body.len());
    let mut images = Vec::with_capacity(call.images.len());
    let mut from = 0;
    for image in &call.images {
        body.extend_from_slice(&call.body[from..image.offset]);
        from = image.offset + image.length;
        images.push(NewImage {
            offset: image.offset as i64,
            sha256: digest::digest(&digest::SHA256, &image.bytes).as_ref().to_vec(),
            body: image.bytes.clone(),
        });
    }
    body.extend_from_slice(&call.body[from..]);
    (body.into(), images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ImageAt;

    #[test]
    fn images_are_cut_out_and_their_offsets_count_in_the_whole_body() {
        let call = Call {
            path: "/api/chat",
            body: Bytes::from_static(b"[\"QUJD\",\"REVG\"]"),
            images: vec![
                ImageAt { offset: 2, length: 4, bytes: Bytes::from_static(b"ABC") },
                ImageAt { offset: 9, length: 4, bytes: Bytes::from_static(b"DEF") },
            ],
            notes: Vec::new(),
            simplified: Vec::new(),
            reading: crate::provider::Reading::plain_chat(),
            asks: "messages",
            schema_field: "format",
        };

        let (body, images) = cut_images(&call);

        assert_eq!(&body[..], b"[\"\",\"\"]");
        assert_eq!(images.iter().map(|image| image.offset).collect::<Vec<_>>(), [2, 9]);
    }

    #[test]
    fn a_commitment_tells_kinds_and_lengths_apart() {
        let salt = [7; 32];

        let one = commitment(&salt, &[(KIND_ANSWER, b"ab"), (KIND_REASONING, b"c")]);
        let two = commitment(&salt, &[(KIND_ANSWER, b"a"), (KIND_REASONING, b"bc")]);

        assert_ne!(one, two);
        assert_eq!(one, commitment(&salt, &[(KIND_ANSWER, b"ab"), (KIND_REASONING, b"c")]));
    }
}
