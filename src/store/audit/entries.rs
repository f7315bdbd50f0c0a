//! What requests leave in the record, handed to the writer as it is, so that a batch of it takes few statements.

use std::sync::atomic::Ordering;

use diesel::prelude::*;

use crate::store::Tx;
use crate::store::audit::insert::{Line, Piece, insert_intents, insert_lines, insert_pieces};
use crate::store::audit::writing::{Closing, IntentSlot, NewPart, NewRow, Opening, Segment, insert_images};

pub enum NewEntry {
    Intent(Box<Opening>),
    Segment {
        slot: IntentSlot,
        segment: Segment,
    },
    Result(Box<Closing>),
    /// A row that belongs to no request that was forwarded.
    Refusal {
        row: Box<NewRow>,
        parts: Vec<NewPart>,
    },
}

impl NewEntry {
    /// What became of its transaction.
    pub fn settle(&self, committed: bool) {
        match self {
            NewEntry::Intent(opening) if !committed => opening.slot.never_written(),
            NewEntry::Segment { segment, .. } => segment.lost.store(!committed, Ordering::Release),
            NewEntry::Intent(_) | NewEntry::Result(_) | NewEntry::Refusal { .. } => {}
        }
    }
}

/// Writes a batch. Intents come first, so that whatever else there is of a request finds its intent.
pub fn write<'a>(tx: &mut Tx<'_>, entries: impl ExactSizeIterator<Item = &'a NewEntry> + Clone) -> QueryResult<()> {
    let at_us = tx.now.0;
    let mut lines = Vec::with_capacity(entries.len());
    // A request with what it brings, and an answer: two parts and one.
    let mut pieces = Vec::with_capacity(2 * entries.len());
    for entry in entries.clone() {
        let NewEntry::Intent(opening) = entry else { continue };
        let log_id = tx.next_log_id()?;
        opening.slot.set(log_id);
        lines.push(Line { log_id, at_us, intent_id: None, row: &opening.row });
        pieces.extend(opening.parts.iter().map(|part| Piece { log_id, part }));
        insert_images(tx.connection, log_id, opening.row.user_id.unwrap_or(0), &opening.images)?;
    }
    insert_intents(tx.connection, &lines)?;
    lines.clear();
    for entry in entries {
        match entry {
            NewEntry::Intent(_) => {}
            NewEntry::Segment { slot, segment } => {
                pieces.extend(slot.get().map(|log_id| Piece { log_id, part: &segment.part }));
            }
            NewEntry::Result(closing) => {
                let Some(intent_id) = closing.slot.get() else { continue };
                // What was handed over before is written before, so what is lost is known by now.
                let lost = closing.segments.iter().filter(|segment| segment.lost.load(Ordering::Acquire));
                let parts = lost.map(|segment| &segment.part).chain(&closing.parts);
                pieces.extend(parts.map(|part| Piece { log_id: intent_id, part }));
                lines.push(Line { log_id: tx.next_log_id()?, at_us, intent_id: Some(intent_id), row: &closing.row });
            }
            NewEntry::Refusal { row, parts } => {
                let log_id = tx.next_log_id()?;
                pieces.extend(parts.iter().map(|part| Piece { log_id, part }));
                lines.push(Line { log_id, at_us, intent_id: None, row });
            }
        }
    }
    insert_lines(tx.connection, &lines)?;
    insert_pieces(tx.connection, &pieces)
}
