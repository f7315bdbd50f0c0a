//! Commands that only read say the same whether the gateway runs or not.

use serde_json::json;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, hello};

/// Every command that reads and needs no running gateway. What leaves a row of its own is filtered from lists of the record.
const READING: &[&str] = &[
    "user list",
    "user list ann",
    "user list --status pending --json",
    "user show ann@example.org",
    "user show ann@example.org --json",
    "token list",
    "token list ann@example.org --json",
    "token list --status revoked",
    "token list --expiring-before +400d",
    "notices list",
    "settings",
    "settings list --json",
    "usage",
    "usage --by token --json",
    "usage --by model,day --csv",
    "usage --timeline hour --to 2026-01-31",
    "record list --kind request",
    "record list ann@example.org --kind request --from today --json",
    "record list --token n8n --kind request",
    "audit list --act token_created",
    "record exports",
    "export ann@example.org --kind request --format jsonl",
    "config check",
    "config check --json",
    "config example",
    "openapi",
];

#[actix_web::test]
async fn what_a_command_reads_is_the_same_with_and_without_a_running_gateway() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/api/v1/register", None, json!({ "email": "eve@example.org", "password": PASSWORD })).await;
    for name in ["n8n", "old"] {
        let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": name })).await.json();
        gateway.post("/v1/chat/completions", token["token"].as_str(), hello()).await;
    }
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    for words in [
        "token revoke old",
        "user quota ann@example.org tokens_per_day 5000",
        "user quota ann@example.org answer_tokens_max 77",
    ] {
        let (good, text) = gateway.command(&words.split(' ').collect::<Vec<_>>(), "");
        assert!(good, "{text}");
    }
    let read = |gateway: &TestGateway| {
        let read = |words: &&str| {
            let (good, text) = gateway.command(&words.split(' ').collect::<Vec<_>>(), "");
            assert!(good && !text.is_empty(), "{words}: {text}");
            // What is left now is counted anew after a start; receipts and the ids of exports are new each time.
            let text = text.split("\n  \"left\": {").next().unwrap_or_default();
            let lines = text.lines().filter(|line| !line.contains("receipt") && !words.contains("exports"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        READING.iter().map(read).collect::<Vec<_>>()
    };

    let running = read(&gateway);
    gateway.signal("TERM");
    gateway.wait(10).await;
    let alone = read(&gateway);

    for ((words, running), alone) in READING.iter().zip(&running).zip(&alone) {
        assert_eq!(running, alone, "{words}");
    }
    let shown = &alone[READING.iter().position(|words| *words == "user show ann@example.org").unwrap()];
    for line in ["tokens per day       24 used of 5000, their own", "answer tokens max    77, their own"] {
        assert!(shown.iter().any(|one| one == line), "{shown:?}");
    }
}

#[actix_web::test]
async fn a_command_that_needs_a_running_gateway_says_so() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    gateway.admin().await;
    gateway.signal("TERM");
    gateway.wait(10).await;

    for words in ["queue", "queue list", "queue cancel 1", "models", "metrics", "status"] {
        let (good, text) = gateway.command(&words.split(' ').collect::<Vec<_>>(), "");
        assert!(!good && text.contains("no gateway runs on"), "{words}: {text}");
    }
}
