//! The record: what stands in it, and what happens when it can't be written.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::support::eventually::{eventually, until};
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{PASSWORD, TestGateway, hello, hello_stream};

#[actix_web::test]
async fn an_answer_has_its_row_when_its_last_byte_arrives() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;

    let answer = gateway.post("/v1/chat/completions", Some(&ann), hello_stream()).await;
    let row = gateway.record(&admin).await[0].clone();

    assert_eq!(row["request_id"].as_str(), answer.header("x-request-id"));
    assert_eq!(
        json!([
            row["user"],
            row["outcome"],
            row["credential"],
            row["api"],
            row["model_asked"],
            row["host"],
            row["status"],
            row["prompt_tokens"],
            row["answer_tokens"]
        ]),
        json!(["ann@example.org", "completed", "jwt", "/v1/chat/completions", "fake", "local", 200, 5, 3])
    );
}

#[actix_web::test]
async fn a_row_tells_what_the_time_went_into_as_far_as_the_upstream_did() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let end = |durations: &str| {
        let end = format!(
            r#"{{"model":"fake:latest","created_at":"2026-01-01T00:00:00Z","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":3{durations}}}"#
        );
        // No more time is believed than there was.
        Script::of(vec![
            text("x"),
            Step::Sleep(Duration::from_millis(100)),
            Step::Send(format!("{end}\n").into_bytes()),
        ])
    };
    let phases = |row: &Value| {
        ["gpu_ms", "load_ms", "prompt_ms", "answer_ms"].map(|field| row.get(field).and_then(Value::as_i64))
    };
    fake.next(end(r#","load_duration":20000000,"prompt_eval_duration":30000000,"eval_duration":40000000"#));
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let told = gateway.record(&admin).await[0].clone();
    fake.next(end(""));
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let untold = gateway.record(&admin).await[0].clone();
    fake.next(Script::of(vec![text("x"), Step::Sleep(Duration::from_millis(100)), Step::Die]));
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let cut = gateway.newest_outcome(&admin, "failed").await;
    let story = format!("/api/v1/audit/{}", told["request_id"].as_str().unwrap());
    let story = gateway.get(&story, Some(&admin)).await.json();
    // As a row that was written before the columns were.
    gateway.on_the_file("UPDATE record SET gpu_us = NULL, load_us = NULL, prompt_us = NULL, answer_us = NULL");
    let old = gateway.record(&admin).await[0].clone();

    assert_eq!(phases(&told), [Some(90), Some(20), Some(30), Some(40)]);
    assert_eq!(phases(&story), phases(&told));
    assert_eq!(phases(&untold), [Some(0), None, None, None]);
    assert!(matches!(phases(&cut), [Some(50..), None, None, None]), "{cut}");
    assert_eq!(phases(&old), [None; 4]);
    let export = gateway.export(&admin, "admin", "csv").await;
    assert!(!export.lines().next().unwrap().contains("gpu_ms"), "{export}");
}

#[actix_web::test]
async fn a_request_that_runs_is_seen_to_run() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![Step::Wait, text("x"), done("stop")]));

    let chat = gateway.post("/v1/chat/completions", Some(&admin), hello());
    let look = async {
        fake.until(|chats| chats.len() == 1).await;
        let rows = gateway.record(&admin).await;
        fake.release();
        rows
    };
    let (answer, rows) = futures_util::join!(chat, look);

    assert_eq!(answer.status, 200);
    assert_eq!((rows.len(), &rows[0]["kind"], rows[0].get("outcome")), (1, &json!("request"), None));
}

