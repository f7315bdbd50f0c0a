//! Upstreams that are reached over TLS: one whose certificate this host trusts is used as any other, and no other is.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello, hello_stream};
use crate::support::tls_front::{self, Certificate};

const CHAT: &str = "/v1/chat/completions";

/// A gateway on a host that trusts `trusted`, in front of `url`.
fn gateway(trusted: Certificate, url: &str) -> TestGateway {
    let trusted = format!("SSL_CERT_FILE={}", trusted.file().display());
    TestGateway::start_under(&["env", &trusted], url, &[])
}

/// Waits until the upstream is down, and returns what the queue and a caller are told then, and what `doctor` says.
async fn refusals(gateway: &TestGateway, trusted: Certificate, url: &str) -> (String, Value, String) {
    let admin = gateway.admin().await;
    let is_known = |queue: &Value| queue["hosts"][0]["state"] != "unknown";
    let host = gateway.until_queue(&admin, "the upstream was looked at", is_known).await["hosts"][0].take();
    assert_eq!(host["state"], "down", "{host}");
    let answer = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    std::fs::write(gateway.data_dir().join("lan-gateway.toml"), format!("[ollama]\nurl = \"{url}\"\n")).unwrap();
    let (good, doctor) = gateway.command_with(&[("SSL_CERT_FILE", trusted.file().to_str().unwrap())], &["doctor"], "");
    assert!(!good, "{doctor}");
    (host["last_error"].as_str().unwrap().to_owned(), answer.json()["error"]["code"].clone(), doctor)
}

/// Answers whatever it is asked as a server without TLS does. Returns its port.
fn plain() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent a TLS hello to an HTTP server.\n");
        }
    });
    port
}

#[actix_web::test]
async fn one_whose_certificate_is_trusted_serves_and_is_cut_off_as_any_other() {
    let fake = FakeOllama::start();
    let url = format!("https://localhost:{}", tls_front::start(Certificate::Good, fake.address));
    let gateway = gateway(Certificate::Good, &url);
    let admin = gateway.admin().await;

    for _ in 0..3 {
        let answer = gateway.post(CHAT, Some(&admin), hello()).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello world!", "{}", answer.text());
    }

    fake.next(Script::of(vec![text("Hello"), Step::Wait, done("stop")]));
    let stream = gateway.open("POST", CHAT, Some(&admin), hello_stream().to_string().into_bytes()).await;
    fake.until(|chats| chats.len() == 4).await;
    drop(stream);
    fake.until(|chats| matches!(chats[3].ended, Some((Ending::Cancelled, _)))).await;

    fake.next(Script::of(vec![text("Hello"), Step::Die]));
    let cut = gateway.post(CHAT, Some(&admin), hello()).await;
    assert_eq!((cut.status, &cut.json()["error"]["code"]), (502, &Value::from("upstream_error")));
}

#[actix_web::test]
async fn one_whose_certificate_is_not_accepted_gets_nothing_and_everybody_is_told_why() {
    let fake = FakeOllama::start();
    for (shown, trusted, host, why) in [
        (Certificate::Good, Certificate::Expired, "127.0.0.1", "is for another name"),
        (Certificate::Expired, Certificate::Expired, "localhost", "has expired"),
        (Certificate::Authority, Certificate::Authority, "localhost", "can't be accepted"),
    ] {
        let url = format!("https://{host}:{}", tls_front::start(shown, fake.address));
        let gateway = gateway(trusted, &url);

        let (queue, code, doctor) = refusals(&gateway, trusted, &url).await;

        for told in [&queue, &doctor] {
            assert!(told.contains("its TLS certificate") && told.contains(why), "{shown:?}: {told}");
        }
        assert_eq!(code, "upstream_unreachable");
    }
    assert_eq!((fake.chats().len(), fake.other_paths().len(), fake.credentials().len()), (0, 0, 0));
}

#[actix_web::test]
async fn one_whose_authority_is_unknown_and_one_without_tls_get_nothing() {
    let fake = FakeOllama::start();
    // What the host trusts is not in this file.
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let settings = format!("SSL_CERT_FILE={}", nothing.path().display());
    let unknown = tls_front::start(Certificate::Good, fake.address);
    for (port, why) in [(unknown, "is not trusted"), (plain(), "does not speak TLS")] {
        let gateway = TestGateway::start_under(&["env", &settings], &format!("https://localhost:{port}"), &[]);
        let admin = gateway.admin().await;

        let answer = gateway.post(CHAT, Some(&admin), hello()).await;

        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &Value::from("upstream_unreachable")));
        let host = gateway.get("/api/v1/queue", Some(&admin)).await.json()["hosts"][0].clone();
        assert!(host["last_error"].as_str().unwrap().contains(why), "{host}");
    }
    assert_eq!(fake.chats().len(), 0);
}
