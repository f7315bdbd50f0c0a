//! Verifies a record by its chain (docs/chain.md): a data folder, a copy of one, or a backup. It changes nothing, and needs no
//! gateway. `examples/verify.py` finds the same in another language.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::model::kept_notes::KeptNotes;
use crate::store::chain::OwnKey;
use crate::store::verify::faults::FoundFaults;
use crate::store::verify::links::Walk;
use crate::store::verify::open::{Opened, file_faults};
use crate::store::verify::receipts::Receipts;

mod contents;
mod faults;
mod links;
mod notes;
mod open;
mod receipts;
mod strays;

pub use faults::VerifyFault;

/// What is verified, and against what.
pub struct VerifyWish<'a> {
    /// A data folder, a copy of one, a database or a backup.
    pub path: &'a Path,
    /// Whether a gateway runs on it.
    pub is_in_use: bool,
    /// What the file of checkpoints had before the database was opened. `None`: there is none.
    pub beside: Option<&'a KeptNotes>,
    /// Checkpoints that were kept elsewhere.
    pub outside: &'a KeptNotes,
    /// The key in the folder of secrets, where it can be read.
    pub own_key: Option<OwnKey>,
}

/// What was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifySummary {
    /// The numbers of the oldest and of the newest row.
    pub rows: Option<(i64, i64)>,
    pub links: u64,
    /// Where the chain ends.
    pub chained_to: i64,
    pub checkpoints: u64,
    /// How many checkpoints of this record are in the file beside the database.
    pub beside: Option<u64>,
    /// How many checkpoints that were kept elsewhere could be compared with the chain, and how many are about rows that were
    /// removed since.
    pub compared: u64,
    pub removed_since: u64,
    /// The key of the newest signed note, in base64.
    pub key: Option<String>,
    /// Rows that are not in the chain yet, and the time of the oldest in microseconds.
    pub later: Option<(i64, i64)>,
    /// How many requests and refusals have lost their contents under a receipt: the row of the act, what it is, and the number.
    pub erased: Vec<(i64, &'static str, u64)>,
    /// Rows up to this one were removed under the receipt in that row.
    pub removed: Option<(i64, i64)>,
    pub faults: u64,
}

/// How far the work is.
pub struct VerifyProgress {
    pub row: i64,
    pub last: i64,
}

/// Where contents are missing that nothing allows to be missing.
const WITHOUT_RECEIPT: &str = "its contents are missing, and no receipt says that they were erased";

/// Verifies a record. `tell` gets the first faults while they are found. An error: it can't be read.
pub fn verify(
    wish: &VerifyWish<'_>,
    tell: &mut dyn FnMut(&VerifyFault),
    progress: &mut dyn FnMut(VerifyProgress),
) -> anyhow::Result<VerifySummary> {
    let mut opened = Opened::open(wish)?;
    let mut faults = FoundFaults::new(tell);
    opened.connection.batch_execute("BEGIN")?;
    for fault in file_faults(&mut opened.connection) {
        faults.tell("file", fault);
    }
    let checked = check(&mut opened.connection, wish, &mut faults, progress);
    opened.check_that_it_rested()?;
    match checked {
        Ok(summary) => Ok(VerifySummary { faults: faults.count(), ..summary }),
        Err(cause) if faults.count() > 0 => {
            faults.tell("file", format!("it can't be read to its end: {cause:#}"));
            Ok(VerifySummary { faults: faults.count(), ..VerifySummary::default() })
        }
        Err(cause) => Err(cause),
    }
}

fn check(
    connection: &mut SqliteConnection,
    wish: &VerifyWish<'_>,
    faults: &mut FoundFaults<'_>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> anyhow::Result<VerifySummary> {
    let tip = notes::read_tip(connection)?;
    // First, because rows older than the chain are checked in another way.
    tip.check_itself(faults);
    let receipts = Receipts::read(connection)?;
    let mut walk = Walk::new(&receipts, tip.older_to);
    walk.run(connection, faults, progress)?;
    strays::check(connection, &walk, faults)?;
    let ends = strays::check_end(connection, &walk, faults)?;
    let noted = notes::check(connection, wish, &tip, &walk, faults)?;
    Ok(VerifySummary {
        rows: ends.rows,
        later: ends.later,
        links: walk.links,
        chained_to: walk.end,
        checkpoints: noted.checkpoints,
        beside: noted.beside,
        compared: noted.compared,
        removed_since: noted.removed_since,
        key: noted.key,
        erased: walk.erased(),
        removed: receipts.removed,
        faults: 0,
    })
}
