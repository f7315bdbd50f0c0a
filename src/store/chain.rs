//! The chain over the record (docs/chain.md). A follower of the record writes it, outside the commits of the record and a moment
//! behind them, one link for all rows that came since.
//!
//! What does not verify is kept as the fault of this process: the gateway goes on serving and chaining, but signs nothing more,
//! so that a changed record never gets a valid checkpoint.

use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use tracing::error;

use crate::base::error::Error;
use crate::model::chain::Hash;
use crate::store::Store;
use crate::store::schema::{chain, chain_tip};

mod check;
mod follow;
mod key;
mod leaves;
mod notes;

pub use key::{CheckpointKey, OwnKey};
pub use leaves::{HashedRow, hashed_rows};
pub use notes::{CheckpointRow, last_checkpoint};

const NO_TIP: &str = "the name of the record and the note about its newest link are gone";

/// What this process knows of the chain.
#[derive(Default)]
pub struct ChainState {
    fault: Mutex<Option<Arc<str>>>,
    links: Mutex<KnownLinks>,
}

/// The links that may be the newest one, after what this process has done.
#[derive(Default)]
struct KnownLinks {
    /// The newest one, as it was found or written. `None`: not looked at yet.
    newest: Option<Option<NewestLink>>,
    /// Handed to the writer since, by callers who may not have waited for the answer.
    handed: Vec<NewestLink>,
}

impl KnownLinks {
    /// Notes a link that is about to be handed to the writer; on a full disk it is the same again and again.
    fn hand(&mut self, link: NewestLink) {
        if !self.handed.contains(&link) {
            self.handed.push(link);
        }
    }

    /// Takes note of the newest link on disk. `false`: this process did not write it.
    fn found(&mut self, link: Option<NewestLink>) -> bool {
        let is_known = self.newest.is_none_or(|newest| newest == link);
        let was_handed = link.is_some_and(|link| self.handed.contains(&link));
        if was_handed {
            // The others follow the link before it, so they are not written any more.
            self.handed.clear();
        }
        self.newest = Some(link);
        is_known || was_handed
    }
}

/// The newest link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewestLink {
    pub log_id: i64,
    pub head: Hash,
}

/// The row of `chain_tip`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = chain_tip)]
pub struct ChainTip {
    pub origin: String,
    pub older_to: i64,
    pub note: Option<String>,
}

impl Store {
    /// Returns why the chain or a checkpoint does not verify, if this process has found that.
    pub fn chain_fault(&self) -> Option<Arc<str>> {
        self.chain.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the chain does not verify. The first fault is kept: later ones may come of it.
    pub fn chain_fails(&self, why: &str) {
        let mut fault = self.chain.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.is_none() {
            error!(cause = why, "the record does not verify; compare it with a kept checkpoint: lan-gateway verify");
            *fault = Some(why.into());
        }
    }

    /// Returns the name of this record in checkpoints; it is empty if another hand has removed it.
    pub async fn chain_origin(&self) -> Result<String, Error> {
        Ok(self.read(tip).await?.map(|tip| tip.origin).unwrap_or_default())
    }

    /// Returns the last row that is in the chain.
    pub async fn chained_to(&self) -> Result<i64, Error> {
        self.read(chained_to).await
    }
}

/// Returns the last row that is in the chain.
pub fn chained_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    let newest: Option<i64> = chain::table.select(diesel::dsl::max(chain::log_id)).first(connection)?;
    Ok(newest.unwrap_or(0))
}

fn newest_link(connection: &mut SqliteConnection) -> QueryResult<Option<NewestLink>> {
    let newest = chain::table.order(chain::log_id.desc()).select((chain::log_id, chain::head));
    let newest: Option<(i64, Vec<u8>)> = newest.first(connection).optional()?;
    // The schema holds heads to 32 bytes.
    Ok(newest.and_then(|(log_id, head)| Some(NewestLink { log_id, head: head.try_into().ok()? })))
}

/// `None`: another hand has removed it.
fn tip(connection: &mut SqliteConnection) -> QueryResult<Option<ChainTip>> {
    chain_tip::table.select(ChainTip::as_select()).first(connection).optional()
}

/// Returns up to which row rows are older than the chain.
pub fn older_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    Ok(tip(connection)?.map_or(0, |tip| tip.older_to))
}

/// Removes the links whose rows were removed, up to `upto`, but for the last of them, where the chain then begins. Checkpoints
/// stay: they are few, and those in the file are compared with them.
pub fn remove_links(connection: &mut SqliteConnection, upto: i64) -> QueryResult<()> {
    let last: Option<i64> =
        chain::table.filter(chain::log_id.le(upto)).select(diesel::dsl::max(chain::log_id)).first(connection)?;
    let Some(last) = last else { return Ok(()) };
    diesel::delete(chain::table.filter(chain::log_id.lt(last))).execute(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests;
