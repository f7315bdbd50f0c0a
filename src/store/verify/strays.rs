//! What no link covers: contents and images that belong to no row, and rows that are not in the chain yet.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use crate::store::verify::faults::FoundFaults;
use crate::store::verify::links::Walk;

/// Numbers that have parts or images, but are no row that may have them.
const STRAYS: &str = "SELECT log_id FROM (SELECT DISTINCT log_id FROM record_part) p \
    WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.log_id = p.log_id AND r.kind <> 'result') \
    UNION SELECT log_id FROM (SELECT DISTINCT log_id FROM record_image_use) u \
    WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.log_id = u.log_id AND r.kind <> 'result') ORDER BY log_id";

/// Images that no request has. While a person's contents are erased, the images are erased last.
const IMAGES: &str = "SELECT id, user_id FROM record_image i WHERE NOT EXISTS \
    (SELECT 1 FROM record_image_use WHERE image_id = i.id) ORDER BY id";

/// How far the chain may be behind the newest row: between a row and its link is about a second, also before a crash.
const BEHIND_US_MAX: i64 = 60_000_000;

#[derive(QueryableByName)]
struct Stray {
    #[diesel(sql_type = BigInt)]
    log_id: i64,
}

#[derive(QueryableByName)]
struct Image {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
}

#[derive(QueryableByName)]
struct EndsRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    newest: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    written: Option<i64>,
}

#[derive(QueryableByName)]
struct Later {
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    since: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    upto: Option<i64>,
}

/// Where the record begins and ends.
pub struct RecordEnds {
    pub rows: Option<(i64, i64)>,
    /// Rows that are not in the chain, and the time of the oldest.
    pub later: Option<(i64, i64)>,
}

const NOTHING_COVERS: &str = "nothing covers it, or its contents";

pub fn check(connection: &mut SqliteConnection, walk: &Walk<'_>, faults: &mut FoundFaults<'_>) -> QueryResult<()> {
    let strays = diesel::sql_query(STRAYS);
    for stray in strays.load_iter::<Stray, diesel::connection::DefaultLoadingMode>(connection)? {
        let Stray { log_id } = stray?;
        if !walk.crossing.contains(&log_id) {
            faults.tell(format!("row {log_id}"), NOTHING_COVERS);
        }
    }
    let images = diesel::sql_query(IMAGES);
    for image in images.load_iter::<Image, diesel::connection::DefaultLoadingMode>(connection)? {
        let Image { id, user_id } = image?;
        if !walk.receipts.is_deleted(user_id) {
            faults.tell(format!("image {id}"), NOTHING_COVERS);
        }
    }
    Ok(())
}

/// Compares the newest row with the chain, and with the numbers that were given to rows.
pub fn check_end(
    connection: &mut SqliteConnection,
    walk: &Walk<'_>,
    faults: &mut FoundFaults<'_>,
) -> QueryResult<RecordEnds> {
    let EndsRow { oldest, newest, written } = diesel::sql_query(
        "SELECT (SELECT min(log_id) FROM record) AS oldest, (SELECT max(log_id) FROM record) AS newest, \
         (SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'record') AS written",
    )
    .get_result(connection)?;
    let Later { count, since, upto } = diesel::sql_query(
        "SELECT count(*) AS count, min(at_us) AS since, max(at_us) AS upto FROM record WHERE log_id > ?",
    )
    .bind::<BigInt, _>(walk.end)
    .get_result(connection)?;
    let later = since.zip(upto).map(|(since, upto)| (since, upto.saturating_sub(since)));
    if newest != written || later.is_some_and(|(_, span)| span > BEHIND_US_MAX) {
        let number = |row: Option<i64>| row.unwrap_or(0);
        faults.tell(
            "tip",
            format!(
                "rows up to {} were written, up to {} are there, and up to {} are in the chain",
                number(written),
                number(newest),
                walk.end
            ),
        );
    }
    Ok(RecordEnds { rows: oldest.zip(newest), later: later.map(|(since, _)| (count, since)) })
}
