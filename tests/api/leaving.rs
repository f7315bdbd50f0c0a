//! The client leaves: the generation ends within a second, and the row says `abandoned`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::eventually::{until, within};
use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

/// Sends a request on a bare socket, so that the test decides when it closes.
fn send(gateway: &TestGateway, token: &str, body: &Value) -> TcpStream {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream
}

async fn assert_cancelled(fake: &FakeOllama, chat: usize, left: Instant) {
    fake.until(|chats| chats.get(chat).is_some_and(|chat| chat.ended.is_some())).await;
    let (ending, at) = fake.chats()[chat].ended.unwrap();
    assert_eq!(ending, Ending::Cancelled);
    let took = at.saturating_duration_since(left);
    assert!(took < Duration::from_secs(1), "cancelled after {took:?}");
}

#[actix_web::test]
async fn while_the_model_reads_the_prompt() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for (number, body) in [hello(), hello_stream()].into_iter().enumerate() {
        fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
        let stream = send(&gateway, &admin, &body);
        fake.until(|chats| chats.len() == number + 1).await;

        let left = Instant::now();
        drop(stream);

        assert_cancelled(&fake, number, left).await;
        gateway.newest_outcome(&admin, "abandoned").await;
    }
}

#[actix_web::test]
async fn before_the_first_token_and_in_the_middle_of_the_answer() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for (number, steps) in
        [vec![Step::Wait, done("stop")], vec![text("Hello"), Step::Wait, done("stop")]].into_iter().enumerate()
    {
        let speaks = steps.len() == 3;
        fake.next(Script::of(steps));
        let mut stream = send(&gateway, &admin, &hello_stream());
        fake.until(|chats| chats.len() == number + 1).await;
        if speaks {
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("Hello") {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes).unwrap();
                assert!(read > 0);
                seen.extend_from_slice(&bytes[..read]);
            }
        }

        let left = Instant::now();
        drop(stream);

        assert_cancelled(&fake, number, left).await;
        gateway.newest_outcome(&admin, "abandoned").await;
    }
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let said: Vec<Value> =
        export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["response"].clone()).collect();
    assert_eq!(said[..2], [json!(""), json!("Hello")]);
}

#[actix_web::test]
async fn while_waiting_for_a_place() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    let running = send(&gateway, &admin, &hello());
    fake.until(|chats| chats.len() == 1).await;
    let waiting = send(&gateway, &admin, &hello());
    // Its intent is on record, so it stands in the queue.
    until("both are on record", async || gateway.record(&admin).await.len() == 2).await;

    drop(waiting);
    gateway.newest_outcome(&admin, "abandoned").await;
    fake.release();
    fake.until(|chats| chats[0].ended.is_some()).await;

    // The place is free again, and the one who left never reached the model.
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    assert_eq!(fake.chats().len(), 2);
    drop(running);
}

#[actix_web::test]
async fn a_reader_who_stalls_does_not_keep_the_upstream() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    // More than the sockets' buffers hold.
    let mut steps: Vec<Step> = (0..120).map(|_| text(&"x".repeat(100_000))).collect();
    steps.push(done("stop"));
    fake.next(Script::of(steps));

    let began = Instant::now();
    let stalled = send(&gateway, &admin, &hello_stream());
    fake.until(|chats| chats.first().is_some_and(|chat| chat.ended.is_some())).await;

    assert_eq!(fake.chats()[0].ended.unwrap().0, Ending::Served);
    // The slot is free, so somebody else is answered while the first still stalls.
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    let abandoned = "SELECT CAST(count(*) AS TEXT) FROM record WHERE outcome = 'abandoned'";
    let is_closed = async || (gateway.text_of(abandoned) == "1").then_some(());
    within(Duration::from_secs(45), "the socket is closed", is_closed).await;
    assert!(began.elapsed() < Duration::from_secs(36), "closed after {:?}", began.elapsed());
    drop(stalled);
}
