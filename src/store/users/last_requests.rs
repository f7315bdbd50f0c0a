//! When people last asked for something.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::schema::record;

impl Store {
    /// Returns the time of the last request of each of these people, refused ones included. Who never sent one is left out.
    pub async fn last_requests(&self, people: Vec<i64>) -> Result<HashMap<i64, Timestamp>, Error> {
        self.read(move |connection| {
            let mut found = HashMap::new();
            for person in people {
                // One look into the index of a person's rows, which reads back over the acts and results that came later.
                let last: Option<i64> = record::table
                    .filter(record::user_id.eq(person))
                    .filter(record::kind.ne(Kind::Act.name()))
                    .filter(record::kind.ne(Kind::Result.name()))
                    .order(record::log_id.desc())
                    .select(record::at_us)
                    .first(connection)
                    .optional()?;
                found.extend(last.map(|at| (person, Timestamp(at))));
            }
            Ok(found)
        })
        .await
    }
}
