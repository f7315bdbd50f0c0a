//! Bodies in memory: of strangers, of the gateway's own routes, of users whose requests wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::fake_ollama::{FakeOllama, Script, Step};
use crate::support::gateway::{Answer, PASSWORD, TestGateway, client_from, hello};

const MIB: usize = 1 << 20;
const CHAT: &str = "/v1/chat/completions";

/// A connection from `source`, an address of 127.0.0.0/8.
fn connect_from(gateway: &TestGateway, source: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    let to: SocketAddr = gateway.url.strip_prefix("http://").unwrap().parse().unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.into()
}

fn connect(gateway: &TestGateway) -> TcpStream {
    connect_from(gateway, "127.0.0.1")
}

/// The status of the answer, or `None` when the connection was closed without one that could be read.
fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start[9..]).ok()?.parse().ok()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(cause) => cause.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Begins a body of 16 MiB and sends nearly all of it, as far as it is taken.
fn begin_large(gateway: &TestGateway, source: &str, path: &str) -> TcpStream {
    let mut stream = connect_from(gateway, source);
    let chunk = vec![b'x'; MIB];
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{{\"a\":\"", 16 * MIB);
    let mut sent = stream.write_all(head.as_bytes());
    for _ in 0..15 {
        sent = sent.and_then(|()| stream.write_all(&chunk));
    }
    // Those that were refused meanwhile are closed.
    let _ = sent;
    stream
}

fn resident_mib(gateway: &TestGateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

async fn post_from(gateway: &TestGateway, source: &str, path: &str, body: Value) -> u16 {
    client_from(source)
        .post(format!("{}{path}", gateway.url))
        .send_body(body.to_string())
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// A chat of about so many bytes.
fn chat(bytes: usize) -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": "x".repeat(bytes) }] })
}

fn is_full(answer: &Answer) -> bool {
    answer.status == 503 && answer.text().contains("memory") && answer.header("retry-after").is_some()
}

#[actix_web::test]
async fn bodies_of_strangers_take_little_memory_and_keep_nobody_out() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;

    let held: Vec<_> = std::thread::scope(|scope| {
        let begin = |number: usize| {
            let path = ["/chat", "/auth/token", "/api/v1/register"][number % 3];
            let gateway = &gateway;
            scope.spawn(move || begin_large(gateway, "127.3.0.1", path))
        };
        let threads: Vec<_> = (0..60).map(begin).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    let resident = resident_mib(&gateway);
    assert!(resident < 128, "{resident} MiB");
    let mut with_password = hello();
    with_password["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });
    with_password["messages"][0]["content"] = json!("x".repeat(MIB / 2));
    assert_eq!(post_from(&gateway, "127.3.0.2", "/chat", with_password).await, 200);
    drop(held);
}

#[actix_web::test]
async fn an_address_may_hold_half_of_what_is_left_for_strangers() {
    let settings = [("LIMITS__STRANGER_BYTES_MAX", "1048576"), ("LIMITS__BODY_SECONDS_MAX", "60")];
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &settings);
    let begin = |source: &str, head: &str, bytes: usize| {
        let mut stream = connect_from(&gateway, source);
        write!(stream, "POST /chat HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n").unwrap();
        let _ = stream.write_all(&vec![b' '; bytes]);
        stream
    };
    // Nothing is held for what is announced and does not come.
    let _idle: Vec<_> = (0..20).map(|_| begin("127.3.0.1", "content-length: 524288", 0)).collect();
    let _most = begin("127.3.0.1", "content-length: 524288", 524_287);
    let refused = async |source: &str, head: &str, bytes: usize| {
        for _ in 0..200 {
            let mut more = begin(source, head, bytes);
            more.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            if let Some(status) = status(&mut more) {
                return status;
            }
        }
        panic!("it was never refused");
    };

    assert_eq!(refused("127.3.0.1", "content-length: 262144", 0).await, 503, "by its head alone");
    assert_eq!(
        refused("127.3.0.1", "transfer-encoding: chunked\r\nx: y\r\n\r\n20000", 0x20000).await,
        503,
        "as it comes"
    );
    assert_eq!(refused("127.3.0.2", "content-length: 524289", 0).await, 413, "more than an address ever gets");
    assert_eq!(post_from(&gateway, "127.3.0.2", "/chat", chat(200_000)).await, 403, "it was read");
    assert_eq!(post_from(&gateway, "127.3.0.2", "/chat", chat(300_000)).await, 503, "it would be more than is left");
}

#[actix_web::test]
async fn own_routes_take_short_bodies_alone() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "10000")]);
    let admin = gateway.admin().await;
    let padded = |bytes: usize| {
        let mut body = b"{}".to_vec();
        body.resize(bytes, b' ');
        body
    };

    for (method, path) in [
        ("POST", "/auth/token"),
        ("POST", "/api/v1/register"),
        ("POST", "/api/v1/password"),
        ("POST", "/api/v1/tokens"),
        ("POST", "/api/v1/exports"),
        ("PATCH", "/api/v1/settings"),
        ("POST", "/api/v1/users/nobody/reset-password"),
    ] {
        let longest = gateway.send(method, path, Some(&admin), padded(65_536)).await;
        assert!([200, 201, 400, 404].contains(&longest.status), "{path}: {}", longest.text());
        assert_eq!(gateway.send(method, path, Some(&admin), padded(65_537)).await.status, 413, "{path}");
        let mut chunked = connect(&gateway);
        write!(
            chunked,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {admin}\r\ntransfer-encoding: chunked\r\n\r\n20000\r\n"
        )
        .unwrap();
        let _ = chunked.write_all(&padded(0x20000));
        assert_eq!(status(&mut chunked), Some(413), "{path}");
        assert!(is_closed(&mut chunked), "{path}: the rest is not waited for");
    }

    let set = gateway
        .send("PATCH", "/api/v1/settings", Some(&admin), json!({ "own_body_bytes_max": 1024 }).to_string().into())
        .await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(gateway.send("POST", "/api/v1/register", None, padded(1025)).await.status, 413);
}

