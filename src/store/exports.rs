//! Exports of the record: who asked for which, and the receipt of those that were read to their end.

use diesel::prelude::*;

use crate::error::Error;
use crate::ids::public_id;
use crate::store::schema::exports;
use crate::store::{Store, audit, users};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = exports)]
pub struct Export {
    pub id: i64,
    pub public_id: String,
    pub by_user_id: i64,
    pub user_id: Option<i64>,
    pub format: String,
    pub created_at_us: i64,
    pub finished_at_us: Option<i64>,
}

/// What was handed out by an export, up to its last line.
pub struct Finished {
    pub upto_log_id: i64,
    pub lines: i64,
    pub sha256: Vec<u8>,
    /// SHA-256 of the receipt's code.
    pub receipt: Vec<u8>,
}

impl Store {
    pub async fn create_export(&self, by: i64, user_id: i64, format: &'static str) -> Result<Export, Error> {
        self.write(move |tx| {
            let export: Export = diesel::insert_into(exports::table)
                .values((
                    exports::public_id.eq(public_id()),
                    exports::by_user_id.eq(by),
                    exports::user_id.eq(user_id),
                    exports::format.eq(format),
                    exports::created_at_us.eq(tx.now.0),
                ))
                .returning(Export::as_returning())
                .get_result(tx.connection)?;
            audit::insert_act(tx.connection, tx.now, "export_created", Some(by), Some(user_id), None)?;
            Ok(export)
        })
        .await
    }

    /// An export as seen by its maker; nobody else finds it.
    pub async fn export(&self, by: i64, id: String) -> Result<Export, Error> {
        let found = self
            .read(move |connection| {
                exports::table
                    .filter(exports::public_id.eq(id))
                    .filter(exports::by_user_id.eq(by))
                    .select(Export::as_select())
                    .first(connection)
                    .optional()
            })
            .await?;
        found.ok_or_else(|| Error::NotFound { what: "such export".into() })
    }

    pub async fn finish_export(&self, export: &Export, finished: Finished) -> Result<(), Error> {
        let (id, by, user_id) = (export.id, export.by_user_id, export.user_id);
        self.write(move |tx| {
            let detail =
                serde_json::json!({ "lines": finished.lines, "upto_log_id": finished.upto_log_id }).to_string();
            // One's own export is one's own: only one that an admin made leaves a receipt that opens deletion.
            let by_admin = users::find_by_id(tx, by)?.is_some_and(|user| user.is_admin());
            diesel::update(exports::table.find(id))
                .set((
                    exports::finished_at_us.eq(tx.now.0),
                    exports::upto_log_id.eq(finished.upto_log_id),
                    exports::lines.eq(finished.lines),
                    exports::sha256.eq(finished.sha256),
                    exports::receipt.eq(Some(finished.receipt).filter(|_| by_admin)),
                ))
                .execute(tx.connection)?;
            audit::insert_act(tx.connection, tx.now, "export_finished", Some(by), user_id, Some(detail))?;
            Ok(())
        })
        .await
    }
}
