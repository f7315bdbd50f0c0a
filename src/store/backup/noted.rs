//! The row of the record that tells of a backup.

use std::path::Path;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::Act;
use crate::store::Store;
use crate::store::audit::{contents, insert_act, last_at};
use crate::store::backup::Backup;
use crate::store::file::connect;
use crate::store::migrations::is_current;
use crate::store::schema::record;

/// What the record tells of a backup: its name without the folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupNote {
    pub file: String,
    pub bytes: u64,
    /// The time of its state, RFC 3339.
    made_at: String,
    newest_log_id: i64,
    scheduled: bool,
}

impl BackupNote {
    pub fn of(backup: &Backup, scheduled: bool) -> BackupNote {
        let name = backup.file.file_name().unwrap_or_default();
        BackupNote {
            file: name.to_string_lossy().into_owned(),
            bytes: backup.bytes,
            made_at: backup.about.made_at().rfc3339(),
            newest_log_id: backup.about.newest_log_id,
            scheduled,
        }
    }

    /// Returns the time of its state.
    pub fn made_at(&self) -> Option<Timestamp> {
        Timestamp::parse(&self.made_at)
    }

    fn detail(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

impl Store {
    /// Writes the row that tells of a backup.
    pub async fn note_backup(&self, note: BackupNote) -> Result<(), Error> {
        self.write(move |tx| {
            insert_act(tx.connection, tx.now, Act::BackupMade, None, None, note.detail())?;
            Ok(())
        })
        .await
    }

    /// Returns what the record tells of the newest backup.
    pub async fn last_backup(&self) -> Result<Option<BackupNote>, Error> {
        self.read(|connection| {
            let newest = record::table
                .filter(record::act.eq(Act::BackupMade.name()))
                .order(record::log_id.desc())
                .select(record::log_id);
            let Some(newest) = newest.first::<i64>(connection).optional()? else { return Ok(None) };
            let detail = contents(connection, newest)?;
            Ok(detail.first().and_then(|detail| serde_json::from_slice(&detail.body).ok()))
        })
        .await
    }
}

/// Writes the same row while no gateway runs; the caller has locked the folder. `false`: the schema is older, and only a start
/// brings it up to date.
pub fn note_without_gateway(database: &Path, note: &BackupNote) -> anyhow::Result<bool> {
    let mut connection = connect(database)?;
    if !is_current(&mut connection)? {
        return Ok(false);
    }
    connection.immediate_transaction(|connection| {
        let now = Timestamp::now().max(last_at(connection)?);
        insert_act(connection, now, Act::BackupMade, None, None, note.detail())
    })?;
    Ok(true)
}
