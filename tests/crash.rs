//! `kill -9` under load, again and again: no finished answer without a row, no forwarded prompt without an intent, and a record that
//! verifies, also when what is old or a person is being erased.
//!
//! Limits are lifted by configuration: this is about the record.

#[path = "support/mod.rs"]
mod support;

#[path = "chain/judges.rs"]
#[allow(dead_code, reason = "the other verifier is not asked here")]
mod judges;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};

use support::eventually::until;
use support::fake_ollama::{FakeOllama, Script, Step, done, text};
use support::gateway::{TestGateway, client};

/// How often, unless `CRASH_ROUNDS` says otherwise.
const ROUNDS: usize = 50;
/// Every so many rounds the whole record is verified; in each round where `CRASH_ROUNDS` says how many there are.
const VERIFIED_EVERY: usize = 5;
/// Clients that ask one whole answer after the other until the gateway dies.
const CLIENTS: usize = 16;
/// Finished answers after which a round's gateway is killed: at least 100 a round.
const FINISHED_PER_ROUND: usize = 110;
/// Streams that have begun and can't end when it is: at least 10 a round.
const CUT_PER_ROUND: usize = 12;

const LIFTED: [(&str, &str); 6] = [
    ("LIMITS__REQUESTS_PER_MINUTE", "1000000"),
    ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000000"),
    ("OLLAMA__SLOTS", "64"),
    ("QUEUE__WAITING_MAX", "1000"),
    ("ACCOUNTS__ACCESS_TOKEN_SECONDS", "86400"),
    ("AUDIT__SEGMENT_MS", "20"),
];

fn chat(nonce: &str, stream: bool) -> Vec<u8> {
    json!({ "model": "fake", "stream": stream, "messages": [{ "role": "user", "content": nonce }] })
        .to_string()
        .into_bytes()
}

#[actix_web::test]
async fn no_answer_without_a_row_and_no_prompt_without_an_intent() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let mut finished: Vec<String> = Vec::new();
    let mut cut: Vec<String> = Vec::new();

    let wanted: Option<usize> = std::env::var("CRASH_ROUNDS").ok().map(|rounds| rounds.parse().unwrap());
    let rounds = wanted.unwrap_or(ROUNDS);
    for round in 0..rounds {
        let streams = cut_streams(&fake, &gateway, &admin, round, &mut cut).await;
        finished.extend(answers_until_killed(&gateway, &admin, round).await);
        drop(streams);
        gateway.wait(5).await;
        if wanted.is_some() || round % VERIFIED_EVERY == 0 {
            verifies(&gateway, round);
        }
        gateway.restart();
    }

    assert!(
        finished.len() >= 100 * rounds && cut.len() >= 10 * rounds,
        "{} finished, {} cut",
        finished.len(),
        cut.len()
    );
    let recorded = recorded(&gateway, &admin).await;
    let missing: Vec<_> =
        finished.iter().filter(|nonce| recorded.get(*nonce).map(String::as_str) != Some("completed")).collect();
    assert!(missing.is_empty(), "{} finished answers without their row, as {:?}", missing.len(), missing.first());
    for nonce in &cut {
        assert_eq!(recorded.get(nonce).map(String::as_str), Some("interrupted"), "{nonce}");
    }
    let chats = fake.chats();
    for chat in &chats {
        let body: Value = serde_json::from_slice(&chat.body).unwrap();
        let nonce = body["messages"][0]["content"].as_str().unwrap();
        assert!(recorded.contains_key(nonce), "{nonce} was forwarded without an intent");
    }
    println!(
        "{rounds} rounds: {} finished, {} cut in mid-stream, {} forwarded, 0 missing",
        finished.len(),
        cut.len(),
        chats.len()
    );
}

/// Answers that are to be erased, of the old record and of the person: many batches of each.
const ERASED: usize = 400;
/// Kills while the one is erased, and as many while the other is.
const ERASING_KILLS: usize = 6;

