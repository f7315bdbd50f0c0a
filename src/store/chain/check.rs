//! The gateway's own check of the newest part of its chain: the notes, the links since the last checkpoint, and their rows.
//! `lan-gateway verify` checks all of it.

use std::time::{Duration, Instant};

use diesel::prelude::*;

use crate::base::error::Error;
use crate::model::chain::{HASH_BYTES, Hash, NO_HASH, head_of};
use crate::model::checkpoint::Checkpoint;
use crate::store::Store;
use crate::store::chain::leaves::leaves;
use crate::store::chain::notes::last_checkpoint;
use crate::store::chain::{ChainTip, CheckpointKey, NO_TIP, NewestLink, newest_link, tip};
use crate::store::file::triggers_and_views;
use crate::store::retention::removed_to;
use crate::store::schema::chain;

/// Between two links the check pauses as long as it worked, so that requests get their rows.
const REST_MAX: Duration = Duration::from_millis(100);

/// A link and what it must follow.
#[derive(Queryable, Selectable)]
#[diesel(table_name = chain)]
struct Link {
    log_id: i64,
    first_log_id: i64,
    leaves: Vec<u8>,
    head: Vec<u8>,
}

/// The link from which on links and rows have to be checked; `None`: all of them.
pub struct CheckFrom(Option<NewestLink>);

impl Store {
    /// Checks the signed notes, and sets the chain's fault where one does not verify: then there is nothing more to check. `kept`
    /// is the newest note of this record and key that is kept beside the database.
    pub async fn check_notes(&self, key: &CheckpointKey, kept: Option<Checkpoint>) -> Result<Option<CheckFrom>, Error> {
        let key = key.clone();
        Ok(match self.read(move |connection| check_notes(connection, &key, kept)).await? {
            Ok(from) => Some(CheckFrom(from)),
            Err(why) => {
                self.chain_fails(&why);
                None
            }
        })
    }

    /// Checks the newest part of the chain, and sets its fault where something does not verify.
    pub async fn check_chain(&self, key: &CheckpointKey, kept: Option<Checkpoint>) -> Result<(), Error> {
        let Some(CheckFrom(mut after)) = self.check_notes(key, kept).await? else { return Ok(()) };
        loop {
            let began = Instant::now();
            match self.read(move |connection| check_next(connection, after)).await? {
                Ok(Some(next)) => after = Some(next),
                Ok(None) => return Ok(()),
                Err(why) => {
                    self.chain_fails(&why);
                    return Ok(());
                }
            }
            tokio::time::sleep(began.elapsed().min(REST_MAX)).await;
        }
    }
}

/// What was found, or why the chain does not verify.
type Checked<T> = QueryResult<Result<T, String>>;

/// Checks the notes; returns the link from which on links and rows have to be checked, `None` for the first.
fn check_notes(
    connection: &mut SqliteConnection,
    key: &CheckpointKey,
    kept: Option<Checkpoint>,
) -> Checked<Option<NewestLink>> {
    connection.transaction(|connection| {
        let (newest, tip, last) = (newest_link(connection)?, tip(connection)?, last_checkpoint(connection)?);
        let Some(tip) = tip else { return Ok(Err(NO_TIP.into())) };
        if let Some(foreign) = triggers_and_views(connection)?.first() {
            return Ok(Err(format!("the database has a {foreign}")));
        }
        let mut from = None;
        if let Some(last) = last {
            match check_note(connection, key, &tip, &last.note, "the last checkpoint")? {
                Ok(ours) => from = ours,
                Err(why) => return Ok(Err(why)),
            }
        }
        if let Some(note) = &tip.note {
            match check_note(connection, key, &tip, note, "the note about the newest link")? {
                Ok(Some(link)) if Some(link) != newest => {
                    return Ok(Err(format!("rows after {} are in links that are not signed", link.log_id)));
                }
                Ok(_) => {}
                Err(why) => return Ok(Err(why)),
            }
        } else if newest.is_some_and(|newest| newest.log_id > key.made_after) {
            return Ok(Err("the chain has links, but none is signed".into()));
        }
        // The file is appended to after the database, so what is in it was in the database.
        if let Some(kept) = kept
            && let Err(why) = check_head(connection, &kept, "the newest checkpoint in the file")?
        {
            return Ok(Err(why));
        }
        // Links up to there were signed with an older key, or were not signed.
        let from = match from {
            None if key.made_after > 0 => link_at(connection, key.made_after)?,
            from => from,
        };
        Ok(Ok(from))
    })
}

