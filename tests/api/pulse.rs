//! The pulse of the record: requests per interval, by the filters that the sums of usage can answer.

use serde_json::{Value, json};

use crate::support::eventually::until;
use crate::support::fake_ollama::{FakeOllama, Script, text};
use crate::support::gateway::{TestGateway, hello};

async fn pulse(gateway: &TestGateway, bearer: &str, query: &str) -> Value {
    let pulse = gateway.get(&format!("/api/v1/audit/pulse?{query}"), Some(bearer)).await;
    assert_eq!(pulse.status, 200, "{query}: {}", pulse.text());
    pulse.json()
}

/// Sums over all intervals: requests, refused, failed.
fn sums(pulse: &Value) -> [i64; 3] {
    let items = pulse["items"].as_array().unwrap();
    ["requests", "refused", "failed"].map(|field| items.iter().map(|item| item[field].as_i64().unwrap()).sum())
}

#[actix_web::test]
async fn the_pulse_counts_what_the_list_shows_by_user_token_and_model() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat"] })).await.json();
    gateway.post("/v1/chat/completions", Some(&admin), hello()).await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    fake.next(Script::of(vec![text("x")]));
    gateway.post("/v1/chat/completions", Some(token["token"].as_str().unwrap()), hello()).await;
    let nope = json!({ "model": "nope", "messages": [{ "role": "user", "content": "x" }] });
    gateway.post("/v1/chat/completions", Some(&ann), nope).await;
    let id = gateway.id_of(&admin, "ann").await;
    let acts = "SELECT CAST(count(*) AS TEXT) FROM record WHERE kind = 'act'";
    let before = gateway.text_of(acts);

    until("everything is counted", async || sums(&pulse(&gateway, &admin, "").await) == [3, 1, 1]).await;

    let token = token["id"].as_str().unwrap();
    for (query, expected) in [
        (format!("user_id={id}"), [2, 1, 1]),
        (format!("token_id={token}"), [1, 0, 1]),
        (format!("user_id={id}&token_id={token}&model=fake"), [1, 0, 1]),
        ("model=fake:latest".into(), [3, 0, 1]),
        ("model=nope".into(), [0, 0, 0]),
        ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z".into(), [0, 0, 0]),
    ] {
        assert_eq!(sums(&pulse(&gateway, &admin, &query).await), expected, "{query}");
    }
    for uncounted in [
        "text=hi".to_owned(),
        "outcome=failed".into(),
        "kind=request".into(),
        "api=/chat".into(),
        format!("history_of={id}"),
    ] {
        assert!(pulse(&gateway, &admin, &uncounted).await.get("items").is_none(), "{uncounted}");
    }
    assert_eq!(gateway.text_of(acts), before);
    for wrong in ["user_id=nobody", "from=yesterday", "from=1990-01-01T00:00:00Z", "text=", "cursor=1"] {
        let answer = gateway.get(&format!("/api/v1/audit/pulse?{wrong}"), Some(&admin)).await;
        assert!([400, 404].contains(&answer.status), "{wrong}: {}", answer.status);
    }
}

#[actix_web::test]
async fn the_length_of_the_time_decides_what_one_bar_is() {
    let gateway = TestGateway::start_with("http://127.0.0.1:1", &[("TIMEZONE", "Europe/Berlin")]);
    let admin = gateway.admin().await;
    // 23:30 and 00:15 in Berlin, each with a refusal.
    for quarter in ["1767306600000000", "1767309300000000"] {
        gateway.on_the_file(&format!("INSERT INTO usage VALUES ({quarter}, 1, 0, 'fake:latest', 2, 0, 1, 0, 0, 0, 0)"));
    }

    for (from, to, interval, begins) in [
        (
            "2026-01-01T21:00:00Z",
            "2026-01-02T03:00:00Z",
            "quarter",
            vec!["2026-01-01T22:30:00Z", "2026-01-01T23:15:00Z"],
        ),
        ("2026-01-01T21:00:00Z", "2026-01-02T03:00:01Z", "hour", vec!["2026-01-01T22:00:00Z", "2026-01-01T23:00:00Z"]),
        ("2025-12-25T00:00:00Z", "2026-01-02T00:00:00Z", "hour", vec!["2026-01-01T22:00:00Z", "2026-01-01T23:00:00Z"]),
        ("2025-12-25T00:00:00Z", "2026-01-02T00:00:01Z", "day", vec!["2025-12-31T23:00:00Z", "2026-01-01T23:00:00Z"]),
    ] {
        let told = pulse(&gateway, &admin, &format!("from={from}&to={to}")).await;
        let items = told["items"].as_array().unwrap();
        // Without parts of seconds, which are zeros.
        let seconds = |time: &Value| format!("{}Z", &time.as_str().unwrap()[..19]);
        assert_eq!(told["interval"], interval, "{from} {to}");
        assert_eq!(items.iter().map(|item| seconds(&item["at"])).collect::<Vec<_>>(), begins, "{told}");
        assert!(items.iter().all(|item| json!([item["requests"], item["refused"]]) == json!([2, 1])), "{told}");
    }
}