#[actix_web::test]
async fn a_record_verifies_after_each_kill_while_it_is_erased() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    asked(&gateway, &admin, "old").await;
    gateway.kill();
    gateway.make_rows_older(100);
    gateway.restart();
    let whole = "SELECT CAST(coalesce(max(log_id) = (SELECT max(log_id) FROM record), 0) AS TEXT) FROM chain";
    gateway.until_text(whole, "1").await;

    let days = json!({ "content_days": 30, "record_days": 60 }).to_string().into_bytes();
    assert_eq!(gateway.send("PATCH", "/api/v1/settings", Some(&admin), days).await.status, 200);
    let retention =
        "SELECT CAST(total(log_id) AS TEXT) FROM watermark WHERE name IN ('contents_erased', 'rows_removed')";
    let removed = format!("SELECT CAST(min(log_id) > {ERASED} AS TEXT) FROM record");
    killed_while_it_changes(&mut gateway, retention, &removed).await;
    gateway.until_text(&removed, "1").await;
    gateway.until_text("SELECT CAST(count(*) > 0 AS TEXT) FROM record WHERE act = 'rows_removed'", "1").await;

    let ann = gateway.user(&admin, "ann").await;
    asked(&gateway, &ann, "of ann").await;
    let id = gateway.id_of(&admin, "ann").await;
    assert_eq!(
        gateway.send("POST", &format!("/api/v1/users/{id}/disable"), Some(&admin), Vec::new()).await.status,
        200
    );
    let export = gateway.export(&admin, "ann", "jsonl").await;
    let receipt: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
    let receipt = json!({ "receipt": receipt["receipt"] }).to_string().into_bytes();
    assert_eq!(gateway.send("DELETE", &format!("/api/v1/users/{id}"), Some(&admin), receipt).await.status, 202);
    let erasure = "SELECT CAST(total(log_id) + count(*) AS TEXT) FROM erasure";
    let erased = "SELECT CAST(count(*) = 0 AS TEXT) FROM erasure";
    killed_while_it_changes(&mut gateway, erasure, erased).await;
    gateway.until_text(erased, "1").await;
    gateway.kill();
    verifies(&gateway, ERASING_KILLS);
}

/// Some clients ask until there are enough answers.
async fn asked(gateway: &TestGateway, token: &str, what: &str) {
    let client = async |number: usize| {
        for turn in 0..ERASED.div_ceil(CLIENTS) {
            assert!(ask(gateway, token, chat(&format!("{what} {number} {turn}"), turn % 2 == 0)).await.is_some());
        }
    };
    join_all((0..CLIENTS).map(client)).await;
}

/// Kills the gateway each time when a number in its database has become another, and verifies what it left. On a busy machine the
/// work may be over before all kills.
async fn killed_while_it_changes(gateway: &mut TestGateway, number: &str, is_over: &str) {
    let mut last = gateway.text_of(number);
    for round in 0..ERASING_KILLS {
        until(number, async || gateway.text_of(number) != last || gateway.text_of(is_over) == "1").await;
        if gateway.text_of(is_over) == "1" {
            assert!(round > 1, "it was over after {round} kills");
            return;
        }
        gateway.kill();
        last = gateway.text_of(number);
        verifies(gateway, round);
        gateway.restart();
    }
}

/// The record that a killed gateway left verifies.
fn verifies(gateway: &TestGateway, round: usize) {
    let case = judges::Case::of("killed", gateway.data_dir().to_owned());
    let verdict = judges::by_gateway(&case);
    assert!(verdict.code == 0, "round {round}: {verdict:#?}");
}

/// Opens streams one by one, each past its first event and unable to end.
async fn cut_streams(
    fake: &FakeOllama,
    gateway: &TestGateway,
    admin: &str,
    round: usize,
    cut: &mut Vec<String>,
) -> Vec<impl Sized + use<>> {
    let mut streams = Vec::new();
    for number in 0..CUT_PER_ROUND {
        let nonce = format!("cut-{round}-{number}");
        fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
        let mut response = gateway.open("POST", "/v1/chat/completions", Some(admin), chat(&nonce, true)).await;
        response.next().await.unwrap().unwrap();
        streams.push(response);
        cut.push(nonce);
    }
    streams
}

/// Clients ask one answer after the other; when enough have arrived the gateway is killed under them. Whatever arrived
/// whole counts.
async fn answers_until_killed(gateway: &TestGateway, admin: &str, round: usize) -> Vec<String> {
    let count = AtomicUsize::new(0);
    let client = async |number: usize| {
        let mut mine = Vec::new();
        for turn in 0.. {
            let nonce = format!("answer-{round}-{number}-{turn}");
            let stream = turn % 2 == 0;
            let Some(text) = ask(gateway, admin, chat(&nonce, stream)).await else { break };
            if !(if stream { text.ends_with("data: [DONE]\n\n") } else { text.contains("Hello world!") }) {
                break;
            }
            mine.push(nonce);
            if count.fetch_add(1, Ordering::Relaxed) + 1 == FINISHED_PER_ROUND {
                gateway.signal("KILL");
            }
        }
        mine
    };
    tokio::time::timeout(Duration::from_secs(60), join_all((0..CLIENTS).map(client))).await.unwrap().concat()
}

/// The text of an answer, as far as it came; `None` when there was none.
async fn ask(gateway: &TestGateway, admin: &str, body: Vec<u8>) -> Option<String> {
    let request = client().post(format!("{}/v1/chat/completions", gateway.url)).bearer_auth(admin);
    let mut response = request.send_body(body).await.ok()?;
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = response.next().await {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).ok()
}

/// The outcome of every prompt in the record, by the prompt's text.
async fn recorded(gateway: &TestGateway, admin: &str) -> HashMap<String, String> {
    let export = gateway.export(admin, "admin", "jsonl").await;
    let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter_map(|line| {
            let nonce = line["prompt"][0]["content"].as_str()?.to_owned();
            Some((nonce, line["outcome"].as_str()?.to_owned()))
        })
        .collect()
}