/// Checks a note; returns its link if the gateway's own key has signed it.
fn check_note(
    connection: &mut SqliteConnection,
    key: &CheckpointKey,
    tip: &ChainTip,
    note: &str,
    what: &str,
) -> Checked<Option<NewestLink>> {
    let note = match Checkpoint::read(note) {
        Ok(note) => note,
        Err(why) => return Ok(Err(format!("{what} does not verify: {why}"))),
    };
    if note.key != key.public() {
        // An older key, as of before a restore.
        return Ok(match note.log_id <= key.made_after {
            true => Ok(None),
            false => Err(format!("{what} is signed with another key than this gateway's")),
        });
    }
    if note.origin != tip.origin || note.older_to != tip.older_to {
        return Ok(Err(format!("{what} is of another record")));
    }
    check_head(connection, &note, what)
}

/// Compares the head of a note with that of its link; returns the link. One whose rows were removed may be gone.
fn check_head(connection: &mut SqliteConnection, note: &Checkpoint, what: &str) -> Checked<Option<NewestLink>> {
    let log_id = note.log_id;
    let first: Option<i64> = chain::table.select(diesel::dsl::min(chain::log_id)).first(connection)?;
    Ok(match link_at(connection, log_id)? {
        Some(link) if link.head == note.head => Ok(Some(link)),
        Some(_) => Err(format!("{what} has another head at row {log_id} than the chain")),
        None if first.is_some_and(|first| log_id < first) => Ok(None),
        None => {
            Err(format!("{what} is about row {log_id}, where the chain has no link: the database may be an older copy"))
        }
    })
}

fn link_at(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<Option<NewestLink>> {
    let head: Option<Vec<u8>> = chain::table.find(log_id).select(chain::head).first(connection).optional()?;
    Ok(head.and_then(|head| Some(NewestLink { log_id, head: head.try_into().ok()? })))
}

/// Checks the link after `after` with its rows; returns it, or `None` after the last.
fn check_next(connection: &mut SqliteConnection, after: Option<NewestLink>) -> Checked<Option<NewestLink>> {
    connection.transaction(|connection| {
        let next = chain::table
            .filter(chain::log_id.gt(after.map_or(i64::MIN, |after| after.log_id)))
            .order(chain::log_id)
            .select(Link::as_select());
        let Some(link) = next.first(connection).optional()? else { return Ok(Ok(None)) };
        let Link { log_id, first_log_id, .. } = link;
        let head: Hash = match link.head.as_slice().try_into() {
            Ok(head) => head,
            Err(_) => return Ok(Err(format!("the link at row {log_id} has no head"))),
        };
        let begins = after.map_or(first_log_id, |after| after.log_id.saturating_add(1));
        let rows = i128::from(log_id) - i128::from(first_log_id) + 1;
        let before = after.map_or(NO_HASH, |after| after.head);
        // What the first link of the chain follows is not known after rows were removed.
        let is_first = after.is_none();
        let hashes = head_of(&before, first_log_id, log_id, &link.leaves) == head;
        if first_log_id != begins || link.leaves.len() as i128 != HASH_BYTES as i128 * rows || !(hashes || is_first) {
            return Ok(Err(format!("the link of the rows {first_log_id} to {log_id} does not follow the one before")));
        }
        if let Some(why) = compare(connection, &link)? {
            return Ok(Err(why));
        }
        Ok(Ok(Some(NewestLink { log_id, head })))
    })
}

/// Compares the rows of a link with its leaves; returns what is wrong first.
fn compare(connection: &mut SqliteConnection, link: &Link) -> QueryResult<Option<String>> {
    let removed = removed_to(connection)?;
    let found = leaves(connection, link.first_log_id.saturating_sub(1), link.log_id)?;
    let (kept, _) = link.leaves.as_chunks::<HASH_BYTES>();
    let (found, _) = found.bytes.as_chunks::<HASH_BYTES>();
    let differs = |kept: &Hash, found: &Hash, row: i64| kept != found && (*found != NO_HASH || row > removed);
    let mut rows = kept.iter().zip(found).zip(link.first_log_id..);
    let differing = rows.find(|((kept, found), row)| differs(kept, found, *row));
    Ok(differing.map(|((kept, found), row)| match (*kept == NO_HASH, *found == NO_HASH) {
        (true, _) => format!("row {row} was added to the record after its link was written"),
        (_, true) => format!("row {row} of the record is missing"),
        (false, false) => format!("row {row} of the record was changed"),
    }))
}
