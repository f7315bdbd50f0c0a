//! One day's events in the log: each has its line, with the fields that docs/logs.md names, for `jq` as for people.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script};
use crate::support::gateway::{TestGateway, client, hello};

const DOC: &str = include_str!("../../docs/logs.md");

/// A gateway that logs JSON into a file.
fn logging(upstream: &str, settings: &[(&str, &str)]) -> (TestGateway, tempfile::NamedTempFile) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let to_file = format!("exec \"$0\" \"$@\" 2>{}", log.path().display());
    let settings = [&[("LOG__LEVEL", "info"), ("LOG__FORMAT", "json")], settings].concat();
    (TestGateway::start_under(&["sh", "-c", &to_file], upstream, &settings), log)
}

/// The fields of every line so far. Each line is an object with a time and a level.
fn lines(log: &tempfile::NamedTempFile) -> Vec<Value> {
    let text = std::fs::read_to_string(log.path()).unwrap();
    let parsed = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        line["fields"].clone()
    });
    parsed.collect()
}

async fn line(log: &tempfile::NamedTempFile, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    until(what, async || lines(log).iter().any(&is_it)).await;
    lines(log).into_iter().find(is_it).unwrap()
}

fn says(words: &str) -> impl Fn(&Value) -> bool {
    move |line| line["message"].as_str().unwrap().contains(words)
}

