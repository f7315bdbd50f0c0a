//! When people last asked for something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::audit::newest_log_id;
use crate::store::schema::record;

/// What was found of each person, so that the next look only reads the rows that came since: an admin may have many thousands of
/// acts since their last request.
pub type LastLooks = Arc<Mutex<HashMap<i64, LastLook>>>;

/// One person's last request, as of a row of the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct LastLook {
    upto_log_id: i64,
    at_us: Option<i64>,
}

impl Store {
    /// Returns the time of the last request of each of these people, refused ones included. Who never sent one is left out.
    pub async fn last_requests(&self, people: Vec<i64>) -> Result<HashMap<i64, Timestamp>, Error> {
        let looks = self.last_looks.clone();
        self.read(move |connection| {
            let newest = newest_log_id(connection)?;
            let mut found = HashMap::new();
            for person in people {
                let before = lock(&looks).get(&person).copied().unwrap_or_default();
                // One look into the index of a person's rows, which reads back over the acts and results that came later.
                let since: Option<i64> = record::table
                    .filter(record::user_id.eq(person))
                    .filter(record::log_id.gt(before.upto_log_id))
                    .filter(record::kind.ne(Kind::Act.name()))
                    .filter(record::kind.ne(Kind::Result.name()))
                    .order(record::log_id.desc())
                    .select(record::at_us)
                    .first(connection)
                    .optional()?;
                let at_us = since.or(before.at_us);
                lock(&looks).insert(person, LastLook { upto_log_id: newest, at_us });
                found.extend(at_us.map(|at| (person, Timestamp(at))));
            }
            Ok(found)
        })
        .await
    }
}

fn lock(looks: &LastLooks) -> std::sync::MutexGuard<'_, HashMap<i64, LastLook>> {
    looks.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Live, Settings};

    #[tokio::test]
    async fn a_look_finds_what_came_since_the_last_one_and_keeps_what_was_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let row = |kind: &'static str, at: i64| {
            let store = store.clone();
            async move {
                let row = format!(
                    "INSERT INTO record (kind, at_us, request_id, user_id) VALUES ('{kind}', {at}, zeroblob(16), 7)"
                );
                store.write(move |tx| Ok(diesel::sql_query(row).execute(tx.connection)?)).await.unwrap();
            }
        };
        let last = async || store.last_requests(vec![7, 8]).await.unwrap();

        row("act", 1).await;
        assert_eq!(last().await, HashMap::new());
        row("intent", 2).await;
        row("result", 3).await;
        assert_eq!(last().await, HashMap::from([(7, Timestamp(2))]));
        row("act", 4).await;
        assert_eq!(last().await, HashMap::from([(7, Timestamp(2))]));
        row("refusal", 5).await;
        assert_eq!(last().await, HashMap::from([(7, Timestamp(5))]));
        store.close();
    }
}
