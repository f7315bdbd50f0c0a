//! The line that each request has in the log, and what a slow reader of the log does to requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually::{until, within};
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, client, hello, hello_stream};

/// A gateway that logs into a file, at this level.
fn logging(upstream: &str, format: &str, level: &str) -> (TestGateway, tempfile::NamedTempFile) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let to_file = format!("exec \"$0\" \"$@\" 2>{}", log.path().display());
    let settings = [("LOG__LEVEL", level), ("LOG__FORMAT", format), ("LIMITS__REQUESTS_PER_MINUTE", "1000")];
    (TestGateway::start_under(&["sh", "-c", &to_file], upstream, &settings), log)
}

/// Stops the gateway. Returns the lines of its log.
async fn stopped(mut gateway: TestGateway, log: &tempfile::NamedTempFile) -> Vec<String> {
    gateway.signal("TERM");
    assert_eq!(gateway.wait(40).await, Some(0));
    std::fs::read_to_string(log.path()).unwrap().lines().map(str::to_owned).collect()
}

/// Sends bytes as they are. Returns the id of the answer.
fn raw(gateway: &TestGateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    id.unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
}

#[actix_web::test]
async fn each_request_has_one_line_of_what_it_was_and_nothing_of_what_was_written() {
    let fake = FakeOllama::start();
    let (gateway, log) = logging(&fake.url(), "json", "info");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat"] })).await.json();
    let (secret, token_id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());

    fake.next(Script::of(vec![text("canary-answer"), done("stop")]));
    let whole = gateway.post("/v1/chat/completions", Some(secret), hello()).await;
    fake.next(Script::of(vec![text("canary-answer"), done("stop")]));
    let stream = gateway.post("/v1/chat/completions", Some(&ann), hello_stream()).await;
    let refused = gateway
        .post("/v1/chat/completions", Some(&ann), json!({ "model": "canary-model", "messages": hello()["messages"] }))
        .await;
    fake.next(Script::status(500, "{\"error\":\"canary-error\"}"));
    let failed = gateway.post("/chat", Some(&ann), hello()).await;
    let denied = gateway.get("/api/v1/users?search=canary-query", Some(&ann)).await;
    let person = gateway.get(&format!("/api/v1/users/{ann_id}"), Some(&admin)).await;
    let nobody = gateway.get("/v1/models", None).await;
    gateway.get("/health", None).await;
    gateway.get("/metrics", Some(&admin)).await;
    // Every place where a client can write.
    let host = gateway.url.strip_prefix("http://").unwrap();
    let odd = raw(
        &gateway,
        &format!(
            "CANARYMETHOD /canary-path%0a%1b[31m?canary=%0d%0a HTTP/1.1\r\nhost: {host}\r\nuser-agent: canary-agent \
             \u{85}\u{2028}\u{202e}\r\nx-forwarded-for: 203.0.113.77\r\nreferer: http://canary-referer/\r\n\
             connection: close\r\n\r\n"
        ),
    );
    let foreign = raw(&gateway, "GET /v1/models HTTP/1.1\r\nhost: foreign.example\r\nconnection: close\r\n\r\n");
    // One leaves in the middle.
    fake.next(Script::of(vec![text("canary-answer"), Step::Wait, done("stop")]));
    let left = gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into_bytes()).await;
    let left_id = left.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    drop(left);
    gateway.newest_outcome(&admin, "abandoned").await;
    fake.release();

    let lines = stopped(gateway, &log).await;

    let mut requests: Vec<Value> = Vec::new();
    for line in &lines {
        assert!(!line.chars().any(char::is_control) && !line.to_lowercase().contains("canary"), "{line:?}");
        for hidden in ["203.0.113.77", "127.0.0.1:", "ann@example.org", &secret[17..], "%0a"] {
            let has_own_address = ["listening", "upstream"].iter().any(|word| line.contains(word));
            assert!(!line.contains(hidden) || has_own_address, "{hidden} in {line}");
        }
        let line: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
        if line["fields"]["message"] == "request" {
            requests.push(line["fields"].clone());
        }
    }
    assert!(lines.last().unwrap().contains("stopped"), "the last lines are written, too");
    let of = |id: &str| {
        let found: Vec<&Value> = requests.iter().filter(|line| line["request.id"] == id).collect();
        assert_eq!(found.len(), 1, "one line for {id} in {requests:#?}");
        found[0].clone()
    };
    let line = of(whole.header("x-request-id").unwrap());
    for (field, wanted) in [
        ("method", json!("POST")),
        ("route", json!("/v1/chat/completions")),
        ("status", json!(200)),
        ("api", json!("/v1/chat/completions")),
        ("model", json!("fake:latest")),
        ("outcome", json!("completed")),
        ("bytes_out", json!(whole.body.len())),
        ("user.id", json!(ann_id)),
        ("token.id", json!(token_id)),
    ] {
        assert_eq!(line[field], wanted, "{field} of {line}");
    }
    assert!(
        ["duration_ms", "queue_ms", "first_token_ms", "tokens_in", "tokens_out"].iter().all(|it| line[it].is_u64())
    );
    assert!(line["reason"].is_null());
    let line = of(stream.header("x-request-id").unwrap());
    assert_eq!((&line["outcome"], &line["bytes_out"]), (&json!("completed"), &json!(stream.body.len())));
    assert!(line["token.id"].is_null());
    let ended = |id: Option<&str>| {
        let line = of(id.unwrap());
        let text = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {} {}", text("method"), text("route"), line["status"], text("outcome"), text("reason"))
    };
    for (id, wanted) in [
        (refused.header("x-request-id"), "POST /v1/chat/completions 404 refused model_not_found"),
        (failed.header("x-request-id"), "POST /chat 502 failed upstream_error"),
        (denied.header("x-request-id"), "GET /api/v1/users 403 refused permission_denied"),
        (person.header("x-request-id"), "GET /api/v1/users/{id} 200 - -"),
        (nobody.header("x-request-id"), "GET /v1/models 401 refused invalid_api_key"),
        (Some(odd.as_str()), "other unmatched 404 - -"),
        (Some(foreign.as_str()), "GET unmatched 421 refused misdirected_request"),
        (Some(left_id.as_str()), "POST /v1/chat/completions 200 abandoned -"),
    ] {
        assert_eq!(ended(id), wanted);
    }
    let line = of(&foreign);
    assert_eq!((&line["host"], &line["client.address"]), (&json!("foreign.example"), &json!("127.0.0.1")));
    assert!(line["remedy"].as_str().unwrap().contains("allowed_hosts"), "{line}");
    assert_eq!(of(nobody.header("x-request-id").unwrap())["client.address"], "127.0.0.1");
    assert!(of(denied.header("x-request-id").unwrap())["client.address"].is_null(), "its user is known");
    assert!(requests.iter().all(|line| line["route"] != "/health" && line["route"] != "/metrics"), "they are quiet");
}

