//! Sessions of the pages, as they outlive the process. The process itself keeps them in memory.
//!
//! They leave no act: what is done in a session does.

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::store::schema::sessions;
use crate::store::{Store, Tx};

/// The SHA-256 of a session's id.
pub type SessionKey = [u8; 32];

/// A session in the database.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub struct SessionRow {
    pub id_sha256: Vec<u8>,
    pub user_id: i64,
    pub version: i64,
    pub created_at_us: i64,
    pub seen_at_us: i64,
    pub address: Option<String>,
    pub browser: Option<String>,
}

impl Store {
    pub async fn sessions(&self) -> Result<Vec<SessionRow>, Error> {
        self.read(|connection| sessions::table.select(SessionRow::as_select()).load(connection)).await
    }

    /// Writes a session, in place of the one with the key `instead_of`.
    pub async fn open_session(&self, row: SessionRow, instead_of: Option<SessionKey>) -> Result<(), Error> {
        self.write(move |tx| {
            if let Some(old) = instead_of {
                diesel::delete(sessions::table.find(old.to_vec())).execute(tx.connection)?;
            }
            diesel::insert_into(sessions::table).values(&row).execute(tx.connection)?;
            Ok(())
        })
        .await
    }

    /// Removes sessions that have ended.
    pub async fn close_sessions(&self, keys: Vec<SessionKey>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            for key in &keys {
                diesel::delete(sessions::table.find(key.to_vec())).execute(tx.connection)?;
            }
            Ok(())
        })
        .await
    }

    /// Notes that a session was used. It reaches the disk with other rows, and is not waited for.
    pub fn note_session_use(&self, key: SessionKey, now: Timestamp) {
        self.write_soon(move |tx: &mut Tx<'_>| {
            let target = sessions::table.find(key.to_vec());
            Ok(diesel::update(target).set(sessions::seen_at_us.eq(now.0)).execute(tx.connection)?)
        });
    }
}
