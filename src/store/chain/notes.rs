//! Checkpoints in the database: notes about the newest link, written now and then.

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::checkpoint::Checkpoint;
use crate::store::Store;
use crate::store::chain::{newest_link, tip};
use crate::store::schema::checkpoints;

/// A checkpoint as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = checkpoints)]
pub struct CheckpointRow {
    /// The last row that it covers.
    pub log_id: i64,
    pub at_us: i64,
    /// The whole signed note.
    pub note: String,
}

impl CheckpointRow {
    /// Returns what the note says. `None`: its own key has not signed it.
    pub fn signed(&self) -> Option<Checkpoint> {
        Checkpoint::read(&self.note).ok()
    }

    /// Returns the time in the note, which is signed, unlike that of the row.
    pub fn at(&self) -> Timestamp {
        self.signed().map_or(Timestamp(self.at_us), |note| note.time)
    }
}

impl Store {
    /// Keeps the note about the newest link as a checkpoint. `None`: the chain has not grown since the last one, or it does not
    /// verify.
    pub async fn make_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        if self.chain_fault().is_some() {
            return Ok(None);
        }
        self.write(|tx| {
            let newest = newest_link(tx.connection)?;
            let last = last_checkpoint(tx.connection)?;
            let note = tip(tx.connection)?.and_then(|tip| tip.note);
            let (Some(newest), Some(note)) = (newest, note) else { return Ok(None) };
            let is_of_newest = Checkpoint::read(&note).is_ok_and(|signed| signed.log_id == newest.log_id);
            if !is_of_newest || last.is_some_and(|last| last.log_id >= newest.log_id) {
                return Ok(None);
            }
            let row = CheckpointRow { log_id: newest.log_id, at_us: tx.now.0, note };
            diesel::insert_into(checkpoints::table)
                .values((
                    checkpoints::log_id.eq(row.log_id),
                    checkpoints::at_us.eq(row.at_us),
                    checkpoints::note.eq(&row.note),
                ))
                .execute(tx.connection)?;
            Ok(Some(row))
        })
        .await
    }

    /// Returns the newest checkpoint.
    pub async fn last_checkpoint(&self) -> Result<Option<CheckpointRow>, Error> {
        self.read(last_checkpoint).await
    }

    /// Returns checkpoints of rows before `before`, newest first.
    pub async fn checkpoints(&self, before: Option<i64>, limit: i64) -> Result<Vec<CheckpointRow>, Error> {
        self.read(move |connection| {
            checkpoints::table
                .filter(checkpoints::log_id.lt(before.unwrap_or(i64::MAX)))
                .order(checkpoints::log_id.desc())
                .limit(limit)
                .select(CheckpointRow::as_select())
                .load(connection)
        })
        .await
    }
}

pub fn last_checkpoint(connection: &mut SqliteConnection) -> QueryResult<Option<CheckpointRow>> {
    let newest = checkpoints::table.order(checkpoints::log_id.desc()).select(CheckpointRow::as_select());
    newest.first(connection).optional()
}
