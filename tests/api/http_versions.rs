//! Old and rare HTTP: HTTP/1.0, HEAD, other forms of the request line, upgrades, bodies that are never read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lan_gateway::dialect::DIALECTS;
use lan_gateway::http::ROUTES;

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello, hello_stream};

/// Longer than anything here takes; a connection that is closed ends the wait at once.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(gateway: &TestGateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the gateway closes the connection: the head in lower case, and the body.
fn until_closed(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the gateway closes the connection");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    (head.to_ascii_lowercase(), body.to_owned())
}

fn exchange(gateway: &TestGateway, request: &str) -> (String, String) {
    let mut stream = connect(gateway);
    stream.write_all(request.as_bytes()).unwrap();
    until_closed(&mut stream)
}

/// One answer without a body, on a connection that may stay open.
fn head_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

#[actix_web::test]
async fn http_1_0_gets_an_answer_without_chunks_that_ends_with_the_connection() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    for (body, end) in [(hello(), "}"), (hello_stream(), "data: [DONE]\n\n")] {
        for connection in ["", "connection: keep-alive\r\n"] {
            let body = body.to_string();
            let mut stream = connect(&gateway);
            let length = body.len();
            write!(
                stream,
                "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {admin}\r\n{connection}content-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            let mut bytes = Vec::new();
            if end == "}" && !connection.is_empty() {
                let head = head_of(&mut stream);
                assert!(head.starts_with("http/1.0 200") && head.contains("connection: keep-alive"), "{head}");
                continue;
            }
            stream.read_to_end(&mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("http/1.0 200"), "{head}");
            assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{head}");
            assert!(body.ends_with(end) && (body.starts_with('{') || body.starts_with("data: ")), "{body}");
        }
    }
}

#[actix_web::test]
async fn only_http_1_0_may_leave_the_host_out() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    for (request, status) in [
        ("GET /health/live HTTP/1.0\r\n\r\n", "200"),
        ("GET /health/live HTTP/1.0\r\nhost: localhost\r\n\r\n", "200"),
        ("GET /health/live HTTP/1.0\r\nhost: evil.example\r\n\r\n", "421"),
        ("GET http://evil.example/health/live HTTP/1.0\r\n\r\n", "421"),
        ("GET /health/live HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET /health/live HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", "421"),
        ("GET http://localhost/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "200"),
        ("GET http://evil.example/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "421"),
        ("GET http://localhost/health/live HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n", "421"),
    ] {
        let (head, _) = exchange(&gateway, request);
        assert_eq!(head.split(' ').nth(1), Some(status), "{request}: {head}");
    }
}

#[actix_web::test]
async fn head_is_answered_like_get_without_content_wherever_get_is() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "10000")]);
    let admin = gateway.admin().await;
    let of_dialects = DIALECTS.iter().flat_map(|dialect| dialect.routes()).map(|route| (route.method, route.path));
    let routes = ROUTES.iter().map(|route| (route.method, route.path)).chain(of_dialects);
    let paths = routes.filter(|(method, _)| *method == "GET").map(|(_, path)| {
        let end = path.find('{').unwrap_or(path.len());
        format!("{}{}", &path[..end], if end < path.len() { "nothing" } else { "" })
    });
    let pages = ["/docs/", "/docs/swagger-initializer.js", "/docs/nothing"].map(str::to_owned);

    for path in paths.chain(pages) {
        let ask = |method: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {admin}\r\nconnection: close\r\n\r\n"
            )
        };
        let (get, content) = exchange(&gateway, &ask("GET"));
        let (head, nothing) = exchange(&gateway, &ask("HEAD"));

        let lines = |head: &str| {
            let volatile =
                ["date: ", "x-request-id: ", "openai-processing-ms: ", "content-disposition: ", "content-length: "];
            let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
            lines.retain(|line| !volatile.iter().any(|name| line.starts_with(name)));
            lines.sort();
            lines
        };
        assert_eq!(lines(&head), lines(&get), "{path}");
        assert_eq!(nothing, "", "{path}");
        assert_eq!(head.contains("content-length: "), get.contains("content-length: "), "{path}: {head}");
        assert_eq!(content.is_empty(), get.contains("content-length: 0"), "{path}: {get}");
    }

    // The connection goes on: there is no content between two answers.
    let mut stream = connect(&gateway);
    for _ in 0..2 {
        stream.write_all(b"HEAD /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let head = head_of(&mut stream);
        assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 15"), "{head}");
    }
    let (head, _) = exchange(&gateway, "HEAD /chat HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: post"), "{head}");
    let (head, _) = exchange(&gateway, "PUT /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(head.contains("allow: get, head"), "{head}");
}

