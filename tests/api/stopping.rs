//! A stop that leaves nobody without a record.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello_stream};

/// A quarter of it is for the last bytes: enough for a row that a busy disk takes long to keep.
const STOPS_SOON: (&str, &str) = ("STOP_SECONDS_MAX", "8");

#[actix_web::test]
async fn a_running_answer_may_end_and_new_work_is_refused() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, text(" world"), done("stop")]));
    let mut response =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;
    let first = response.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("Hello"));

    gateway.signal("TERM");
    gateway.until_closed().await;
    fake.release();
    let mut rest = Vec::new();
    while let Some(bytes) = response.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }

    assert!(String::from_utf8_lossy(&rest).ends_with("data: [DONE]\n\n"));
    assert_eq!(gateway.wait(10).await, Some(0));
    gateway.restart();
    assert_eq!(gateway.record(&admin).await[0]["outcome"], "completed");
}

#[actix_web::test]
async fn after_the_bound_the_rest_is_closed_with_a_record() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[STOPS_SOON]);
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let mut response =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;

    gateway.signal("TERM");
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = response.next().await {
        body.extend_from_slice(&bytes);
    }

    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("\"error\"") && !body.contains("[DONE]"), "{body}");
    assert_eq!(gateway.wait(10).await, Some(0));
    gateway.restart();
    let row = gateway.record(&admin).await[0].clone();
    assert_eq!((&row["outcome"], &row["reason"]), (&json!("interrupted"), &json!("gateway_stopped")));
}

#[actix_web::test]
async fn a_second_signal_does_not_wait_for_the_bound() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let _response =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;

    gateway.signal("TERM");
    gateway.until_closed().await;
    gateway.signal("TERM");

    assert_eq!(gateway.wait(5).await, Some(0));
}

#[actix_web::test]
async fn a_reader_who_takes_nothing_does_not_outlast_the_stop_and_leaves_its_row() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[STOPS_SOON]);
    let admin = gateway.admin().await;
    // More than the sockets between them hold.
    let mut steps = vec![text(&"x".repeat(20_000)); 400];
    steps.push(done("stop"));
    fake.next(Script::of(steps));
    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    let mut stalled = tokio::net::TcpStream::connect(&address).await.unwrap();
    let body = hello_stream().to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {admin}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stalled.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    fake.until(|chats| chats.first().is_some_and(|chat| chat.ended.is_some())).await;
    let hello = hello_stream().to_string().into_bytes();
    let mut reading = gateway.open("POST", "/v1/chat/completions", Some(&admin), hello).await;

    gateway.signal("TERM");
    let signalled = Instant::now();
    let read = reading.body().await.unwrap();

    let read = String::from_utf8_lossy(&read);
    assert!(read.contains("\"error\""), "another reader gets its last bytes: {read}");
    assert_eq!(gateway.wait(25).await, Some(0));
    // The bound of eight seconds, and some for a busy machine.
    assert!(signalled.elapsed() < Duration::from_secs(18), "{:?}", signalled.elapsed());
    let open = "SELECT CAST(count(*) AS TEXT) FROM record i WHERE kind = 'intent' AND NOT EXISTS (SELECT 1 FROM record r WHERE r.intent_id = i.log_id)";
    assert_eq!(gateway.text_of(open), "0", "its row is closed before the end");
    gateway.restart();
    let rows = gateway.record(&admin).await;
    let ends: Vec<_> = rows.iter().map(|row| (&row["outcome"], &row["reason"])).collect();
    assert_eq!(ends, [(&json!("interrupted"), &json!("gateway_stopped")); 2]);
    let row = rows.iter().find(|row| row["answer_tokens"] == 3).unwrap();
    assert_eq!((&row["prompt_tokens"], &row["answer_tokens"]), (&json!(5), &json!(3)));
    let gpu = "SELECT CAST(gpu_us AS TEXT) FROM record WHERE kind = 'result' AND answer_tokens = 3";
    assert_eq!(gateway.text_of(gpu), "6");
}
