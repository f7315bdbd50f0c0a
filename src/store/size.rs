//! How large the database is, how fast it grows, and which deletions are late.

use std::path::Path;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::store::audit::{last_before, newest_log_id, watermark_of};
use crate::store::schema::{erasure, record, users};
use crate::store::usage::USAGE;
use crate::store::words::indexed_to;
use crate::store::{FILE, Store};

/// The size of the database and its growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSize {
    /// Bytes of the database file and of its WAL.
    pub bytes: u64,
    /// What the rows of the last days take, by the average size of all rows. `None`: the record is younger than a day.
    pub growth_per_day: Option<u64>,
    /// Bytes of free pages inside the file, which are filled before it grows.
    pub reusable: u64,
}

/// How many days are looked at. Fewer, if the record is younger.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// From a shorter time, growth per day can't be told.
const WINDOW_MIN: Duration = Duration::from_secs(24 * 60 * 60);

const DAY_US: u128 = 24 * 60 * 60 * 1_000_000;

/// Contents are usually erased within seconds, a large record within minutes.
const ERASURE_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(QueryableByName)]
struct PageBytes {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// Pages that hold nothing, as erased contents leave them.
const REUSABLE_BYTES: &str =
    "SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count(), pragma_page_size()";

/// Pages that hold something; free ones are filled before the file grows.
pub const USED_BYTES: &str = "SELECT (page_count - freelist_count) * page_size AS bytes \
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()";

impl Store {
    /// Returns the size of the database and its growth.
    pub async fn record_size(&self) -> Result<RecordSize, Error> {
        let file = self.file().to_owned();
        self.read(move |connection| {
            let wal = file.with_file_name(format!("{FILE}-wal"));
            // A file that can't be looked at is counted as empty; without a WAL there is none.
            let bytes = |path| std::fs::metadata(path).map_or(0, |file| file.len());
            let size = bytes(&file).saturating_add(bytes(&wal));
            let growth_per_day = growth_per_day(connection, Timestamp::now())?;
            Ok(RecordSize { bytes: size, growth_per_day, reusable: reusable(connection)? })
        })
        .await
    }

    /// Returns the sizes of the database file and of its WAL. Looks at the disk.
    pub fn file_sizes(&self) -> (Option<u64>, Option<u64>) {
        let bytes = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
        (bytes(self.file()), bytes(&self.file().with_file_name(format!("{FILE}-wal"))))
    }

