//! Compares signed notes with the chain: that of the newest link, the checkpoints in the database, those in the file beside it, and
//! those that were kept elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable};

use crate::model::checkpoint::Checkpoint;
use crate::model::kept_notes::KeptNotes;
use crate::store::verify::VerifyWish;
use crate::store::verify::faults::FoundFaults;
use crate::store::verify::links::Walk;
use crate::store::verify::receipts::Receipts;

/// Checkpoints that are read from the database at once.
const NOTES_AT_ONCE: i64 = 1000;

const WRONG_SIGNATURE: &str = "its signature is wrong";
const OF_ANOTHER_RECORD: &str = "it is of another record";

/// The row of `chain_tip`.
#[derive(QueryableByName)]
pub struct Tip {
    #[diesel(sql_type = Binary)]
    origin: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    pub older_to: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    note: Option<Vec<u8>>,
}

#[derive(QueryableByName)]
struct KeptRow {
    #[diesel(sql_type = BigInt)]
    log_id: i64,
    #[diesel(sql_type = Binary)]
    note: Vec<u8>,
}

#[derive(QueryableByName)]
struct Head {
    #[diesel(sql_type = Binary)]
    head: Vec<u8>,
}

/// What was compared.
#[derive(Default)]
pub struct Noted {
    pub checkpoints: u64,
    pub beside: Option<u64>,
    pub compared: u64,
    pub removed_since: u64,
    pub key: Option<String>,
}

/// What notes are compared with.
struct Against<'a> {
    origin: String,
    older_to: i64,
    receipts: &'a Receipts,
    /// The key of the newest note, in base64.
    key: Option<String>,
    /// Where the chain begins and ends.
    begin: i64,
    end: i64,
}

impl Tip {
    /// Compares what the newest note says of older rows with what the database says.
    pub fn check_itself(&self, faults: &mut FoundFaults<'_>) {
        let note = self.note.as_deref().map(text_of);
        if note.is_some_and(|note| older_to(&note).is_some_and(|older_to| older_to != self.older_to)) {
            faults.tell("tip", OF_ANOTHER_RECORD);
        }
    }
}

/// Returns which rows a note says to be older than the chain, without a look at its signature.
fn older_to(note: &str) -> Option<i64> {
    note.lines().find_map(|line| line.strip_prefix("older-to "))?.parse().ok()
}

/// Reads the row of `chain_tip`. Without one there is no note either, which does not verify.
pub fn read_tip(connection: &mut SqliteConnection) -> QueryResult<Tip> {
    diesel::sql_query(
        "SELECT CAST(coalesce(max(origin), '') AS BLOB) AS origin, CAST(coalesce(max(older_to), 0) AS INTEGER) AS older_to, \
         CAST(max(note) AS BLOB) AS note FROM chain_tip",
    )
    .get_result(connection)
}

pub fn check(
    connection: &mut SqliteConnection,
    wish: &VerifyWish<'_>,
    tip: &Tip,
    walk: &Walk<'_>,
    faults: &mut FoundFaults<'_>,
) -> QueryResult<Noted> {
    let origin = String::from_utf8_lossy(&tip.origin).into_owned();
    let note = text_of(tip.note.as_deref().unwrap_or_default());
    let read = Checkpoint::read(&note).ok();
    let key = read.as_ref().map(|read| BASE64.encode(read.key));
    let mut noted = Noted { key: key.clone(), ..Noted::default() };
    let against =
        Against { origin, older_to: tip.older_to, receipts: walk.receipts, key, begin: walk.begin, end: walk.end };

    if tip.note.is_some() || walk.links > 0 {
        let is_foreign = wish.own_key.is_some_and(|own| read.is_some_and(|read| !own.may_have_signed(&read)));
        match against.fault_of(connection, &note, walk.end)? {
            None if is_foreign => faults.tell("tip", "it is signed with another key than that of this data folder"),
            fault => tell("tip", fault, faults),
        }
    }
    check_table(connection, &against, &mut noted, faults)?;
    for (log_id, note) in wish.outside.notes() {
        tell(&place(log_id), against.fault_of(connection, note, log_id)?, faults);
        let is_removed = log_id < walk.begin;
        noted.removed_since += u64::from(is_removed);
        noted.compared += u64::from(!is_removed);
    }
    if let Some(beside) = wish.beside {
        noted.beside = Some(check_beside(connection, &against, beside, faults)?);
    }
    Ok(noted)
}

