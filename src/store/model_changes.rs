//! Changes of the models of upstreams in the record: an act when one is about to be forwarded, another when it has ended.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use diesel::prelude::*;
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::record::{Act, GATEWAY_STOPPED, Kind, Outcome};
use crate::store::Store;
use crate::store::audit::{NewRow, PART_DETAIL, Row, insert_act_row};
use crate::store::schema::{record, record_part};

/// A change of models as the record keeps it.
#[derive(Debug, Clone)]
pub struct ModelChangeNote {
    pub id: RequestId,
    pub user_id: i64,
    pub token_id: Option<i64>,
    pub credential: &'static str,
    pub api: &'static str,
    /// The name of the upstream.
    pub upstream: String,
    pub model: Option<String>,
    /// What is done, and the request as it is forwarded.
    pub detail: Map<String, Value>,
}

/// How a change of models ended.
#[derive(Debug, Clone, Copy)]
pub struct ModelChangeEnd {
    pub outcome: Outcome,
    /// The code of an error.
    pub reason: Option<&'static str>,
    pub took: Duration,
}

impl ModelChangeNote {
    fn row(&self, act: Act) -> NewRow {
        NewRow {
            kind: Kind::Act,
            request_id: self.id.0.into_bytes(),
            user_id: Some(self.user_id),
            token_id: self.token_id,
            act: Some(act),
            credential: Some(self.credential.into()),
            api: Some(self.api.into()),
            host: Some(self.upstream.clone()),
            model_asked: self.model.clone(),
            ..NewRow::default()
        }
    }
}

impl Store {
    /// Writes that a change is about to be forwarded, and returns after the sync.
    pub async fn note_model_change(&self, note: &ModelChangeNote) -> Result<(), Error> {
        let (row, detail) = (note.row(Act::ModelChangeBegun), json(note.detail.clone()));
        self.write(move |tx| {
            insert_act_row(tx.connection, tx.now, &row, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Writes how a change ended, and returns after the sync.
    pub async fn note_model_change_end(&self, note: &ModelChangeNote, end: ModelChangeEnd) -> Result<(), Error> {
        let row = NewRow {
            outcome: Some(end.outcome),
            reason: end.reason,
            total_us: Some(i64::try_from(end.took.as_micros()).unwrap_or(i64::MAX)),
            ..note.row(Act::ModelChangeEnded)
        };
        let detail = json(ended(note.detail.clone(), end.outcome, end.reason));
        self.write(move |tx| {
            insert_act_row(tx.connection, tx.now, &row, Some(detail))?;
            Ok(())
        })
        .await
    }

    /// Writes an end `interrupted` for every change that an earlier process left without one.
    pub async fn close_model_changes(&self) -> Result<usize, Error> {
        self.write(|tx| {
            let of = |act: Act| record::table.filter(record::act.eq(act.name()));
            let begun: Vec<Row> =
                of(Act::ModelChangeBegun).order(record::log_id).select(Row::as_select()).load(tx.connection)?;
            let ended_ids: Vec<Vec<u8>> = of(Act::ModelChangeEnded).select(record::request_id).load(tx.connection)?;
            let ended_ids: HashSet<Vec<u8>> = ended_ids.into_iter().collect();
            let mut closed = 0;
            for row in begun.into_iter().filter(|row| !ended_ids.contains(&row.request_id)) {
                let detail: Option<Vec<u8>> = record_part::table
                    .filter(record_part::log_id.eq(row.log_id).and(record_part::kind.eq(PART_DETAIL)))
                    .select(record_part::body)
                    .first(tx.connection)
                    .optional()?;
                let detail = detail.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
                let (outcome, reason) = (Outcome::Interrupted, Some(GATEWAY_STOPPED));
                let end = NewRow {
                    kind: Kind::Act,
                    request_id: row.request_id.as_slice().try_into().map_err(Error::internal)?,
                    user_id: row.user_id,
                    token_id: row.token_id,
                    act: Some(Act::ModelChangeEnded),
                    credential: row.credential.map(Cow::Owned),
                    api: row.api.map(Cow::Owned),
                    host: row.host,
                    model_asked: row.model_asked,
                    outcome: Some(outcome),
                    reason,
                    ..NewRow::default()
                };
                insert_act_row(tx.connection, tx.now, &end, Some(json(ended(detail, outcome, reason))))?;
                closed += 1;
            }
            Ok(closed)
        })
        .await
    }
}

/// Returns the detail of an end. It has what was done, but not the request again.
fn ended(mut detail: Map<String, Value>, outcome: Outcome, reason: Option<&str>) -> Map<String, Value> {
    detail.remove("request");
    detail.insert("outcome".into(), outcome.name().into());
    if let Some(reason) = reason {
        detail.insert("reason".into(), reason.into());
    }
    detail
}

fn json(detail: Map<String, Value>) -> String {
    Value::Object(detail).to_string()
}
