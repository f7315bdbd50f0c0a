//! The search index of the record: users, tokens, models and the like of a row as marks, and the words of its prompt and answer.
//! A follower of the record writes it, outside the commits of the record and a moment behind them.
//!
//! The index keeps words and no texts (FTS5 without content): to remove a row, its text is made again from its parts. So a change
//! of how marks or texts are made needs a new name of the follower, and an empty index.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::Value;

use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::audit::{self, Row, Wanted};
use crate::store::schema::{record, record_part};
use crate::store::{Store, Tx};

/// The name of the follower's watermark.
const WORDS: &str = "words";

/// What is indexed in one transaction: so little that other writes don't wait long.
const ROWS_PER_STEP: i64 = 256;
const BYTES_PER_STEP: usize = 128 * 1024;

/// Pages of the index that are written at once when it is merged: an eighth of a MiB.
const PAGES_PER_MERGE: i64 = 32;

/// The end of a prompt and the beginning of an answer are indexed: FTS5 writes a document in one piece.
const PROMPT_BYTES_MAX: usize = 64 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;

diesel::table! {
    record_words (rowid) {
        rowid -> BigInt,
        /// Takes commands and searches; FTS5 names this column like the table.
        #[sql_name = "record_words"]
        words -> Text,
        marks -> Text,
        said -> Text,
        /// Takes the numbers of commands.
        rank -> BigInt,
    }
}

diesel::infix_operator!(Matches, " MATCH ");

/// Returns a mark, which is one word to FTS5, whatever characters a name has.
fn mark(kind: char, value: &str) -> String {
    use std::fmt::Write;
    value.bytes().fold(kind.to_string(), |mut mark, byte| {
        // Writing to a String can't fail.
        let _ = write!(mark, "{byte:02x}");
        mark
    })
}

const KIND: char = 'k';
const USER: char = 'u';
const TOKEN: char = 't';
const API: char = 'a';
const MODEL: char = 'm';
const OUTCOME: char = 'o';

fn marks_of(row: &Row) -> String {
    let number = |kind, value: Option<i64>| value.map(|value| mark(kind, &value.to_string()));
    let name = |kind, value: &Option<String>| value.as_ref().map(|value| mark(kind, value));
    let marks = [
        Some(mark(KIND, &row.kind)),
        number(USER, row.user_id),
        number(TOKEN, row.token_id),
        name(API, &row.api),
        name(MODEL, &row.model_asked),
        name(OUTCOME, &row.outcome),
    ];
    marks.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns the FTS5 expression of a filter.
fn expression(wanted: &Wanted) -> String {
    let number = |kind, value: Option<i64>| value.map(|value| mark(kind, &value.to_string()));
    let name = |kind, value: &Option<String>| value.as_ref().map(|value| mark(kind, value));
    let marks = [
        wanted.kind.map(|kind| mark(KIND, kind.name())),
        number(USER, wanted.user_id),
        number(TOKEN, wanted.token_id),
        name(API, &wanted.api),
        name(MODEL, &wanted.model),
        any_of(wanted.outcomes.iter().map(|outcome| mark(OUTCOME, outcome.name()))),
    ];
    let marks: Vec<_> = marks.into_iter().flatten().collect();
    let marks = (!marks.is_empty()).then(|| format!("marks : ({})", marks.join(" AND ")));
    let said = wanted.text.as_ref().map(|search| format!("said : ({})", search.expression()));
    [marks, said].into_iter().flatten().collect::<Vec<_>>().join(" AND ")
}

/// Returns the expression that matches one of these marks.
fn any_of(marks: impl Iterator<Item = String>) -> Option<String> {
    let marks: Vec<String> = marks.collect();
    (!marks.is_empty()).then(|| format!("({})", marks.join(" OR ")))
}

/// Returns the indexed rows after `after` and before `before` that match `wanted`.
pub fn matching(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    after: i64,
    before: i64,
    newest_first: bool,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let query = record_words::table
        .filter(Matches::new(record_words::words, expression(wanted).into_sql::<Text>()))
        .filter(record_words::rowid.gt(after))
        .filter(record_words::rowid.lt(before))
        .select(record_words::rowid)
        .limit(limit);
    if newest_first {
        query.order(record_words::rowid.desc()).load(connection)
    } else {
        query.order(record_words::rowid.asc()).load(connection)
    }
}

/// Returns the newest row that is indexed.
pub fn indexed_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    audit::watermark_of(connection, WORDS)
}

impl Store {
    /// Indexes rows that were written since the last call. `true`: there are more.
    pub async fn follow_words(&self) -> Result<bool, Error> {
        let step = self.read(gather).await?;
        if step.upto == step.from {
            return Ok(false);
        }
        self.write(move |tx| {
            // Another call may have been faster; no row must be added twice.
            if indexed_to(tx.connection)? == step.from {
                for row in &step.rows {
                    add(tx.connection, row, &row.said)?;
                }
                audit::set_watermark(tx.connection, WORDS, step.upto)?;
            }
            Ok(step.more)
        })
        .await
    }
}

