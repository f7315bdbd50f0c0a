//! `GET /metrics`: who may read it, what it counts, and how many series there can be.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::authority::Authority;
use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, client, hello, hello_stream};

/// Reads the metrics as an admin, as `series → value`.
async fn read(gateway: &TestGateway, admin: &str) -> BTreeMap<String, f64> {
    let answer = gateway.get("/metrics", Some(admin)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parsed(&answer.text())
}

fn parsed(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until the metrics, which may be a second old, have this series with this value.
async fn until_reads(gateway: &TestGateway, admin: &str, series: &str, wanted: f64) {
    let is_so = async || read(gateway, admin).await.get(series) == Some(&wanted);
    until(&format!("{series} is {wanted}"), is_so).await;
}

/// Sums of a counter by the values of `labels`, without those that are 0.
fn sums(metrics: &BTreeMap<String, f64>, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (series, value) in metrics.iter().filter(|(_, value)| **value > 0.0) {
        let Some(labels) = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) else { continue };
        let (_, rest) = labels.split_once(&format!("{label}=\"")).unwrap();
        *sums.entry(rest.split('"').next().unwrap().to_owned()).or_default() += *value as u64;
    }
    sums
}

async fn token(gateway: &TestGateway, bearer: &str, scope: &str) -> String {
    let made = gateway.post("/api/v1/tokens", Some(bearer), json!({ "name": scope, "scopes": [scope] })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn admins_and_their_tokens_for_metrics_read_them_and_nobody_else() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let reader = token(&gateway, &admin, "metrics").await;

    assert_eq!(gateway.get("/metrics", None).await.status, 401);
    assert_eq!(gateway.get("/metrics", Some(&ann)).await.status, 403);
    assert_eq!(gateway.get("/metrics", Some(&reader)).await.status, 200);
    assert_eq!(gateway.post("/metrics", Some(&admin), json!({})).await.status, 405);
    let wish = json!({ "name": "mine", "scopes": ["metrics"] });
    assert_eq!(gateway.post("/api/v1/tokens", Some(&ann), wish).await.status, 403);
    let (good, printed) = gateway.command(&["metrics"], "");
    assert!(good && printed.contains("\nlan_gateway_can_record 1\n"), "{printed}");

    // An admin who is one no more: the token stays, and opens this no more.
    let ann_id = gateway.id_of(&admin, "ann").await;
    let path = format!("/api/v1/users/{ann_id}");
    let role = |role: &str| json!({ "role": role }).to_string().into_bytes();
    assert_eq!(gateway.send("PATCH", &path, Some(&admin), role("admin")).await.status, 200);
    let anns = token(&gateway, &gateway.token("ann@example.org", "correct horse battery").await, "metrics").await;
    assert_eq!(gateway.get("/metrics", Some(&anns)).await.status, 200);
    assert_eq!(gateway.send("PATCH", &path, Some(&admin), role("user")).await.status, 200);
    assert_eq!(gateway.get("/metrics", Some(&anns)).await.status, 403);
}

#[actix_web::test]
async fn an_address_of_its_own_serves_metrics_without_a_credential_and_nothing_else() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("METRICS__LISTEN", &free.to_string())]);
    let status = async |method: &str, path: &str| {
        let request = client().request(method.parse().unwrap(), format!("http://{free}{path}"));
        request.send().await.unwrap().status().as_u16()
    };

    assert_eq!(status("GET", "/metrics").await, 200);
    for (method, path) in
        [("GET", "/"), ("GET", "/health"), ("GET", "/metrics/"), ("GET", "/api/v1/users"), ("POST", "/metrics")]
    {
        assert_eq!(status(method, path).await, 404, "{method} {path}");
    }
    let text = client().get(format!("http://{free}/metrics")).send().await.unwrap().body().await.unwrap();
    let metrics = parsed(std::str::from_utf8(&text).unwrap());
    for (series, wanted) in [
        ("lan_gateway_can_record", 1.0),
        ("lan_gateway_accounts{status=\"active\"}", 1.0),
        ("lan_gateway_upstream_up{upstream=\"local\"}", 0.0),
        ("lan_gateway_queue_waiting", 0.0),
    ] {
        assert_eq!(metrics.get(series), Some(&wanted), "{series}");
    }
    for series in ["lan_gateway_disk_free_bytes", "lan_gateway_database_bytes", "process_resident_memory_bytes"] {
        assert!(metrics[series] > 1000.0, "{series}");
    }
    drop(gateway);
}

