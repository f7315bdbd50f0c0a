//! The chain over the record from outside: it follows by itself, checkpoints are written where they should be, and what was
//! changed is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diesel::prelude::*;
use lan_gateway::model::checkpoint::{Checkpoint, notes_in};
use lan_gateway::model::commitment::{Committed, SALT_BYTES, SALT_OF_ACTS, commitment_to};
use lan_gateway::store::audit::commitment_of_result;
use serde_json::json;

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, command, hello, hello_stream};

/// Waits until every row is in the chain.
async fn until_chained(gateway: &TestGateway) {
    let behind = "SELECT CAST((SELECT max(log_id) FROM record) - coalesce((SELECT max(log_id) FROM chain), 0) AS TEXT)";
    gateway.until_text(behind, "0").await;
}

async fn stop(gateway: &mut TestGateway) {
    gateway.signal("TERM");
    assert_eq!(gateway.wait(20).await, Some(0));
}

fn notes(path: &Path) -> Vec<Checkpoint> {
    notes_in(&fs::read_to_string(path).unwrap()).map(|note| Checkpoint::read(note).unwrap()).collect()
}

#[actix_web::test]
async fn the_record_is_chained_by_itself_and_a_checkpoint_is_kept_at_the_stop() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("kept.txt");
    let setting = [("AUDIT__CHECKPOINT_FILE", file.to_str().unwrap())];
    let mut gateway = TestGateway::start_with(&FakeOllama::start().url(), &setting);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for _ in 0..3 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    }
    until_chained(&gateway).await;
    stop(&mut gateway).await;

    let noted = notes(&file);
    let last = noted.last().unwrap();
    let newest = gateway.text_of("SELECT CAST(max(log_id) AS TEXT) FROM record");
    assert_eq!(last.log_id.to_string(), newest, "the stop chains the last rows");
    assert_eq!(gateway.text_of("SELECT CAST(max(log_id) AS TEXT) FROM checkpoints"), newest);
    assert_eq!(
        gateway.text_of("SELECT note FROM chain_tip"),
        gateway.text_of("SELECT note FROM checkpoints ORDER BY log_id DESC")
    );
    let key = gateway.data_dir().join("secrets/checkpoint.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(gateway.detail_of("checkpoint_key_made")["made_after_log_id"], 0);
    let (good, printed) = gateway.command(&["checkpoints"], "");
    assert!(good && fs::read_to_string(&file).unwrap().contains(&printed), "{printed}");
    assert_eq!(notes(&file).last().unwrap().key, last.key);

    gateway.restart();
    let admin = gateway.token("admin", crate::support::gateway::ADMIN_PASSWORD).await;
    let page = gateway.get("/api/v1/checkpoints?limit=1", Some(&admin)).await.json();
    assert!(page["items"].as_array().unwrap().len() == 1 && page["next"].is_string(), "{page}");
    let next = page["next"].as_str().unwrap();
    let older = gateway.get(&format!("/api/v1/checkpoints?cursor={next}"), Some(&admin)).await.json();
    assert!(older["items"][0]["log_id"].as_i64() < page["items"][0]["log_id"].as_i64(), "{older}");
    assert_eq!(gateway.get("/api/v1/checkpoints?cursor=x", Some(&admin)).await.status, 400);
    let host = gateway.get("/api/v1/host", Some(&admin)).await.json();
    assert!(host["last_checkpoint"]["log_id"].is_i64() && !host["warnings"].to_string().contains("record_unproven"));

    stop(&mut gateway).await;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (good, refused) = gateway.command(&["user", "list"], "");
    assert!(!good && refused.contains("may be read by others"), "{refused}");
}

#[actix_web::test]
async fn a_record_that_was_changed_is_told_and_requests_go_on() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    until_chained(&gateway).await;
    gateway.kill();
    gateway.on_the_file("UPDATE record SET user_id = 1 WHERE kind = 'result'");

    gateway.restart();

    let details = async || gateway.get("/health", Some(&admin)).await.json()["details"].clone();
    until("the check is over", async || details().await["chain_fault"].is_string()).await;
    let fault = details().await["chain_fault"].as_str().unwrap().to_owned();
    assert!(fault.starts_with("row ") && fault.ends_with("was changed"), "{fault}");
    let host = gateway.get("/api/v1/host", Some(&admin)).await.json();
    assert!(host["warnings"].to_string().contains("record_unproven"), "{host}");
    assert_eq!(gateway.get("/health", None).await.json(), json!({ "status": "ok" }), "only admins see why");
    let (good, told) = gateway.command(&["doctor"], "");
    assert!(!good && told.contains("record_unproven") && told.contains(&fault), "{told}");
    assert_eq!(gateway.post("/v1/chat/completions", Some(&ann), hello()).await.status, 200);
    let signed = gateway.text_of("SELECT note FROM chain_tip");
    until_chained(&gateway).await;
    assert_eq!(gateway.text_of("SELECT note FROM chain_tip"), signed, "nothing more is signed");
}

