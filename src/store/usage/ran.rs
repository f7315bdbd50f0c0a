//! When requests waited and ran, for the story of the GPU.

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::record::Kind;
use crate::store::Store;
use crate::store::audit::last_before;
use crate::store::schema::record;

/// What a request that has ended tells about the time that it took.
#[derive(Debug, Clone, Copy, Default, Queryable, Selectable)]
#[diesel(table_name = record)]
pub struct Ran {
    pub user_id: Option<i64>,
    /// When it ended.
    pub at_us: i64,
    pub queued_us: Option<i64>,
    /// From its arrival to its end.
    pub total_us: Option<i64>,
    pub gpu_us: Option<i64>,
}

impl Store {
    /// Returns the requests that ended between two times. `None`: more than `rows_max` rows of the record lie there.
    pub async fn ran_between(
        &self,
        from: Timestamp,
        to: Timestamp,
        user_id: Option<i64>,
        rows_max: i64,
    ) -> Result<Option<Vec<Ran>>, Error> {
        self.read(move |connection| {
            // The record is in the order of time, so this takes two short searches and one look at each row.
            let (first, last) = (last_before(connection, from)?, last_before(connection, to)?);
            if last - first > rows_max {
                return Ok(None);
            }
            let mut query = record::table
                .filter(record::log_id.gt(first))
                .filter(record::log_id.le(last))
                .filter(record::kind.eq(Kind::Result.name()))
                .select(Ran::as_select())
                .into_boxed();
            if let Some(user_id) = user_id {
                query = query.filter(record::user_id.eq(user_id));
            }
            query.load(connection).map(Some)
        })
        .await
    }
}
