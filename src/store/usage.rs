//! Usage by user, token, model and quarter of an hour, summed up by a follower of the record.
//!
//! The follower runs outside the commits of the record and is at most a moment behind them. All spellings of a model count for
//! one model, and names that no model has count for no model: otherwise callers could create any number of sums. The record
//! keeps the name as it was sent.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::model_name::ModelName;
use crate::model::record::{Kind, Outcome};
use crate::store::schema::record;
use crate::store::{Store, audit};

mod ran;

pub use ran::Ran;

/// The name of the follower's watermark.
pub const USAGE: &str = "usage";

/// Rows that are added up in one transaction.
const ROWS_PER_STEP: i64 = 2_000;

pub const QUARTER_US: i64 = 15 * 60 * 1_000_000;

/// Sums of what was used. Tokens as the models count them, times in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct Sums {
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    #[diesel(sql_type = BigInt)]
    pub refused: i64,
    #[diesel(sql_type = BigInt)]
    pub prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub answer_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub gpu_us: i64,
    #[diesel(sql_type = BigInt)]
    pub total_us: i64,
}

/// What usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    User,
    Token,
    Model,
    Hour,
    /// Everything together.
    All,
}

impl Group {
    /// Returns the SQL of the number and of the word that identify a group.
    fn columns(self) -> (&'static str, &'static str) {
        match self {
            Group::User => ("user_id", "''"),
            Group::Token => ("token_id", "''"),
            Group::Model => ("0", "model"),
            Group::Hour => ("quarter_us - quarter_us % 3600000000", "''"),
            Group::All => ("0", "''"),
        }
    }
}

/// By what groups are compared: the largest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Requests and refusals.
    Any,
    Requests,
    /// Model tokens of prompts and answers.
    Tokens,
    Gpu,
    Refused,
    Failed,
}

impl Measure {
    fn order(self) -> &'static str {
        match self {
            Measure::Any => "requests + refused DESC, 1, 2",
            Measure::Requests => "requests DESC, 1, 2",
            Measure::Tokens => "prompt_tokens + answer_tokens DESC, 1, 2",
            Measure::Gpu => "gpu_us DESC, 1, 2",
            Measure::Refused => "refused DESC, 1, 2",
            Measure::Failed => "failed DESC, 1, 2",
        }
    }
}

/// What each group used in one of several times that follow each other.
pub struct UsedInStep {
    pub begins: Timestamp,
    pub used: Vec<Used>,
    /// The sums of the groups that are not shown by themselves.
    pub rest: Option<Sums>,
}

/// Selects the usage of a person, a token or all, in a span of time.
#[derive(Debug, Clone, Copy)]
pub struct UsageFilter {
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    /// The quarter of an hour that holds it is the first.
    pub from: Timestamp,
    /// Quarters that begin before it.
    pub to: Timestamp,
}

/// The sums of one group.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Used {
    /// The person, the token or the hour, in microseconds. 0: none.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// The model.
    #[diesel(sql_type = Text)]
    pub word: String,
    #[diesel(embed)]
    pub sums: Sums,
}

impl Sums {
    pub fn add(&mut self, other: Sums) {
        let add = |sum: &mut i64, more| *sum = plus(*sum, more);
        add(&mut self.requests, other.requests);
        add(&mut self.failed, other.failed);
        add(&mut self.refused, other.refused);
        add(&mut self.prompt_tokens, other.prompt_tokens);
        add(&mut self.answer_tokens, other.answer_tokens);
        add(&mut self.gpu_us, other.gpu_us);
        add(&mut self.total_us, other.total_us);
    }

    /// Returns how much there is of what is measured.
    pub fn of(&self, measure: Measure) -> i64 {
        match measure {
            Measure::Any => plus(self.requests, self.refused),
            Measure::Requests => self.requests,
            Measure::Tokens => plus(self.prompt_tokens, self.answer_tokens),
            Measure::Gpu => self.gpu_us,
            Measure::Refused => self.refused,
            Measure::Failed => self.failed,
        }
    }

    /// Subtracts a part of these sums.
    fn take(&mut self, part: Sums) {
        self.requests = self.requests.saturating_sub(part.requests);
        self.failed = self.failed.saturating_sub(part.failed);
        self.refused = self.refused.saturating_sub(part.refused);
        self.prompt_tokens = self.prompt_tokens.saturating_sub(part.prompt_tokens);
        self.answer_tokens = self.answer_tokens.saturating_sub(part.answer_tokens);
        self.gpu_us = self.gpu_us.saturating_sub(part.gpu_us);
        self.total_us = self.total_us.saturating_sub(part.total_us);
    }
}

/// The largest sum. Two of them still fit into a column's 64 bits, beyond which SQLite goes on in floats.
pub const SUM_MAX: i64 = (1 << 62) - 1;

