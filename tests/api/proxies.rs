//! Whom the gateway takes for the client: a trusted proxy names it, and nobody else.

use awc::ClientResponse;
use serde_json::Value;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, client, hello};

const TRUSTED: (&str, &str) = ("TRUSTED_PROXIES", "[\"127.0.0.0/8\"]");

async fn ask(gateway: &TestGateway, bearer: Option<&str>, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = client().post(format!("{}/v1/chat/completions", gateway.url));
    for header in headers {
        request = request.append_header(*header);
    }
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    let mut answer: ClientResponse<_> = request.send_body(hello().to_string()).await.unwrap();
    let body = answer.body().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&body).unwrap())
}

/// The address that the newest request came from, as the record has it.
pub async fn recorded(gateway: &TestGateway, admin: &str) -> String {
    let newest = gateway.record(admin).await.into_iter().next().unwrap();
    let id = newest["id"].as_str().or(newest["request_id"].as_str()).unwrap().to_owned();
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(admin)).await;
    story.json()["client_address"].as_str().unwrap_or_else(|| panic!("{}", story.text())).to_owned()
}

#[actix_web::test]
async fn without_trust_forwarding_headers_change_nothing() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("PLAIN_HTTP", "on")]);
    let admin = gateway.admin().await;
    let headers = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "nonsense"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
    ];

    assert_eq!(ask(&gateway, Some(&admin), &headers).await.0, 200);

    assert_eq!(recorded(&gateway, &admin).await, "127.0.0.1");
}

#[actix_web::test]
async fn the_client_that_a_trusted_proxy_names_is_served_or_refused_and_recorded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[TRUSTED]);
    let admin = gateway.admin().await;

    assert_eq!(ask(&gateway, Some(&admin), &[("x-forwarded-for", "8.8.8.8, 192.168.1.7, 127.0.0.5")]).await.0, 200);
    assert_eq!(recorded(&gateway, &admin).await, "192.168.1.7");
    // `allow_networks` speaks of clients, not of the proxy.
    let (status, told) = ask(&gateway, Some(&admin), &[("x-forwarded-for", "8.8.8.8")]).await;
    assert_eq!((status, told["error"]["code"].as_str()), (403, Some("permission_denied")), "{told}");
}

#[actix_web::test]
async fn headers_of_a_trusted_proxy_that_can_be_read_in_two_ways_are_refused() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[TRUSTED]);
    let admin = gateway.admin().await;
    let client = ("x-forwarded-for", "192.168.1.7");

    for headers in [
        &[client, client][..],
        &[client, ("forwarded", "for=192.168.1.7")],
        &[("x-forwarded-for", "somebody")],
        &[client, ("x-forwarded-proto", "gopher")],
    ] {
        let (status, told) = ask(&gateway, Some(&admin), headers).await;
        assert_eq!(status, 400, "{headers:?}: {told}");
    }
    assert_eq!(fake.chats().len(), 0);
}

#[actix_web::test]
async fn rates_are_those_of_the_client_and_a_name_that_nobody_allowed_is_refused() {
    let fake = FakeOllama::start();
    let limit = [TRUSTED, ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "2"), ("ALLOWED_HOSTS", "[\"ai.example.org\"]")];
    let gateway = TestGateway::start_with(&fake.url(), &limit);
    let sign_in = async |address: &str, host: &str| {
        let request = client().post(format!("{}/auth/token", gateway.url));
        let request = request.insert_header(("x-forwarded-for", address)).insert_header(("host", host));
        let request = request.insert_header(("content-type", "application/json"));
        request.send_body(r#"{"username":"nobody","password":"a wrong password"}"#).await.unwrap().status().as_u16()
    };

    assert_eq!(
        [sign_in("192.168.1.7", "ai.example.org").await, sign_in("192.168.1.7", "ai.example.org").await],
        [401, 401]
    );
    assert_eq!(sign_in("192.168.1.7", "ai.example.org").await, 429);
    assert_eq!(sign_in("192.168.1.8", "ai.example.org").await, 401, "another client of the same proxy");
    assert_eq!(sign_in("192.168.1.9", "evil.example").await, 421);
}