#[actix_web::test]
async fn refusals_are_counted_not_listed() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut body = hello();
    body["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });

    for _ in 0..30 {
        gateway.post("/chat", None, body.clone()).await;
    }
    // The count of the minute is written when it is over, or when the gateway stops.
    gateway.signal("TERM");
    assert_eq!(gateway.wait(10).await, Some(0));
    gateway.restart();

    let admin = gateway.admin().await;
    let rows = gateway.record(&admin).await;
    let refusals: Vec<&Value> = rows.iter().filter(|row| row["reason"] == "rate_limit_exceeded").collect();
    assert!(refusals.len() <= 4, "{refusals:#?}");
    assert_eq!(refusals.iter().map(|row| row["repeat"].as_i64().unwrap()).sum::<i64>(), 29);
    assert!(refusals.iter().all(|row| row["kind"] == "refusal" && row["user"] == "ann@example.org"));
}

#[actix_web::test]
async fn while_nothing_can_be_recorded_nothing_is_forwarded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let file = gateway.data_dir().join("lan-gateway.db");
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout=5000; BEGIN IMMEDIATE").unwrap();

    let refused = gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("audit_unavailable")));
    assert!(refused.header("retry-after").is_some());
    assert!(fake.chats().is_empty());
    other.batch_execute("ROLLBACK").unwrap();
    // The next commit says that all is well again.
    let is_well = async || gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status == 200;
    until("the gateway records again", is_well).await;
    assert_eq!(gateway.get("/health", None).await.status, 200);
}

#[actix_web::test]
async fn what_was_cut_off_by_a_crash_is_interrupted_after_it() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let _cut =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;
    let written =
        "SELECT CAST(count(*) AS TEXT) FROM record_part WHERE kind = 'answer' AND CAST(body AS TEXT) = 'Hello'";
    gateway.until_text(written, "1").await;

    gateway.kill();
    gateway.restart();

    let row = gateway.record(&admin).await[0].clone();
    assert_eq!((&row["outcome"], &row["reason"]), (&json!("interrupted"), &json!("gateway_stopped")));
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(line["response"], "Hello");
}

#[actix_web::test]
async fn an_export_is_complete_harmless_and_ends_with_its_receipt() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for said in ["=1+1", "two\r\nlines, \"quoted\""] {
        fake.next(Script::of(vec![text(said), done("stop")]));
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    }
    gateway
        .post(
            "/v1/chat/completions",
            Some(&ann),
            json!({ "model": "nope", "messages": [{ "role": "user", "content": "x" }] }),
        )
        .await;
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    let export = gateway.export(&admin, "ann", "csv").await;

    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(export.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 22);
    assert_eq!(
        &reader.headers().unwrap().iter().take(4).collect::<Vec<_>>(),
        &["log_id", "prompt", "response", "timestamp"]
    );
    let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(&lines[0][2], "'=1+1");
    assert_eq!(&lines[1][2], "two\r\nlines, \"quoted\"");
    assert_eq!(&lines[0][1], r#"[{"role":"user","content":"hi"}]"#);
    assert_eq!((&lines[2][10], &lines[2][11]), ("refused", "model_not_found"));
    assert!(lines[3][0].starts_with("receipt:") && lines[3][0].len() > 20);
    for line in &lines {
        assert!(line.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])));
    }
    assert_eq!(gateway.get("/api/v1/exports/nonsense", Some(&admin)).await.status, 404);
}

#[actix_web::test]
async fn a_second_gateway_on_the_same_folder_does_not_start() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    let (good, text) = gateway.command(&["serve"], "");

    assert!(!good && text.contains("another lan-gateway runs"), "{text}");
}

#[actix_web::test]
async fn denials_at_every_door_are_on_record() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/auth/token", None, json!({ "username": "nobody", "password": "wrong" })).await;
    gateway.get("/api/v1/users", Some(&ann)).await;

    // Nobody waits for the row of a refusal, so it may come a moment later.
    let both = async || Some(gateway.record(&admin).await).filter(|rows| rows.len() >= 2);
    let rows = eventually("both refusals are on record", both).await;

    let seen: Vec<Value> = rows.iter().map(|row| json!([row["api"], row["reason"], row["status"]])).collect();
    for expected in [json!(["/auth/token", "invalid_api_key", 401]), json!(["/api/v1", "permission_denied", 403])] {
        assert!(seen.contains(&expected), "{expected} in {seen:?}");
    }
    let denied = rows.iter().find(|row| row["reason"] == "permission_denied").unwrap();
    assert_eq!(denied["user"], "ann@example.org");
}