/// A row as the index sees it.
struct Indexed {
    log_id: i64,
    marks: String,
    said: String,
}

impl Indexed {
    fn of(connection: &mut SqliteConnection, row: &Row) -> QueryResult<Indexed> {
        let said = if row.kind() == Some(Kind::Result) { said(connection, row.contents_id())? } else { String::new() };
        Ok(Indexed { log_id: row.log_id, marks: marks_of(row), said })
    }
}

struct Step {
    from: i64,
    upto: i64,
    rows: Vec<Indexed>,
    more: bool,
}

fn gather(connection: &mut SqliteConnection) -> QueryResult<Step> {
    let from = indexed_to(connection)?;
    let found: Vec<Row> = record::table
        .filter(record::log_id.gt(from))
        .order(record::log_id)
        .limit(ROWS_PER_STEP)
        .select(Row::as_select())
        .load(connection)?;
    let mut step = Step { from, upto: from, rows: Vec::new(), more: found.len() as i64 == ROWS_PER_STEP };
    let mut bytes = 0;
    for row in &found {
        if bytes >= BYTES_PER_STEP {
            step.more = true;
            break;
        }
        step.upto = row.log_id;
        // A request is found by its result, which knows how it ended.
        if row.kind() != Some(Kind::Intent) {
            let indexed = Indexed::of(connection, row)?;
            bytes += indexed.said.len();
            step.rows.push(indexed);
        }
    }
    Ok(step)
}

fn add(connection: &mut SqliteConnection, row: &Indexed, said: &str) -> QueryResult<()> {
    diesel::insert_into(record_words::table)
        .values((record_words::rowid.eq(row.log_id), record_words::marks.eq(&row.marks), record_words::said.eq(said)))
        .execute(connection)
        .map(drop)
}

/// Removes a row from the index. FTS5 needs the same text that was added.
fn remove(connection: &mut SqliteConnection, row: &Indexed) -> QueryResult<()> {
    diesel::insert_into(record_words::table)
        .values((
            record_words::words.eq("delete"),
            record_words::rowid.eq(row.log_id),
            record_words::marks.eq(&row.marks),
            record_words::said.eq(&row.said),
        ))
        .execute(connection)
        .map(drop)
}

/// Removes the words of these rows from the index, before their parts are erased. The marks stay, as the rows do. The rows must
/// be indexed. Their words are not found any more, and leave the file when `merge_some` has finished.
pub fn forget(tx: &mut Tx<'_>, rows: &[Row]) -> QueryResult<()> {
    for row in rows.iter().filter(|row| row.kind() == Some(Kind::Result)) {
        let known = Indexed::of(tx.connection, row)?;
        remove(tx.connection, &known)?;
        add(tx.connection, &known, "")?;
    }
    Ok(())
}

/// Removes rows whose words were forgotten from the index, with their marks. Rows that are not indexed are passed over.
pub fn remove_rows(tx: &mut Tx<'_>, rows: &[Row]) -> QueryResult<()> {
    let indexed = indexed_to(tx.connection)?;
    for row in rows.iter().filter(|row| row.kind() != Some(Kind::Intent) && row.log_id <= indexed) {
        let known = Indexed { log_id: row.log_id, marks: marks_of(row), said: String::new() };
        remove(tx.connection, &known)?;
    }
    Ok(())
}

/// The state of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    Begin,
    GoOn,
}

/// Rewrites a part of the index, into one segment without the removed words. `false`: it is finished.
///
/// Removing each word from its page at once (FTS5's `secure-delete`) writes a page per word: for a user with 50,000 rows that is
/// gigabytes, and takes far longer than rewriting the whole index.
pub fn merge_some(connection: &mut SqliteConnection, merge: Merge) -> QueryResult<bool> {
    // With a negative number FTS5 begins with all segments; with a positive one it continues.
    let pages = match merge {
        Merge::Begin => -PAGES_PER_MERGE,
        Merge::GoOn => PAGES_PER_MERGE,
    };
    let before = changes(connection)?;
    diesel::insert_into(record_words::table)
        .values((record_words::words.eq("merge"), record_words::rank.eq(pages)))
        .execute(connection)?;
    // The command itself counts as a change; more of them are pages.
    Ok(changes(connection)? - before > 1)
}

fn changes(connection: &mut SqliteConnection) -> QueryResult<i64> {
    diesel::select(diesel::dsl::sql::<BigInt>("total_changes()")).get_result(connection)
}

