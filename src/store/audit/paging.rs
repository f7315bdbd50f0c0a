//! Pages of the record, with a filter and in either direction.
//!
//! A time is a place in the record, because rows are in the order of time. A user's rows have an index of their own. Other filters
//! use the search index, and read those rows one by one that are too new for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::connection::Connection;
use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::audit::reading::{last_before, newest_log_id, open_intents};
use crate::store::audit::{Entry, Row, Wanted};
use crate::store::people::deleted;
use crate::store::schema::record;
use crate::store::{Store, retention, words};

/// A range of the record without both its ends.
#[derive(Debug, Clone, Copy)]
struct Between {
    after: i64,
    before: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

/// Up to which row prompts and answers can be searched.
#[derive(Debug, Clone, Copy)]
pub struct SearchedTo {
    pub log_id: i64,
    pub at: Timestamp,
}

/// The record at the moment when an export begins.
pub struct Beginning {
    /// Where it ends.
    pub upto: i64,
    /// Requests that run.
    pub running: Vec<Entry>,
    /// People who were deleted before.
    pub deleted: Arc<HashSet<i64>>,
    /// Up to which row contents were erased for their age before.
    pub erased_to: i64,
}

impl Store {
    /// Returns the results, refusals and acts that match `wanted`, newest first, before `before`.
    pub async fn record_page(&self, wanted: Wanted, before: Option<i64>, limit: i64) -> Result<Vec<Row>, Error> {
        let between = Between { after: 0, before: before.unwrap_or(i64::MAX) };
        self.matching(wanted, between, Order::NewestFirst, limit).await
    }

    /// Returns the newest row that was ever written, whatever it is. What came later has a higher number.
    pub async fn newest_row(&self) -> Result<i64, Error> {
        self.read(newest_log_id).await
    }

    /// Returns the same rows in the order in which they were written, after `after` and up to `upto`.
    pub async fn record_matching(&self, wanted: Wanted, after: i64, upto: i64, limit: i64) -> Result<Vec<Row>, Error> {
        self.matching(wanted, Between { after, before: upto + 1 }, Order::OldestFirst, limit).await
    }