    /// Returns how many rows the sums of usage and the index of words are behind the record.
    pub async fn rows_behind(&self) -> Result<[(&'static str, u64); 2], Error> {
        self.read(|connection| {
            let newest = newest_log_id(connection)?;
            let behind = |upto: i64| u64::try_from(newest - upto).unwrap_or(0);
            let (usage, words) = (watermark_of(connection, USAGE)?, indexed_to(connection)?);
            Ok([("usage", behind(usage)), ("words", behind(words))])
        })
        .await
    }

    /// Returns the bytes of free pages inside the file.
    pub async fn reusable_bytes(&self) -> Result<u64, Error> {
        self.read(reusable).await
    }

    /// Returns how many deleted people have contents that should have been erased by now.
    pub async fn late_erasures(&self) -> Result<u64, Error> {
        self.read(count_late_erasures).await
    }
}

/// Counts deleted people whose contents should have been erased by now.
pub fn count_late_erasures(connection: &mut SqliteConnection) -> QueryResult<u64> {
    let before = Timestamp::now().0.saturating_sub(ERASURE_MAX.as_micros() as i64);
    let deleted = users::table.filter(users::deleted_at_us.lt(before)).select(users::id);
    let count: i64 = erasure::table.filter(erasure::user_id.eq_any(deleted)).count().get_result(connection)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Returns the bytes of free pages inside a file.
pub fn reusable(connection: &mut SqliteConnection) -> QueryResult<u64> {
    let free: PageBytes = diesel::sql_query(REUSABLE_BYTES).get_result(connection)?;
    Ok(u64::try_from(free.bytes).unwrap_or(0))
}

/// Returns what the last days added; `None`: the record is younger than a day.
pub fn growth_per_day(connection: &mut SqliteConnection, now: Timestamp) -> QueryResult<Option<u64>> {
    let first: Option<i64> =
        record::table.order(record::log_id.asc()).select(record::at_us).first(connection).optional()?;
    let Some(first) = first.map(Timestamp) else { return Ok(None) };
    let window = now.since(first).min(WINDOW);
    if window < WINDOW_MIN {
        return Ok(None);
    }
    let since = Timestamp(now.0.saturating_sub(window.as_micros() as i64));
    let (before, rows) = (last_before(connection, since)?, newest_log_id(connection)?);
    let used: PageBytes = diesel::sql_query(USED_BYTES).get_result(connection)?;
    let part = |number: i64| u128::try_from(number).unwrap_or(0);
    // What came is what all rows take, by its share of the rows.
    let came = part(used.bytes) * part(rows - before) / part(rows).max(1);
    Ok(u64::try_from(came * DAY_US / window.as_micros()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Live, Settings};

    const HOUR_US: i64 = 3_600_000_000;

    fn store(folder: &std::path::Path) -> Store {
        Store::open(folder, Live::new(Settings::default())).unwrap()
    }

    /// Adds rows of an hour each, the newest an hour ago.
    async fn add_rows(store: &Store, hours: i64) {
        let now = Timestamp::now().0;
        store
            .write(move |tx| {
                for ago in (1..=hours).rev() {
                    let row = format!(
                        "INSERT INTO record (kind, at_us, request_id) VALUES ('refusal', {}, randomblob(16))",
                        now - ago * HOUR_US
                    );
                    diesel::sql_query(row).execute(tx.connection)?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn growth_is_what_the_last_days_added_and_unknown_before_a_day_is_over() {
        for (hours, is_known) in [(0, false), (23, false), (25, true), (24 * 20, true)] {
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path());
            add_rows(&store, hours).await;

            let size = store.record_size().await.unwrap();

            assert_eq!(size.growth_per_day.is_some(), is_known, "{hours}");
            assert!(size.bytes > 0);
            if let Some(growth) = size.growth_per_day {
                // A row an hour: 24 of all rows are a day's.
                let used = std::fs::metadata(store.file()).unwrap().len().max(size.bytes);
                assert!(growth > 0 && growth <= used, "{growth} of {used}");
            }
            if hours == 24 * 20 {
                let used: PageBytes =
                    store.read(|connection| diesel::sql_query(USED_BYTES).get_result(connection)).await.unwrap();
                let day = used.bytes as f64 / 20.0;
                let growth = size.growth_per_day.unwrap() as f64;
                assert!((growth / day - 1.0).abs() < 0.02, "{growth} is about {day}");
            }
            store.close();
        }
    }

    #[tokio::test]
    async fn a_deletion_is_late_after_a_quarter_of_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let deleted = |id: i64, minutes: i64| {
            let at = Timestamp::now().0 - minutes * 60_000_000;
            format!(
                "INSERT INTO users (id, public_id, role, status, version, must_change, weight, class, created_at_us, \
                 deleted_at_us) VALUES ({id}, '{id:036}', 'user', 'disabled', 1, 0, 1, 'interactive', 1, {at}); \
                 INSERT INTO erasure (user_id) VALUES ({id})"
            )
        };
        assert_eq!(store.late_erasures().await.unwrap(), 0);

        let both = [deleted(71, 14), deleted(72, 16)].join("; ");
        store
            .write(move |tx| Ok(diesel::connection::SimpleConnection::batch_execute(tx.connection, &both)?))
            .await
            .unwrap();

        assert_eq!(store.late_erasures().await.unwrap(), 1);
        store.close();
    }
}
