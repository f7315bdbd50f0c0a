//! The gateway's own TLS: what is spoken, and that a connection over it behaves as any other.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as PlainStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::support::authority::{Authority, Files};
use crate::support::eventually::{eventually, until, within};
use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};

/// A gateway with a certificate of `authority`, in a folder of its own.
struct Https {
    gateway: TestGateway,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Https {
    fn start(fake: &FakeOllama, settings: &[(&str, &str)]) -> Https {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let Files { certificate, key } = authority.write(folder.path(), 1);
        let files = [
            ("TLS__CERTIFICATE", certificate.to_str().unwrap()),
            ("TLS__KEY", key.to_str().unwrap()),
            ("TLS__LISTEN", "127.0.0.1:0"),
        ];
        let gateway = TestGateway::start_with(&fake.url(), &[&files, settings].concat());
        Https { gateway, authority, folder }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.https_address()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.authority.connect(self.address()).await
    }

    /// Puts another certificate in place, lets the gateway read it, and waits until new connections get it.
    async fn swap(&self, serial: u64) {
        self.authority.write(self.folder.path(), serial);
        self.gateway.signal("HUP");
        let is_new = async || serial_of(&self.connect().await) == serial;
        until("new connections get the new certificate", is_new).await;
    }

    /// Asks for an answer on a connection of its own.
    async fn ask(&self, token: &str, body: &Value) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await;
        send(&mut stream, token, body).await;
        stream
    }
}

/// The serial number of the certificate that a connection was opened with.
fn serial_of(stream: &TlsStream<TcpStream>) -> u64 {
    let own = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let serial = Certificate::from_der(&own).unwrap().tbs_certificate().serial_number().as_bytes().to_vec();
    serial.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

async fn send(stream: &mut TlsStream<TcpStream>, token: &str, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

/// Reads until `wanted` was seen. Returns what was read.
pub async fn read_until(stream: &mut TlsStream<TcpStream>, wanted: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut seen)).await;
        assert!(read.expect("in time").unwrap() > 0, "no {wanted} in {}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[actix_web::test]
async fn it_serves_beside_plain_http_and_streams_piece_by_piece() {
    let fake = FakeOllama::start();
    let mut https = Https::start(&fake, &[]);
    let admin = https.gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, text(" again"), done("stop")]));

    let mut stream = https.ask(&admin, &hello_stream()).await;

    let head = read_until(&mut stream, "Hello").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    fake.release();
    assert!(read_until(&mut stream, "[DONE]").await.contains(" again"));
    // The same connection serves further requests.
    send(&mut stream, &admin, &hello()).await;
    assert!(read_until(&mut stream, "Hello world!").await.contains("HTTP/1.1 200"));
    assert_eq!(https.gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    https.gateway.over_https(https.authority.trusted_by());
    assert_eq!(https.gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    assert_eq!(https.gateway.record(&admin).await.len(), 4);
}

#[actix_web::test]
async fn tls_1_2_and_1_3_are_spoken_with_http_1_1_alone_and_the_whole_chain() {
    let fake = FakeOllama::start();
    let https = Https::start(&fake, &[]);

    for (version, wanted) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = https.authority.config(&[version], &["h2", "http/1.1"]);
        let stream = https.authority.connect_as(https.address(), config).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(wanted));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]), "h2 was offered first");
        assert_eq!(connection.peer_certificates().unwrap().len(), 2, "its own and the one between it and the root");
    }
    let h2 = https.authority.config(&[&TLS13], &["h2"]);
    assert!(https.authority.connect_as(https.address(), h2).await.is_err(), "nothing else to agree on");
    assert_eq!(refusal_of_tls_1_1(https.address()), [21, 2, 70], "an alert: fatal, protocol_version");
}

