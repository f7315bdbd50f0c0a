//! Several upstreams: one that is down takes no work, one that hangs delays nobody, and what comes back is used again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step};
use crate::support::gateway::{TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";

/// A gateway in front of `local` and `two`. Without a request nobody looks at them again for an hour.
fn gateway(local: &FakeOllama, two: &FakeOllama, more: &[(&str, &str)]) -> TestGateway {
    let url = two.url();
    let mut settings = vec![
        ("UPSTREAM__TWO__KIND", "ollama"),
        ("UPSTREAM__TWO__URL", &url),
        ("OLLAMA__MODELS_SECONDS_MAX", "3600"),
        ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
    ];
    settings.extend(more);
    TestGateway::start_with(&local.url(), &settings)
}

/// Waits until the upstream at this place of the list is in this state.
async fn until_state(gateway: &TestGateway, admin: &str, at: usize, state: &str) -> Value {
    let what = format!("upstream {at} is `{state}`");
    gateway.until_queue(admin, &what, |queue| queue["hosts"][at]["state"] == state).await["hosts"][at].take()
}

async fn until_both_are_up(gateway: &TestGateway, admin: &str) {
    until_state(gateway, admin, 0, "up").await;
    until_state(gateway, admin, 1, "up").await;
}

#[actix_web::test]
async fn one_that_is_down_takes_no_work_and_says_since_when_and_why() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    let gateway = gateway(&local, &two, &[]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    until_both_are_up(&gateway, &admin).await;
    local.dies().await;

    for _ in 0..10 {
        assert_eq!(gateway.post(CHAT, Some(&ann), hello()).await.status, 200);
    }

    assert_eq!((local.chats().len(), two.chats().len()), (0, 10));
    let host = until_state(&gateway, &admin, 0, "down").await;
    assert!(host["down_since"].as_str().unwrap().ends_with('Z'), "{host}");
    assert!(host["last_error"].as_str().unwrap().to_lowercase().contains("refused"), "{host}");
    let others = gateway.get("/api/v1/queue", Some(&ann)).await.json()["hosts"][0].clone();
    assert_eq!((&others["state"], &others["last_error"]), (&json!("down"), &Value::Null));
    assert_eq!(gateway.get("/health/ready", None).await.status, 200, "the other one is there");

    local.comes_back().await;
    let host = until_state(&gateway, &admin, 0, "up").await;
    assert_eq!((&host["down_since"], &host["last_error"]), (&Value::Null, &Value::Null));
    two.dies().await;
    assert_eq!(gateway.post(CHAT, Some(&ann), hello()).await.status, 200);
    assert_eq!(local.chats().len(), 1);
}

#[actix_web::test]
async fn a_request_that_failed_before_its_first_byte_goes_once_to_another() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    let gateway = gateway(&local, &two, &[]);
    let admin = gateway.admin().await;
    until_both_are_up(&gateway, &admin).await;
    let closes = || Script { before: vec![Step::Die], ..Script::hello() };
    let newest = async || {
        let row = gateway.record(&admin).await.remove(0);
        let story = gateway.get(&format!("/api/v1/audit/{}", row["request_id"].as_str().unwrap()), Some(&admin)).await;
        let attempt = gateway
            .text_of("SELECT CAST(attempt AS TEXT) FROM record WHERE kind = 'result' ORDER BY log_id DESC LIMIT 1");
        (row["host"].clone(), attempt, story.json()["notes"].as_str().unwrap().to_owned())
    };

    assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200);
    let (host, attempt, notes) = newest().await;
    assert_eq!((host, attempt.as_str()), (json!("local"), "1"));
    assert!(!notes.contains("attempt"), "{notes}");

    // Closed without an answer, by one that lives.
    local.next(closes());
    let moved = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!(moved.status, 200, "{}", moved.text());
    let (host, attempt, notes) = newest().await;
    assert_eq!((host, attempt.as_str()), (json!("two"), "2"));
    assert!(notes.contains("attempt 1 on `local` failed with upstream_error: "), "{notes}");

    // Both close it: once is enough.
    local.next(closes());
    two.next(closes());
    let before = (local.chats().len(), two.chats().len());
    let failed = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!((failed.status, &failed.json()["error"]["code"]), (502, &json!("upstream_error")));
    assert_eq!(local.chats().len() + two.chats().len(), before.0 + before.1 + 2);
    assert_eq!(newest().await.1, "2");

    // Refused, by one of which nobody knows yet that it is down. The model is loaded at both.
    local.dies().await;
    for _ in 0..2 {
        assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200);
    }
    let notes = gateway.text_of("SELECT group_concat(CAST(body AS TEXT)) FROM record_part WHERE kind = 'notes'");
    assert_eq!(notes.matches("attempt 1 on `local` failed with upstream_unreachable").count(), 1, "{notes}");
}

