//! Retention: erases contents and removes rows that are older than the settings allow, in bounded batches that go on after a crash.
//!
//! A run writes its acts first: they are the receipts by which the chain of the record (docs/chain.md) knows that nothing was lost
//! otherwise. Nothing is erased or removed before its receipt is in the chain, nor beyond it. Watermarks say how far receipts go
//! and how far they were carried out. Rows are removed from the beginning of the record only, and after their contents.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::config::settings::Settings;
use crate::model::record::{Act, Kind};
use crate::store::audit::{self, Row, last_before, set_watermark, watermark_of};
use crate::store::chain::{chained_to, older_to, remove_links};
use crate::store::schema::{record, record_image, record_image_use, record_part};
use crate::store::words::{self, Merge};
use crate::store::{Store, Tx, usage};

/// The contents of every request that ended up to this row are erased.
const ERASED: &str = "contents_erased";
/// Up to this row receipts say so. Older versions wrote them afterwards, and kept here how far they did.
const ERASED_RECEIPT: &str = "contents_erased_from";
/// The words of what was erased up to this row have left the index and the WAL.
const MERGED: &str = "contents_merged";
/// Every row up to this one is removed.
const REMOVED: &str = "rows_removed";
/// Up to this row receipts say so.
const REMOVED_RECEIPT: &str = "rows_removed_from";
/// Rows that an older version removed without a receipt yet.
const REMOVED_ROWS: &str = "rows_removed_count";
/// The row of the newest receipt.
const RECEIPT: &str = "retention_receipt";
/// When the host's clock was last believed, in microseconds.
const CLOCK: &str = "retention_clock";

/// What is erased in one transaction: so little that other writes don't wait long. A single larger request takes longer.
const ERASED_PER_BATCH: i64 = 16;
const BYTES_PER_BATCH: i64 = 1 << 20;

/// Rows that are removed in one transaction.
const REMOVED_PER_BATCH: i64 = 128;

/// Meanwhile the checkpoints empty the WAL, so that little is left for the writer, which blocks other writes.
const REST_BEFORE_TRUNCATION: Duration = Duration::from_secs(2);

/// How many days are kept; 0: for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionDays {
    pub contents: u32,
    pub record: u32,
}

impl RetentionDays {
    pub fn of(settings: &Settings) -> RetentionDays {
        RetentionDays { contents: settings.content_days, record: settings.record_days }
    }

    pub fn is_for_ever(self) -> bool {
        self.contents == 0 && self.record == 0
    }

    /// Returns for how many days contents are kept. They go with their rows at the latest.
    pub fn of_contents(self) -> Option<u32> {
        [self.contents, self.record].into_iter().filter(|days| *days > 0).min()
    }

    pub fn of_rows(self) -> Option<u32> {
        Some(self.record).filter(|days| *days > 0)
    }
}

/// How far a run erases and removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRun {
    pub days: RetentionDays,
    erase_to: i64,
    remove_to: i64,
    /// Whether that is all that is old enough. What is not indexed or summed up yet takes another run.
    pub is_whole: bool,
}

/// What comes after a step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionStep {
    /// Another step at once.
    GoOn,
    /// A receipt is not in the chain yet.
    Wait,
    /// The run is over.
    Over,
}

enum Batch {
    More,
    Done,
}

impl Store {
    /// Begins a run: what is older than `days` when it is `now`.
    pub async fn begin_retention(&self, days: RetentionDays, now: Timestamp) -> Result<RetentionRun, Error> {
        self.read(move |connection| {
            connection.transaction(|connection| {
                let indexed = words::indexed_to(connection)?;
                let mut older = |days: Option<u32>| match days {
                    Some(days) => last_before(connection, now.plus_seconds(-i64::from(days) * 86_400)),
                    None => Ok(0),
                };
                let (erase_to, remove_to) = (older(days.of_contents())?, older(days.of_rows())?);
                // Only indexed words can be removed, and what is not summed up yet would be missing in the sums.
                let followed = indexed.min(watermark_of(connection, usage::USAGE)?).min(audit::closed_to(connection)?);
                let is_whole = erase_to <= indexed && remove_to <= followed;
                Ok(RetentionRun { days, erase_to: erase_to.min(indexed), remove_to: remove_to.min(followed), is_whole })
            })
        })
        .await
    }

    /// Writes a receipt, erases or removes one batch, or finishes a part of the run; `merge` is the state of the search index.
    pub async fn retention_step(&self, run: RetentionRun, merge: &mut Merge) -> Result<RetentionStep, Error> {
        if self.write_receipt(expired(run)).await? {
            return Ok(RetentionStep::Wait);
        }
        if let Batch::More = self.write(move |tx| Ok(erase_batch(tx, run.erase_to)?)).await? {
            return Ok(RetentionStep::GoOn);
        }
        if self.finish_erasing(merge).await? {
            return Ok(RetentionStep::GoOn);
        }
        if self.write_receipt(removal(run)).await? {
            return Ok(RetentionStep::Wait);
        }
        Ok(match self.write(move |tx| Ok(remove_batch(tx, run.remove_to)?)).await? {
            Batch::More => RetentionStep::GoOn,
            Batch::Done => RetentionStep::Over,
        })
    }

