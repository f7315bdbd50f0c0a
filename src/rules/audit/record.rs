//! The record of one request: collects what comes back, and is closed in any case.
//!
//! Dropping a record hands over its result row without waiting, so that a request that ends in the middle of an await is
//! recorded, too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::base::error::{Error, chain};
use crate::base::vital::panic_on_purpose;
use crate::metrics::ModelIndex;
use crate::model::chat::{ChatEvent, End, Finish, Piece, Spent};
use crate::model::commitment::COMMITMENT_BYTES;
use crate::rules::audit::contents::{AnswerContents, write_call};
use crate::rules::audit::ending::{EndNote, Ending, NotedEnd};
use crate::rules::audit::{Audit, ROW_BYTES, came_to_disk};
use crate::store::audit::{self as rows, Closing, IntentSlot, NewEntry, NewPart, NewRow, Segment};

/// The record of one request, from its intent to its result.
pub struct Record {
    audit: Arc<Audit>,
    slot: IntentSlot,
    next_part: i64,
    /// The model that the request is forwarded to.
    model: ModelIndex,
    /// The parts of the intent that the commitment of the result covers: all but the request itself.
    covered: Vec<NewPart>,
    /// The result row, until it is handed to the writer.
    row: Option<NewRow>,
    opened: Instant,
    /// When the request's turn came.
    begun: Option<Instant>,
    /// Estimated model tokens of the prompt.
    prompt_guess: Option<u64>,
    flushed_at: Instant,
    contents: AnswerContents,
    /// Number of text, reasoning and tool-call deltas: about a token each.
    pieces: u64,
    end: Option<End>,
    room: Option<OwnedSemaphorePermit>,
    /// Where the end is noted, for the line of the log.
    end_note: EndNote,
    segments: Vec<Segment>,
    /// Notes that came after the intent's; they are written with the result.
    notes: Vec<String>,
    /// A later request may ask how the answer ended.
    can_be_followed: bool,
}

impl Record {
    /// Returns the record of a request whose intent is about to be written. `row` becomes its result.
    pub fn new(
        audit: Arc<Audit>,
        slot: IntentSlot,
        row: NewRow,
        covered: Vec<NewPart>,
        opened: Instant,
        room: Option<OwnedSemaphorePermit>,
    ) -> Record {
        let model = audit.meters.model(row.model_served.as_deref().unwrap_or_default());
        Record {
            audit,
            slot,
            next_part: covered.len() as i64 + 1,
            model,
            covered,
            row: Some(row),
            opened,
            begun: None,
            prompt_guess: None,
            flushed_at: opened,
            contents: AnswerContents::default(),
            pieces: 0,
            end: None,
            room,
            end_note: EndNote::default(),
            segments: Vec::new(),
            notes: Vec::new(),
            can_be_followed: false,
        }
    }

    /// Keeps whether the answer was cut, for later requests.
    pub fn followed_later(mut self, can_be_followed: bool) -> Record {
        self.can_be_followed = can_be_followed;
        self
    }

    /// Notes its end in `end`, too.
    pub fn noted_in(mut self, end: EndNote) -> Record {
        self.end_note = end;
        self
    }

    /// Records that the turn has come, on the `upstream`.
    pub fn begins(&mut self, upstream: &str) {
        let now = Instant::now();
        let waited = micros(now.duration_since(self.opened));
        self.begun = Some(now);
        if let Some(row) = &mut self.row {
            row.host = Some(upstream.to_owned());
            row.queued_us = Some(waited);
        }
    }

