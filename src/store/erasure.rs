//! Deleting a user: the account at once, the contents in bounded batches that go on after a crash.

use std::time::Duration;

use diesel::prelude::*;
use ring::digest;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::{Actor, User, UserRole};
use crate::model::record::{Act, Kind};
use crate::store::chain::chained_to;
use crate::store::people::{check_acting_admin, find};
use crate::store::schema::{erasure, exports, record, record_image, record_image_use, record_part, users};
use crate::store::users::{bury, check_not_last_admin};
use crate::store::words::Merge;
use crate::store::{RECEIPT_US, Store, Tx, WriteFailure, audit, tokens, words};

/// Rows of the record whose contents are erased in one transaction, so short that other writes don't wait long.
const ROWS_PER_BATCH: i64 = 16;

/// Meanwhile the checkpoints empty the WAL, so that little is left for the writer, which blocks other writes.
const REST_BEFORE_TRUNCATION: Duration = Duration::from_secs(2);

impl Store {
    /// Closes the account for good, uses up the receipt and writes the act, in one transaction. The contents are erased later.
    pub async fn delete_user_after_export(&self, by: Actor, id: &str, receipt: &str) -> Result<(), Error> {
        let id = id.to_owned();
        let receipt = digest_of(receipt);
        self.write(move |tx| {
            let (user, export) = find_deletable(tx, by, &id, &receipt)?;
            use_up(tx, user.id, &export)?;
            bury(tx, user.id)?;
            tokens::bury_all(tx, user.id)?;
            diesel::insert_into(erasure::table).values(erasure::user_id.eq(user.id)).execute(tx.connection)?;
            // The receipt of what is erased later, as the chain of the record has it.
            let detail = serde_json::json!({
                "export": export.public_id,
                "lines": export.lines,
                "upto_log_id": export.upto_log_id,
                "sha256": export.sha256.map(|digest| hex(&digest)),
            });
            audit::insert_act(tx.connection, tx.now, Act::UserDeleted, by.0, Some(user.id), Some(detail.to_string()))?;
            Ok(())
        })
        .await
    }

    /// Checks that the receipt allows the deletion of this user, apart from requests that came after the export.
    pub async fn check_receipt(&self, by: Actor, id: &str, receipt: &str) -> Result<(), Error> {
        let id = id.to_owned();
        let receipt = digest_of(receipt);
        self.write(move |tx| find_deletable(tx, by, &id, &receipt).map(drop)).await
    }