/// Rows of the record by outcome, or by reason for one outcome.
fn rows(gateway: &TestGateway, of: &str, also: &str) -> BTreeMap<String, u64> {
    let all = gateway.text_of(&format!(
        "SELECT coalesce(group_concat({of} || ' ' || rows, char(10)), '') FROM (SELECT {of}, sum(coalesce(repeat, 1)) \
         AS rows FROM record WHERE kind IN ('result', 'refusal') {also} GROUP BY {of})"
    ));
    let row = |line: &str| {
        let (value, rows) = line.rsplit_once(' ').unwrap();
        (value.to_owned(), rows.parse().unwrap())
    };
    all.lines().map(row).collect()
}

#[actix_web::test]
async fn the_sums_are_those_of_the_record_by_outcome_and_reason() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "200")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let chats = token(&gateway, &ann, "chat").await;
    let said = || text("hi");

    for script in [
        Script::of(vec![said(), done("stop")]),
        Script::of(vec![said()]),
        Script::of(vec![said(), Step::Die]),
        Script::status(500, "{\"error\":\"broken\"}"),
        Script::status(400, "{\"error\":\"no\"}"),
    ] {
        for (path, bearer, body) in [
            ("/v1/chat/completions", &ann, hello()),
            ("/v1/chat/completions", &chats, hello_stream()),
            ("/chat", &ann, hello()),
            ("/v1/completions", &ann, json!({ "model": "fake", "prompt": "hi" })),
        ] {
            fake.next(script.clone());
            gateway.post(path, Some(bearer), body).await;
        }
    }
    gateway.post("/v1/embeddings", Some(&ann), json!({ "model": "fake", "input": "hi" })).await;
    // Refusals on every floor: no credential, a wrong one, a scope, a model, a field, a route, a host.
    gateway.post("/v1/chat/completions", None, hello()).await;
    gateway.post("/v1/chat/completions", Some("lgw_m_nonsense"), hello()).await;
    gateway.post("/v1/embeddings", Some(&chats), json!({ "model": "fake", "input": "hi" })).await;
    gateway.post("/v1/chat/completions", Some(&ann), json!({ "model": "none", "messages": [] })).await;
    gateway
        .post("/v1/chat/completions", Some(&ann), json!({ "model": "nosuch", "messages": hello()["messages"] }))
        .await;
    for _ in 0..3 {
        gateway.post("/chat", Some(&ann), json!({ "model": 7 })).await;
        gateway.get("/api/v1/users", Some(&ann)).await;
    }
    gateway.get("/api/v1/nosuch", None).await;
    let elsewhere = client().get(format!("{}/v1/models", gateway.url)).insert_header(("host", "evil.example"));
    assert_eq!(elsewhere.send().await.unwrap().status(), 421);
    // One leaves in the middle, and one is cut off when its account is closed.
    fake.next(Script::of(vec![said(), Step::Wait, done("stop")]));
    drop(gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into_bytes()).await);
    gateway.newest_outcome(&admin, "abandoned").await;
    fake.next(Script::of(vec![said(), Step::Wait, done("stop")]));
    let cut = gateway.open("POST", "/v1/chat/completions", Some(&ann), hello_stream().to_string().into_bytes()).await;
    let id = gateway.id_of(&admin, "ann").await;
    gateway.post(&format!("/api/v1/users/{id}/disable"), Some(&admin), json!({})).await;
    gateway.until_recorded(&admin, "account_disabled").await;
    drop(cut);

    let cut_off = "lan_gateway_refusals_total{reason=\"account_disabled\"}";
    until_reads(&gateway, &admin, cut_off, 1.0).await;
    let metrics = read(&gateway, &admin).await;
    gateway.signal("TERM");
    assert_eq!(gateway.wait(40).await, Some(0));

    assert_eq!(sums(&metrics, "lan_gateway_requests_total", "outcome"), rows(&gateway, "outcome", ""));
    assert_eq!(
        sums(&metrics, "lan_gateway_refusals_total", "reason"),
        rows(&gateway, "reason", "AND outcome = 'refused'")
    );
    assert_eq!(
        sums(&metrics, "lan_gateway_failures_total", "reason"),
        rows(&gateway, "reason", "AND outcome = 'failed'")
    );
    // Refusals of one reason share a row, whatever they asked for.
    for (api, completed) in rows(&gateway, "api", "AND outcome = 'completed'") {
        let series = format!("lan_gateway_requests_total{{api=\"{api}\",outcome=\"completed\"}}");
        assert_eq!(metrics[&series], completed as f64, "{api}");
    }
    let tokens = gateway.text_of(
        "SELECT CAST(sum(coalesce(prompt_tokens, 0)) AS TEXT) || ' ' || CAST(sum(coalesce(answer_tokens, 0)) AS TEXT) \
         FROM record",
    );
    let counted = |direction| {
        metrics[&format!("lan_gateway_model_tokens_total{{direction=\"{direction}\",model=\"fake:latest\"}}")]
    };
    assert_eq!(tokens, format!("{} {}", counted("in"), counted("out")));
    let outcomes = sums(&metrics, "lan_gateway_requests_total", "outcome");
    for outcome in ["completed", "failed", "refused", "abandoned"] {
        assert!(outcomes[outcome] > 0, "{outcome} happened: {outcomes:?}");
    }
    assert!(metrics["lan_gateway_record_commit_seconds_count"] > 10.0);
    assert!(metrics["lan_gateway_connections_open"] >= 1.0);
    assert!(sums(&metrics, "lan_gateway_auth_failures_total", "kind")["token"] >= 1);

    // Interrupted ones are counted by the next run, which writes their rows.
    gateway.restart();
    assert_eq!(sums(&read(&gateway, &admin).await, "lan_gateway_requests_total", "outcome"), BTreeMap::new());
}

