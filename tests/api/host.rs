//! The host as admins see it: `GET /api/v1/host`, and the same findings in `doctor` and in `/health`.

use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello};

const PATH: &str = "/api/v1/host";

async fn view(gateway: &TestGateway, admin: &str) -> Value {
    let answer = gateway.get(PATH, Some(admin)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn codes(view: &Value) -> Vec<String> {
    let warnings = view["warnings"].as_array().unwrap();
    assert!(warnings.iter().all(|one| !one["message"].as_str().unwrap().is_empty()), "{view}");
    assert!(warnings.iter().all(|one| !one["remedy"].as_str().unwrap().is_empty()), "{view}");
    warnings.iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_host_shows_its_process_its_record_and_its_upstreams() {
    let fake = FakeOllama::start();
    let url = fake.url();
    let gateway = TestGateway::start_with(&url, &[("TIMEZONE", "Europe/Berlin"), ("OLLAMA__SLOTS", "3")]);
    let admin = gateway.admin().await;
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;

    // An upstream that is slow for once does not tell what is loaded, and is asked again some seconds later.
    let host = eventually("what is loaded is known", async || {
        Some(view(&gateway, &admin).await).filter(|host| host["hosts"][0].get("loaded").is_some())
    })
    .await;

    assert_eq!((&host["version"], &host["timezone"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("Europe/Berlin")));
    assert_eq!((&host["plain_http"], &host["retention_days"]), (&json!(false), &Value::Null));
    assert!(host["listen"].as_str().unwrap().starts_with("127.0.0.1:") && host["listen"] != "127.0.0.1:0", "{host}");
    assert!(host["started_at"].as_str().unwrap().ends_with('Z') && !host["name"].as_str().unwrap().is_empty());
    let record = &host["record"];
    assert_eq!((&record["can_record"], record.get("bytes_per_day")), (&json!(true), None), "it is younger than a day");
    assert!(
        record["bytes"].as_u64().unwrap() > 4096
            && record["disk_free_bytes"].as_u64() <= record["disk_total_bytes"].as_u64()
    );
    let upstream = &host["hosts"][0];
    let told = ["name", "kind", "url", "state", "slots", "free", "models"].map(|field| upstream[field].clone());
    assert_eq!(told, [json!("local"), json!("ollama"), json!(url), json!("up"), json!(3), json!(3), json!(3)]);
    assert!(upstream["latency_ms"].as_u64().unwrap() < 10_000);
    let loaded =
        json!([{ "name": "fake:latest", "bytes": 3_000_000, "gpu_bytes": 2_000_000, "until": "2100-01-01T00:00:00Z" }]);
    assert_eq!(upstream["loaded"], loaded);
    assert!(!codes(&host).iter().any(|code| ["upstream_down", "cannot_record", "plain_http"].contains(&code.as_str())));
}

#[actix_web::test]
async fn what_is_wrong_is_told_by_the_route_and_by_doctor_with_a_remedy() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("LIMITS__REQUESTS_PER_MINUTE", "300")]);
    let file = "[ollama]\nurl = \"http://127.0.0.1:1\"\n";
    std::fs::write(gateway.data_dir().join("lan-gateway.toml"), file).unwrap();
    let doctor = || gateway.command(&["doctor"], "");

    let (good, text) = doctor();
    assert!(!good && text.contains("first_password"), "the gateway alone knows that: {text}");
    let admin = gateway.admin().await;
    let host = eventually("the upstream is down", async || {
        let host = view(&gateway, &admin).await;
        (host["hosts"][0]["state"] == "down").then_some(host)
    })
    .await;

    let found = codes(&host);
    assert!(found.contains(&"upstream_down".to_owned()) && found.contains(&"no_effect".to_owned()), "{found:?}");
    assert!(!found.contains(&"first_password".to_owned()));
    let upstream = &host["hosts"][0];
    assert!(upstream["last_error"].is_string() && upstream["down_since"].is_string());
    assert_eq!((upstream.get("latency_ms"), upstream.get("loaded")), (None, None), "not known while it is down");
    let (_, text) = doctor();
    assert!(text.contains("no_effect") && text.contains("upstream_down") && !text.contains("first_password"), "{text}");
}

#[actix_web::test]
async fn an_upstream_that_hangs_delays_the_view_by_a_second_and_nobody_else() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    assert_eq!(view(&gateway, &admin).await["hosts"][0]["state"], "up");
    fake.hangs();

    // An answer from memory is at most some seconds old.
    let host = eventually("the models in memory are no longer known", async || {
        let host = view(&gateway, &admin).await;
        host["hosts"][0].get("loaded").is_none().then_some(host)
    })
    .await;

    assert_eq!(host["hosts"][0]["name"], "local");
    assert_eq!(gateway.get("/health", None).await.status, 200);
}

#[actix_web::test]
async fn health_has_details_for_an_admin_s_jwt_alone() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let token = gateway.post("/api/v1/tokens", Some(&admin), json!({ "name": "probe" })).await.json();
    let token = token["token"].as_str().unwrap().to_owned();

    let details = gateway.get("/health", Some(&admin)).await.json();
    assert_eq!((&details["status"], &details["details"]["can_record"]), (&json!("ok"), &json!(true)));
    for bearer in [None, Some(ann.as_str()), Some(token.as_str()), Some("nonsense")] {
        assert_eq!(gateway.get("/health", bearer).await.text(), r#"{"status":"ok"}"#, "{bearer:?}");
    }
}
