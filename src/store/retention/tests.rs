//! What is old is erased and removed, what is not stays, and a run that was cut short goes on.

use std::path::Path;

use diesel::connection::SimpleConnection;

use super::*;
use crate::config::settings::{Live, Settings};
use crate::provider;
use crate::store::audit::Wanted;
use crate::store::chain::CheckpointKey;
use crate::store::exports::ReadSoFar;
use crate::store::search::Search;

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

fn open(folder: &Path) -> Store {
    Store::open(folder, Live::new(Settings::default())).unwrap()
}

async fn run(store: &Store, sql: String) {
    store.write(move |tx| Ok(tx.connection.batch_execute(&sql)?)).await.unwrap();
}

async fn number(store: &Store, sql: &'static str) -> i64 {
    store.read(move |connection| diesel::dsl::sql::<BigInt>(sql).get_result(connection)).await.unwrap()
}

/// The rows of a request of user 7: its intent has the number `intent`, its result the number `result`.
fn request(intent: i64, result: i64, began_us: i64, ended_us: i64, word: &str) -> String {
    let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{word}\"}}]}}");
    let row = |id: i64, kind: &str, of: &str, at: i64| {
        format!(
            "INSERT INTO record (log_id, kind, intent_id, at_us, request_id, user_id, outcome, commitment) VALUES ({id}, \
             '{kind}', {of}, {at}, randomblob(16), 7, 'completed', zeroblob(32));"
        )
    };
    [
        row(intent, "intent", "NULL", began_us),
        row(result, "result", &intent.to_string(), ended_us),
        format!("INSERT INTO record_part (log_id, part, kind, body) VALUES ({intent}, 0, 'request', '{body}');"),
        format!("INSERT INTO record_part (log_id, part, kind, body) VALUES ({intent}, 1, 'origin', zeroblob(32));"),
        format!("INSERT INTO record_part (log_id, part, kind, body) VALUES ({intent}, 2, 'answer', 'yes, {word}');"),
    ]
    .concat()
}

/// A request that takes no time.
fn at(log_id: i64, at_us: i64, word: &str) -> String {
    request(log_id, log_id + 1, at_us, at_us, word)
}

async fn follow(store: &Store) {
    while store.follow_words().await.unwrap() {}
    while store.follow_usage(provider::canonical).await.unwrap() {}
    store.close_interrupted().await.unwrap();
}

async fn begin(store: &Store, contents: u32, record: u32) -> RetentionRun {
    store.begin_retention(RetentionDays { contents, record }, Timestamp::now()).await.unwrap()
}

async fn retain(store: &Store, contents: u32, record: u32) {
    let run = begin(store, contents, record).await;
    let mut merge = Merge::Begin;
    loop {
        match store.retention_step(run, &mut merge).await.unwrap() {
            RetentionStep::GoOn => {}
            RetentionStep::Wait => chain(store).await,
            RetentionStep::Over => break,
        }
    }
}

async fn chain(store: &Store) {
    while store.follow_chain(&CheckpointKey::for_tests()).await.unwrap() {}
}

async fn verifies(store: &Store) -> bool {
    store.check_chain(&CheckpointKey::for_tests(), None).await.unwrap();
    store.chain_fault().is_none()
}

async fn finds(store: &Store, word: &str) -> usize {
    let wanted = Wanted { text: Some(Search::parse(word).unwrap()), ..Wanted::default() };
    store.record_page(wanted, None, 100).await.unwrap().len()
}

async fn details(store: &Store, act: &'static str) -> Vec<serde_json::Value> {
    let rows = store.record_page(Wanted { act: Act::parse(act), ..Wanted::default() }, None, 100).await.unwrap();
    let found = store.details(rows.iter().map(|row| row.log_id).collect()).await.unwrap();
    rows.iter().rev().map(|row| serde_json::from_str(&found[&row.log_id]).unwrap()).collect()
}

#[tokio::test]
async fn contents_go_when_they_are_old_enough_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    let old = at(1, now - 30 * DAY_US - MINUTE_US, "zebra");
    run(&store, old + &at(3, now - 30 * DAY_US + MINUTE_US, "walrus")).await;
    follow(&store).await;
    assert_eq!((finds(&store, "zebra").await, finds(&store, "walrus").await), (1, 1));

    retain(&store, 0, 0).await;
    assert_eq!(number(&store, "SELECT count(*) FROM record_part").await, 6, "0 is for ever");
    retain(&store, 30, 0).await;

    assert_eq!((finds(&store, "zebra").await, finds(&store, "walrus").await), (0, 1));
    assert!(store.contents(1).await.unwrap().is_empty());
    assert_eq!(store.contents(3).await.unwrap().len(), 3);
    let rows = "SELECT count(*) FROM record WHERE kind <> 'act' AND commitment IS NOT NULL";
    assert_eq!(number(&store, rows).await, 4, "rows and commitments stay");
    let told = details(&store, "contents_expired").await;
    assert_eq!(told, [json!({ "from_log_id": 1, "to_log_id": 2, "requests": 1, "days": 30 })]);
    assert_eq!(store.contents_erased_to().await.unwrap(), 2);

    retain(&store, 30, 0).await;
    assert_eq!(details(&store, "contents_expired").await.len(), 1, "a run that erases nothing leaves no act");
    store.close();
}