#[actix_web::test]
async fn what_the_last_run_left_open_is_counted_as_interrupted() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("hi"), Step::Wait, done("stop")]));
    let open =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;

    gateway.kill();
    drop(open);
    gateway.restart();

    let counted = sums(&read(&gateway, &admin).await, "lan_gateway_requests_total", "outcome");
    assert_eq!(counted, BTreeMap::from([("interrupted".to_owned(), 1)]));
}

#[actix_web::test]
async fn the_certificate_the_disk_and_the_backups_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = Authority::new().write_until(folder.path(), 1, 2101);
    let gateway = TestGateway::start_with(
        "http://127.0.0.1:1",
        &[
            ("TLS__CERTIFICATE", files.certificate.to_str().unwrap()),
            ("TLS__KEY", files.key.to_str().unwrap()),
            ("TLS__LISTEN", "127.0.0.1:0"),
            ("DISK__FREE_BYTES_MIN", "1000"),
            ("DISK__FREE_BYTES_WARN", "2000"),
            ("BACKUP__FOLDER", folder.path().to_str().unwrap()),
            ("BACKUP__EVERY_HOURS", "6"),
        ],
    );
    let admin = gateway.admin().await;
    // The first backup is due at the start.
    let is_made = async || read(&gateway, &admin).await["lan_gateway_backup_newest_timestamp_seconds"] > 1.6e9;
    until("a backup is made", is_made).await;
    let metrics = read(&gateway, &admin).await;

    let year_2101 = 4_133_980_800.0;
    let ends = metrics["lan_gateway_certificate_ends_timestamp_seconds"];
    assert!((year_2101 - 86_400.0..year_2101 + 366.0 * 86_400.0).contains(&ends), "{ends}");
    for (series, wanted) in [
        ("lan_gateway_disk_free_min_bytes", 1000.0),
        ("lan_gateway_disk_free_warn_bytes", 2000.0),
        ("lan_gateway_disk_full", 0.0),
        ("lan_gateway_backup_interval_seconds", 21_600.0),
        ("lan_gateway_backup_failed", 0.0),
    ] {
        assert_eq!(metrics[series], wanted, "{series}");
    }
}