#[actix_web::test]
async fn the_lines_of_requests_can_be_left_out_and_quiet_ones_shown() {
    let fake = FakeOllama::start();
    for (level, lines_of_health, lines_of_requests) in
        [("info,lan_gateway::access=off", false, false), ("warn,lan_gateway::access=debug", true, true)]
    {
        let (gateway, log) = logging(&fake.url(), "text", level);
        gateway.get("/health", None).await;
        gateway.get("/v1/models", None).await;

        let lines = stopped(gateway, &log).await.join("\n");

        assert_eq!(lines.contains("route=\"/health\""), lines_of_health, "{lines}");
        assert_eq!(lines.contains("route=\"/v1/models\""), lines_of_requests, "{lines}");
    }
}

#[actix_web::test]
async fn a_log_that_nobody_reads_holds_up_no_request_and_its_loss_is_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Opened for both, so that the gateway has a reader, who does not read yet.
    let reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let to_pipe = format!("exec \"$0\" \"$@\" 2>{}", pipe.display());
    let fake = FakeOllama::start();
    let limit = |name| (name, "1000000");
    let settings =
        [("LOG__LEVEL", "trace"), limit("LIMITS__REQUESTS_PER_MINUTE"), limit("LIMITS__REQUESTS_PER_MINUTE_TOTAL")];
    let gateway = TestGateway::start_under(&["sh", "-c", &to_pipe], &fake.url(), &settings);
    let admin = gateway.admin().await;

    let dropped = async || {
        for _ in 0..50 {
            assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), hello()).await.status, 200);
        }
        let metrics = gateway.get("/metrics", Some(&admin)).await.text();
        let line = metrics.lines().find(|line| line.starts_with("lan_gateway_log_lines_dropped_total "));
        (!line.unwrap().ends_with(" 0")).then_some(())
    };
    within(Duration::from_secs(60), "lines are dropped", dropped).await;

    let (told, is_told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            if String::from_utf8_lossy(&line.unwrap()).contains("lines of the log were dropped") {
                let _ = told.send(());
                return;
            }
        }
    });
    until("the loss is told", async || is_told.try_recv().is_ok()).await;
    assert_eq!(client().get(format!("{}/health", gateway.url)).send().await.unwrap().status(), 200);
}
