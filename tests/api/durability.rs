//! The order of system calls: the record is synced before the upstream hears anything, and again before the end mark.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::faults::Syncs;
use crate::support::gateway::{TestGateway, client, client_without_timeout, hello, hello_stream};

/// What the traced gateway did, in order, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A sync of the WAL has returned.
    Synced,
    /// The request was written to the upstream.
    Forwarded,
    /// The last bytes of the answer were written to the client.
    EndMark,
}

fn read_trace(trace: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    // A call that another thread interrupts returns on a line of its own, which does not name the file.
    let mut syncing: HashMap<&str, bool> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let returned = call.trim_end().ends_with("= 0");
        if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
            let is_wal = call.contains("-wal>");
            if is_wal && returned {
                acts.push(Act::Synced);
            }
            syncing.insert(thread, is_wal);
        } else if call.starts_with("<... fdatasync resumed") || call.starts_with("<... fsync resumed") {
            if returned && syncing.remove(thread) == Some(true) {
                acts.push(Act::Synced);
            }
        } else if call.contains("POST /api/chat") {
            acts.push(Act::Forwarded);
        } else if call.contains("[DONE]") || call.contains("chat.completion\\\"") {
            acts.push(Act::EndMark);
        }
    }
    acts
}

/// Runs one whole and one streamed chat under strace and returns what each did.
async fn traced(settings: &[(&str, &str)]) -> Vec<Vec<Act>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let fake = FakeOllama::start();
    let path = file.to_str().unwrap();
    let wrapper =
        ["strace", "-f", "-y", "-s", "100000", "-e", "trace=fdatasync,fsync,write,writev,sendto,sendmsg", "-o", path];
    let gateway = TestGateway::start_under(&wrapper, &fake.url(), settings);
    let admin = gateway.admin().await;
    let mut runs = Vec::new();
    for body in [hello(), hello_stream()] {
        let before = std::fs::read_to_string(&file).unwrap().len();
        let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;
        assert_eq!(answer.status, 200);
        // strace writes a call down when it has returned; the client may be sooner.
        let told = async || {
            let acts = read_trace(&std::fs::read_to_string(&file).unwrap()[before..]);
            acts.contains(&Act::EndMark).then_some(acts)
        };
        runs.push(eventually("the end mark is in the trace", told).await);
    }
    runs
}

fn is_durable(acts: &[Act]) -> bool {
    let at = |wanted: Act| acts.iter().position(|act| *act == wanted);
    let (Some(forwarded), Some(end)) = (at(Act::Forwarded), at(Act::EndMark)) else { return false };
    acts[..forwarded].contains(&Act::Synced) && forwarded < end && acts[forwarded..end].contains(&Act::Synced)
}

#[actix_web::test]
async fn the_sync_returns_before_the_forward_and_before_the_end_mark() {
    assert!(Command::new("strace").arg("-V").output().is_ok(), "this test needs strace");
    for acts in traced(&[]).await {
        assert!(is_durable(&acts), "{acts:?}");
    }
}

#[actix_web::test]
async fn the_test_above_sees_a_gateway_that_does_not_sync() {
    for acts in traced(&[("DEBUG_SYNCHRONOUS_OFF", "1")]).await {
        assert!(acts.contains(&Act::Forwarded) && acts.contains(&Act::EndMark), "{acts:?}");
        assert!(!is_durable(&acts), "{acts:?}");
    }
}

#[actix_web::test]
async fn a_failed_sync_ends_the_gateway_with_a_status() {
    for streams in [0, 3] {
        let fake = FakeOllama::start();
        // A slot for each, so that none of them waits.
        let mut gateway = TestGateway::start_with(&fake.url(), &[("OLLAMA__SLOTS", "4")]);
        let admin = gateway.admin().await;
        let mut running = Vec::new();
        for _ in 0..streams {
            fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
            let body = hello_stream().to_string().into_bytes();
            let mut response = gateway.open("POST", "/v1/chat/completions", Some(&admin), body).await;
            response.next().await.unwrap().unwrap();
            running.push(response);
        }

        let syncs = Syncs::tampered(gateway.pid(), "error=EIO").await;
        let request = client().post(format!("{}/v1/chat/completions", gateway.url)).bearer_auth(&admin);
        // It may have ended before it could answer.
        if let Ok(answer) = request.send_body(hello().to_string()).await {
            assert_eq!(answer.status().as_u16(), 503);
        }

        assert_eq!(gateway.wait(60).await, Some(1), "with {streams} streams");
        drop(syncs);
        gateway.restart();
        assert!(gateway.record(&admin).await.iter().all(|row| row["outcome"].is_string()));
    }
}

