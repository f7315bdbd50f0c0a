//! `lan-gateway keys` and `lan-gateway status`.

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway};

#[actix_web::test]
async fn the_key_of_jwts_changes_while_the_gateway_runs_and_while_it_does_not() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let works = async |gateway: &TestGateway, jwt: &str| gateway.get("/api/v1/me", Some(jwt)).await.status == 200;

    let (good, text) = gateway.command(&["keys", "rotate"], "");
    assert!(good && text.contains("stay valid"), "{text}");
    assert!(works(&gateway, &ann).await, "the key before still verifies");
    let newer = gateway.token("ann@example.org", PASSWORD).await;

    let (good, text) = gateway.command(&["keys", "rotate", "--end-older"], "");
    assert!(good && text.contains("every JWT of before has ended"), "{text}");
    assert!(!works(&gateway, &ann).await && !works(&gateway, &newer).await);
    assert_eq!(gateway.detail_of("keys_rotated")["ends_older"], true);

    let newest = gateway.token("ann@example.org", PASSWORD).await;
    gateway.signal("TERM");
    gateway.wait(10).await;
    let (good, text) = gateway.command(&["keys", "rotate"], "");
    assert!(good, "{text}");
    gateway.restart();
    assert!(works(&gateway, &newest).await, "the file keeps the key before");
}

#[actix_web::test]
async fn the_status_says_what_runs_and_fails_when_nothing_does() {
    let ollama = FakeOllama::start();
    let mut gateway = TestGateway::start(&ollama.url());
    gateway.admin().await;

    let (good, text) = gateway.command(&["status"], "");
    assert!(good, "{text}");
    for part in ["runs since", "are free on its disk", "0 running, 0 waiting", "upstream  `local`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (good, text) = gateway.command(&["status", "--json"], "");
    let view: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(good && view["record"]["can_record"] == true, "{text}");

    gateway.signal("TERM");
    gateway.wait(10).await;
    let (good, text) = gateway.command(&["status"], "");
    assert!(!good && text.contains("no gateway runs on"), "{text}");
}