fn check_table(
    connection: &mut SqliteConnection,
    against: &Against<'_>,
    noted: &mut Noted,
    faults: &mut FoundFaults<'_>,
) -> QueryResult<()> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<KeptRow> = diesel::sql_query(
            "SELECT log_id, CAST(note AS BLOB) AS note FROM checkpoints WHERE log_id > ? ORDER BY log_id LIMIT ?",
        )
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(NOTES_AT_ONCE)
        .load(connection)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.log_id;
        for row in rows {
            tell(&place(row.log_id), against.fault_of(connection, &text_of(&row.note), row.log_id)?, faults);
            noted.checkpoints += 1;
        }
    }
}

/// Compares the file of checkpoints with the table. It may lack some, have those of rows that were removed, and those of other
/// records. Returns how many of this record it has.
fn check_beside(
    connection: &mut SqliteConnection,
    against: &Against<'_>,
    beside: &KeptNotes,
    faults: &mut FoundFaults<'_>,
) -> QueryResult<u64> {
    let mut count = 0;
    for (log_id, note) in beside.notes() {
        if !note.contains(&against.origin) || log_id < against.begin {
            // A changed note may look like these, but its signature is wrong.
            if Checkpoint::read(note).is_err() {
                faults.tell(place(log_id), WRONG_SIGNATURE);
            }
            continue;
        }
        count += 1;
        let kept = "SELECT log_id, CAST(note AS BLOB) AS note FROM checkpoints WHERE log_id = ?";
        let kept: Option<KeptRow> =
            diesel::sql_query(kept).bind::<BigInt, _>(log_id).get_result(connection).optional()?;
        if kept.is_none_or(|kept| kept.note != note.as_bytes()) {
            let fault = against.fault_of(connection, note, log_id)?;
            let fault = fault.unwrap_or_else(|| "checkpoints.txt has it, and the database does not".into());
            faults.tell(place(log_id), fault);
        }
    }
    if !beside.rest().is_empty() && !begins_a_checkpoint(connection, beside.rest())? {
        faults.tell("file", "checkpoints.txt has something that is no checkpoint");
    }
    Ok(count)
}

/// Whether a checkpoint in the database begins with a text. An interrupted write leaves such a text.
fn begins_a_checkpoint(connection: &mut SqliteConnection, text: &str) -> QueryResult<bool> {
    let begun = "SELECT log_id, x'' AS note FROM checkpoints WHERE substr(CAST(note AS BLOB), 1, ?) = ? LIMIT 1";
    let begun = diesel::sql_query(begun).bind::<BigInt, _>(text.len() as i64).bind::<Binary, _>(text.as_bytes());
    Ok(begun.get_result::<KeptRow>(connection).optional()?.is_some())
}

impl Against<'_> {
    /// Returns what is wrong with a note about a row.
    fn fault_of(&self, connection: &mut SqliteConnection, note: &str, at: i64) -> QueryResult<Option<String>> {
        let Ok(note) = Checkpoint::read(note) else { return Ok(Some(WRONG_SIGNATURE.into())) };
        if note.origin != self.origin || note.older_to != self.older_to {
            return Ok(Some(OF_ANOTHER_RECORD.into()));
        }
        if note.log_id != at {
            return Ok(Some(format!("it is about row {}, and not about row {at}", note.log_id)));
        }
        let key = BASE64.encode(note.key);
        if self.receipts.key_at(at, self.key.as_deref()).is_some_and(|made| made != key) {
            return Ok(Some(format!("it is signed with another key, as before a restore: {key}")));
        }
        if at > self.end {
            let end = self.end;
            return Ok(Some(format!("the chain ends at row {end}: this copy is older, or its end was cut off")));
        }
        let head = "SELECT CAST(head AS BLOB) AS head FROM chain WHERE log_id = ?";
        let head: Option<Head> = diesel::sql_query(head).bind::<BigInt, _>(at).get_result(connection).optional()?;
        let is_other = match head {
            Some(link) => link.head != note.head,
            // Links of rows that were removed may be gone.
            None => at > self.receipts.removed_to(),
        };
        Ok(is_other.then(|| "the chain has another head there".into()))
    }
}

fn tell(place: &str, fault: Option<String>, faults: &mut FoundFaults<'_>) {
    if let Some(fault) = fault {
        faults.tell(place, fault);
    }
}

fn place(log_id: i64) -> String {
    format!("checkpoint {log_id}")
}

fn text_of(note: &[u8]) -> String {
    String::from_utf8_lossy(note).into_owned()
}