/// Adds without wrapping. A negative number, which no row should have, counts as 0.
pub fn plus(sum: i64, more: i64) -> i64 {
    sum.clamp(0, SUM_MAX).saturating_add(more.clamp(0, SUM_MAX)).min(SUM_MAX)
}

type Key = (i64, i64, i64, String);

impl Store {
    /// Adds up the rows that came since the last call. `true`: there are more.
    ///
    /// `canonical` returns the name of a model for the name of its provider and the name that was asked for.
    pub async fn follow_usage(&self, canonical: fn(&str, &ModelName) -> String) -> Result<bool, Error> {
        let (sums, from, upto, rows) = self.read(move |connection| add_up(connection, canonical)).await?;
        if rows == 0 {
            return Ok(false);
        }
        self.write(move |tx| {
            // Another call may have been faster; the sums must not be added twice.
            if audit::watermark_of(tx.connection, USAGE)? != from {
                return Ok(true);
            }
            for (key, sums) in &sums {
                upsert(tx.connection, key, sums)?;
            }
            audit::set_watermark(tx.connection, USAGE, upto)?;
            Ok(rows == ROWS_PER_STEP)
        })
        .await
    }

    /// Sums of the roll-up by group, in the order of their numbers and words, `limit` at most.
    pub async fn usage(&self, by: Group, wanted: UsageFilter, limit: usize) -> Result<Vec<Used>, Error> {
        self.read(move |connection| sums(connection, by, wanted, "1, 2", limit)).await
    }

    /// The same for the `limit` groups that were used most, and the sums of the others together, when there are more.
    pub async fn most_used(
        &self,
        by: Group,
        wanted: UsageFilter,
        measure: Measure,
        limit: usize,
    ) -> Result<(Vec<Used>, Option<Sums>), Error> {
        // One transaction: the follower must not add anything between the two.
        let both = move |connection: &mut SqliteConnection| {
            let mut used = sums(connection, by, wanted, measure.order(), limit + 1)?;
            if used.len() <= limit {
                return Ok((used, None));
            }
            used.truncate(limit);
            let all = sums(connection, Group::All, wanted, "1", 1)?;
            let mut rest = all.first().map_or(Sums::default(), |all| all.sums);
            used.iter().for_each(|shown| rest.take(shown.sums));
            Ok((used, Some(rest)))
        };
        self.read(move |connection| connection.transaction(both)).await
    }

    /// Sums of groups in each of the times that begin at one of `bounds` and end at the next. The `most` groups that used most of
    /// `measure` in the whole time are returned by themselves, and in that order.
    pub async fn usage_in_steps(
        &self,
        by: Group,
        wanted: UsageFilter,
        bounds: Vec<Timestamp>,
        measure: Measure,
        most: usize,
    ) -> Result<Vec<UsedInStep>, Error> {
        let all = move |connection: &mut SqliteConnection| {
            let places: HashMap<(i64, String), usize> = match by {
                // The one group need not be looked for.
                Group::All => HashMap::from([((0, String::new()), 0)]),
                by => {
                    let chosen = sums(connection, by, wanted, measure.order(), most)?;
                    chosen.into_iter().enumerate().map(|(place, used)| ((used.number, used.word), place)).collect()
                }
            };
            let mut steps = Vec::new();
            for bound in bounds.windows(2) {
                let within = UsageFilter { from: bound[0].max(wanted.from), to: bound[1].min(wanted.to), ..wanted };
                let (mut shown, mut rest) = (Vec::new(), None);
                for used in sums(connection, by, within, "1, 2", i64::MAX as usize)? {
                    match places.get(&(used.number, used.word.clone())) {
                        Some(place) => shown.push((*place, used)),
                        None => rest.get_or_insert(Sums::default()).add(used.sums),
                    }
                }
                shown.sort_by_key(|(place, _)| *place);
                let used = shown.into_iter().map(|(_, used)| used).collect();
                steps.push(UsedInStep { begins: bound[0], used, rest });
            }
            Ok(steps)
        };
        // One transaction: the follower must not add anything between two steps.
        self.read(move |connection| connection.transaction(all)).await
    }
}