    /// Erases one batch of contents, or merges a part of the search index after the last one; `merge` is the state of that.
    /// `false`: nothing can be erased now.
    pub async fn erase_some(&self, merge: &mut Merge) -> Result<bool, Error> {
        match self.write(|tx| Ok(erase_batch(tx)?)).await? {
            Erased::Nothing => Ok(false),
            Erased::Some => Ok(true),
            Erased::AllOf(user_id) => {
                let step = *merge;
                if self.write(move |tx| Ok(words::merge_some(tx.connection, step)?)).await? {
                    *merge = Merge::GoOn;
                    return Ok(true);
                }
                *merge = Merge::Begin;
                tokio::time::sleep(REST_BEFORE_TRUNCATION).await;
                // The act is written after the WAL is empty, so that after a crash between the two both are done again.
                self.truncate_wal().await?;
                self.write(move |tx| {
                    diesel::delete(erasure::table.find(user_id)).execute(tx.connection)?;
                    audit::insert_act(tx.connection, tx.now, Act::ContentsErased, None, Some(user_id), None)?;
                    Ok(true)
                })
                .await
            }
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = exports)]
struct Receipt {
    id: i64,
    public_id: String,
    finished_at_us: Option<i64>,
    upto_log_id: Option<i64>,
    lines: Option<i64>,
    sha256: Option<Vec<u8>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of(receipt: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, receipt.as_bytes()).as_ref().to_vec()
}

fn unusable(why: &str) -> WriteFailure {
    Error::conflict(format!("{why}; export this person's record again")).into()
}

/// Finds the account and its export where this admin may delete it with this receipt.
fn find_deletable(tx: &mut Tx<'_>, by: Actor, id: &str, receipt: &[u8]) -> Result<(User, Receipt), WriteFailure> {
    check_acting_admin(tx, by)?;
    let user = find(tx, id)?;
    check_not_last_admin(tx, &user, "deleted")?;
    let export = find_receipt(tx, user.id, receipt)?;
    Ok((user, export))
}

fn find_receipt(tx: &mut Tx<'_>, user_id: i64, receipt: &[u8]) -> Result<Receipt, WriteFailure> {
    let admins = users::table.filter(users::role.eq(UserRole::Admin.name())).select(users::id.nullable());
    let found = exports::table
        .filter(exports::user_id.eq(user_id))
        .filter(exports::receipt.eq(receipt))
        // A filtered export is not complete, and a self-service export never authorises deletion.
        .filter(exports::filter.is_null())
        .filter(exports::by_user_id.is_null().or(exports::by_user_id.eq_any(admins)))
        .select(Receipt::as_select())
        .first(tx.connection)
        .optional()?;
    let Some(export) = found else {
        return Err(unusable("this is not the receipt of a complete export of this person's record"));
    };
    let finished = Timestamp(export.finished_at_us.unwrap_or(0));
    // A time that lies ahead is from before the clock was set back by less than what counts as a step.
    if Timestamp::now().0.abs_diff(finished.0) >= RECEIPT_US.unsigned_abs() {
        return Err(unusable("the receipt is older than 15 minutes"));
    }
    Ok(export)
}

/// Uses up a receipt. It allows one deletion, and none when the record has grown since the export.
fn use_up(tx: &mut Tx<'_>, user_id: i64, export: &Receipt) -> Result<(), WriteFailure> {
    let newer: Option<i64> = record::table
        .filter(record::user_id.eq(user_id))
        .filter(record::log_id.gt(export.upto_log_id.unwrap_or(0)))
        .filter(record::kind.eq_any([Kind::Intent.name(), Kind::Result.name()]))
        .select(record::log_id)
        .first(tx.connection)
        .optional()?;
    if newer.is_some() || has_running(tx, user_id)? {
        return Err(unusable("the record has grown since the export, or a request is still running"));
    }
    diesel::update(exports::table.find(export.id)).set(exports::receipt.eq(None::<Vec<u8>>)).execute(tx.connection)?;
    Ok(())
}

fn has_running(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<bool> {
    let (open, _) = audit::open_intents(tx.connection)?;
    Ok(open.iter().any(|intent| intent.user_id == Some(user_id)))
}

enum Erased {
    Nothing,
    Some,
    AllOf(i64),
}

/// Whether the act of the deletion is in the chain of the record. Nothing is erased before that.
fn is_receipt_chained(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<bool> {
    let act: Option<i64> = record::table
        .filter(record::subject_id.eq(user_id))
        .filter(record::act.eq(Act::UserDeleted.name()))
        .select(diesel::dsl::max(record::log_id))
        .first(tx.connection)?;
    // An act that was removed for its age was in the chain long before.
    Ok(act.unwrap_or(0) <= chained_to(tx.connection)?)
}

fn erase_batch(tx: &mut Tx<'_>) -> QueryResult<Erased> {
    let next: Option<(i64, i64)> =
        erasure::table.select((erasure::user_id, erasure::log_id)).first(tx.connection).optional()?;
    let Some((user_id, after)) = next else { return Ok(Erased::Nothing) };
    if !is_receipt_chained(tx, user_id)? {
        return Ok(Erased::Nothing);
    }
    let mut rows: Vec<audit::Row> = record::table
        .filter(record::user_id.eq(user_id))
        .filter(record::log_id.gt(after))
        // The parts of a request are erased with its result, because the index has its words under the result.
        .filter(record::kind.eq_any([Kind::Result.name(), Kind::Refusal.name()]))
        .order(record::log_id)
        .limit(ROWS_PER_BATCH)
        .select(audit::Row::as_select())
        .load(tx.connection)?;
    // Erasure must not overtake the search indexer: only indexed words can be removed.
    let waits = !rows.is_empty();
    let indexed = words::indexed_to(tx.connection)?;
    rows.retain(|row| row.log_id <= indexed);
    if waits && rows.is_empty() {
        return Ok(Erased::Nothing);
    }
    words::forget(tx, &rows)?;
    for row in &rows {
        diesel::delete(record_part::table.filter(record_part::log_id.eq(row.contents_id()))).execute(tx.connection)?;
        let images = record_image_use::table.filter(record_image_use::log_id.eq(row.contents_id()));
        diesel::delete(images).execute(tx.connection)?;
    }
    if let Some(last) = rows.last() {
        diesel::update(erasure::table.find(user_id)).set(erasure::log_id.eq(last.log_id)).execute(tx.connection)?;
        return Ok(Erased::Some);
    }
    // Images are kept per user, so they belong to no other user.
    let image: Option<i64> = record_image::table
        .filter(record_image::user_id.eq(user_id))
        .select(record_image::id)
        .first(tx.connection)
        .optional()?;
    if let Some(image) = image {
        diesel::delete(record_image::table.find(image)).execute(tx.connection)?;
        return Ok(Erased::Some);
    }
    Ok(Erased::AllOf(user_id))
}