#[actix_web::test]
async fn methods_and_upgrades_that_are_not_offered_are_refused_or_passed_over() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    for (request, status) in [
        ("TRACE /health HTTP/1.1\r\nhost: localhost\r\n\r\n", "405"),
        ("OPTIONS /health HTTP/1.1\r\nhost: localhost\r\n\r\n", "405"),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", "404"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n", "421"),
        ("CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\n\r\n", "404"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
        // What Java's client sends to every server first.
        (
            "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n\r\n",
            "200",
        ),
        (
            "GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAA\r\n\r\n",
            "200",
        ),
        (
            "POST /auth/token HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\n{}",
            "400",
        ),
    ] {
        let (head, _) = exchange(&gateway, request);
        assert_eq!(head.split(' ').nth(1), Some(status), "{request}: {head}");
        assert!(!head.contains("upgrade"), "{request}: {head}");
    }
}

#[actix_web::test]
async fn a_head_that_is_too_large_or_too_slow_ends_the_connection() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    let large = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 18));
    let mut stream = connect(&gateway);
    // The gateway may close before all of it was taken.
    let _ = stream.write_all(large.as_bytes());
    let mut start = [0; 12];
    if stream.read_exact(&mut start).is_ok() {
        assert_eq!(&start, b"HTTP/1.1 431");
    }
    let (long, some) = ("x".repeat(1 << 14), "x: y\r\n".repeat(50));
    let fair =
        format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-long: {long}\r\n{some}\r\n");
    let (head, _) = exchange(&gateway, &fair);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let many = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    let (head, _) = exchange(&gateway, &many);
    assert!(head.starts_with("http/1.1 431"), "{head}");
    let (head, _) = exchange(&gateway, "GET /health HTTP/1.1\r\nhost: localh");
    assert!(head.starts_with("http/1.1 408"), "{head}");
}

#[actix_web::test]
async fn a_connection_is_closed_after_an_answer_that_came_before_the_body_s_end() {
    let gateway = TestGateway::start("http://127.0.0.1:1");

    for framing in
        ["content-length: 1000000", "transfer-encoding: chunked", "transfer-encoding: chunked\r\nexpect: 100-continue"]
    {
        for (method, path, status) in
            [("POST", "/nowhere", "404"), ("GET", "/health", "200"), ("POST", "/v1/embeddings", "401")]
        {
            let mut stream = connect(&gateway);
            // A chunk begins and is never ended.
            write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{framing}\r\n\r\nF4240\r\nxxx").unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("the gateway closes the connection");
            let text = String::from_utf8(bytes).unwrap();
            let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text).to_ascii_lowercase();
            assert!(text.starts_with(&format!("http/1.1 {status} ")), "{framing} {path}: {text}");
            assert!(text.contains("connection: close"), "{framing} {path}: {text}");
        }
    }

    // One that was read to its end keeps the connection.
    let mut stream = connect(&gateway);
    for _ in 0..2 {
        let body = "2\r\n{}\r\n0\r\n\r\n";
        write!(stream, "POST /api/v1/register HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{body}")
            .unwrap();
        let head = head_of(&mut stream);
        assert!(head.starts_with("http/1.1 400"), "{head}");
        let length = head.split_once("content-length: ").unwrap().1.split_once("\r\n").unwrap().0;
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    }
}

#[actix_web::test]
async fn a_hangup_is_survived() {
    let mut gateway = TestGateway::start("http://127.0.0.1:1");

    for _ in 0..3 {
        gateway.signal("HUP");
        assert_eq!(gateway.get("/health/live", None).await.status, 200);
    }
    gateway.signal("TERM");

    assert_eq!(gateway.wait(60).await, Some(0));
}
