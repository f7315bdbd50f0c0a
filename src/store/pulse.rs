//! Requests per interval of time, from the sums of usage: fast, however many rows the record has.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::store::Store;
use crate::store::usage::{QUARTER_US, SUM_MAX};

/// Selects the requests to count, by person and time.
#[derive(Debug, Clone)]
pub struct PulseFilter {
    pub user_id: Option<i64>,
    pub token_id: Option<i64>,
    /// The model's canonical name.
    pub model: Option<String>,
    /// The quarter of an hour that holds it is the first.
    pub from: Timestamp,
    /// Quarters that begin before it.
    pub to: Timestamp,
}

/// The counts of one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Counted {
    /// When the interval begins, in microseconds.
    #[diesel(sql_type = BigInt)]
    pub begins_us: i64,
    #[diesel(sql_type = BigInt)]
    pub requests: i64,
    #[diesel(sql_type = BigInt)]
    pub refused: i64,
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
}

impl Store {
    /// Counts requests per interval of `quarters` quarters of an hour, counted from midnight UTC. Intervals without any are left
    /// out.
    pub async fn pulse(&self, wanted: PulseFilter, quarters: i64) -> Result<Vec<Counted>, Error> {
        let PulseFilter { user_id, token_id, model, from, to } = wanted;
        let sum = |column: &str| format!("CAST(min(total({column}), {SUM_MAX}) AS INTEGER) AS {column}");
        let interval = quarters.max(1) * QUARTER_US;
        // No input of a caller is put into the statement itself.
        let statement = format!(
            "SELECT quarter_us - quarter_us % {interval} AS begins_us, {}, {}, {} FROM usage \
             WHERE quarter_us >= ?1 AND quarter_us < ?2 AND (?3 IS NULL OR user_id = ?3) \
             AND (?4 IS NULL OR token_id = ?4) AND (?5 IS NULL OR model = ?5) GROUP BY 1 ORDER BY 1",
            sum("requests"),
            sum("refused"),
            sum("failed"),
        );
        self.read(move |connection| {
            diesel::sql_query(statement)
                .bind::<BigInt, _>(from.0 - from.0.rem_euclid(QUARTER_US))
                .bind::<BigInt, _>(to.0)
                .bind::<Nullable<BigInt>, _>(user_id)
                .bind::<Nullable<BigInt>, _>(token_id)
                .bind::<Nullable<Text>, _>(model)
                .load(connection)
        })
        .await
    }
}
