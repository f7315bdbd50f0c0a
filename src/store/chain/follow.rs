//! The follower: one link for the rows that were written since the last one, and a signed note about it.

use std::sync::PoisonError;

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::chain::{NO_HASH, head_of};
use crate::model::checkpoint::Checkpoint;
use crate::store::Store;
use crate::store::chain::leaves::{Leaves, leaves};
use crate::store::chain::{ChainTip, CheckpointKey, NO_TIP, NewestLink, newest_link, tip};
use crate::store::schema::{chain, chain_tip, record};

/// Rows in one link: so few that they are hashed in some milliseconds.
const ROWS_PER_LINK: i64 = 4096;

/// What is chained in one step.
struct Step {
    before: Option<NewestLink>,
    tip: Option<ChainTip>,
    leaves: Leaves,
    more: bool,
}

impl Store {
    /// Adds a link for rows that were written since the last call. `true`: there are more.
    pub async fn follow_chain(&self, key: &CheckpointKey) -> Result<bool, Error> {
        let Some(Step { before, tip, leaves, more }) = self.read(gather).await? else { return Ok(false) };
        if let Some(odd) = leaves.odd {
            self.chain_fails(&format!("row {odd} of the record has a value that no gateway writes"));
        }
        let links = || self.chain.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !links().found(before) {
            self.chain_fails("the newest link of the chain is not the one that this gateway wrote");
        }
        let head = head_of(&before.map_or(NO_HASH, |before| before.head), leaves.first, leaves.last, &leaves.bytes);
        let log_id = leaves.last;
        // Nothing is signed that follows something unproven.
        if tip.is_none() {
            self.chain_fails(NO_TIP);
        }
        let note = tip.filter(|_| self.chain_fault().is_none()).map(|ChainTip { origin, older_to, .. }| {
            let time = Timestamp::now();
            Checkpoint { origin, log_id, head, older_to, time, key: key.public() }.sign(&key.pair)
        });
        links().hand(NewestLink { log_id, head });
        let written = self
            .write(move |tx| {
                // Another call may have been faster; no row must be in two links.
                if newest_link(tx.connection)? != before {
                    return Ok(false);
                }
                diesel::insert_into(chain::table)
                    .values((
                        chain::log_id.eq(log_id),
                        chain::first_log_id.eq(leaves.first),
                        chain::leaves.eq(leaves.bytes),
                        chain::head.eq(&head[..]),
                    ))
                    .execute(tx.connection)?;
                if let Some(note) = note {
                    diesel::update(chain_tip::table).set(chain_tip::note.eq(note)).execute(tx.connection)?;
                }
                Ok(true)
            })
            .await?;
        Ok(more || !written)
    }
}

fn gather(connection: &mut SqliteConnection) -> QueryResult<Option<Step>> {
    connection.transaction(|connection| {
        let before = newest_link(connection)?;
        let newest: Option<i64> = record::table.select(diesel::dsl::max(record::log_id)).first(connection)?;
        let after = match before {
            Some(before) => before.log_id,
            None => {
                let oldest: Option<i64> = record::table.select(diesel::dsl::min(record::log_id)).first(connection)?;
                oldest.unwrap_or(1).saturating_sub(1)
            }
        };
        let Some(newest) = newest.filter(|newest| *newest > after) else { return Ok(None) };
        let upto = newest.min(after.saturating_add(ROWS_PER_LINK));
        let (tip, leaves) = (tip(connection)?, leaves(connection, after, upto)?);
        Ok(Some(Step { before, tip, leaves, more: upto < newest }))
    })
}