    /// Records an estimate of the prompt's tokens, for an answer that is cut off before its model has counted them.
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
            // Not kept: they can be computed from a text that is kept.
            Piece::Logprobs(_) => {}
            Piece::Embedding(embedding) => self.contents.numbers.add(embedding),
            Piece::End(end) => {
                self.contents.text.extend_from_slice(self.contents.numbers.summary().as_bytes());
                row.prompt_tokens = Some(column(end.usage.prompt_tokens));
                row.answer_tokens = Some(column(end.usage.answer_tokens));
                row.gpu_us = Some(column(end.timings.worked_ns() / 1000));
                let phase = |ns: u64| Some(column(ns / 1000)).filter(|_| end.timings.worked_ns() > 0);
                row.load_us = phase(end.timings.load_ns);
                row.prompt_us = phase(end.timings.prompt_ns);
                row.answer_us = phase(end.timings.answer_ns);
                self.end = Some(end.clone());
            }
        }
        if self.contents.waiting() >= self.audit.config.segment_bytes {
            self.flush();
        }
    }

    /// Records that the request did not get through to the `upstream` and goes to another one as a new attempt.
    pub fn failed_attempt(&mut self, upstream: &str, error: &Error) {
        let Some(row) = &mut self.row else { return };
        let attempt = row.attempt.unwrap_or(1);
        row.attempt = Some(attempt.saturating_add(1));
        self.notes.push(format!("attempt {attempt} on `{upstream}` failed with {}: {}", error.code(), chain(error)));
    }

    /// Adds a note for readers of the result, on a line of its own.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Hands a segment to the writer when the last one is old enough. Must be called regularly.
    pub fn beat(&mut self) {
        if self.contents.waiting() > 0 && self.flushed_at.elapsed() >= self.audit.config.segment_time {
            self.flush();
        }
    }

    fn flush(&mut self) {
        // Without room the segment stays here, grows, and is tried again on the next event or beat.
        let bytes = self.contents.waiting() + ROW_BYTES;
        let Ok(room) = self.audit.room.clone().try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)) else {
            return;
        };
        self.flushed_at = Instant::now();
        self.audit.disk.takes(bytes);
        let room = Arc::new(room);
        for part in self.contents.take(&mut self.next_part) {
            let (segment, room) = (Segment::new(part), room.clone());
            self.segments.push(segment.clone());
            let segment = NewEntry::Segment { slot: self.slot.clone(), segment };
            self.audit.store.append(segment, move |_, _| drop(room));
        }
    }

    /// Returns the GPU time that the upstream reported, once the answer has ended.
    pub fn gpu_time(&self) -> Option<Duration> {
        let micros = self.row.as_ref()?.gpu_us?;
        u64::try_from(micros).ok().filter(|micros| *micros > 0).map(Duration::from_micros)
    }

    /// Returns what the answer cost, once the model is done or was cut off. For an aborted answer the upstream reports no
    /// usage: then the deltas are counted, and the time since the turn.
    pub fn stops(&mut self) -> Spent {
        let Some(row) = &mut self.row else { return Spent::default() };
        if self.end.is_none() {
            let came = i64::try_from(self.pieces).unwrap_or(i64::MAX);
            row.answer_tokens = row.answer_tokens.or(Some(came).filter(|came| *came > 0));
            // A model that has sent anything has read its prompt.
            let read = self.prompt_guess.filter(|_| came > 0).and_then(|guess| i64::try_from(guess).ok());
            row.prompt_tokens = row.prompt_tokens.or(read);
            row.gpu_us = row.gpu_us.or(self.begun.map(|begun| micros(begun.elapsed())));
        }
        Spent {
            prompt_tokens: number(row.prompt_tokens),
            answer_tokens: number(row.answer_tokens).unwrap_or(0),
            gpu: Duration::from_micros(number(row.gpu_us).unwrap_or(0)),
        }
    }

    /// Returns the bytes of the answer so far.
    pub fn answer_bytes(&self) -> usize {
        let AnswerContents { text, reasoning, tool_calls, numbers, .. } = &self.contents;
        text.len() + reasoning.len() + tool_calls.len() + numbers.bytes()
    }

    /// Writes the result and returns after its sync. On an error the answer's last byte must not leave.
    ///
    /// It waits as long as the disk takes: an earlier answer to the client could turn out wrong. A disk that never answers ends
    /// the process.
    pub async fn close(mut self, ending: Ending, status: u16) -> Result<(), Error> {
        let (done, synced) = oneshot::channel();
        let end_note = self.end_note.clone();
        let recorded = self.hand_over(ending, Some(status), move |committed| {
            // The receiver may be gone.
            let _ = done.send(committed.map_err(|cause| anyhow!("{cause}")));
        });
        came_to_disk(synced.await).inspect_err(|error| end_note.has_failed(error.code()))?;
        if recorded != Some(ending) {
            return Err(Error::internal(anyhow!("the result of a request could not be put together")));
        }
        Ok(())
    }

    /// Writes the result without waiting for it.
    pub fn close_soon(mut self, ending: Ending, status: Option<u16>) {
        self.hand_over(ending, status, |_| {});
    }

    /// Gives the writer the result, once, and returns how the request then ends.
    fn hand_over(
        &mut self,
        ending: Ending,
        status: Option<u16>,
        done: impl FnOnce(Result<(), &str>) + Send + 'static,
    ) -> Option<Ending> {
        self.row.as_ref()?;
        // The intent gets a result, also when a bug panics on its contents.
        let contents = catch_unwind(AssertUnwindSafe(|| self.last_contents()));
        let mut row = self.row.take()?;
        let (ending, parts) = match contents {
            Ok(parts) => (ending, parts),
            Err(_) => (Ending::Failed(PANICKED), Vec::new()),
        };
        row.commitment = self.commitment(&parts);
        row.outcome = Some(ending.outcome());
        row.reason = ending.reason();
        row.status = status.map(i64::from);
        row.total_us = Some(micros(self.opened.elapsed()));
        // Only a complete answer shows that the model was served.
        row.model_served = row.model_served.filter(|_| self.end.is_some());
        let time = |micros: Option<i64>| number(micros).map(Duration::from_micros);
        self.end_note.tell(NotedEnd {
            outcome: ending.outcome(),
            reason: ending.reason(),
            model: self.model,
            queued: time(row.queued_us),
            first_token: time(row.first_token_us),
            tokens_in: number(row.prompt_tokens),
            tokens_out: number(row.answer_tokens),
        });
        let room = self.room.take();
        let segments = std::mem::take(&mut self.segments);
        let closing = Closing { slot: self.slot.clone(), row, parts, segments, is_short: false };
        self.audit.clone().write_result(closing, self.model, move |committed| {
            drop(room);
            done(committed);
        });
        Some(ending)
    }

    /// Returns the parts that are left to be written.
    fn last_contents(&mut self) -> Vec<NewPart> {
        panic_on_purpose("result");
        self.stops();
        let mut parts = self.contents.take(&mut self.next_part);
        if !self.notes.is_empty() {
            let body = self.notes.join("\n").into();
            parts.push(NewPart { part: self.next_part, kind: rows::PART_NOTES, body });
            self.next_part += 1;
        }
        if self.can_be_followed && self.end.as_ref().is_some_and(|end| end.finish == Finish::Length) {
            parts.push(NewPart { part: self.next_part, kind: rows::PART_CUT, body: Bytes::new() });
        }
        parts
    }

    /// Returns the commitment to all parts of the request but the request itself; `last` are written with the result.
    fn commitment(&self, last: &[NewPart]) -> Option<[u8; COMMITMENT_BYTES]> {
        let segments = self.segments.iter().map(|segment| &segment.part);
        let parts = self.covered.iter().chain(segments).chain(last);
        rows::commitment_of_result(parts.map(|part| (part.kind, &part.body[..])))
    }
}

/// Reason of a result whose request panicked.
const PANICKED: &str = "internal_error";

impl Drop for Record {
    fn drop(&mut self) {
        // A record is dropped by a panic as well as by a client that disconnects.
        let ending = if std::thread::panicking() { Ending::Failed(PANICKED) } else { Ending::Abandoned };
        self.hand_over(ending, None, |_| {});
    }
}

/// Returns the number in a column.
fn number(column: Option<i64>) -> Option<u64> {
    column.and_then(|number| u64::try_from(number).ok())
}

/// Converts a number to a column's type.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
