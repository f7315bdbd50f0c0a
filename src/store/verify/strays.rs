//! What no link covers: contents and images that belong to no row, and rows that are not in the chain yet.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};

use crate::store::verify::faults::FoundFaults;
use crate::store::verify::links::Walk;

/// Rows that are in no link, though later ones are.
const BARE: &str = "SELECT log_id, FALSE AS is_part FROM record WHERE log_id <= ? ORDER BY log_id";

/// Numbers that have parts, but are no row that may have them, and those that have images without a request.
const STRAYS: &str = "SELECT log_id, TRUE AS is_part FROM (SELECT DISTINCT log_id FROM record_part) p \
    WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.log_id = p.log_id AND r.kind <> 'result') \
    UNION SELECT log_id, FALSE FROM record_image_use u \
    WHERE NOT EXISTS (SELECT 1 FROM record_part p WHERE p.log_id = u.log_id AND p.kind = 'request') ORDER BY log_id";

/// Images that no request has. While a person's contents are erased, the images are erased last.
const IMAGES: &str = "SELECT id, user_id FROM record_image i WHERE NOT EXISTS \
    (SELECT 1 FROM record_image_use WHERE image_id = i.id) ORDER BY id";

/// How far the chain may be behind the newest row. Between a row and its link is about a second, and a start chains what the run
/// before has left, so the rows that are in no link were written within some seconds.
const BEHIND_US_MAX: i64 = 60_000_000;

#[derive(QueryableByName)]
struct Stray {
    #[diesel(sql_type = BigInt)]
    log_id: i64,
    #[diesel(sql_type = Bool)]
    is_part: bool,
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
    /// Between the oldest of them that is not older than the chain itself, and the newest.
    #[diesel(sql_type = Nullable<BigInt>)]
    span: Option<i64>,
}

/// Where the record begins and ends.
pub struct RecordEnds {
    pub rows: Option<(i64, i64)>,
    /// Rows that are not in the chain, and the time of the oldest.
    pub later: Option<(i64, i64)>,
}

const NOTHING_COVERS: &str = "nothing covers it, or its contents";

pub fn check(connection: &mut SqliteConnection, walk: &Walk<'_>, faults: &mut FoundFaults<'_>) -> QueryResult<()> {
    let bare = diesel::sql_query(BARE).bind::<BigInt, _>(walk.bare_to);
    for row in bare.load_iter::<Stray, DefaultLoadingMode>(connection)? {
        faults.tell(format!("row {}", row?.log_id), NOTHING_COVERS);
    }
    let strays = diesel::sql_query(STRAYS);
    for stray in strays.load_iter::<Stray, DefaultLoadingMode>(connection)? {
        let Stray { log_id, is_part } = stray?;
        if !(is_part && walk.crossing.contains(&log_id)) {
            faults.tell(format!("row {log_id}"), NOTHING_COVERS);
        }
    }
    let images = diesel::sql_query(IMAGES);
    for image in images.load_iter::<Image, DefaultLoadingMode>(connection)? {
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
    // After an upgrade the chain needs a while for the rows that were there. Without a link nothing signed says which those are.
    let older_to = if walk.links > 0 { walk.older_to } else { walk.end };
    let Later { count, since, span } = diesel::sql_query(
        "SELECT count(*) AS count, min(at_us) AS since, (SELECT max(at_us) - min(at_us) FROM record WHERE log_id > ?2) AS span \
         FROM record WHERE log_id > ?1",
    )
    .bind::<BigInt, _>(walk.end)
    .bind::<BigInt, _>(older_to.max(walk.end))
    .get_result(connection)?;
    let number = |row: Option<i64>| row.unwrap_or(0);
    if newest != written {
        let (written, newest) = (number(written), number(newest));
        faults.tell("tip", format!("rows up to {written} were written, and those up to {newest} are there"));
    } else if span.is_some_and(|span| span > BEHIND_US_MAX) {
        let (end, newest) = (walk.end, number(newest));
        faults.tell("tip", format!("the chain ends at row {end}, more than a minute before row {newest}"));
    }
    Ok(RecordEnds { rows: oldest.zip(newest), later: since.map(|since| (count, since)) })
}