/// How many requests are sent at a time.
const AT_ONCE: usize = 32;

#[actix_web::test]
async fn whatever_clients_send_the_number_of_series_stays_within_its_bound() {
    let many: usize = std::env::var("METRICS_REQUESTS").map_or(1_000, |text| text.parse().unwrap());
    let fake = FakeOllama::start();
    let lifted = [
        ("LIMITS__REQUESTS_PER_MINUTE", "1000000"),
        ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000000"),
        ("LIMITS__ADDRESS_REQUESTS_PER_MINUTE", "1000000"),
    ];
    let gateway = TestGateway::start_with(&fake.url(), &lifted);
    let admin = gateway.admin().await;
    let users = [gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await];
    let send = async |number: usize| {
        let odd = format!("x{number}y{}", number * 7919 % 10_007);
        let (method, path) = match number % 5 {
            0 => ("POST", "/v1/chat/completions".to_owned()),
            1 => ("GET", format!("/{odd}/{odd}?{odd}={odd}")),
            2 => (["PUT", "DELETE", "OPTIONS", "BREW"][number / 5 % 4], format!("/api/v1/users/{odd}")),
            3 => ("GET", format!("/v1/models/{odd}")),
            _ => ("POST", "/chat".to_owned()),
        };
        let bearer = match number % 3 {
            0 => users[number / 3 % 2].clone(),
            1 => format!("lgw_m_{odd}"),
            _ => odd.clone(),
        };
        let body = json!({ "model": odd, "messages": [{ "role": "user", "content": "hi" }], "user": odd });
        let request = client()
            .request(method.parse().unwrap(), format!("{}{path}", gateway.url))
            .insert_header(("user-agent", odd.as_str()))
            .insert_header(("content-type", "application/json"))
            .bearer_auth(bearer);
        request.send_body(body.to_string()).await.unwrap().status().as_u16()
    };
    let answers = async || {
        let metrics = read(&gateway, &admin).await;
        sums(&metrics, "lan_gateway_http_requests_total", "route").values().sum::<u64>()
    };
    let at_first = answers().await;
    // Each kind of request once, so that what is made when it is first used is there.
    for number in 0..60 {
        send(number).await;
    }
    // What is read may be a second old.
    until("the first requests are counted", async || answers().await >= at_first + 60).await;
    let before = read(&gateway, &admin).await;

    for first in (60..60 + many).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE).map(&send)).await;
    }
    let done: f64 = sums(&before, "lan_gateway_requests_total", "outcome").values().sum::<u64>() as f64;
    let grown = async || {
        let after = read(&gateway, &admin).await;
        sums(&after, "lan_gateway_requests_total", "outcome").values().sum::<u64>() as f64 > done + many as f64 / 2.0
    };
    until("the requests are counted", grown).await;

    let after = read(&gateway, &admin).await;
    let new: Vec<&String> = after.keys().filter(|series| !before.contains_key(*series)).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(after.keys().all(|series| !series.contains("x6") || !series.contains('y')), "{:?}", after.keys());
    println!("{} series", after.len());
}

/// promtool is not everywhere; where it is, it has to agree.
#[actix_web::test]
async fn promtool_has_nothing_to_complain_about() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    let metrics = gateway.get("/metrics", Some(&admin)).await.text();

    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} has no help");
        assert!(name.starts_with("lan_gateway_") || name.starts_with("process_"), "{name}");
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else { return };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let complaints = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && complaints.is_empty(), "{complaints}");
}