    /// Returns the same rows, each with the intent of its request.
    pub async fn entries(&self, wanted: Wanted, after: i64, upto: i64, limit: i64) -> Result<Vec<Entry>, Error> {
        let rows = self.record_matching(wanted, after, upto, limit).await?;
        let intents: Vec<i64> = rows.iter().filter_map(|row| row.intent_id).collect();
        let intents: Vec<Row> = self
            .read(move |connection| {
                record::table.filter(record::log_id.eq_any(intents)).select(Row::as_select()).load(connection)
            })
            .await?;
        let mut intents: HashMap<i64, Row> = intents.into_iter().map(|row| (row.log_id, row)).collect();
        let entry = |row: Row| match row.intent_id.and_then(|id| intents.remove(&id)) {
            Some(intent) => Entry { first: intent, last: Some(row) },
            None => Entry { first: row.clone(), last: Some(row) },
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Returns where an export of `wanted` begins. A search sees what is in the search index, so that is brought up to the end of
    /// the record first.
    pub async fn begin_export(&self, wanted: &Wanted) -> Result<Beginning, Error> {
        let begun = |connection: &mut SqliteConnection| {
            Ok((open_intents(connection)?, deleted(connection)?, retention::erased_to(connection)?))
        };
        let ((open, upto), deleted, erased_to) = self.read(move |connection| connection.transaction(begun)).await?;
        if wanted.text.is_some() {
            while self.searched_to().await?.log_id < upto && self.follow_words().await? {}
        }
        let running = open.into_iter().filter(|row| wanted.takes_running(row));
        let running = running.map(|first| Entry { first, last: None }).collect();
        Ok(Beginning { upto, running, deleted: Arc::new(deleted), erased_to })
    }

    /// Returns up to where searches see the record.
    pub async fn searched_to(&self) -> Result<SearchedTo, Error> {
        self.read(|connection| {
            let log_id = words::indexed_to(connection)?;
            let at = record::table.find(log_id).select(record::at_us).first(connection).optional()?;
            Ok(SearchedTo { log_id, at: Timestamp(at.unwrap_or(0)) })
        })
        .await
    }

    async fn matching(&self, wanted: Wanted, between: Between, order: Order, limit: i64) -> Result<Vec<Row>, Error> {
        // One transaction, so that the index and its watermark are of one moment.
        self.read(move |connection| {
            connection.transaction(|connection| {
                let between = within_times(connection, &wanted, between)?;
                match wanted.history_of {
                    Some(user_id) => history(connection, &wanted, user_id, between, order, limit),
                    None => found(connection, &wanted, between, order, limit),
                }
            })
        })
        .await
    }
}

/// Returns the acts about a user and those of the user. Each kind has an index, so they are found apart and put together.
fn history(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    user_id: i64,
    between: Between,
    order: Order,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    let same = |one: Option<i64>| one.is_none_or(|one| one == user_id);
    let mut rows = Vec::new();
    if same(wanted.subject_id) {
        let about = Wanted { subject_id: Some(user_id), ..wanted.clone() };
        rows.extend(found(connection, &about, between, order, limit)?);
    }
    if same(wanted.user_id) && wanted.kind.is_none_or(|kind| kind == Kind::Act) {
        let own = Wanted { user_id: Some(user_id), kind: Some(Kind::Act), ..wanted.clone() };
        rows.extend(found(connection, &own, between, order, limit)?);
    }
    sort(&mut rows, order);
    rows.dedup_by_key(|row| row.log_id);
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(rows)
}

fn found(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    between: Between,
    order: Order,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    if wanted.text.is_some() && wanted.takes_acts_alone() {
        // Acts have no text.
        return Ok(Vec::new());
    }
    if !wanted.needs_words() {
        return looked_at(connection, wanted, between, order, limit);
    }
    let indexed = words::indexed_to(connection)?;
    let known = Between { before: between.before.min(indexed + 1), ..between };
    let new = Between { after: between.after.max(indexed), ..between };
    let pieces = match order {
        Order::NewestFirst => [new, known],
        Order::OldestFirst => [known, new],
    };
    let mut rows = Vec::new();
    for piece in pieces {
        let left = limit - rows.len() as i64;
        if left == 0 || piece.before - piece.after < 2 {
            continue;
        }
        if piece.before <= indexed + 1 {
            rows.extend(known_rows(connection, wanted, piece, order, left)?);
        } else if wanted.text.is_none() {
            rows.extend(looked_at(connection, wanted, piece, order, left)?);
        }
    }
    Ok(rows)
}

fn sort(rows: &mut [Row], order: Order) {
    rows.sort_unstable_by_key(|row| match order {
        Order::NewestFirst => -row.log_id,
        Order::OldestFirst => row.log_id,
    });
}

fn within_times(connection: &mut SqliteConnection, wanted: &Wanted, between: Between) -> QueryResult<Between> {
    let Between { mut after, mut before } = between;
    if let Some(from) = wanted.from {
        after = after.max(last_before(connection, from)?);
    }
    if let Some(to) = wanted.to {
        before = before.min(last_before(connection, to)? + 1);
    }
    Ok(Between { after, before })
}

fn known_rows(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    between: Between,
    order: Order,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    let newest_first = order == Order::NewestFirst;
    let ids = words::matching(connection, wanted, between.after, between.before, newest_first, limit)?;
    let mut rows: Vec<Row> =
        record::table.filter(record::log_id.eq_any(ids)).select(Row::as_select()).load(connection)?;
    sort(&mut rows, order);
    Ok(rows)
}

fn looked_at(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    between: Between,
    order: Order,
    limit: i64,
) -> QueryResult<Vec<Row>> {
    let mut query = record::table
        .filter(record::kind.ne(Kind::Intent.name()))
        .filter(record::log_id.gt(between.after))
        .filter(record::log_id.lt(between.before))
        .select(Row::as_select())
        .limit(limit)
        .into_boxed();
    query = match order {
        Order::NewestFirst => query.order(record::log_id.desc()),
        Order::OldestFirst => query.order(record::log_id.asc()),
    };
    if let Some(id) = wanted.user_id {
        query = query.filter(record::user_id.eq(id));
    }
    if let Some(id) = wanted.token_id {
        query = query.filter(record::token_id.eq(id));
    }
    if let Some(kind) = wanted.kind {
        query = query.filter(record::kind.eq(kind.name()));
    }
    if !wanted.outcomes.is_empty() {
        query = query.filter(record::outcome.eq_any(wanted.outcomes.iter().map(|outcome| outcome.name())));
    }
    if let Some(act) = wanted.act {
        query = query.filter(record::act.eq(act.name()));
    }
    if let Some(id) = wanted.subject_id {
        query = query.filter(record::subject_id.eq(id));
    }
    if let Some(model) = &wanted.model {
        query = query.filter(record::model_asked.eq(model));
    }
    if let Some(api) = &wanted.api {
        query = query.filter(record::api.eq(api));
    }
    query.load(connection)
}