#[tokio::test]
async fn an_image_goes_with_its_last_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    let images = "INSERT INTO record_image (id, user_id, sha256, body) VALUES (1, 7, zeroblob(32), 'both'), \
                  (2, 7, randomblob(32), 'old'); \
                  INSERT INTO record_image_use (log_id, \"offset\", image_id) VALUES (1, 0, 1), (1, 9, 2), (3, 0, 1);";
    run(&store, at(1, now - 60 * DAY_US, "old") + &at(3, now - 40 * DAY_US, "newer") + images).await;
    follow(&store).await;
    let images = "SELECT coalesce(sum(id), 0) FROM record_image";

    retain(&store, 50, 0).await;
    assert_eq!(number(&store, images).await, 1, "the other request still has it");
    retain(&store, 30, 0).await;
    assert_eq!(number(&store, images).await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM record_image_use").await, 0);
    store.close();
}

#[tokio::test]
async fn a_run_that_was_cut_short_goes_on_after_a_restart_and_has_one_act() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    let requests = 3 * ERASED_PER_BATCH;
    let rows: String = (0..requests).map(|number| at(2 * number + 1, now - 9 * DAY_US, "yak")).collect();
    run(&store, rows).await;
    follow(&store).await;
    let cut = begin(&store, 1, 2).await;
    let step = async || store.retention_step(cut, &mut Merge::Begin).await.unwrap();
    assert_eq!((step().await, step().await), (RetentionStep::Wait, RetentionStep::Wait), "its receipt is not chained");
    assert_eq!(number(&store, "SELECT count(DISTINCT log_id) FROM record_part WHERE kind <> 'detail'").await, requests);
    chain(&store).await;
    assert_eq!(step().await, RetentionStep::GoOn);
    let left = "SELECT count(DISTINCT log_id) FROM record_part WHERE kind <> 'detail'";
    assert_eq!(number(&store, left).await, requests - ERASED_PER_BATCH);
    assert_eq!(details(&store, "contents_expired").await[0]["requests"], requests, "the receipt says so before");
    store.close();

    let store = open(folder.path());
    retain(&store, 1, 2).await;

    assert_eq!(number(&store, "SELECT count(*) FROM record_part WHERE kind <> 'detail'").await, 0);
    assert_eq!(number(&store, "SELECT count(*) FROM record WHERE kind <> 'act'").await, 0);
    let told = details(&store, "contents_expired").await;
    assert_eq!((told.len(), &told[0]["requests"]), (1, &json!(requests)));
    let told = details(&store, "rows_removed").await;
    assert_eq!(told, [json!({ "from_log_id": 1, "to_log_id": 2 * requests, "rows": 2 * requests, "days": 2 })]);
    chain(&store).await;
    assert!(verifies(&store).await, "{:?}", store.chain_fault());
    assert_eq!(
        number(&store, "SELECT min(first_log_id) FROM chain").await,
        1,
        "the last link of what was removed stays"
    );
    store.close();
}

#[tokio::test]
async fn rows_go_from_the_beginning_alone_and_their_sums_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    let limit = now - 90 * DAY_US;
    let act = format!(
        "INSERT INTO record (log_id, kind, at_us, request_id, act) VALUES (3, 'act', {}, randomblob(16), 'user_approved'); \
         INSERT INTO record_part (log_id, part, kind, body) VALUES (3, 0, 'detail', '{{}}');",
        limit - MINUTE_US
    );
    // The second request began before the limit and ended after it.
    let spanning = request(4, 5, limit - MINUTE_US, limit + MINUTE_US, "okapi");
    run(&store, at(1, limit - MINUTE_US, "zebra") + &act + &spanning).await;
    follow(&store).await;
    let sums = "SELECT coalesce(sum(requests), 0) FROM usage";
    assert_eq!(number(&store, sums).await, 2);

    retain(&store, 0, 90).await;

    assert_eq!(number(&store, "SELECT min(log_id) FROM record").await, 5);
    assert_eq!(
        number(&store, "SELECT count(*) FROM record_part WHERE log_id = 3").await,
        0,
        "details go with their act"
    );
    assert_eq!((finds(&store, "okapi").await, finds(&store, "zebra").await), (1, 0));
    assert_eq!(store.contents(4).await.unwrap().len(), 3, "contents go when their request ended that long ago");
    assert_eq!(number(&store, sums).await, 2);
    run(&store, "INSERT INTO record_words (record_words) VALUES ('integrity-check')".into()).await;
    let known = Wanted { user_id: Some(7), kind: Some(Kind::Result), ..Wanted::default() };
    assert_eq!(store.record_page(known, None, 100).await.unwrap().len(), 1, "its marks left the index");

    retain(&store, 0, 89).await;

    assert_eq!((finds(&store, "okapi").await, store.contents(4).await.unwrap().len()), (0, 0));
    assert_eq!(number(&store, "SELECT count(*) FROM record WHERE kind <> 'act'").await, 0);
    store.close();
}