#[actix_web::test]
async fn a_restored_record_goes_on_with_its_chain_and_a_new_key() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    until_chained(&gateway).await;
    let backup = gateway.data_dir().parent().unwrap().join(format!("{}.backup", gateway.pid()));
    let (good, told) = gateway.command(&["backup", backup.to_str().unwrap()], "");
    assert!(good, "{told}");
    stop(&mut gateway).await;
    let file = gateway.data_dir().join("checkpoints.txt");
    let before = notes(&file).pop().unwrap();

    let (good, told) = command(gateway.data_dir(), &["restore", backup.to_str().unwrap(), "--replace"], "");
    fs::remove_file(&backup).unwrap();
    assert!(good, "{told}");
    assert!(!file.exists(), "it is kept beside the database that was there");
    gateway.restart();
    until_chained(&gateway).await;
    stop(&mut gateway).await;

    let after = notes(&file).pop().unwrap();
    assert!(after.origin == before.origin && after.key != before.key);
    assert_eq!(gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM record WHERE act = 'checkpoint_key_made'"), "2");
    assert_eq!(
        gateway.text_of("SELECT CAST(count(*) AS TEXT) FROM checkpoints"),
        "2",
        "one at the first start, one at this stop"
    );
    gateway.restart();
    let admin = gateway.token("admin", crate::support::gateway::ADMIN_PASSWORD).await;
    until_chained(&gateway).await;
    let health = gateway.get("/health", Some(&admin)).await.json();
    assert!(health["details"]["chain_fault"].is_null(), "{health}");
}

/// So that the rows that are in no link were written within some seconds, also right after a start after a long stop.
#[actix_web::test]
async fn what_the_last_run_left_is_chained_before_this_one_writes() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("half"), Step::Wait, done("stop")]));
    let running = gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into()).await;
    gateway.kill();
    drop(running);
    // None of its rows is in the chain, and all are a day old.
    gateway.make_rows_older(1);

    gateway.restart();

    let interrupted = "SELECT CAST(count(*) AS TEXT) FROM record WHERE outcome = 'interrupted'";
    gateway.until_text(interrupted, "1").await;
    until_chained(&gateway).await;
    let of_both_runs = "SELECT CAST(count(*) AS TEXT) FROM chain WHERE 3600000000 < (SELECT max(at_us) - min(at_us) \
        FROM record WHERE record.log_id BETWEEN first_log_id AND chain.log_id)";
    assert_eq!(gateway.text_of(of_both_runs), "0");
}

#[actix_web::test]
async fn a_file_of_checkpoints_elsewhere_stays_at_a_restore_and_tells_of_it() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, backup) = (elsewhere.path().join("kept.txt"), elsewhere.path().join("backup.db"));
    let mut gateway =
        TestGateway::start_with(&FakeOllama::start().url(), &[("AUDIT__CHECKPOINT_FILE", file.to_str().unwrap())]);
    let configured = [("LGW_AUDIT__CHECKPOINT_FILE", file.to_str().unwrap())];
    let admin = gateway.admin().await;
    let (good, told) = gateway.command(&["backup", backup.to_str().unwrap()], "");
    assert!(good, "{told}");
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    stop(&mut gateway).await;
    let lost = notes(&file).pop().unwrap();

    let restore = ["restore", backup.to_str().unwrap(), "--replace"];
    let (good, told) = gateway.command_with(&configured, &restore, "");

    assert!(good && told.contains(&format!("mv {} ", file.display())), "{told}");
    assert_eq!(notes(&file).last(), Some(&lost), "it stays as it is");
    gateway.restart();
    stop(&mut gateway).await;
    let newest = notes(&file).pop().unwrap();
    assert!(newest.key != lost.key && newest.origin == lost.origin, "the new key's checkpoints are appended");
    let (good, told) = gateway.command_with(&configured, &["verify"], "");
    let fault = format!("checkpoint {}: it is signed with another key, as before a restore", lost.log_id);
    assert!(!good && told.contains(&fault), "{told}");
    fs::rename(&file, elsewhere.path().join("kept.txt.before-restore")).unwrap();
    let (good, told) = gateway.command_with(&configured, &["verify"], "");
    assert!(good, "{told}");
}

