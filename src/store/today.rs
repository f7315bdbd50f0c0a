//! Usage of one day by user and token: the sums, and the rows of the record that are not summed up yet.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::base::clock::zone::Day;
use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::audit::{last_before, watermark_of};
use crate::store::schema::{record, usage};
use crate::store::usage::{QUARTER_US, USAGE, plus};

/// What one user used with one token, or without a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsedInDay {
    pub user_id: i64,
    pub token_id: Option<i64>,
    pub requests: i64,
    /// Model tokens of prompts and answers.
    pub tokens: i64,
    pub gpu_us: i64,
}

type Sums = HashMap<(i64, i64), UsedInDay>;

impl Store {
    /// Returns what the requests used that ended in `day`. Days begin on a quarter of an hour; in a zone where they didn't, what is left
    /// of that quarter counts, too.
    pub async fn used_in(&self, day: Day) -> Result<Vec<UsedInDay>, Error> {
        // One transaction: the follower moves sums and watermark together.
        let sums = self.read(move |connection| connection.transaction(|connection| add_up(connection, day))).await?;
        Ok(sums.into_values().collect())
    }
}

fn add_up(connection: &mut SqliteConnection, day: Day) -> QueryResult<Sums> {
    let begins = day.begins.0 - day.begins.0.rem_euclid(QUARTER_US);
    let mut sums = Sums::new();
    let mut add = |user_id: i64, token_id: i64, requests: i64, tokens: i64, gpu_us: i64| {
        // Nobody that is known.
        if user_id == 0 {
            return;
        }
        let sum = sums.entry((user_id, token_id)).or_default();
        (sum.user_id, sum.token_id) = (user_id, Some(token_id).filter(|id| *id != 0));
        sum.requests = plus(sum.requests, requests);
        sum.tokens = plus(sum.tokens, tokens);
        sum.gpu_us = plus(sum.gpu_us, gpu_us);
    };

    let rolled_up = usage::table
        .filter(usage::quarter_us.ge(begins))
        .filter(usage::quarter_us.lt(day.ends.0))
        .select((
            usage::user_id,
            usage::token_id,
            usage::requests,
            usage::prompt_tokens,
            usage::answer_tokens,
            usage::gpu_us,
        ))
        .load::<(i64, i64, i64, i64, i64, i64)>(connection)?;
    for (user_id, token_id, requests, prompt, answer, gpu_us) in rolled_up {
        add(user_id, token_id, requests, plus(prompt, answer), gpu_us);
    }

    type Line = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let behind = watermark_of(connection, USAGE)?.max(last_before(connection, crate::base::clock::Timestamp(begins))?);
    let tail = record::table
        .filter(record::log_id.gt(behind))
        .filter(record::kind.eq(Kind::Result.name()))
        .filter(record::at_us.lt(day.ends.0))
        .select((record::user_id, record::token_id, record::prompt_tokens, record::answer_tokens, record::gpu_us))
        .load_iter::<Line, diesel::connection::DefaultLoadingMode>(connection)?;
    for line in tail {
        let (user_id, token_id, prompt, answer, gpu_us) = line?;
        let tokens = plus(prompt.unwrap_or(0), answer.unwrap_or(0));
        add(user_id.unwrap_or(0), token_id.unwrap_or(0), 1, tokens, gpu_us.unwrap_or(0));
    }
    Ok(sums)
}