fn sums(
    connection: &mut SqliteConnection,
    by: Group,
    wanted: UsageFilter,
    order: &'static str,
    limit: usize,
) -> QueryResult<Vec<Used>> {
    let (number, word) = by.columns();
    let UsageFilter { user_id, token_id, from, to } = wanted;
    // `sum` fails where it would wrap; `total` is a float, exact up to 2^53.
    let sum = |column: &str| format!("CAST(min(total({column}), {SUM_MAX}) AS INTEGER)");
    let [requests, failed, refused] = ["requests", "failed", "refused"].map(sum);
    let [prompt_tokens, answer_tokens] = ["prompt_tokens", "answer_tokens"].map(sum);
    let [gpu_us, total_us] = ["gpu_us", "total_us"].map(sum);
    // No input of a caller is put into the statement itself.
    let statement = format!(
        "SELECT * FROM (SELECT {number} AS number, {word} AS word, {requests} AS requests, {failed} AS failed, \
         {refused} AS refused, {prompt_tokens} AS prompt_tokens, {answer_tokens} AS answer_tokens, \
         {gpu_us} AS gpu_us, {total_us} AS total_us FROM usage \
         WHERE quarter_us >= ?1 AND quarter_us < ?2 AND (?3 IS NULL OR user_id = ?3) \
         AND (?4 IS NULL OR token_id = ?4) GROUP BY 1, 2) ORDER BY {order} LIMIT ?5"
    );
    diesel::sql_query(statement)
        .bind::<BigInt, _>(from.0 - from.0.rem_euclid(QUARTER_US))
        .bind::<BigInt, _>(to.0)
        .bind::<Nullable<BigInt>, _>(user_id)
        .bind::<Nullable<BigInt>, _>(token_id)
        .bind::<BigInt, _>(limit as i64)
        .load(connection)
}

/// What a follower of sums needs of a row.
#[derive(Queryable, Selectable)]
#[diesel(table_name = record)]
struct Ended {
    log_id: i64,
    kind: String,
    at_us: i64,
    user_id: Option<i64>,
    token_id: Option<i64>,
    provider: Option<String>,
    model_asked: Option<String>,
    outcome: Option<String>,
    prompt_tokens: Option<i64>,
    answer_tokens: Option<i64>,
    total_us: Option<i64>,
    gpu_us: Option<i64>,
    repeat: Option<i64>,
}

fn add_up(
    connection: &mut SqliteConnection,
    canonical: fn(&str, &ModelName) -> String,
) -> QueryResult<(HashMap<Key, Sums>, i64, i64, i64)> {
    let from = audit::watermark_of(connection, USAGE)?;
    let rows: Vec<Ended> = record::table
        .filter(record::log_id.gt(from))
        .filter(record::kind.ne(Kind::Intent.name()))
        .order(record::log_id)
        .limit(ROWS_PER_STEP)
        .select(Ended::as_select())
        .load(connection)?;
    let upto = rows.last().map_or(from, |row| row.log_id);
    let count = rows.len() as i64;
    let mut sums: HashMap<Key, Sums> = HashMap::new();
    for row in rows {
        let outcome = row.outcome.as_deref().and_then(Outcome::parse);
        let used = match Kind::parse(&row.kind) {
            Some(Kind::Result) => Sums {
                requests: 1,
                failed: i64::from(outcome == Some(Outcome::Failed)),
                refused: i64::from(outcome == Some(Outcome::Refused)),
                prompt_tokens: row.prompt_tokens.unwrap_or(0),
                answer_tokens: row.answer_tokens.unwrap_or(0),
                gpu_us: row.gpu_us.unwrap_or(0),
                total_us: row.total_us.unwrap_or(0),
            },
            Some(Kind::Refusal) => Sums { refused: row.repeat.unwrap_or(1), ..Sums::default() },
            _ => continue,
        };
        let quarter = row.at_us - row.at_us.rem_euclid(QUARTER_US);
        let key = (quarter, row.user_id.unwrap_or(0), row.token_id.unwrap_or(0), model_of(&row, canonical));
        sums.entry(key).or_default().add(used);
    }
    Ok((sums, from, upto, count))
}

/// The model's own name; empty: there is no such model. A row names a provider when one of its upstreams had the model.
fn model_of(row: &Ended, canonical: fn(&str, &ModelName) -> String) -> String {
    let (Some(asked), Some(provider)) = (&row.model_asked, &row.provider) else { return String::new() };
    // The name was checked when it was asked for.
    ModelName::parse(asked).map_or(String::new(), |model| canonical(provider, &model))
}

fn upsert(connection: &mut SqliteConnection, key: &Key, sums: &Sums) -> QueryResult<()> {
    let (quarter, user_id, token_id, model) = key;
    let columns = ["requests", "failed", "refused", "prompt_tokens", "answer_tokens", "gpu_us", "total_us"];
    let added = columns.map(|column| format!("{column} = min({column} + excluded.{column}, {SUM_MAX})")).join(", ");
    diesel::sql_query(format!(
        "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (quarter_us, user_id, token_id, model) DO UPDATE SET {added}"
    ))
    .bind::<BigInt, _>(quarter)
    .bind::<BigInt, _>(user_id)
    .bind::<BigInt, _>(token_id)
    .bind::<Text, _>(model)
    .bind::<BigInt, _>(sums.requests)
    .bind::<BigInt, _>(sums.failed)
    .bind::<BigInt, _>(sums.refused)
    .bind::<BigInt, _>(sums.prompt_tokens)
    .bind::<BigInt, _>(sums.answer_tokens)
    .bind::<BigInt, _>(sums.gpu_us)
    .bind::<BigInt, _>(sums.total_us)
    .execute(connection)
    .map(drop)
}
