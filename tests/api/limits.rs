//! How often, and from where.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, hello};

/// Longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[actix_web::test]
async fn of_a_hundred_parallel_requests_exactly_ten_pass() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let mut with_password = hello();
    with_password["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });

    // Half with one credential, half with the other: they count together.
    let requests = (0..100).map(|number| {
        let (body, token) = (with_password.clone(), ann.clone());
        let gateway = &gateway;
        async move {
            if number % 2 == 0 {
                gateway.post("/chat", None, body).await
            } else {
                gateway.post("/v1/chat/completions", Some(&token), hello()).await
            }
        }
    });
    let answers = futures_util::future::join_all(requests).await;

    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!((passed, refused.len(), fake.chats().len()), (10, 90, 10));
    for answer in refused {
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        let millis: u64 = answer.header("retry-after-ms").unwrap().parse().unwrap();
        assert!((1..60_000).contains(&millis) && millis.div_ceil(1000) == wait, "{millis} ms, {wait} s");
        assert!((1..=60).contains(&wait));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
        assert!(
            answer.text().contains("rate limit exceeded") || answer.json()["error"]["code"] == "rate_limit_exceeded"
        );
    }
    // Another person is not touched.
    assert_eq!(gateway.post("/chat", Some(&admin), hello()).await.status, 200);
}

#[actix_web::test]
async fn everybody_together_has_a_limit() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;

    assert_eq!(gateway.post("/chat", Some(&admin), hello()).await.status, 200);
    assert_eq!(gateway.post("/chat", Some(&ann), hello()).await.status, 429);
}

#[actix_web::test]
async fn an_address_that_tries_passwords_without_end_is_slowed() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "5")]);

    let mut statuses = Vec::new();
    for number in 0..6 {
        let credentials = json!({ "username": format!("nobody{number}"), "password": "wrong" });
        statuses.push(gateway.post("/auth/token", None, credentials).await);
    }

    assert!(statuses[..5].iter().all(|answer| answer.status == 401));
    assert_eq!(statuses[5].status, 429);
    assert!(statuses[5].header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    let chats = futures_util::future::join_all((0..6).map(|_| gateway.post("/chat", None, hello()))).await;
    assert_eq!(chats.iter().filter(|answer| answer.status == 429).count(), 1);
    assert!(
        chats.iter().all(|answer| answer.status != 429 || answer.json() == json!({ "error": "rate limit exceeded" }))
    );
    // Health is not behind the quota.
    assert_eq!(gateway.get("/health", None).await.status, 200);
}

#[actix_web::test]
async fn networks_that_are_not_allowed_get_a_403() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("ALLOW_NETWORKS", "[\"10.0.0.0/8\"]")]);

    let answer = gateway.get("/health", None).await;

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("permission_denied")));
    assert!(answer.header("x-request-id").is_some());
}

/// Connections that one client holds open, from an address of its own.
struct Holder {
    source: SocketAddr,
    to: SocketAddr,
    held: Vec<TcpStream>,
}

impl Holder {
    fn at(source: &str, gateway: &TestGateway) -> Self {
        let to = gateway.url.strip_prefix("http://").unwrap().parse().unwrap();
        Holder { source: SocketAddr::new(source.parse().unwrap(), 0), to, held: Vec::new() }
    }

    /// Opens so many connections, one after the other. Returns how many of them the gateway keeps.
    fn opens(&mut self, count: usize) -> usize {
        (0..count).filter(|_| self.opens_one()).count()
    }

    fn opens_one(&mut self) -> bool {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&self.source.into()).unwrap();
        socket.connect(&self.to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 12];
        let sent = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n");
        // One that is too many is closed, and one that is not even accepted stays without an answer.
        let is_kept = sent.and_then(|()| stream.read_exact(&mut answer)).is_ok();
        if is_kept {
            // A body that never comes keeps the connection busy.
            stream.write_all(b"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").unwrap();
            self.held.push(stream);
        }
        is_kept
    }
}

#[actix_web::test]
async fn an_address_has_so_many_connections() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "3")]);

    assert_eq!(Holder::at("127.4.0.1", &gateway).opens(4), 3);
}

#[actix_web::test]
async fn an_address_has_a_share_of_the_open_files_whatever_the_settings_allow() {
    let fake = FakeOllama::start();
    let settings = [
        ("LIMITS__CONNECTIONS_MAX", "100000"),
        ("LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "100000"),
        ("OLLAMA__SLOTS", "1"),
        ("WORKERS", "2"),
    ];
    // 178 files are the gateway's own, but never more than half of them; one address has half of the rest.
    for (files, share) in [(300, 75), (600, 211)] {
        let limit = format!("--nofile={files}:{files}");
        let gateway = TestGateway::start_under(&["prlimit", &limit], &fake.url(), &settings);
        let admin = gateway.admin().await;
        let mut holder = Holder::at("127.4.0.1", &gateway);

        let kept = holder.opens(share + 5);

        assert_eq!(kept, share, "of {files} files");
        let others = tokio::time::timeout(PATIENCE, gateway.post("/v1/chat/completions", Some(&admin), hello()));
        assert_eq!(others.await.expect("another address is answered").status, 200);
        let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
        assert!(open < files * 2 / 3, "{open} of {files} are open");
    }
}
