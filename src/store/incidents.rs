//! What a report about an incident reads of the record: its rows in order, in pieces, and what covers them.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::commitment::SALT_BYTES;
use crate::model::people::Actor;
use crate::model::record::Act;
use crate::store::audit::{PART_ADDRESS, PART_ORIGIN, insert_act, last_before};
use crate::store::chain::CheckpointRow;
use crate::store::people::check_acting_admin;
use crate::store::schema::{checkpoints, record};
use crate::store::usage::{QUARTER_US, SUM_MAX};
use crate::store::{Store, retention};

/// A part of the record: the rows of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowSpan {
    /// Rows after this one, up to and with `last`.
    pub after: i64,
    pub last: i64,
    /// The newest row that was there when the span was found.
    pub newest: i64,
    /// When the oldest row was written that is still there.
    pub oldest_at: Option<Timestamp>,
    /// Contents up to this row were erased for their age.
    pub erased_to: i64,
}

impl RowSpan {
    /// Returns how many rows there are at most.
    pub fn rows_max(self) -> i64 {
        self.last.saturating_sub(self.after)
    }
}

/// What a report needs of a row.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = record)]
pub struct IncidentRow {
    pub log_id: i64,
    pub kind: String,
    pub at_us: i64,
    pub intent_id: Option<i64>,
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub act: Option<String>,
    pub subject_id: Option<i64>,
    pub api: Option<String>,
    pub host: Option<String>,
    pub attempt: Option<i64>,
    pub model_asked: Option<String>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub prompt_tokens: Option<i64>,
    pub queued_us: Option<i64>,
    pub total_us: Option<i64>,
    pub gpu_us: Option<i64>,
    pub load_us: Option<i64>,
    pub until_us: Option<i64>,
    pub repeat: Option<i64>,
}

/// How many requests came from an address, and whose they were. 0: no known person, or no token.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct AddressCount {
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = BigInt)]
    pub token_id: i64,
    #[diesel(sql_type = Text)]
    pub address: String,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
}

/// What a person did by a token in some quarters of an hour. 0: no known person, or no token.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct UsualSum {
    #[diesel(sql_type = BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = BigInt)]
    pub token_id: i64,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub gpu_us: i64,
}

/// The checkpoints around the rows of a time.
#[derive(Debug, Clone, Default)]
pub struct CheckpointsAround {
    /// The last one that covers none of them.
    pub before: Option<CheckpointRow>,
    /// Those that cover some of them; the first ones, if there are too many.
    pub within: Vec<CheckpointRow>,
    /// How many there are.
    pub within_count: i64,
    /// The first one that covers all of them.
    pub covering: Option<CheckpointRow>,
}

/// Checkpoints that are read by themselves: those of a day.
const WITHIN_MAX: i64 = 24;

impl Store {
    /// Waits until everything that was handed to the writer before is on disk.
    pub async fn until_written(&self) -> Result<(), Error> {
        self.write(|_| Ok(())).await
    }

    /// Finds the rows that were written at `from` or later and before `to`.
    pub async fn rows_between(&self, from: Timestamp, to: Timestamp) -> Result<RowSpan, Error> {
        self.read(move |connection| {
            let newest: Option<i64> = record::table.select(diesel::dsl::max(record::log_id)).first(connection)?;
            let oldest = record::table.select(record::at_us).order(record::log_id).first(connection).optional()?;
            Ok(RowSpan {
                after: last_before(connection, from)?,
                last: last_before(connection, to)?,
                newest: newest.unwrap_or(0),
                oldest_at: oldest.map(Timestamp),
                erased_to: retention::erased_to(connection)?,
            })
        })
        .await
    }

    /// Returns the next rows after one, up to and with `last`, `limit` at most.
    pub async fn incident_rows(&self, after: i64, last: i64, limit: i64) -> Result<Vec<IncidentRow>, Error> {
        self.read(move |connection| {
            record::table
                .filter(record::log_id.gt(after))
                .filter(record::log_id.le(last))
                .order(record::log_id)
                .limit(limit)
                .select(IncidentRow::as_select())
                .load(connection)
        })
        .await
    }

