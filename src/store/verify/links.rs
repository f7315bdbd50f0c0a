//! Walks along the chain: links, their rows, and the contents of these.

use std::collections::{BTreeMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};

use crate::model::chain::{HASH_BYTES, Hash, NO_HASH, head_of};
use crate::model::record::{Act, Kind};
use crate::store::chain::{HashedRow, hashed_rows};
use crate::store::verify::contents::{ChainedRow, Found, look};
use crate::store::verify::faults::{FoundFaults, TOLD_MAX};
use crate::store::verify::receipts::Receipts;
use crate::store::verify::{VerifyProgress, WITHOUT_RECEIPT};

/// Rows of a link that are read at once. The gateway's links have no more, but others may.
const ROWS_AT_ONCE: i64 = 4096;

/// The state of the walk.
pub struct Walk<'a> {
    pub receipts: &'a Receipts,
    pub older_to: i64,
    pub links: u64,
    /// Where the oldest link begins.
    pub begin: i64,
    /// Rows up to this one are in no link that can be checked, so none may be there.
    pub bare_to: i64,
    /// The last row in the chain.
    pub end: i64,
    /// Requests that began in rows which were removed and ended in rows which are there.
    pub crossing: HashSet<i64>,
    /// The last row that was found to be missing.
    gone: Option<i64>,
    /// Rows whose contents are missing without a receipt, the first of them, and how many there are. Without one receipt, many are
    /// missing, so they are told last.
    late: Vec<i64>,
    late_count: u64,
    /// How many requests and refusals have lost their contents, by the row of the act.
    erased: BTreeMap<i64, (Act, u64)>,
}

#[derive(QueryableByName)]
struct Link {
    #[diesel(sql_type = BigInt)]
    log_id: i64,
    #[diesel(sql_type = BigInt)]
    first_log_id: i64,
    #[diesel(sql_type = Binary)]
    leaves: Vec<u8>,
    #[diesel(sql_type = Binary)]
    head: Vec<u8>,
}

/// Where the chain begins and ends.
#[derive(QueryableByName)]
struct Reach {
    #[diesel(sql_type = BigInt)]
    begin: i64,
    #[diesel(sql_type = BigInt)]
    last: i64,
}