#[actix_web::test]
async fn the_record_is_filtered() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    gateway.post("/chat", Some(&admin), hello()).await;
    fake.next(Script::of(vec![text("x")]));
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let id = gateway.id_of(&admin, "ann").await;
    let count = async |filter: &str| {
        let page = gateway.get(&format!("/api/v1/audit?{filter}"), Some(&admin)).await;
        assert_eq!(page.status, 200, "{}", page.text());
        page.json()["items"].as_array().unwrap().len()
    };

    let made = json!({ "name": "nightly", "scopes": ["chat"] });
    let made = gateway.post("/api/v1/tokens", Some(&ann), made).await.json();
    gateway.post("/v1/chat/completions", Some(made["token"].as_str().unwrap()), hello()).await;
    let token = made["id"].as_str().unwrap();
    let page = gateway.get(&format!("/api/v1/audit?token_id={token}&kind=request"), Some(&admin)).await.json();
    assert_eq!(json!([page["items"][0]["token"], page["items"][0]["token_id"]]), json!(["nightly", token]), "{page}");

    for (filter, expected) in [
        (format!("token_id={token}&kind=request"), 1),
        (format!("token_id={token}&user_id={id}&outcome=completed&model=fake&api=/v1/chat/completions"), 1),
        (format!("token_id={token}&kind=request&outcome=failed"), 0),
        ("kind=request".to_owned(), 4),
        ("kind=request&outcome=failed".into(), 1),
        ("kind=request&api=/chat".into(), 1),
        (format!("kind=request&user_id={id}"), 2),
        ("model=fake".into(), 4),
        ("model=other".into(), 0),
        ("kind=request&from=2020-01-01T00:00:00Z".into(), 4),
        ("from=2999-01-01T00:00:00Z".into(), 0),
        ("kind=request&to=2020-01-01T00:00:00Z".into(), 0),
    ] {
        assert_eq!(count(&filter).await, expected, "{filter}");
    }
    for wrong in ["kind=thing", "from=yesterday", "limit=0", "user_id=nobody", "token_id=none", "nonsense=1"] {
        let answer = gateway.get(&format!("/api/v1/audit?{wrong}"), Some(&admin)).await;
        assert!([400, 404].contains(&answer.status), "{wrong}: {}", answer.status);
    }
}

#[actix_web::test]
async fn a_segment_that_could_not_be_written_comes_with_the_result() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("AUDIT__SEGMENT_MS", "20")]);
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("one "), Step::Wait, text("two "), Step::Wait, text("three"), done("stop")]));
    let mut response =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;
    let file = gateway.data_dir().join("lan-gateway.db");
    let mut other = SqliteConnection::establish(file.to_str().unwrap()).unwrap();

    // Longer than the writer waits for the lock, so that the segment of the second word fails.
    other.batch_execute("PRAGMA busy_timeout=5000; BEGIN IMMEDIATE").unwrap();
    fake.release();
    tokio::time::sleep(Duration::from_secs(6)).await;
    other.batch_execute("ROLLBACK").unwrap();
    fake.release();
    let mut body = Vec::new();
    while let Some(bytes) = futures_util::StreamExt::next(&mut response).await {
        body.extend_from_slice(&bytes.unwrap());
    }

    assert!(String::from_utf8_lossy(&body).ends_with("data: [DONE]\n\n"));
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!((&line["outcome"], &line["response"]), (&json!("completed"), &json!("one two three")));
}

#[actix_web::test]
async fn a_health_probe_is_no_refusal_and_files_are_for_the_service_alone() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    for path in ["/health", "/health/live", "/health/ready"] {
        gateway.get(path, None).await;
    }

    assert!(gateway.record(&admin).await.is_empty());
    for name in ["lan-gateway.db", "lan-gateway.db-wal"] {
        let mode = std::fs::metadata(gateway.data_dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