#[actix_web::test]
async fn a_body_that_is_too_long_is_refused_by_its_head() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    for (path, length) in [("/chat", 16 * MIB + 1), (CHAT, 16 * MIB + 1), ("/auth/token", 65_537), (CHAT, usize::MAX)] {
        let mut stream = connect(&gateway);
        write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {admin}\r\ncontent-length: {length}\r\n\r\n").unwrap();

        assert_eq!(status(&mut stream), Some(413), "{path}");
        assert!(is_closed(&mut stream), "{path}");
    }
}

#[actix_web::test]
async fn a_body_that_stalls_is_given_up_with_its_memory() {
    let settings = [("LIMITS__STRANGER_BYTES_MAX", "131072"), ("LIMITS__BODY_SECONDS_MAX", "1")];
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &settings);

    for _ in 0..3 {
        let mut stalled = connect(&gateway);
        stalled.write_all(b"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 65536\r\n\r\n").unwrap();
        stalled.write_all(&vec![b' '; 65_535]).unwrap();

        assert_eq!(status(&mut stalled), Some(400), "the one before gave its memory back");
        assert!(is_closed(&mut stalled));
    }
}

#[actix_web::test]
async fn bodies_of_requests_that_wait_are_bounded_for_each_user_and_given_back_when_they_were_forwarded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__BODIES_BYTES_MAX", "131072")]);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let post = async |token: &str, bytes: usize| gateway.post(CHAT, Some(token), chat(bytes)).await;
    fake.next(Script { before: vec![Step::Wait], ..Script::hello() });

    let in_turn = async {
        fake.until(|chats| chats.len() == 1).await;
        let wait = async {
            futures_util::join!(post(&ann, 50_000), async {
                gateway.until_waiting(&admin, 1).await;
                post(&bob, 30_000).await
            })
        };
        let look = async {
            gateway.until_waiting(&admin, 2).await;
            let answers = (post(&ann, 20_000).await, post(&bob, 30_000).await, post(&ann, 70_000).await);
            let mut chunked = connect(&gateway);
            write!(chunked, "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ann}\r\ntransfer-encoding: chunked\r\n\r\n4E20\r\n").unwrap();
            let _ = chunked.write_all(&vec![b' '; 20_000]);
            let as_it_comes = status(&mut chunked);
            fake.release();
            (answers, as_it_comes)
        };
        futures_util::join!(wait, look)
    };
    let (first, ((ann_waited, bob_waited), ((ann_more, bob_more, too_long), as_it_comes))) =
        futures_util::join!(post(&ann, 10), in_turn);

    assert_eq!((first.status, ann_waited.status, bob_waited.status), (200, 200, 200));
    assert!(is_full(&ann_more), "{} {}", ann_more.status, ann_more.text());
    assert!(is_full(&bob_more), "{} {}", bob_more.status, bob_more.text());
    assert_eq!(as_it_comes, Some(503));
    assert_eq!(too_long.status, 413, "more than a user ever gets: {}", too_long.text());
    assert_eq!(post(&ann, 60_000).await.status, 200, "all was given back");
}
