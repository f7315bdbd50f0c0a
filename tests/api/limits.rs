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
    let credentials = json!({ "username": "nobody", "password": "wrong" });

    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(gateway.post("/auth/token", None, credentials.clone()).await);
    }

    assert!(statuses[..5].iter().all(|answer| answer.status == 401));
    assert_eq!(statuses[5].status, 429);
    assert!(statuses[5].header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
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
    use std::io::Read;
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "3")]);
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    let open = || std::net::TcpStream::connect(&address).unwrap();
    let kept = [open(), open(), open()];

    let mut fourth = open();
    fourth.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();

    assert_eq!(fourth.read(&mut [0]).unwrap(), 0, "the fourth is closed at once");
    drop(kept);
}