/// Says hello as a client that knows TLS 1.1 at most. Returns the kind of the answer's record, and its content.
fn refusal_of_tls_1_1(address: SocketAddr) -> [u8; 3] {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, two ciphers, no compression; two groups and two kinds of signatures, as the gateway has them.
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    hello.extend([0, 20, 0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut stream = PlainStream::connect(address).unwrap();
    stream.write_all(&[&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    [answer[0], answer[5], answer[6]]
}

#[actix_web::test]
async fn a_client_that_hangs_up_ends_its_generation_at_once() {
    let fake = FakeOllama::start();
    let https = Https::start(&fake, &[]);
    let admin = https.gateway.admin().await;
    let before = Script { before: vec![Step::Wait], ..Script::hello() };
    let silent = Script::of(vec![Step::Wait, done("stop")]);
    let speaking = Script::of(vec![text("Hello"), Step::Wait, done("stop")]);
    for (number, (script, body)) in
        [(before, hello()), (silent, hello_stream()), (speaking, hello_stream())].into_iter().enumerate()
    {
        fake.next(script);
        let mut stream = https.ask(&admin, &body).await;
        fake.until(|chats| chats.len() == number + 1).await;
        if number == 2 {
            read_until(&mut stream, "Hello").await;
        }

        let left = Instant::now();
        drop(stream);

        fake.until(|chats| chats[number].ended.is_some()).await;
        let (ending, at) = fake.chats()[number].ended.unwrap();
        assert_eq!(ending, Ending::Cancelled);
        assert!(at.saturating_duration_since(left) < Duration::from_secs(1), "{number}");
        https.gateway.newest_outcome(&admin, "abandoned").await;
    }
}

#[actix_web::test]
async fn a_connection_counts_before_its_handshake_and_one_without_is_closed() {
    let fake = FakeOllama::start();
    // One worker takes connections in their order.
    let limits = [("LIMITS__CONNECTIONS_MAX", "8"), ("LIMITS__CONNECTIONS_PER_ADDRESS_MAX", "2"), ("WORKERS", "1")];
    let https = Https::start(&fake, &limits);

    let silent = [0, 1].map(|_| PlainStream::connect(https.address()).unwrap());
    let mut third = PlainStream::connect(https.address()).unwrap();

    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(third.read(&mut [0]).unwrap(), 0, "closed at once");
    let plain = https.gateway.url.strip_prefix("http://").unwrap();
    let mut fourth = PlainStream::connect(plain).unwrap();
    fourth.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(fourth.read(&mut [0]).unwrap(), 0, "both listeners count together");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "no handshake in time");
    }
    let is_free = async || https.authority.connect_as(https.address(), https.authority.config(&[&TLS13], &[])).await;
    within(Duration::from_secs(20), "there is room again", async || is_free().await.ok()).await;
}

#[actix_web::test]
async fn a_stop_lets_answers_over_tls_finish() {
    let fake = FakeOllama::start();
    let mut https = Https::start(&fake, &[]);
    let admin = https.gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Wait, text(" again"), done("stop")]));
    let mut stream = https.ask(&admin, &hello_stream()).await;
    read_until(&mut stream, "Hello").await;

    https.gateway.signal("TERM");
    https.gateway.until_closed().await;
    until("https takes no more connections", async || PlainStream::connect(https.address()).is_err()).await;
    fake.release();

    assert!(read_until(&mut stream, "[DONE]").await.contains(" again"));
    assert_eq!(https.gateway.wait(20).await, Some(0));
}

#[actix_web::test]
async fn a_certificate_is_swapped_twenty_times_under_load_and_nothing_fails() {
    const SWAPS: u64 = 20;
    const CLIENTS: usize = 12;
    const STREAMS: usize = 3;
    let fake = FakeOllama::start();
    let lifted = [("LIMITS__REQUESTS_PER_MINUTE", "200"), ("OLLAMA__SLOTS", "4")];
    let https = Https::start(&fake, &lifted);
    let admin = https.gateway.admin().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        fake.next(Script::of(vec![text("Hello"), Step::Wait, text(" again"), done("stop")]));
        let mut stream = https.ask(&admin, &hello_stream()).await;
        read_until(&mut stream, "Hello").await;
        streams.push(stream);
    }
    let (asked, is_over) = (Cell::new(0), Cell::new(false));
    let client = async |mut stream: TlsStream<TcpStream>| {
        while !is_over.get() {
            stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let answer = read_until(&mut stream, "}").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            asked.set(asked.get() + 1);
        }
        assert_eq!(serial_of(&stream), 1, "a connection keeps the certificate that it began with");
    };
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(https.connect().await));
    }
    let swaps = async {
        for serial in 2..2 + SWAPS {
            let before = asked.get();
            https.swap(serial).await;
            until("all clients go on", async || asked.get() > before + CLIENTS).await;
        }
        is_over.set(true);
    };

    tokio::join!(futures_util::future::join_all(clients), swaps);

    for _ in 0..STREAMS {
        fake.release();
    }
    for mut stream in streams {
        assert!(read_until(&mut stream, "[DONE]").await.contains(" again"));
    }
    assert!(https.gateway.record(&admin).await.iter().all(|row| row["outcome"] == "completed"));
}

