//! Lists of exports, and how far the erasure of a person is.

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::UserStatus;
use crate::store::exports::Export;
use crate::store::schema::{erasure, exports, users};
use crate::store::{RECEIPT_US, Store};

/// An export as it is listed.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = exports)]
pub struct ListedExport {
    #[diesel(embed)]
    pub export: Export,
    /// Requests in the complete file.
    pub lines: Option<i64>,
    receipt: Option<Vec<u8>>,
}

impl ListedExport {
    /// Returns until when its receipt opens the deletion of its person, if it still does. A receipt is used up by a deletion, and
    /// opens none when the person has asked something since.
    pub fn opens_deletion_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = Timestamp(self.export.finished_at_us?.saturating_add(RECEIPT_US));
        (self.receipt.is_some() && self.export.filter.is_none() && now < until).then_some(until)
    }
}

/// Whether the contents of somebody who was deleted are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureState {
    Erasing,
    Done,
}

impl ErasureState {
    pub fn name(self) -> &'static str {
        match self {
            ErasureState::Erasing => "erasing",
            ErasureState::Done => "done",
        }
    }
}

impl Store {
    /// Returns exports, newest first, before the one with the id `before`; of one person's record, or all.
    pub async fn exports_page(
        &self,
        user_id: Option<i64>,
        before: Option<String>,
        limit: i64,
    ) -> Result<Vec<ListedExport>, Error> {
        self.read(move |connection| {
            let mut query =
                exports::table.order(exports::id.desc()).limit(limit).select(ListedExport::as_select()).into_boxed();
            if let Some(user_id) = user_id {
                query = query.filter(exports::user_id.eq(user_id));
            }
            if let Some(before) = before {
                let last = exports::table.filter(exports::public_id.eq(before)).select(exports::id);
                // A cursor that names no export ends the list.
                let last: i64 = last.first(connection).optional()?.unwrap_or(0);
                query = query.filter(exports::id.lt(last));
            }
            query.load(connection)
        })
        .await
    }

    /// Returns one export, whoever made it.
    pub async fn listed_export(&self, id: String) -> Result<ListedExport, Error> {
        let found: Option<ListedExport> = self
            .read(move |connection| {
                let export = exports::table.filter(exports::public_id.eq(id));
                export.select(ListedExport::as_select()).first(connection).optional()
            })
            .await?;
        found.ok_or_else(|| Error::NotFound { what: "such export".into() })
    }

    /// Returns how far the erasure of a person's contents is; `None`: they were not deleted.
    pub async fn erasure_of(&self, user_id: i64) -> Result<Option<ErasureState>, Error> {
        self.read(move |connection| {
            let status: Option<String> =
                users::table.find(user_id).select(users::status).first(connection).optional()?;
            if status.as_deref() != Some(UserStatus::Deleted.name()) {
                return Ok(None);
            }
            let open: Option<i64> =
                erasure::table.find(user_id).select(erasure::user_id).first(connection).optional()?;
            Ok(Some(if open.is_some() { ErasureState::Erasing } else { ErasureState::Done }))
        })
        .await
    }
}
