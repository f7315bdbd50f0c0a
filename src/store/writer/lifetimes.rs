//! Lifetimes that were begun before the host's clock was set back end by the clock as it is now.
//!
//! What is promised for minutes or hours (the old secret after a rotation, a password reset, a receipt) lasts that long, and what
//! a clock ahead of time has ended is not revived. So all of them are shortened by the step. One that was begun before the clock
//! went ahead then ends early by as much: which those are can't be told.
//!
//! A token ends on a date that its owner was shown. Only one that was created at a time that still lies ahead is shortened.

use diesel::prelude::*;

use crate::base::clock::{SteadyClock, Timestamp};
use crate::model::record::{Act, Kind};
use crate::store::audit;
use crate::store::schema::{exports, record, tokens, users};

/// How long a receipt allows deletion.
pub const RECEIPT_US: i64 = 15 * 60 * 1_000_000;

/// Shortens what would last longer now that the host's clock says `clock`, by `step_us`.
pub fn shorten(connection: &mut SqliteConnection, clock: Timestamp, step_us: i64) -> QueryResult<()> {
    let now = clock.0;
    diesel::update(tokens::table.filter(tokens::old_until_us.gt(now)))
        .set(tokens::old_until_us.eq(tokens::old_until_us - Some(step_us)))
        .execute(connection)?;
    diesel::update(tokens::table.filter(tokens::created_at_us.gt(now)).filter(tokens::expires_at_us.gt(now)))
        .set(tokens::expires_at_us.eq(tokens::expires_at_us - step_us))
        .execute(connection)?;
    diesel::update(users::table.filter(users::reset_until_us.gt(now)))
        .set(users::reset_until_us.eq(users::reset_until_us - Some(step_us)))
        .execute(connection)?;
    diesel::update(exports::table.filter(exports::receipt.is_not_null()))
        .filter(exports::finished_at_us.gt(now - RECEIPT_US))
        .set(exports::finished_at_us.eq(exports::finished_at_us - Some(step_us)))
        .execute(connection)?;
    Ok(())
}

/// Returns what an act says about a step of the clock.
pub fn told(from: Timestamp, to: Timestamp) -> String {
    serde_json::json!({ "from": from.rfc3339(), "to": to.rfc3339() }).to_string()
}