#[actix_web::test]
async fn a_share_that_does_not_answer_holds_up_neither_the_chain_nor_a_stop() {
    let elsewhere = tempfile::tempdir().unwrap();
    // Whoever opens it waits until somebody writes to it.
    let pipe = elsewhere.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let setting = [("AUDIT__CHECKPOINT_FILE", pipe.to_str().unwrap())];
    let mut gateway = TestGateway::start_with(&FakeOllama::start().url(), &setting);
    let admin = gateway.admin().await;
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    until_chained(&gateway).await;
    stop(&mut gateway).await;

    let newest = gateway.text_of("SELECT CAST(max(log_id) AS TEXT) FROM record");
    assert_eq!(gateway.text_of("SELECT CAST(max(log_id) AS TEXT) FROM checkpoints"), newest);
}

#[actix_web::test]
async fn a_checkpoint_shows_the_time_that_is_signed() {
    let mut gateway = TestGateway::start(&FakeOllama::start().url());
    let admin = gateway.admin().await;
    stop(&mut gateway).await;
    gateway.on_the_file("UPDATE checkpoints SET at_us = at_us - 86400000000");
    gateway.restart();

    let shown = gateway.get("/api/v1/checkpoints?limit=1", Some(&admin)).await.json()["items"][0].clone();

    let signed = Checkpoint::read(shown["note"].as_str().unwrap()).unwrap();
    assert_eq!(shown["at"], signed.time.rfc3339());
    gateway.on_the_file("UPDATE checkpoints SET note = replace(note, 'older-to 0', 'older-to 1')");
    let (good, told) = gateway.command(&["checkpoints"], "");
    assert!(!good && told.contains("was changed in the database") && !told.contains("older-to"), "{told}");
}

type Part = (String, Vec<u8>);

/// Its log_id, kind, intent and commitment.
type CommittedRow = (i64, String, Option<i64>, Option<Vec<u8>>);

/// Compares every commitment with the parts on disk; returns how many rows of each kind have one.
fn committed(gateway: &TestGateway) -> Vec<(String, usize)> {
    use lan_gateway::store::schema::{record, record_part};
    let file = gateway.data_dir().join("lan-gateway.db");
    let mut file = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let columns = (record::log_id, record::kind, record::intent_id, record::commitment);
    let rows: Vec<CommittedRow> = record::table.order(record::log_id).select(columns).load(&mut file).unwrap();
    let mut counted: Vec<(String, usize)> = Vec::new();
    for (log_id, kind, intent, commitment) in rows {
        let parts: Vec<Part> = record_part::table
            .filter(record_part::log_id.eq(intent.unwrap_or(log_id)))
            .order(record_part::part)
            .select((record_part::kind, record_part::body))
            .load(&mut file)
            .unwrap();
        let origin = || parts.iter().find(|(kind, _)| kind == "origin").map(|(_, body)| body.split_at(SALT_BYTES));
        let made = match kind.as_str() {
            "intent" => Some(commitment_to(origin().unwrap().0, Committed::Request, &parts[0].1)),
            "result" => commitment_of_result(parts.iter().map(|(kind, body)| (kind.as_str(), body.as_slice()))),
            "refusal" => origin().map(|(salt, address)| commitment_to(salt, Committed::Address, address)),
            _ => parts.first().map(|(_, detail)| commitment_to(&SALT_OF_ACTS, Committed::Detail, detail)),
        };
        assert_eq!(made.map(|made| made.to_vec()), commitment, "{kind} {log_id}: {parts:?}");
        if commitment.is_some() {
            match counted.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => counted.push((kind, 1)),
            }
        }
    }
    counted.sort();
    counted
}

#[actix_web::test]
async fn every_commitment_is_to_what_is_on_disk_also_of_requests_that_a_kill_interrupted() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("AUDIT__SEGMENT_MS", "10")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let with_note = json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }], "user": "x" });
    gateway.post("/v1/chat/completions", Some(&ann), with_note).await;
    fake.next(Script::of(vec![text("cut"), done("length")]));
    gateway.post("/v1/responses", Some(&ann), json!({ "model": "fake", "input": "hi", "max_output_tokens": 1 })).await;
    assert_eq!(gateway.post("/v1/chat/completions", Some("wrong"), hello()).await.status, 401);
    fake.next(Script::of(vec![text("half an ans"), Step::Wait, done("stop")]));
    let running = gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into()).await;
    gateway.until_text("SELECT CAST(count(*) AS TEXT) FROM record_part WHERE kind = 'answer' AND body = CAST('half an ans' AS BLOB)", "1").await;
    gateway.kill();
    drop(running);

    gateway.restart();

    gateway
        .until_text(
            "SELECT CAST(count(*) AS TEXT) FROM record WHERE outcome = 'interrupted' AND commitment IS NOT NULL",
            "1",
        )
        .await;
    let counted = committed(&gateway);
    assert_eq!(counted[1..], [("intent".to_owned(), 4), ("refusal".to_owned(), 1), ("result".to_owned(), 4)]);
    assert!(counted[0].0 == "act" && counted[0].1 >= 1);
}