#[actix_web::test]
async fn a_gateway_that_can_t_use_its_files_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().write(folder.path(), 1);
    std::fs::remove_file(&files.certificate).unwrap();

    let (good, told) = crate::support::gateway::command_in(
        folder.path(),
        &[
            ("LGW_LISTEN", "127.0.0.1:0"),
            ("LGW_TLS__LISTEN", "127.0.0.1:0"),
            ("LGW_TLS__CERTIFICATE", files.certificate.to_str().unwrap()),
            ("LGW_TLS__KEY", files.key.to_str().unwrap()),
        ],
        &["serve"],
    );

    assert!(!good && told.contains("gateway.pem can't be read"), "{told}");
}

#[actix_web::test]
async fn plain_http_may_be_off_or_for_this_host_alone() {
    let fake = FakeOllama::start();
    let mut off = Https::start(&fake, &[("PLAIN_HTTP", "off")]);
    assert!(off.gateway.url.starts_with("https://"), "{}", off.gateway.url);
    off.gateway.over_https(off.authority.trusted_by());
    let admin = off.gateway.admin().await;
    assert_eq!(off.gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
    let host = off.gateway.get("/api/v1/host", Some(&admin)).await.json();
    assert_eq!(
        (&host["plain_http"], &host["listen"], &host["https"]),
        (&false.into(), &host["https"], &host["listen"])
    );

    // The trusted proxy is a client of this host, which speaks for others.
    let settings = [("PLAIN_HTTP", "loopback"), ("TRUSTED_PROXIES", "[\"127.0.0.1/32\"]")];
    let loopback = Https::start(&fake, &settings);
    let port = loopback.address().port();
    assert_eq!(loopback.gateway.get("/health/live", None).await.status, 200, "this host itself");
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = crate::support::gateway::client().get(format!("{}{path}", loopback.gateway.url));
        for header in headers {
            request = request.insert_header(*header);
        }
        let mut answer = request.send().await.unwrap();
        (answer.status().as_u16(), String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap())
    };
    let far = ("x-forwarded-for", "192.168.1.7");
    for path in ["/v1/models", "/health/live", "/sign-in", "/nothing"] {
        let (status, told) = ask(path, &[far]).await;
        assert_eq!(status, 403, "{path}");
        assert!(told.contains(&format!("use https://127.0.0.1:{port}")), "{told}");
    }
    assert_eq!(ask("/health/live", &[far, ("x-forwarded-proto", "https")]).await.0, 200);
    assert_eq!(ask("/health/live", &[far, ("x-forwarded-proto", "http")]).await.0, 403);
}

#[actix_web::test]
async fn a_certificate_that_expires_is_found() {
    let fake = FakeOllama::start();
    let mut https = Https::start(&fake, &[]);
    https.authority.write_until(https.folder.path(), 7, 2020);
    https.gateway.signal("HUP");
    let admin = https.gateway.admin().await;

    let warnings = async || {
        let host = https.gateway.get("/api/v1/host", Some(&admin)).await.json();
        let warnings = host["warnings"].as_array().unwrap().clone();
        warnings.into_iter().find(|warning| warning["code"] == "certificate_unusable")
    };

    let found = eventually("it is found", warnings).await;
    assert!(found["message"].as_str().unwrap().contains("gateway.pem expired at 2020-01-01"), "{found}");
    https.gateway.kill();
    https.gateway.restart();
    assert_eq!(https.gateway.get("/health/live", None).await.status, 200, "it starts with an expired one");
}