#[actix_web::test]
async fn a_request_whose_intent_is_synced_too_late_has_the_one_result_that_its_client_was_told() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_DAY", "100")]);
    let admin = gateway.admin().await;
    let syncs = Syncs::tampered(gateway.pid(), "delay_exit=9000000").await;

    let answer = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    drop(syncs);

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("audit_unavailable")));
    let row = gateway.newest_outcome(&admin, "refused").await;
    assert_eq!(
        (&row["reason"], &row["status"], &row["kind"]),
        (&json!("audit_unavailable"), &json!(503), &json!("request"))
    );
    let rows = "SELECT group_concat(kind) FROM (SELECT kind FROM record WHERE kind <> 'act' ORDER BY log_id)";
    assert_eq!(gateway.text_of(rows), "intent,result");
    assert!(fake.chats().is_empty(), "nothing was forwarded");
    assert_day_is_the_same_after_a_restart(&mut gateway, &admin, 1).await;
}

#[actix_web::test]
async fn a_result_that_is_synced_late_is_told_as_it_is_recorded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![Step::Wait, text("Hello"), done("stop")]));
    // A sync of what is not asked for may come first, and takes as long.
    let request = client_without_timeout().post(format!("{}/v1/chat/completions", gateway.url)).bearer_auth(&admin);
    let asking = request.send_json(&hello());
    let slow = async {
        fake.until(|chats| chats.len() == 1).await;
        // Longer than anything in the gateway used to wait.
        let syncs = Syncs::tampered(gateway.pid(), "delay_exit=31000000").await;
        fake.release();
        // Nobody can be served while the disk does not answer.
        until("it is seen", async || gateway.get("/health/live", None).await.status != 200).await;
        syncs
    };

    let (answer, syncs) = tokio::join!(asking, slow);

    let mut answer = answer.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.body().await);
    // The next sync, that of the search index, is as late.
    drop(syncs);
    until("it is live", async || gateway.get("/health/live", None).await.status == 200).await;
    assert_eq!(gateway.newest_outcome(&admin, "completed").await["status"], 200);
}

#[actix_web::test]
async fn clients_who_leave_while_their_intent_is_synced_count_in_their_day_before_and_after_a_restart() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_DAY", "100")]);
    let admin = gateway.admin().await;
    let syncs = Syncs::tampered(gateway.pid(), "delay_exit=1000000").await;
    for _ in 0..3 {
        let request = client().post(format!("{}/v1/chat/completions", gateway.url)).bearer_auth(&admin);
        let asking = request.send_body(hello().to_string());
        assert!(tokio::time::timeout(Duration::from_millis(400), asking).await.is_err());
    }
    drop(syncs);
    let ended = "SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'result' AND outcome = 'abandoned'";
    gateway.until_text(ended, "3").await;

    assert_day_is_the_same_after_a_restart(&mut gateway, &admin, 3).await;
}

async fn assert_day_is_the_same_after_a_restart(gateway: &mut TestGateway, admin: &str, requests: u64) {
    let used = async |gateway: &TestGateway| -> Value {
        gateway.get("/api/v1/me", Some(admin)).await.json()["left"]["requests_per_day"]["used"].clone()
    };
    assert_eq!(used(gateway).await, json!(requests));
    gateway.signal("TERM");
    assert_eq!(gateway.wait(60).await, Some(0));
    gateway.restart();
    assert_eq!(used(gateway).await, json!(requests));
}
