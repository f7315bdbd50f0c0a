//! The order of system calls: the record is synced before the upstream hears anything, and again before the end mark.

use std::process::Command;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello, hello_stream};

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
    for line in trace.lines() {
        // A call that another thread interrupted returns on a line of its own.
        let returned = !line.contains("<unfinished");
        let sync = line.contains("fdatasync(")
            || line.contains("fsync(")
            || line.contains("fdatasync resumed")
            || line.contains("fsync resumed");
        if sync && returned && line.trim_end().ends_with("= 0") {
            acts.push(Act::Synced);
        } else if line.contains("POST /api/chat") {
            acts.push(Act::Forwarded);
        } else if line.contains("[DONE]") || line.contains("chat.completion\\\"") {
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
        ["strace", "-f", "-s", "100000", "-e", "trace=fdatasync,fsync,write,writev,sendto,sendmsg", "-o", path];
    let gateway = TestGateway::start_under(&wrapper, &fake.url(), settings);
    let admin = gateway.admin().await;
    let mut runs = Vec::new();
    for body in [hello(), hello_stream()] {
        let before = std::fs::read_to_string(&file).unwrap().len();
        let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;
        assert_eq!(answer.status, 200);
        runs.push(read_trace(&std::fs::read_to_string(&file).unwrap()[before..]));
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
