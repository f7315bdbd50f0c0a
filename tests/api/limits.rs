//! How often, and from where.

use serde_json::json;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, hello};

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

#[actix_web::test]
async fn an_address_has_so_many_connections() {
    use std::io::{Read, Write};
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "3")]);
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    // The first bytes of an answer, or none when the gateway closed the connection.
    let ask = || {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let mut answer = [0; 12];
        let sent = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let read = sent.and_then(|()| stream.read(&mut answer)).unwrap_or(0);
        (stream, read > 0)
    };

    let kept: Vec<_> = (0..3).map(|_| ask()).collect();
    let (_, fourth) = ask();

    assert!(kept.iter().all(|(_, answered)| *answered));
    assert!(!fourth, "the fourth is closed at once");
}

#[actix_web::test]
async fn one_address_leaves_files_for_others_and_for_the_gateway_itself() {
    use std::io::Write;
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_under(&["prlimit", "--nofile=300:300"], &fake.url(), &[]);
    let admin = gateway.admin().await;
    let to: std::net::SocketAddr = gateway.url.strip_prefix("http://").unwrap().parse().unwrap();
    let source: std::net::SocketAddr = "127.4.0.1:0".parse().unwrap();
    let hold = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&source.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = std::net::TcpStream::from(socket);
        // Those that are too many are closed.
        let _ = stream.write_all(b"POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{");
        stream
    };

    let held: Vec<_> = (0..400).map(|_| hold()).collect();

    for _ in 0..5 {
        assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    assert!(open < 200, "{open} of 300 are open");
    drop(held);
}