#[actix_web::test]
async fn alone_it_is_not_sent_twice() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script { before: vec![Step::Die], ..Script::hello() });

    let answer = gateway.post(CHAT, Some(&admin), hello()).await;

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_error")));
    assert_eq!(fake.chats().len(), 1);
}

#[actix_web::test]
async fn what_died_and_came_back_is_seen_by_lists_readiness_and_requests() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let statuses = async || {
        let ready = gateway.get("/health/ready", None).await.status;
        let models = gateway.get("/v1/models", Some(&admin)).await.status;
        (ready, models, gateway.post(CHAT, Some(&admin), hello()).await.status)
    };
    assert_eq!(statuses().await, (200, 200, 200));

    fake.dies().await;
    let gone = Instant::now();
    // Readiness asks for a look when the last one is a second old.
    until("the end is seen", async || gateway.get("/health/ready", None).await.status == 503).await;
    assert!(gone.elapsed() < Duration::from_secs(4), "{:?}", gone.elapsed());
    assert_eq!(statuses().await, (503, 502, 502));
    let refused = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!(refused.json()["error"]["code"], "upstream_unreachable");

    fake.comes_back().await;
    let back = Instant::now();
    until("the return is seen", async || statuses().await == (200, 200, 200)).await;
    // Within a second, and what a busy machine adds.
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
}

#[actix_web::test]
async fn one_that_has_just_started_serves_the_first_request_after_it() {
    let fake = FakeOllama::start();
    fake.dies().await;
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    // By now the background looks at it most seldom.
    for _ in 0..20 {
        assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 502);
    }

    fake.comes_back().await;

    assert_eq!(gateway.post(CHAT, Some(&admin), hello()).await.status, 200);
    assert_eq!(gateway.get("/health/ready", None).await.status, 200);
}

#[actix_web::test]
async fn one_that_never_answers_delays_nobody() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    two.hangs();
    local.pull("alone:latest");
    let gateway = gateway(&local, &two, &[]);
    let admin = gateway.admin().await;
    let began = Instant::now();

    for _ in 0..5 {
        let mut body = hello();
        body["model"] = json!("alone");
        assert_eq!(gateway.post(CHAT, Some(&admin), body).await.status, 200);
    }
    assert_eq!(gateway.get("/health/ready", None).await.status, 200);

    // A look at the one that hangs takes five seconds, and nobody waits for its end.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[actix_web::test]
async fn a_model_that_was_pulled_a_moment_ago_is_found() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    let gateway = gateway(&local, &two, &[]);
    let admin = gateway.admin().await;
    until_both_are_up(&gateway, &admin).await;
    let mut body = hello();
    body["model"] = json!("new:7b");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(gateway.post(CHAT, Some(&admin), body.clone()).await.status, 404);
    two.pull("new:7b");
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let answer = gateway.post(CHAT, Some(&admin), body).await;

    assert_eq!((answer.status, two.chats().len()), (200, 1), "{}", answer.text());
}

#[actix_web::test]
async fn doctor_says_which_upstream_is_down_and_why() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    two.dies().await;
    let url = two.url();
    let gateway = TestGateway::start(&local.url());
    let (urls, folder) = ([local.url(), url], gateway.data_dir().to_owned());

    let doctor = std::process::Command::new(crate::support::gateway::binary())
        .arg("doctor")
        .current_dir(&folder)
        .env("LGW_DATA_DIR", &folder)
        .env("LGW_OLLAMA__URL", &urls[0])
        .env("LGW_UPSTREAM__TWO__URL", &urls[1])
        .output()
        .unwrap();

    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success());
    assert!(text.contains(&format!("upstream `local`   {}: it answers, with 3 models", urls[0])), "{text}");
    let two = text.lines().find(|line| line.starts_with("upstream `two`")).unwrap();
    assert!(two.contains("down: ") && two.to_lowercase().contains("refused"), "{two}");
}

#[actix_web::test]
async fn a_secret_is_shown_to_its_own_upstream_alone_and_to_nobody_else() {
    let (local, two) = (FakeOllama::start(), FakeOllama::start());
    two.pull("only-two:1b");
    let gateway = gateway(&local, &two, &[("UPSTREAM__TWO__SECRET", "key-of-two")]);
    let admin = gateway.admin().await;
    until_both_are_up(&gateway, &admin).await;

    let answer =
        gateway.post(CHAT, Some(&admin), json!({ "model": "only-two:1b", "messages": hello()["messages"] })).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(two.chats().len(), 1);
    assert!(two.credentials().len() > 1 && two.credentials().iter().all(|shown| shown == "Bearer key-of-two"));
    assert!(local.credentials().iter().all(String::is_empty), "{:?}", local.credentials());
    let seen = gateway.get("/api/v1/queue", Some(&admin)).await.text() + &answer.text();
    assert!(!seen.contains("key-of-two"));
}