#[tokio::test]
async fn what_is_not_indexed_or_summed_up_or_still_open_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    run(&store, at(1, now - 9 * DAY_US, "zebra")).await;

    retain(&store, 1, 1).await;
    assert_eq!(number(&store, "SELECT count(*) FROM record_part").await, 3, "its words are not indexed yet");
    while store.follow_words().await.unwrap() {}
    retain(&store, 1, 1).await;
    assert_eq!(number(&store, "SELECT count(*) FROM record WHERE kind <> 'act'").await, 2, "it is not summed up yet");
    follow(&store).await;
    retain(&store, 1, 1).await;
    assert_eq!(number(&store, "SELECT count(*) FROM record WHERE kind <> 'act'").await, 0);
    store.close();
}

#[tokio::test]
async fn an_export_breaks_off_when_what_it_has_not_read_is_erased() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    run(&store, at(1, now - 9 * DAY_US, "zebra") + &at(3, now, "walrus")).await;
    follow(&store).await;
    let beginning = store.begin_export(&Wanted::default()).await.unwrap();
    let read = async |log_id: i64, read_to: i64| {
        let so_far = ReadSoFar { read_to, erased_to: beginning.erased_to };
        store.export_contents(vec![(log_id, Some(7))], 1, beginning.deleted.clone(), so_far).await
    };
    assert_eq!(read(1, 0).await.unwrap()[0].len(), 3);

    retain(&store, 1, 0).await;

    assert!(read(1, 0).await.unwrap_err().to_string().contains("erased"));
    assert!(read(3, 1).await.is_err());
    assert_eq!(read(3, 2).await.unwrap()[0].len(), 3, "it had read all that was erased");
    let later = store.begin_export(&Wanted::default()).await.unwrap();
    assert_eq!(later.erased_to, 2);
    let so_far = ReadSoFar { read_to: 0, erased_to: 2 };
    let erased = store.export_contents(vec![(1, Some(7))], 1, later.deleted, so_far).await.unwrap();
    assert!(erased[0].is_empty(), "an export that begins later shows them as erased");
    store.close();
}

#[tokio::test]
async fn what_an_older_version_erased_and_removed_without_its_act_gets_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    run(&store, at(1, now - 9 * DAY_US, "zebra") + &at(3, now - 9 * DAY_US, "walrus") + &at(5, now, "okapi")).await;
    follow(&store).await;
    let begun = "DELETE FROM record_part WHERE log_id IN (1, 3); DELETE FROM record WHERE log_id <= 2; \
        INSERT INTO watermark (name, log_id) VALUES ('contents_erased', 4), ('rows_removed', 2), ('rows_removed_count', 2); \
        UPDATE chain_tip SET older_to = 6;";
    run(&store, begun.into()).await;

    // The settings were changed meanwhile: nothing more is old.
    retain(&store, 1000, 1000).await;

    let told = details(&store, "contents_expired").await;
    assert_eq!(told, [json!({ "from_log_id": 1, "to_log_id": 4, "requests": 1, "days": 1000 })]);
    let told = details(&store, "rows_removed").await;
    assert_eq!(told, [json!({ "from_log_id": 1, "to_log_id": 2, "rows": 2, "days": 1000 })]);
    store.close();
}

#[tokio::test]
async fn what_another_hand_erased_and_removed_gets_no_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    run(&store, at(1, now, "zebra") + &at(3, now, "walrus")).await;
    follow(&store).await;
    chain(&store).await;
    let done = "DELETE FROM record_part; DELETE FROM record WHERE log_id <= 2; \
        INSERT INTO watermark (name, log_id) VALUES ('contents_erased', 4), ('rows_removed', 2);";
    run(&store, done.into()).await;

    retain(&store, 1000, 1000).await;

    assert!(details(&store, "contents_expired").await.is_empty() && details(&store, "rows_removed").await.is_empty());
    store.close();
}

#[tokio::test]
async fn links_go_with_their_rows_and_the_rest_of_the_chain_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = Timestamp::now().0;
    for (log_id, days) in [(1, 9), (3, 8), (5, 7), (7, 0)] {
        run(&store, at(log_id, now - days * DAY_US - MINUTE_US, "yak")).await;
        chain(&store).await;
        store.make_checkpoint().await.unwrap().unwrap();
    }
    follow(&store).await;

    retain(&store, 0, 7).await;

    chain(&store).await;
    assert_eq!(number(&store, "SELECT min(log_id) FROM record").await, 7);
    assert_eq!(number(&store, "SELECT min(log_id) FROM chain").await, 6);
    assert!(verifies(&store).await, "{:?}", store.chain_fault());
    store.close();
}