/// Returns a clock that goes on from what the host's clock said last, as far as the record has it. `newest`: the time of the
/// newest row.
pub fn last_known(connection: &mut SqliteConnection, newest: Timestamp) -> QueryResult<SteadyClock> {
    if newest <= Timestamp::now() {
        return Ok(SteadyClock::from(newest));
    }
    // Either the clock was set back since the last run, or in it: rows keep the later time until the clock has caught up.
    let step: Option<(i64, i64)> = record::table
        .filter(record::kind.eq(Kind::Act.name()).and(record::act.eq(Act::ClockSetBack.name())))
        .order(record::log_id.desc())
        .select((record::log_id, record::at_us))
        .first(connection)
        .optional()?;
    let Some((log_id, _)) = step.filter(|(_, at)| *at == newest.0) else { return Ok(SteadyClock::from(newest)) };
    let details = audit::contents(connection, log_id)?;
    let to = details.first().and_then(|detail| serde_json::from_slice::<serde_json::Value>(&detail.body).ok());
    let to = to.as_ref().and_then(|detail| Timestamp::parse(detail["to"].as_str()?));
    Ok(SteadyClock::from(to.unwrap_or(newest)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::config::settings::{Live, Settings};
    use crate::store::Store;

    const MINUTE_US: i64 = 60_000_000;
    const HOUR_US: i64 = 60 * MINUTE_US;

    fn open(folder: &Path) -> Store {
        Store::open(folder, Live::new(Settings::default())).unwrap()
    }

    async fn run(store: &Store, sql: String) {
        store.write(move |tx| Ok(tx.connection.batch_execute(&sql)?)).await.unwrap();
    }

    async fn number(store: &Store, sql: &'static str) -> i64 {
        let query = diesel::dsl::sql::<diesel::sql_types::BigInt>(sql);
        store.read(move |connection| query.get_result(connection)).await.unwrap()
    }

    /// The whole minutes from now to a time of the database.
    async fn minutes_to(store: &Store, sql: &'static str) -> i64 {
        (number(store, sql).await - Timestamp::now().0 + MINUTE_US / 2).div_euclid(MINUTE_US)
    }

    fn token(id: &str, created: i64, old_until: i64, expires: i64) -> String {
        format!(
            "INSERT INTO tokens (public_id, user_id, name, scopes, secret_sha256, old_secret_sha256, old_until_us, created_at_us, \
             expires_at_us) VALUES ('{id}', 1, 'ci', 'chat', zeroblob(32), zeroblob(32), {old_until}, {created}, {expires});"
        )
    }

    fn export(id: u8, finished: i64) -> String {
        format!(
            "INSERT INTO exports (public_id, format, created_at_us, finished_at_us, receipt) VALUES ('{id:036}', 'csv', \
             {finished}, {finished}, zeroblob(32));"
        )
    }

    /// A record whose newest row is an hour ahead of the host's clock, and lifetimes that were begun by then.
    async fn an_hour_ahead(folder: &Path) {
        let store = open(folder);
        store.create_first_admin("x".into()).await.unwrap();
        let now = Timestamp::now().0;
        let then = now + HOUR_US;
        let rows = [
            token("begun_then", then, then + 5 * MINUTE_US, then + 10 * MINUTE_US),
            token("ended_then", now - HOUR_US, then - 5 * MINUTE_US, then + 10 * MINUTE_US),
            token("begun_now.", now - HOUR_US, now - MINUTE_US, now + 10 * MINUTE_US),
            export(1, then - 5 * MINUTE_US),
            export(2, then - 20 * MINUTE_US),
            export(3, now - 20 * MINUTE_US),
            format!("UPDATE users SET reset_until_us = {};", then + 60 * MINUTE_US),
            format!("INSERT INTO record (kind, at_us, request_id) VALUES ('act', {then}, zeroblob(16));"),
        ];
        run(&store, rows.concat()).await;
        store.close();
    }

    const ACTS: &str = "SELECT count(*) FROM record WHERE act = 'clock_set_back'";

    #[tokio::test]
    async fn what_was_begun_before_the_clock_was_set_back_lasts_as_long_as_promised() {
        let folder = tempfile::tempdir().unwrap();
        an_hour_ahead(folder.path()).await;

        let store = open(folder.path());
        run(&store, String::new()).await;

        let old = "SELECT old_until_us FROM tokens WHERE public_id = 'begun_then'";
        assert_eq!(minutes_to(&store, old).await, 5);
        let ended = "SELECT old_until_us FROM tokens WHERE public_id = 'ended_then'";
        assert_eq!(minutes_to(&store, ended).await, -5, "no clock revives what has ended");
        let before = "SELECT old_until_us FROM tokens WHERE public_id = 'begun_now.'";
        assert_eq!(minutes_to(&store, before).await, -1);
        assert_eq!(minutes_to(&store, "SELECT reset_until_us FROM users").await, 60);
        let known = store.people().by_name("admin").unwrap().reset_until_us;
        assert_eq!(known, Some(number(&store, "SELECT reset_until_us FROM users").await), "the snapshot knows it, too");
    }

    #[tokio::test]
    async fn a_token_ends_on_its_date_unless_it_was_created_at_a_time_that_lies_ahead() {
        let folder = tempfile::tempdir().unwrap();
        an_hour_ahead(folder.path()).await;

        let store = open(folder.path());
        run(&store, String::new()).await;

        let expires = "SELECT expires_at_us FROM tokens WHERE public_id = 'begun_then'";
        assert_eq!(minutes_to(&store, expires).await, 10);
        let expires = "SELECT expires_at_us FROM tokens WHERE public_id = 'ended_then'";
        assert_eq!(minutes_to(&store, expires).await, 70);
        let expires = "SELECT expires_at_us FROM tokens WHERE public_id = 'begun_now.'";
        assert_eq!(minutes_to(&store, expires).await, 10);
    }

    #[tokio::test]
    async fn a_receipt_has_no_more_time_than_it_had_before_the_clock_was_set_back() {
        let folder = tempfile::tempdir().unwrap();
        an_hour_ahead(folder.path()).await;

        let store = open(folder.path());
        run(&store, String::new()).await;

        assert_eq!(minutes_to(&store, "SELECT finished_at_us FROM exports WHERE id = 1").await, -5);
        assert_eq!(minutes_to(&store, "SELECT finished_at_us FROM exports WHERE id = 2").await, -20);
        // It was over by either clock.
        assert_eq!(minutes_to(&store, "SELECT finished_at_us FROM exports WHERE id = 3").await, -20);
    }

    #[tokio::test]
    async fn a_step_counts_once_however_often_the_gateway_starts_before_the_clock_has_caught_up() {
        let folder = tempfile::tempdir().unwrap();
        an_hour_ahead(folder.path()).await;

        for _ in 0..3 {
            let store = open(folder.path());
            run(&store, String::new()).await;

            assert_eq!(minutes_to(&store, "SELECT reset_until_us FROM users").await, 60);
            assert_eq!(number(&store, ACTS).await, 1);
            store.close();
        }
    }

    #[tokio::test]
    async fn a_second_step_counts_from_where_the_first_one_has_led() {
        let folder = tempfile::tempdir().unwrap();
        an_hour_ahead(folder.path()).await;
        let store = open(folder.path());
        run(&store, String::new()).await;
        // The first step led to a time from which the clock is set back by ten minutes more.
        let led_to = Timestamp(Timestamp::now().0 + 10 * MINUTE_US);
        let told = told(Timestamp(0), led_to);
        let act = format!("(SELECT log_id FROM record WHERE act = '{}')", Act::ClockSetBack.name());
        run(&store, format!("UPDATE record_part SET body = CAST('{told}' AS BLOB) WHERE log_id = {act};")).await;
        store.close();

        let store = open(folder.path());
        run(&store, String::new()).await;

        assert_eq!(minutes_to(&store, "SELECT reset_until_us FROM users").await, 50);
        assert_eq!(number(&store, ACTS).await, 2);
    }
}