/// Sends bytes as they are, and returns the answer.
fn raw(gateway: &TestGateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs a command of docs/logs.md on a log.
fn jq(command: &str, log: &tempfile::NamedTempFile) -> String {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(std::fs::File::open(log.path()).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(child.wait().unwrap().success(), "{command}: {err}");
    out
}

#[actix_web::test]
async fn a_start_says_what_matters() {
    let fake = FakeOllama::start();
    let settings = [("TIMEZONE", "Europe/Berlin"), ("ALLOW_NETWORKS", "[\"127.0.0.0/8\"]"), ("LISTEN", "0.0.0.0:0")];
    let (gateway, log) = logging(&fake.url(), &settings);

    line(&log, "the default model is there", says("has the default model `llama3.2:latest`")).await;

    let all = lines(&log);
    let one = |words: &str| all.iter().find(|line| says(words)(line)).unwrap_or_else(|| panic!("no {words}: {all:?}"));
    let starts = one("lan-gateway 0.2.0 starts");
    assert_eq!((&starts["version"], &starts["data_dir"]), (&json!("0.2.0"), &json!(gateway.data_dir())));
    assert!(starts["disk_free_bytes"].is_u64(), "{starts}");
    let configuration = one("the configuration was read");
    assert!(configuration["config.variables"].as_str().unwrap().contains("LGW_OLLAMA__URL"), "{configuration}");
    let served = one("clients of these networks are served");
    assert_eq!((&served["allow_networks"], &served["timezone"]), (&json!("127.0.0.0/8"), &json!("Europe/Berlin")));
    let up = one("upstream `local` answers");
    assert_eq!((&up["models"], &up["upstream.url"]), (&json!(3), &json!(fake.url())));
    assert!(says("lan-gateway 0.2.0 starts")(&all[0]), "it is the first line: {}", all[0]);
    assert!(one("listening on http://0.0.0.0:")["url"].is_string());
    assert!(all.iter().any(|line| line["finding.code"] == "first_password"), "{all:?}");
}

#[actix_web::test]
async fn an_upstream_that_is_away_is_named_with_its_cause_and_how_to_start_it_and_so_is_a_missing_model() {
    let (_gateway, log) = logging("http://127.0.0.1:1", &[]);
    let down = line(&log, "it is down", says("upstream `local` is down")).await;
    assert!(down["cause"].as_str().unwrap().contains("Connection refused (os error 111)"), "{down}");
    assert!(down["remedy"].as_str().unwrap().contains("systemctl start ollama"), "{down}");

    let fake = FakeOllama::start();
    let (_gateway, log) = logging(&fake.url(), &[("DEFAULT_MODEL", "nowhere:1b")]);
    let missing = line(&log, "the model is missing", |line| line["finding.code"] == "model_missing").await;
    assert!(missing["remedy"].as_str().unwrap().contains("ollama pull nowhere:1b"), "{missing}");
}

#[actix_web::test]
async fn each_event_of_a_day_has_a_line_that_jq_reads_and_people_too() {
    let fake = FakeOllama::start();
    let (gateway, log) = logging(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1000")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let ann_id = gateway.id_of(&admin, "ann").await;
    let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat"] })).await.json();
    let (token, token_id) = (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap());
    let ended = gateway.send("DELETE", &format!("/api/v1/tokens/{token_id}"), Some(&ann), Vec::new()).await;
    assert!([200, 204].contains(&ended.status), "{}", ended.text());
    let sign_in = |name: &str| json!({ "username": name, "password": "canary-wrong-password" });

    let id = |answer: crate::support::gateway::Answer| answer.header("x-request-id").unwrap().to_owned();
    let known = id(gateway.post("/auth/token", None, sign_in("ann@example.org")).await);
    let unknown = id(gateway.post("/auth/token", None, sign_in("canary-nobody@example.org")).await);
    let mut chat = hello();
    chat["auth"] = sign_in("ann@example.org");
    let by_chat = id(gateway.post("/chat", None, chat).await);
    let by_token = id(gateway.post("/v1/chat/completions", Some(&token), hello()).await);
    let by_jwt = id(gateway.post("/v1/chat/completions", Some("canary-not-a-jwt"), hello()).await);
    let form = "username=ann%40example.org&password=canary-wrong-password".to_owned();
    let mut by_page = client()
        .post(format!("{}/sign-in", gateway.url))
        .insert_header(("content-type", "application/x-www-form-urlencoded"))
        .insert_header(("origin", gateway.url.clone()))
        .send_body(form)
        .await
        .unwrap();
    by_page.body().await.unwrap();
    let by_page = by_page.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let host = format!("foreign\u{202e}.{}", "x".repeat(300));
    let misdirected = raw(&gateway, &format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    assert!(misdirected.starts_with("HTTP/1.1 421"), "{misdirected}");
    let malformed = raw(&gateway, "canary\x16\x03\x01 nonsense\r\n\r\n");
    assert!(malformed.starts_with("HTTP/1.1 400"), "{malformed}");
    fake.next(Script::status(500, "{\"error\":\"canary\"}"));
    let failed = id(gateway.post("/chat", Some(&ann), hello()).await);
    let answered = id(gateway.post("/v1/chat/completions", Some(&ann), hello()).await);

    let of = async |id: &str| line(&log, id, |line| line["request.id"] == id && line["message"] == "request").await;
    for (id, user, cause) in [
        (&known, json!(ann_id), "the password is wrong"),
        (&unknown, Value::Null, "there is no account of this name"),
        (&by_chat, json!(ann_id), "the password is wrong"),
        (&by_page, json!(ann_id), "the password is wrong"),
        (&by_token, json!(ann_id), ""),
        (&by_jwt, Value::Null, ""),
    ] {
        let line = of(id).await;
        assert_eq!((&line["outcome"], &line["user.id"]), (&json!("refused"), &user), "{line}");
        assert_eq!(
            (&line["reason"], &line["client.address"]),
            (&json!("invalid_api_key"), &json!("127.0.0.1")),
            "{line}"
        );
        assert!(line["cause"].as_str().unwrap_or_default().starts_with(cause), "{line}");
    }
    let foreign = line(&log, "a foreign host", |line| line["reason"] == "misdirected_request").await;
    let shown = foreign["host"].as_str().unwrap();
    assert!(foreign["remedy"].as_str().unwrap().contains("allowed_hosts"), "{foreign}");
    assert!(shown.len() <= 200 && !shown.contains('\u{202e}'), "{foreign}");
    let malformed = line(&log, "a malformed request", |line| line["reason"] == "malformed_request").await;
    assert_eq!(malformed["client.address"], "127.0.0.1");
    assert!(malformed["cause"].is_string(), "{malformed}");
    assert!(!lines(&log).iter().any(says("stream error")), "the parser has no line of its own");
    assert_eq!(of(&failed).await["reason"], "upstream_error");
    assert_eq!(of(&answered).await["outcome"], "completed");
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(!text.contains("canary") && !text.contains("@example.org"), "{text}");
    // A refusal that the record has can be shown by the id of its line.
    let recorded = async || gateway.command(&["record", "show", &known], "").0;
    until("the refusal is recorded", recorded).await;

    let known_fields: BTreeSet<&str> = DOC.split('`').skip(1).step_by(2).collect();
    for line in lines(&log) {
        for field in line.as_object().unwrap().keys() {
            assert!(known_fields.contains(field.as_str()), "docs/logs.md does not name `{field}`: {line}");
        }
    }
    let commands: Vec<&str> =
        DOC.lines().filter_map(|line| line.strip_prefix("journalctl -u lan-gateway -o cat | ")).collect();
    assert_eq!(commands.len(), 3);
    let told: Vec<String> = commands.iter().map(|command| jq(command, &log)).collect();
    assert!(told[0].contains(&known) && told[0].contains("127.0.0.1"), "{}", told[0]);
    assert!(told[1].contains("misdirected_request"), "{}", told[1]);
    assert!(told[2].contains(&ann_id), "{}", told[2]);
}

#[actix_web::test]
async fn a_refused_network_and_a_request_without_encryption_have_a_line_with_the_remedy() {
    let fake = FakeOllama::start();
    let settings = [("ALLOW_NETWORKS", "[\"127.0.0.0/8\"]"), ("TRUSTED_PROXIES", "[\"127.0.0.1/32\"]")];
    let (gateway, log) = logging(&fake.url(), &settings);
    let ask = async |accept: &str| {
        let request = client().get(format!("{}/v1/models", gateway.url)).insert_header(("accept", accept));
        let mut answer = request.insert_header(("x-forwarded-for", "203.0.113.9")).send().await.unwrap();
        let kind = answer.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap())
    };

    let (status, kind, text) = ask("*/*").await;
    assert!(status == 403 && kind.starts_with("application/json"), "{kind}: {text}");
    let (status, kind, text) = ask("text/html,*/*").await;
    assert!(status == 403 && kind.starts_with("text/html") && text.contains("allow_networks"), "{kind}: {text}");

    let refused = line(&log, "a refused network", |line| line["outcome"] == "refused").await;
    assert_eq!((&refused["status"], &refused["client.address"]), (&json!(403), &json!("203.0.113.9")));
    assert!(refused["remedy"].as_str().unwrap().contains("allow_networks"), "{refused}");
}

#[actix_web::test]
async fn a_stranger_who_tries_without_end_fills_no_log() {
    let fake = FakeOllama::start();
    let (gateway, log) = logging(&fake.url(), &[]);

    for _ in 0..300 {
        assert_eq!(gateway.get("/v1/models", None).await.status, 401);
    }

    // The minute may have changed once meanwhile.
    let refused = lines(&log).iter().filter(|line| line["reason"] == "invalid_api_key").count();
    assert!((1..=240).contains(&refused), "{refused}");
}

#[actix_web::test]
async fn a_client_that_speaks_http_where_https_is_served_has_a_line() {
    let fake = FakeOllama::start();
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().write(folder.path(), 1);
    let [certificate, key] = [&files.certificate, &files.key].map(|file| file.to_str().unwrap());
    let settings = [("TLS__CERTIFICATE", certificate), ("TLS__KEY", key), ("TLS__LISTEN", "127.0.0.1:0")];
    let (gateway, log) = logging(&fake.url(), &settings);

    // Who only looks whether the port is open has none.
    drop(TcpStream::connect(gateway.https_address()).unwrap());
    let mut plain = TcpStream::connect(gateway.https_address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();

    let found = line(&log, "a line of the handshake", |line| line["reason"] == "tls_handshake").await;
    assert!(found["client.address"] == "127.0.0.1" && found["cause"].is_string(), "{found}");
    assert_eq!(lines(&log).iter().filter(|line| line["reason"] == "tls_handshake").count(), 1);
}
