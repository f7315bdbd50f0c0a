//! What was used, by person, token, model and quarter of an hour: a follower of the record keeps the sums.
//!
//! It never stands in the way of a commit, and is at most a moment behind.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::schema::{record, usage};
use crate::store::{Store, audit};

/// How far the follower has come.
const USAGE: &str = "usage";

/// Rows that are added up in one transaction.
const ROWS_PER_STEP: i64 = 2_000;

const QUARTER_US: i64 = 15 * 60 * 1_000_000;

/// Sums of what was used. Tokens as the models count them, times in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: i64,
    pub failed: i64,
    pub refused: i64,
    pub prompt_tokens: i64,
    pub answer_tokens: i64,
    pub gpu_us: i64,
    pub total_us: i64,
}

impl Sums {
    pub fn add(&mut self, other: Sums) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.refused += other.refused;
        self.prompt_tokens += other.prompt_tokens;
        self.answer_tokens += other.answer_tokens;
        self.gpu_us += other.gpu_us;
        self.total_us += other.total_us;
    }
}

/// One row of the roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub quarter: Timestamp,
    pub user_id: i64,
    pub model: String,
    pub sums: Sums,
}

type Key = (i64, i64, i64, String);

impl Store {
    /// Adds up the rows that came since the last call. `true`: there are more.
    pub async fn follow_usage(&self) -> Result<bool, Error> {
        let (sums, from, upto, rows) = self.read(add_up).await?;
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

    /// The roll-up from `from` until before `to`, of one person or of everybody.
    pub async fn usage(&self, user_id: Option<i64>, from: Timestamp, to: Timestamp) -> Result<Vec<Used>, Error> {
        self.read(move |connection| {
            let mut query = usage::table
                .filter(usage::quarter_us.ge(from.0 - from.0.rem_euclid(QUARTER_US)))
                .filter(usage::quarter_us.lt(to.0))
                .select((
                    (usage::quarter_us, usage::user_id, usage::model),
                    (usage::requests, usage::failed, usage::refused),
                    (usage::prompt_tokens, usage::answer_tokens, usage::gpu_us, usage::total_us),
                ))
                .order((usage::quarter_us, usage::user_id, usage::model))
                .into_boxed();
            if let Some(id) = user_id {
                query = query.filter(usage::user_id.eq(id));
            }
            type Line = ((i64, i64, String), (i64, i64, i64), (i64, i64, i64, i64));
            let lines: Vec<Line> = query.load(connection)?;
            let used = |((quarter, user_id, model), (requests, failed, refused), tail): Line| {
                let (prompt_tokens, answer_tokens, gpu_us, total_us) = tail;
                let sums = Sums { requests, failed, refused, prompt_tokens, answer_tokens, gpu_us, total_us };
                Used { quarter: Timestamp(quarter), user_id, model, sums }
            };
            Ok(lines.into_iter().map(used).collect())
        })
        .await
    }
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
    model_asked: Option<String>,
    outcome: Option<String>,
    prompt_tokens: Option<i64>,
    answer_tokens: Option<i64>,
    total_us: Option<i64>,
    gpu_us: Option<i64>,
    repeat: Option<i64>,
}

fn add_up(connection: &mut SqliteConnection) -> QueryResult<(HashMap<Key, Sums>, i64, i64, i64)> {
    let from = audit::watermark_of(connection, USAGE)?;
    let rows: Vec<Ended> = record::table
        .filter(record::log_id.gt(from))
        .filter(record::kind.ne(audit::INTENT))
        .order(record::log_id)
        .limit(ROWS_PER_STEP)
        .select(Ended::as_select())
        .load(connection)?;
    let upto = rows.last().map_or(from, |row| row.log_id);
    let count = rows.len() as i64;
    let mut sums: HashMap<Key, Sums> = HashMap::new();
    for row in rows {
        let used = match row.kind.as_str() {
            audit::RESULT => Sums {
                requests: 1,
                failed: i64::from(row.outcome.as_deref() == Some("failed")),
                refused: i64::from(row.outcome.as_deref() == Some("refused")),
                prompt_tokens: row.prompt_tokens.unwrap_or(0),
                answer_tokens: row.answer_tokens.unwrap_or(0),
                gpu_us: row.gpu_us.unwrap_or(0),
                total_us: row.total_us.unwrap_or(0),
            },
            audit::REFUSAL => Sums { refused: row.repeat.unwrap_or(1), ..Sums::default() },
            _ => continue,
        };
        let quarter = row.at_us - row.at_us.rem_euclid(QUARTER_US);
        let model = row.model_asked.unwrap_or_default();
        sums.entry((quarter, row.user_id.unwrap_or(0), row.token_id.unwrap_or(0), model)).or_default().add(used);
    }
    Ok((sums, from, upto, count))
}

fn upsert(connection: &mut SqliteConnection, key: &Key, sums: &Sums) -> QueryResult<()> {
    let (quarter, user_id, token_id, model) = key;
    diesel::sql_query(
        "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (quarter_us, user_id, token_id, model) DO UPDATE SET requests = requests + excluded.requests, \
         failed = failed + excluded.failed, refused = refused + excluded.refused, \
         prompt_tokens = prompt_tokens + excluded.prompt_tokens, answer_tokens = answer_tokens + excluded.answer_tokens, \
         gpu_us = gpu_us + excluded.gpu_us, total_us = total_us + excluded.total_us",
    )
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