/// Returns the text of a request that can be searched: its prompt and its answer.
pub fn said(connection: &mut SqliteConnection, intent: i64) -> QueryResult<String> {
    let parts: Vec<(String, Vec<u8>)> = record_part::table
        .filter(record_part::log_id.eq(intent))
        .order(record_part::part)
        .select((record_part::kind, record_part::body))
        .load(connection)?;
    let (mut prompt, mut answer) = (String::new(), Vec::new());
    for (kind, body) in &parts {
        match kind.as_str() {
            audit::PART_REQUEST => prompt = prompt_text(body),
            audit::PART_ANSWER | audit::PART_REASONING | audit::PART_TOOL_CALLS => answer.extend_from_slice(body),
            _ => {}
        }
    }
    answer.truncate(ANSWER_BYTES_MAX);
    let mut cut = prompt.len().saturating_sub(PROMPT_BYTES_MAX);
    while !prompt.is_char_boundary(cut) {
        cut += 1;
    }
    Ok(format!("{}\n{}", &prompt[cut..], String::from_utf8_lossy(&answer)))
}

/// Returns the texts in the messages of a request, or in the whole request if it has no messages.
fn prompt_text(body: &[u8]) -> String {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let mut text = String::new();
    collect(request.get("messages").unwrap_or(&request), &mut text);
    text
}

fn collect(value: &Value, text: &mut String) {
    match value {
        Value::String(words) => {
            text.push_str(words);
            text.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        Value::Object(fields) => {
            // Every request has these, so a search for them is of no use.
            let texts = fields.iter().filter(|(name, _)| !["role", "type", "model"].contains(&name.as_str()));
            texts.for_each(|(_, item)| collect(item, text));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::connection::SimpleConnection;

    #[test]
    fn a_word_that_is_taken_out_is_gone_from_the_index_once_it_is_merged() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        let migration = include_str!("../../migrations/sqlite/2026-11-29-000000_initial/up.sql");
        connection.batch_execute(migration).unwrap();
        let row = |log_id, said: String| Indexed { log_id, marks: "u31".into(), said };
        let (erased, kept) = (row(1, "00815 secret".into()), row(2, "another".into()));
        // In one transaction, so that they share a segment.
        let both = connection.transaction(|connection| {
            [&erased, &kept].map(|row| add(connection, row, &row.said)).into_iter().collect()
        });
        QueryResult::<()>::unwrap(both);
        // Enough that one step does not merge it all.
        for log_id in 3..400 {
            let row = row(log_id, many_words(log_id));
            add(&mut connection, &row, &row.said).unwrap();
        }
        let holds = |connection: &mut SqliteConnection, word: &str| {
            let (tree, leaves) =
                ("SELECT term AS bytes FROM record_words_idx", "SELECT block AS bytes FROM record_words_data");
            let blocks = diesel::sql_query(format!("{tree} UNION ALL {leaves}")).load::<Block>(connection).unwrap();
            blocks.iter().any(|block| memchr::memmem::find(&block.bytes, word.as_bytes()).is_some())
        };
        assert!(holds(&mut connection, "0815") && holds(&mut connection, "secret"));

        remove(&mut connection, &erased).unwrap();
        add(&mut connection, &erased, "").unwrap();
        let mut steps = 1;
        let mut merge = Merge::Begin;
        while merge_some(&mut connection, merge).unwrap() {
            // Others write meanwhile.
            let row = row(1000 + steps, format!("later {steps}"));
            add(&mut connection, &row, &row.said).unwrap();
            (merge, steps) = (Merge::GoOn, steps + 1);
        }

        assert!(steps > 2, "{steps}");
        assert!(!holds(&mut connection, "815") && !holds(&mut connection, "secret"));
        assert!(holds(&mut connection, "another"));
    }

    /// 500 words of other letters than those that are looked for.
    fn many_words(seed: i64) -> String {
        let number = |word: i64| format!("{:x}", (word * 7919 + seed * 104_729) % 999_983);
        let letters = |digit: char| char::from(b'g' + digit.to_digit(16).unwrap() as u8);
        (0..500).map(|word| number(word).chars().map(letters).collect::<String>() + " ").collect()
    }

    #[derive(QueryableByName)]
    struct Block {
        #[diesel(sql_type = diesel::sql_types::Binary)]
        bytes: Vec<u8>,
    }

    #[test]
    fn the_text_of_a_request_is_what_its_messages_say() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"one"},
            {"role":"assistant","content":[{"type":"text","text":"two"}],"tool_calls":[{"function":{"arguments":{"city":"three"}}}]}]}"#;

        assert_eq!(prompt_text(body), "one\ntwo\nthree\n");
        assert_eq!(prompt_text(br#"{"model":"m","input":["one"]}"#), "one\n");
        assert_eq!(prompt_text(b"no JSON"), "no JSON");
    }
}