impl<'a> Walk<'a> {
    pub fn new(receipts: &'a Receipts, older_to: i64) -> Walk<'a> {
        Walk {
            receipts,
            older_to,
            links: 0,
            begin: 1,
            bare_to: 0,
            end: 0,
            crossing: HashSet::new(),
            gone: None,
            late: Vec::new(),
            late_count: 0,
            erased: BTreeMap::new(),
        }
    }

    pub fn run(
        &mut self,
        connection: &mut SqliteConnection,
        faults: &mut FoundFaults<'_>,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> QueryResult<()> {
        let Reach { begin, last } = diesel::sql_query(
            "SELECT coalesce(min(CAST(first_log_id AS INTEGER)), 1) AS begin, coalesce(max(log_id), 0) AS last FROM chain",
        )
        .get_result(connection)?;
        (self.begin, self.bare_to) = (begin, begin.saturating_sub(1));
        // Rows may have been removed before the chain was made, or with their links since.
        self.end = self.bare_to.min(self.receipts.removed_to());
        let mut before = NO_HASH;
        while let Some(link) = next_link(connection, if self.links == 0 { i64::MIN } else { self.end })? {
            if self.check_link(&link, &before, faults) {
                self.check_rows(connection, &link, faults)?;
            }
            before = link.head.as_slice().try_into().unwrap_or(NO_HASH);
            (self.end, self.links) = (link.log_id, self.links + 1);
            progress(VerifyProgress { row: link.log_id, last });
        }
        self.late.iter().for_each(|log_id| faults.tell(format!("row {log_id}"), WITHOUT_RECEIPT));
        faults.count_more(self.late_count - self.late.len() as u64);
        Ok(())
    }

    fn add_late(&mut self, log_id: i64) {
        self.late_count += 1;
        if self.late.len() < TOLD_MAX {
            self.late.push(log_id);
        }
    }

    /// Returns whether its rows can be compared with its leaves.
    fn check_link(&mut self, link: &Link, before: &Hash, faults: &mut FoundFaults<'_>) -> bool {
        let Link { log_id, first_log_id, leaves, head } = link;
        let place = format!("link {log_id}");
        let next = self.end.saturating_add(1);
        let rows = i128::from(*log_id) - i128::from(*first_log_id) + 1;
        let is_whole = leaves.len() as i128 == HASH_BYTES as i128 * rows;
        if !is_whole || *first_log_id != next {
            faults.tell(place, format!("it does not have a hash for each row from {next} on"));
        } else if head[..] != head_of(before, *first_log_id, *log_id, leaves) {
            if self.links == 0 && *log_id <= self.receipts.removed_to() {
                // After rows were removed, the oldest link is there for its head alone.
                self.bare_to = *log_id;
                return false;
            }
            faults.tell(place, "its head is not that of its rows and of the link before");
        }
        is_whole
    }

    /// Compares the rows of a link with its leaves.
    fn check_rows(
        &mut self,
        connection: &mut SqliteConnection,
        link: &Link,
        faults: &mut FoundFaults<'_>,
    ) -> QueryResult<()> {
        let (leaves, _) = link.leaves.as_chunks::<HASH_BYTES>();
        let mut first = link.first_log_id;
        for leaves in leaves.chunks(ROWS_AT_ONCE as usize) {
            let last = first.saturating_add(leaves.len() as i64 - 1).min(link.log_id);
            let mut hashes = hashed_rows(connection, first.saturating_sub(1), last)?.into_iter().peekable();
            for (log_id, leaf) in (first..=last).zip(leaves) {
                match hashes.next_if(|row| row.log_id == log_id) {
                    Some(row) => self.check_row(connection, row, leaf, faults)?,
                    None if *leaf != NO_HASH && log_id > self.receipts.removed_to() => {
                        // Of missing rows that follow one another, the first is reported.
                        if self.gone.is_none_or(|gone| gone.checked_add(1) != Some(log_id)) {
                            let what = "it is missing, and no receipt says that it was removed";
                            faults.tell(format!("row {log_id}"), what);
                        }
                        self.gone = Some(log_id);
                    }
                    None => {}
                }
            }
            first = last.saturating_add(1);
        }
        Ok(())
    }

    fn check_row(
        &mut self,
        connection: &mut SqliteConnection,
        hashed: HashedRow,
        leaf: &Hash,
        faults: &mut FoundFaults<'_>,
    ) -> QueryResult<()> {
        let place = format!("row {}", hashed.log_id);
        if hashed.hash != Some(*leaf) {
            faults.tell(place, "it is not as it was written");
            return Ok(());
        }
        let row = row(connection, hashed.log_id)?;
        if row.home() <= self.receipts.removed_to() {
            self.crossing.insert(row.home());
        }
        match look(connection, &row, row.log_id <= self.older_to)? {
            Found::Good => {}
            Found::Erased => match self.receipts.of_contents(row.user_id, row.log_id) {
                Some(receipt) if row.kind() != Some(Kind::Act) => self.count_erased(&row, receipt),
                _ => self.add_late(row.log_id),
            },
            Found::Uncovered => faults.tell(place, "it has contents that nothing covers"),
            Found::Changed => faults.tell(place, "its contents are not as they were written"),
        }
        Ok(())
    }

    fn count_erased(&mut self, row: &ChainedRow, (act, log_id): (Act, i64)) {
        // A request is counted with its result.
        if row.kind() != Some(Kind::Intent) {
            self.erased.entry(log_id).or_insert((act, 0)).1 += 1;
        }
    }

    /// Returns how many requests and refusals have lost their contents under which act.
    pub fn erased(&self) -> Vec<(i64, &'static str, u64)> {
        self.erased.iter().map(|(log_id, (act, count))| (*log_id, act.name(), *count)).collect()
    }
}

/// Returns the link after a row, in the order of their ends.
fn next_link(connection: &mut SqliteConnection, after: i64) -> QueryResult<Option<Link>> {
    diesel::sql_query(
        "SELECT log_id, CAST(first_log_id AS INTEGER) AS first_log_id, CAST(leaves AS BLOB) AS leaves, \
         CAST(head AS BLOB) AS head FROM chain WHERE log_id > ? ORDER BY log_id LIMIT 1",
    )
    .bind::<BigInt, _>(after)
    .get_result(connection)
    .optional()
}

fn row(connection: &mut SqliteConnection, log_id: i64) -> QueryResult<ChainedRow> {
    diesel::sql_query("SELECT log_id, kind, intent_id, user_id, commitment FROM record WHERE log_id = ?")
        .bind::<BigInt, _>(log_id)
        .get_result(connection)
}