    /// Counts the requests of each person and token by the client's address, the largest counts first. Of more than `rows_max`
    /// rows, the last ones are counted: an address is kept beside each request.
    pub async fn addresses_between(
        &self,
        span: RowSpan,
        rows_max: i64,
        limit: usize,
    ) -> Result<Vec<AddressCount>, Error> {
        let after = span.after.max(span.last.saturating_sub(rows_max));
        let begin = SALT_BYTES + 1;
        // No input of a caller is put into the statement itself. Refusals are kept with how often they came.
        let statement = format!(
            "SELECT coalesce(user_id, 0) AS user_id, coalesce(token_id, 0) AS token_id, \
             CAST(CASE part.kind WHEN '{PART_ORIGIN}' THEN substr(body, {begin}) ELSE body END AS TEXT) AS address, \
             CAST(min(total(coalesce(repeat, 1)), {SUM_MAX}) AS INTEGER) AS requests \
             FROM record JOIN record_part AS part ON part.log_id = record.log_id \
             WHERE record.log_id > ?1 AND record.log_id <= ?2 AND record.kind IN ('intent', 'refusal') \
             AND part.kind IN ('{PART_ORIGIN}', '{PART_ADDRESS}') \
             GROUP BY 1, 2, 3 HAVING address <> '' ORDER BY requests DESC, 3 LIMIT ?3"
        );
        self.read(move |connection| {
            diesel::sql_query(statement)
                .bind::<BigInt, _>(after)
                .bind::<BigInt, _>(span.last)
                .bind::<BigInt, _>(limit as i64)
                .load(connection)
        })
        .await
    }

    /// Sums what people did by which token in the quarters of an hour from `from` on and before `to`.
    pub async fn usual_sums(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<UsualSum>, Error> {
        let sum = |what: &str| format!("CAST(min(total({what}), {SUM_MAX}) AS INTEGER)");
        let statement = format!(
            "SELECT user_id, token_id, {} AS requests, {} AS gpu_us FROM usage \
             WHERE quarter_us >= ?1 AND quarter_us < ?2 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT ?3",
            sum("requests + refused"),
            sum("gpu_us")
        );
        let whole = |time: Timestamp| time.0 - time.0.rem_euclid(QUARTER_US);
        self.read(move |connection| {
            diesel::sql_query(statement)
                .bind::<BigInt, _>(whole(from))
                .bind::<BigInt, _>(whole(to))
                .bind::<BigInt, _>(limit as i64)
                .load(connection)
        })
        .await
    }

    /// Returns the checkpoints around the rows of a time.
    pub async fn checkpoints_around(&self, span: RowSpan) -> Result<CheckpointsAround, Error> {
        self.read(move |connection| {
            let one = || checkpoints::table.select(CheckpointRow::as_select());
            let within = || {
                checkpoints::table.filter(checkpoints::log_id.gt(span.after)).filter(checkpoints::log_id.lt(span.last))
            };
            Ok(CheckpointsAround {
                before: one()
                    .filter(checkpoints::log_id.le(span.after))
                    .order(checkpoints::log_id.desc())
                    .first(connection)
                    .optional()?,
                within: within()
                    .order(checkpoints::log_id)
                    .limit(WITHIN_MAX)
                    .select(CheckpointRow::as_select())
                    .load(connection)?,
                within_count: within().count().get_result(connection)?,
                covering: one()
                    .filter(checkpoints::log_id.ge(span.last))
                    .order(checkpoints::log_id)
                    .first(connection)
                    .optional()?,
            })
        })
        .await
    }

    /// Notes that a report was made, and whether it shows how prompts begin.
    pub async fn note_incident_report(
        &self,
        by: Actor,
        from: Timestamp,
        to: Timestamp,
        contents: bool,
    ) -> Result<(), Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let detail = serde_json::json!({ "from": from.rfc3339(), "to": to.rfc3339(), "contents": contents });
            insert_act(tx.connection, tx.now, Act::IncidentReportMade, by.0, None, Some(detail.to_string()))?;
            Ok(())
        })
        .await
    }
}
