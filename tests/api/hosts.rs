//! Led here by somebody else's web page: under a name that was pointed at this machine, or blindly, as a form is sent.

use std::io::{Read, Write};
use std::net::TcpStream;

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::ROUTES;
use serde_json::json;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{PASSWORD, TestGateway, client, hello};

/// Every route as it can be sent, with its method.
fn routes() -> Vec<(&'static str, String)> {
    let of_dialects = DIALECTS.iter().flat_map(|dialect| dialect.routes()).map(|route| (route.method, route.path));
    let all = ROUTES.iter().map(|route| (route.method, route.path)).chain(of_dialects);
    all.map(|(method, path)| {
        let end = path.find('{').unwrap_or(path.len());
        (method, format!("{}{}", &path[..end], path[end..].replace(['{', '}', ':', '.', '*'], "")))
    })
    .collect()
}

async fn send(
    gateway: &TestGateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> (u16, String) {
    let mut request = client().request(method.parse().unwrap(), format!("{}{path}", gateway.url));
    for header in headers {
        request = request.insert_header(*header);
    }
    let mut answer = request.send_body(body).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body().await.unwrap()).into_owned();
    (answer.status().as_u16(), text)
}

#[actix_web::test]
async fn under_a_foreign_name_no_route_answers_and_a_row_says_that_it_was_tried() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = format!("Bearer {}", gateway.admin().await);

    for (method, path) in routes() {
        for host in ["evil.example", "evil.example:7000", "127.0.0.1.evil.example", "0.0.0.0"] {
            let headers = [("host", host), ("authorization", admin.as_str()), ("content-type", "application/json")];
            let (status, text) = send(&gateway, method, &path, &headers, hello().to_string()).await;
            assert_eq!(status, 421, "{method} {path} for {host}: {text}");
            assert!(text.contains("does not answer for host") || method == "HEAD", "{text}");
        }
    }

    assert!(fake.chats().is_empty());
    let admin = admin.trim_start_matches("Bearer ");
    let rows = gateway.until_recorded(admin, "misdirected_request").await;
    assert!(rows.iter().all(|row| row["reason"] == "misdirected_request"), "refusals alone, and counted: {rows:?}");
}

#[test]
fn a_url_in_the_request_line_is_a_name_too() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let authority = gateway.url.trim_start_matches("http://");
    let ask = |line: &str, host: &str| {
        let mut socket = TcpStream::connect(authority).unwrap();
        write!(socket, "GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };

    assert_eq!(ask("http://evil.example/health", "localhost"), "421");
    assert_eq!(ask("http://localhost/health", "evil.example"), "421");
    assert_eq!(ask("http://localhost/health", "localhost"), "200");
    assert_eq!(ask("/health", authority), "200");
}

#[actix_web::test]
async fn a_foreign_page_changes_nothing_and_those_who_show_a_token_come_from_anywhere() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut body = hello();
    body["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });
    (body["email"], body["password"]) = (json!("eve@example.org"), json!(PASSWORD));

    for (method, path) in routes().into_iter().filter(|(method, _)| !["GET", "HEAD"].contains(method)) {
        for foreign in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1.evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            for kind in ["text/plain", "application/json"] {
                let headers = [foreign, ("content-type", kind)];
                let (status, text) = send(&gateway, method, &path, &headers, body.to_string()).await;
                assert_eq!(status, 403, "{method} {path} with {foreign:?}: {text}");
                assert!(text.contains("a page of another site"), "{method} {path} with {foreign:?}: {text}");
            }
        }
    }
    assert!(fake.chats().is_empty());
    let users = gateway.get("/api/v1/users", Some(&admin)).await.json();
    assert_eq!(users["items"].as_array().unwrap().len(), 2);

    // Browsers' extensions have an origin of their own and show a token; our own documentation is a page of ours.
    let token = format!("Bearer {admin}");
    let extension = [("origin", "chrome-extension://abc"), ("authorization", token.as_str())];
    let (status, text) = send(&gateway, "POST", "/v1/chat/completions", &extension, hello().to_string()).await;
    assert_eq!(status, 200, "{text}");
    let ours = [("origin", gateway.url.as_str()), ("sec-fetch-site", "same-origin")];
    let wish = json!({ "email": "bob@example.org", "password": PASSWORD }).to_string();
    assert_eq!(send(&gateway, "POST", "/api/v1/register", &ours, wish).await.0, 202);
}

#[actix_web::test]
async fn an_operator_adds_names() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("ALLOWED_HOSTS", "[\"ai.example.org\"]")]);

    for (host, expected) in [("ai.example.org", 200), ("AI.example.org:443", 200), ("ai.example.net", 421)] {
        assert_eq!(send(&gateway, "GET", "/health", &[("host", host)], String::new()).await.0, expected, "{host}");
    }
}
