//! Exports of the record: who made which, and the receipts of those that were read to their end.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use diesel::connection::Connection;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::public_id;
use crate::model::people::Actor;
use crate::model::record::Act;
use crate::store::audit::StoredPart;
use crate::store::people::{check_acting_admin, deleted, deleted_among, find_by_id};
use crate::store::schema::exports;
use crate::store::{Store, Tx, audit, retention};

mod pages;

pub use pages::{ErasureState, ListedExport};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = exports)]
pub struct Export {
    pub id: i64,
    pub public_id: String,
    pub by_user_id: Option<i64>,
    pub user_id: Option<i64>,
    /// The filter as JSON; `None`: a person's whole record.
    pub filter: Option<String>,
    pub format: String,
    pub created_at_us: i64,
    pub finished_at_us: Option<i64>,
}

/// An export to be made, checked.
pub struct NewExportRow {
    pub user_id: Option<i64>,
    pub filter: Option<String>,
    pub format: &'static str,
}

/// What a complete export contained.
pub struct FinishedExport {
    pub upto_log_id: i64,
    pub lines: i64,
    pub sha256: Vec<u8>,
    /// SHA-256 of the receipt's code.
    pub receipt: Vec<u8>,
}

/// How far an export has read, and up to which row contents were erased for their age when it began.
#[derive(Debug, Clone, Copy)]
pub struct ReadSoFar {
    pub read_to: i64,
    pub erased_to: i64,
}

impl ReadSoFar {
    /// Returns whether rows that are not read yet have lost their contents since the export began.
    fn has_lost(self, connection: &mut SqliteConnection) -> QueryResult<bool> {
        let erased_to = retention::erased_to(connection)?;
        Ok(erased_to > self.erased_to && erased_to > self.read_to)
    }
}

impl Store {
    /// Creates an export. A user may export their own whole record; anything else takes an admin, or the host.
    pub async fn create_export(&self, by: Actor, new: NewExportRow) -> Result<Export, Error> {
        self.write(move |tx| {
            if new.filter.is_some() || by.0 != new.user_id {
                check_acting_admin(tx, by)?;
            }
            let export: Export = diesel::insert_into(exports::table)
                .values((
                    exports::public_id.eq(public_id()),
                    exports::by_user_id.eq(by.0),
                    exports::user_id.eq(new.user_id),
                    exports::filter.eq(&new.filter),
                    exports::format.eq(new.format),
                    exports::created_at_us.eq(tx.now.0),
                ))
                .returning(Export::as_returning())
                .get_result(tx.connection)?;
            note(tx, Act::ExportCreated, &export, json!({ "format": new.format }))?;
            Ok(export)
        })
        .await
    }

    /// Finds an export of the caller; those of others are not found.
    pub async fn export(&self, by: Actor, id: String) -> Result<Export, Error> {
        let found: Option<Export> = self
            .read(move |connection| {
                let export = exports::table.filter(exports::public_id.eq(id));
                export.select(Export::as_select()).first(connection).optional()
            })
            .await?;
        found.filter(|export| export.by_user_id == by.0).ok_or_else(|| Error::NotFound { what: "such export".into() })
    }

    /// Returns the contents of the first of these requests, each a log_id and its user: as many as `bytes` allow, and at least one.
    /// Users who were `deleted` when the export began have no contents in it. It is an error when another user was deleted since,
    /// because their contents are being erased, and when unread ones were erased for their age.
    pub async fn export_contents(
        &self,
        requests: Vec<(i64, Option<i64>)>,
        bytes: usize,
        deleted: Arc<HashSet<i64>>,
        so_far: ReadSoFar,
    ) -> Result<Vec<Vec<StoredPart>>, Error> {
        let some = move |connection: &mut SqliteConnection| {
            // In one transaction, so that nothing is erased between the check and the reads.
            let people: Vec<i64> = requests.iter().filter_map(|(_, user_id)| *user_id).collect();
            let now = deleted_among(connection, Some(people))?;
            if now.iter().any(|id| !deleted.contains(id)) || so_far.has_lost(connection)? {
                return Ok(None);
            }
            let (mut found, mut read) = (Vec::new(), 0);
            for (log_id, user_id) in requests {
                let erased = user_id.is_some_and(|id| deleted.contains(&id));
                let parts = if erased { Vec::new() } else { audit::contents(connection, log_id)? };
                read += parts.iter().map(|part| part.body.len()).sum::<usize>();
                found.push(parts);
                if read >= bytes {
                    break;
                }
            }
            Ok(Some(found))
        };
        self.read(move |connection| connection.transaction(some)).await?.ok_or_else(contents_vanished)
    }

    /// Completes an export, unless one of `people` was deleted while it was read, or unread rows were erased.
    pub async fn finish_export(
        &self,
        export: &Export,
        finished: FinishedExport,
        people: BTreeSet<i64>,
        deleted_before: Arc<HashSet<i64>>,
        so_far: ReadSoFar,
    ) -> Result<(), Error> {
        let export = export.clone();
        self.write(move |tx| {
            let gone = |id: &i64| people.contains(id) && !deleted_before.contains(id);
            if deleted(tx.connection)?.iter().any(gone) || so_far.has_lost(tx.connection)? {
                return Err(contents_vanished().into());
            }
            let opens_deletion = export.filter.is_none() && is_trusted(tx, export.by_user_id)?;
            let told = json!({ "lines": finished.lines, "upto_log_id": finished.upto_log_id });
            diesel::update(exports::table.find(export.id))
                .set((
                    // By the host's clock: the receipt's time is measured from here.
                    exports::finished_at_us.eq(Timestamp::now().0),
                    exports::upto_log_id.eq(finished.upto_log_id),
                    exports::lines.eq(finished.lines),
                    exports::sha256.eq(finished.sha256),
                    exports::receipt.eq(Some(finished.receipt).filter(|_| opens_deletion)),
                ))
                .execute(tx.connection)?;
            note(tx, Act::ExportFinished, &export, told)?;
            Ok(())
        })
        .await
    }
}

/// Returns why an export breaks off.
pub fn contents_vanished() -> Error {
    Error::conflict(
        "a person in this export was deleted, or old contents were erased, while it was read; create a new one",
    )
}

/// Whether an export of `by` allows deletion: only one that an admin or the host made does.
fn is_trusted(tx: &mut Tx<'_>, by: Option<i64>) -> QueryResult<bool> {
    let Some(id) = by else { return Ok(true) };
    Ok(find_by_id(tx, id)?.is_some_and(|user| user.is_admin()))
}

/// Writes an act about an export, with its filter.
fn note(tx: &mut Tx<'_>, act: Act, export: &Export, mut detail: Value) -> QueryResult<()> {
    detail["export"] = export.public_id.clone().into();
    if let Some(filter) = &export.filter {
        // A filter that can't be read is shown as it is stored.
        detail["filter"] = serde_json::from_str(filter).unwrap_or_else(|_| filter.as_str().into());
    }
    audit::insert_act(tx.connection, tx.now, act, export.by_user_id, export.user_id, Some(detail.to_string())).map(drop)
}
