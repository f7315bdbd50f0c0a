//! Acts that say which contents and rows may be missing, and which keys were made.
//!
//! An act that was added or changed is a fault of its row, so it is believed here: the record does not verify in any case.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};

use crate::model::record::Act;

/// What the receipts in the chain allow.
#[derive(Debug, Default)]
pub struct Receipts {
    /// Deleted people, and the row of the act.
    deleted: HashMap<i64, i64>,
    /// Contents of requests and refusals that ended up to this row are erased, and the row of the act.
    expired: BTreeMap<i64, i64>,
    /// Rows up to this one are removed, and the row of the act.
    pub removed: Option<(i64, i64)>,
    /// Keys in base64, with the row up to which the chain went when they were made.
    keys: Vec<(i64, String)>,
}

#[derive(QueryableByName)]
struct ReceiptRow {
    #[diesel(sql_type = BigInt)]
    log_id: i64,
    #[diesel(sql_type = Text)]
    act: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    subject_id: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    detail: Option<Vec<u8>>,
}

impl Receipts {
    pub fn read(connection: &mut SqliteConnection) -> QueryResult<Receipts> {
        let acts = [Act::UserDeleted, Act::ContentsExpired, Act::RowsRemoved, Act::CheckpointKeyMade];
        let acts = acts.map(|act| format!("'{}'", act.name())).join(", ");
        // An act counts once it is in the chain.
        let rows = diesel::sql_query(format!(
            "SELECT log_id, act, CAST(subject_id AS INTEGER) AS subject_id, CAST(body AS BLOB) AS detail \
             FROM record LEFT JOIN record_part USING (log_id) \
             WHERE act IN ({acts}) AND log_id <= (SELECT max(log_id) FROM chain) ORDER BY log_id"
        ));
        let mut receipts = Receipts::default();
        for row in rows.load_iter::<ReceiptRow, diesel::connection::DefaultLoadingMode>(connection)? {
            receipts.add(row?);
        }
        Ok(receipts)
    }

    fn add(&mut self, row: ReceiptRow) {
        let detail = String::from_utf8_lossy(row.detail.as_deref().unwrap_or(b"{}"));
        // It was changed, which is a fault of its row.
        let Ok(detail) = serde_json::from_str::<serde_json::Value>(&detail) else { return };
        // An act allows nothing to be missing that was written after it. Details of acts that are older than the chain are not
        // covered by it.
        let to = detail["to_log_id"].as_i64().unwrap_or(0).min(row.log_id.saturating_sub(1));
        match Act::parse(&row.act) {
            Some(Act::UserDeleted) => {
                self.deleted.extend(row.subject_id.map(|person| (person, row.log_id)));
            }
            Some(Act::ContentsExpired) => {
                self.expired.entry(to).or_insert(row.log_id);
            }
            Some(Act::RowsRemoved) if to > self.removed_to() => self.removed = Some((to, row.log_id)),
            Some(Act::CheckpointKeyMade) => {
                let after = detail["made_after_log_id"].as_i64().unwrap_or(0);
                self.keys.extend(detail["public_key"].as_str().map(|key| (after, key.to_owned())));
            }
            _ => {}
        }
    }

    /// Returns up to which row rows may be missing.
    pub fn removed_to(&self) -> i64 {
        self.removed.map_or(0, |(to, _)| to)
    }

    pub fn is_deleted(&self, person: i64) -> bool {
        self.deleted.contains_key(&person)
    }

    /// Returns the act that allows that the contents of a request or refusal are missing, which ended in row `log_id`.
    pub fn of_contents(&self, person: Option<i64>, log_id: i64) -> Option<(Act, i64)> {
        let deleted = person.and_then(|person| self.deleted.get(&person)).filter(|act| log_id <= **act);
        let expired = self.expired.range(log_id..).next();
        deleted.map(|act| (Act::UserDeleted, *act)).or(expired.map(|(_, act)| (Act::ContentsExpired, *act)))
    }

    /// Returns the key, in base64, that signs checkpoints about a row. `None`: its act was removed with its row. Without any act,
    /// there was one key ever since, `newest`.
    pub fn key_at<'a>(&'a self, log_id: i64, newest: Option<&'a str>) -> Option<&'a str> {
        if self.keys.is_empty() {
            return newest;
        }
        self.keys.iter().rev().find(|(after, _)| *after < log_id).map(|(_, key)| key.as_str())
    }
}
