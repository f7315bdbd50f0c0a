//! Makes a database that a gateway can use of a copy of a backup.

use std::path::Path;

use anyhow::Context;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::json;

use crate::base::clock::Timestamp;
use crate::model::record::Act;
use crate::store::audit::{insert_act, last_at};
use crate::store::backup::{BackupAbout, ReadAs, read_only, unpublished};
use crate::store::migrations::run_pending;

/// Turns the copy of a checked backup into a database in use: its schema is brought up to date, and a row of the record tells
/// of the restore.
pub fn make_live(copy: &Path, about: &BackupAbout) -> anyhow::Result<()> {
    let mut database = unpublished(copy)?;
    database.batch_execute("DROP TABLE backup; PRAGMA application_id=0").context("the copy can't be changed")?;
    run_pending(&mut database)?;
    let now = Timestamp::now().max(last_at(&mut database)?);
    let detail = json!({
        "made_at": about.made_at().rfc3339(),
        "version": about.version,
        "newest_log_id": about.newest_log_id,
    });
    insert_act(&mut database, now, Act::Restored, None, None, Some(detail.to_string()))?;
    Ok(())
}

/// The newest row of a database.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct NewestRow {
    #[diesel(sql_type = BigInt)]
    pub log_id: i64,
    #[diesel(sql_type = BigInt)]
    at_us: i64,
}

impl NewestRow {
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at_us)
    }
}

/// Reads the newest row of a database that may be damaged or older. `None`: it can't be read, or has none.
pub fn newest_row(database: &Path) -> Option<NewestRow> {
    let mut database = read_only(database, ReadAs::InUse).ok()?;
    let newest = diesel::sql_query("SELECT log_id, at_us FROM record ORDER BY log_id DESC LIMIT 1");
    newest.get_result(&mut database).ok()
}