    /// Writes a receipt if it is needed. `true`: the newest one is not in the chain yet.
    async fn write_receipt(
        &self,
        find: impl FnOnce(&mut SqliteConnection) -> QueryResult<Option<NewReceipt>> + Send + 'static,
    ) -> Result<bool, Error> {
        if let Some(NewReceipt { watermark, to, act }) = self.read(find).await? {
            self.write(move |tx| {
                if let Some((act, detail)) = act {
                    let row = audit::insert_act(tx.connection, tx.now, act, None, None, Some(detail.to_string()))?;
                    set_watermark(tx.connection, RECEIPT, row)?;
                }
                if watermark == REMOVED_RECEIPT {
                    set_watermark(tx.connection, REMOVED_ROWS, 0)?;
                }
                Ok(set_watermark(tx.connection, watermark, to)?)
            })
            .await?;
        }
        self.read(|connection| Ok(chained_to(connection)? < watermark_of(connection, RECEIPT)?)).await
    }

    /// Takes the erased words out of the index and empties the WAL. `false`: there is nothing more to do.
    async fn finish_erasing(&self, merge: &mut Merge) -> Result<bool, Error> {
        let (from, to, requests) = self.read(unmerged).await?;
        if from >= to {
            return Ok(false);
        }
        if requests > 0 {
            let step = *merge;
            if self.write(move |tx| Ok(words::merge_some(tx.connection, step)?)).await? {
                *merge = Merge::GoOn;
                return Ok(true);
            }
            *merge = Merge::Begin;
            tokio::time::sleep(REST_BEFORE_TRUNCATION).await;
            self.truncate_wal().await?;
        }
        // After a crash before this, it is done again.
        self.write(move |tx| Ok(set_watermark(tx.connection, MERGED, to)?)).await?;
        Ok(false)
    }

    /// Returns up to which row contents were erased because of their age.
    pub async fn contents_erased_to(&self) -> Result<i64, Error> {
        self.read(erased_to).await
    }

    /// Returns when the host's clock was last believed; before the first time, when the newest row was written.
    pub async fn retention_clock(&self) -> Result<Option<Timestamp>, Error> {
        self.read(|connection| {
            let at = match watermark_of(connection, CLOCK)? {
                0 => audit::last_at(connection)?,
                at => Timestamp(at),
            };
            Ok(Some(at).filter(|at| at.0 > 0))
        })
        .await
    }

    pub async fn set_retention_clock(&self, now: Timestamp) -> Result<(), Error> {
        self.write(move |tx| Ok(set_watermark(tx.connection, CLOCK, now.0)?)).await
    }
}

/// Returns up to which row contents were erased because of their age.
pub fn erased_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    watermark_of(connection, ERASED)
}

/// Returns up to which row rows were removed because of their age.
pub fn removed_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    watermark_of(connection, REMOVED)
}

fn ended() -> [&'static str; 2] {
    // The parts of a request are erased with its result, because the index has its words under the result.
    [Kind::Result.name(), Kind::Refusal.name()]
}

fn count_ended(connection: &mut SqliteConnection, from: i64, to: i64) -> QueryResult<i64> {
    record::table
        .filter(record::log_id.gt(from))
        .filter(record::log_id.le(to))
        .filter(record::kind.eq_any(ended()))
        .count()
        .get_result(connection)
}

/// A receipt to be written: up to which row it goes, and its act. Without an act there is nothing to erase or remove.
struct NewReceipt {
    watermark: &'static str,
    to: i64,
    act: Option<(Act, serde_json::Value)>,
}

/// Finds the receipt that a run needs before it erases.
fn expired(run: RetentionRun) -> impl FnOnce(&mut SqliteConnection) -> QueryResult<Option<NewReceipt>> {
    move |connection| {
        // What an older version has erased needs one, too. Since there is a chain, nothing is erased without one.
        let older = erased_to(connection)?.min(older_to(connection)?);
        let (from, to) = (watermark_of(connection, ERASED_RECEIPT)?, run.erase_to.max(older));
        if from >= to {
            return Ok(None);
        }
        let requests = count_ended(connection, from, to)?;
        let days = run.days.of_contents();
        let detail = json!({ "from_log_id": from + 1, "to_log_id": to, "requests": requests, "days": days });
        let act = (requests > 0).then_some((Act::ContentsExpired, detail));
        Ok(Some(NewReceipt { watermark: ERASED_RECEIPT, to, act }))
    }
}

