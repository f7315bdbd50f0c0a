//! Answers that their own clients fetch, follow and delete by the id of the request.

use std::time::Duration;

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::kept::missing_answer;
use crate::model::people::Actor;
use crate::model::record::{Act, Kind, Outcome};
use crate::store::Store;
use crate::store::audit::reading::{contents, contents_of_answer, last_before};
use crate::store::audit::writing::insert_act;
use crate::store::audit::{PART_DETAIL, Row, StoredPart};
use crate::store::schema::{record, record_part};

/// Whose answer is looked for.
#[derive(Debug, Clone, Copy)]
pub struct KeptFor {
    pub request: RequestId,
    pub user_id: i64,
    /// Only one that this token made; `None`: any of the user.
    pub token_id: Option<i64>,
    /// The route that it was made by.
    pub api: &'static str,
}

/// A request that was completed, with its contents.
#[derive(Debug)]
pub struct KeptRequest {
    pub intent: Row,
    pub result: Row,
    pub provider: Option<String>,
    pub parts: Vec<StoredPart>,
}

/// The longest time between a request's id and its intent: its body is read in between.
const INTENT_LATE_MAX: Duration = Duration::from_secs(2 * 60 * 60);

impl Store {
    /// Returns a request that was completed and not deleted. Those of others are passed over like rows of any other request.
    pub async fn kept_request(&self, wanted: KeptFor) -> Result<Option<KeptRequest>, Error> {
        self.read(move |connection| kept(connection, wanted, contents)).await
    }

    /// Returns the same for several, without what was asked. `None`: one of them is missing.
    pub async fn kept_answers(&self, wanted: Vec<KeptFor>) -> Result<Option<Vec<KeptRequest>>, Error> {
        let of_one = |connection: &mut SqliteConnection, wanted| kept(connection, wanted, contents_of_answer);
        self.read(move |connection| wanted.into_iter().map(|wanted| of_one(connection, wanted)).collect()).await
    }

    /// Deletes an answer for its clients. The record keeps it: a row says that it was deleted.
    pub async fn delete_answer(&self, by: Actor, wanted: KeptFor) -> Result<(), Error> {
        self.write(move |tx| {
            if is_deleted(tx.connection, wanted)? {
                return Err(missing_answer().into());
            }
            let detail = Some(deletion_of(wanted.request));
            insert_act(tx.connection, tx.now, Act::ResponseDeleted, by.0, Some(wanted.user_id), detail)?;
            Ok(())
        })
        .await
    }
}

/// Reads the parts of a request.
type PartsOf = fn(&mut SqliteConnection, i64) -> QueryResult<Vec<StoredPart>>;

fn deletion_of(request: RequestId) -> String {
    serde_json::json!({ "request_id": request.to_string() }).to_string()
}

fn kept(connection: &mut SqliteConnection, wanted: KeptFor, parts: PartsOf) -> QueryResult<Option<KeptRequest>> {
    let Some(made) = wanted.request.0.get_timestamp() else { return Ok(None) };
    let (seconds, nanos) = made.to_unix();
    let made = Timestamp(i64::try_from(seconds * 1_000_000 + u64::from(nanos) / 1000).unwrap_or(0));
    // Request ids hold their time, and rows are in the order of time.
    let (older, newest) = (last_before(connection, made)?, last_before(connection, made.plus(INTENT_LATE_MAX))?);
    let mut intents = record::table
        .filter(record::user_id.eq(wanted.user_id))
        .filter(record::log_id.gt(older))
        .filter(record::log_id.le(newest))
        .filter(record::request_id.eq(wanted.request.0.as_bytes().to_vec()))
        .filter(record::kind.eq(Kind::Intent.name()))
        .filter(record::api.eq(wanted.api))
        .into_boxed();
    if let Some(token) = wanted.token_id {
        intents = intents.filter(record::token_id.eq(token));
    }
    let intent: Option<(Row, Option<String>)> =
        intents.select((Row::as_select(), record::provider)).first(connection).optional()?;
    let Some((intent, provider)) = intent else { return Ok(None) };
    let result: Option<Row> = record::table
        .filter(record::log_id.gt(intent.log_id))
        .filter(record::user_id.eq(wanted.user_id))
        .filter(record::intent_id.eq(intent.log_id))
        .select(Row::as_select())
        .first(connection)
        .optional()?;
    let Some(result) = result.filter(|row| row.outcome.as_deref() == Some(Outcome::Completed.name())) else {
        return Ok(None);
    };
    if is_deleted(connection, wanted)? {
        return Ok(None);
    }
    let parts = parts(connection, intent.log_id)?;
    Ok(Some(KeptRequest { intent, result, provider, parts }))
}

fn is_deleted(connection: &mut SqliteConnection, wanted: KeptFor) -> QueryResult<bool> {
    let deletion = record::table
        .inner_join(record_part::table.on(record_part::log_id.eq(record::log_id)))
        .filter(record::subject_id.eq(wanted.user_id))
        .filter(record::act.eq(Act::ResponseDeleted.name()))
        .filter(record_part::kind.eq(PART_DETAIL))
        .filter(record_part::body.eq(deletion_of(wanted.request).into_bytes()))
        .select(record::log_id);
    Ok(deletion.first::<i64>(connection).optional()?.is_some())
}