/// Finds the receipt that a run needs before it removes rows.
fn removal(run: RetentionRun) -> impl FnOnce(&mut SqliteConnection) -> QueryResult<Option<NewReceipt>> {
    move |connection| {
        let from = watermark_of(connection, REMOVED_RECEIPT)?;
        let older = removed_to(connection)?.min(older_to(connection)?);
        let to = run.remove_to.min(erased_to(connection)?).max(older);
        if from >= to {
            return Ok(None);
        }
        let rows: i64 = record::table.filter(record::log_id.le(to)).count().get_result(connection)?;
        let rows = rows + watermark_of(connection, REMOVED_ROWS)?;
        let detail = json!({ "from_log_id": from + 1, "to_log_id": to, "rows": rows, "days": run.days.record });
        let act = (rows > 0).then_some((Act::RowsRemoved, detail));
        Ok(Some(NewReceipt { watermark: REMOVED_RECEIPT, to, act }))
    }
}

/// Returns the range whose words may still be in the index, and how many requests and refusals it has.
fn unmerged(connection: &mut SqliteConnection) -> QueryResult<(i64, i64, i64)> {
    let (from, to) = (watermark_of(connection, MERGED)?, erased_to(connection)?);
    let requests = if from < to { count_ended(connection, from, to)? } else { 0 };
    Ok((from, to, requests))
}

fn erase_batch(tx: &mut Tx<'_>, to: i64) -> QueryResult<Batch> {
    let after = erased_to(tx.connection)?;
    let to = to.min(watermark_of(tx.connection, ERASED_RECEIPT)?);
    if after >= to {
        return Ok(Batch::Done);
    }
    let mut rows: Vec<Row> = record::table
        .filter(record::log_id.gt(after))
        .filter(record::log_id.le(to))
        .filter(record::kind.eq_any(ended()))
        .order(record::log_id)
        .limit(ERASED_PER_BATCH)
        .select(Row::as_select())
        .load(tx.connection)?;
    let is_last = (rows.len() as i64) < ERASED_PER_BATCH;
    let mut bytes = 0;
    let mut taken = 0;
    while taken < rows.len() && bytes < BYTES_PER_BATCH {
        bytes += bytes_of(tx.connection, rows[taken].contents_id())?;
        taken += 1;
    }
    let is_last = is_last && taken == rows.len();
    rows.truncate(taken);
    words::forget(tx, &rows)?;
    for row in &rows {
        erase(tx.connection, row.contents_id())?;
    }
    let upto = rows.last().map_or(to, |last| if is_last { to } else { last.log_id });
    set_watermark(tx.connection, ERASED, upto)?;
    Ok(Batch::More)
}

fn bytes_of(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<i64> {
    let length = diesel::dsl::sql::<BigInt>("coalesce(sum(length(body)), 0)");
    record_part::table.filter(record_part::log_id.eq(log_id)).select(length).first(connection)
}

/// Erases the parts of a request, and those of its images that no other request has.
fn erase(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<()> {
    diesel::delete(record_part::table.filter(record_part::log_id.eq(log_id))).execute(connection)?;
    let uses = record_image_use::table.filter(record_image_use::log_id.eq(log_id));
    let images: Vec<i64> = uses.select(record_image_use::image_id).load(connection)?;
    diesel::delete(uses).execute(connection)?;
    for image in images {
        let others: Option<i64> = record_image_use::table
            .filter(record_image_use::image_id.eq(image))
            .select(record_image_use::id)
            .first(connection)
            .optional()?;
        if others.is_none() {
            diesel::delete(record_image::table.find(image)).execute(connection)?;
        }
    }
    Ok(())
}

fn remove_batch(tx: &mut Tx<'_>, to: i64) -> QueryResult<Batch> {
    let to = to.min(erased_to(tx.connection)?).min(watermark_of(tx.connection, REMOVED_RECEIPT)?);
    if watermark_of(tx.connection, REMOVED)? >= to {
        return Ok(Batch::Done);
    }
    let rows: Vec<Row> = record::table
        .filter(record::log_id.le(to))
        .order(record::log_id)
        .limit(REMOVED_PER_BATCH)
        .select(Row::as_select())
        .load(tx.connection)?;
    words::remove_rows(tx, &rows)?;
    let acts: Vec<i64> = rows.iter().filter(|row| row.kind() == Some(Kind::Act)).map(|row| row.log_id).collect();
    diesel::delete(record_part::table.filter(record_part::log_id.eq_any(acts))).execute(tx.connection)?;
    let upto = match rows.last() {
        Some(last) if rows.len() as i64 == REMOVED_PER_BATCH => last.log_id,
        _ => to,
    };
    diesel::delete(record::table.filter(record::log_id.le(upto))).execute(tx.connection)?;
    remove_links(tx.connection, upto)?;
    set_watermark(tx.connection, REMOVED, upto)?;
    Ok(Batch::More)
}

#[cfg(test)]
mod tests;
