//! What was used: sums that follow the record.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, text};
use crate::support::gateway::{TestGateway, hello};

async fn usage_once(gateway: &TestGateway, token: &str, path: &str, requests: i64) -> Vec<Value> {
    for _ in 0..100 {
        let page = gateway.get(path, Some(token)).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        if items.iter().map(|item| item["requests"].as_i64().unwrap()).sum::<i64>() == requests {
            return items;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the follower did not come to {requests} requests");
}

#[actix_web::test]
async fn usage_is_summed_by_person_model_and_hour() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "3")]);
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    for _ in 0..2 {
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    }
    fake.next(Script::of(vec![text("x")]));
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    gateway.post("/v1/chat/completions", Some(&ann), hello()).await;
    let mut other = hello();
    other["model"] = json!("llama3.2");
    gateway.post("/v1/chat/completions", Some(&admin), other).await;

    let by_user = usage_once(&gateway, &admin, "/api/v1/usage", 4).await;
    let by_model = usage_once(&gateway, &admin, "/api/v1/usage?by=model", 4).await;
    let by_hour = usage_once(&gateway, &admin, "/api/v1/usage?by=hour", 4).await;
    let mine = usage_once(&gateway, &ann, "/api/v1/me/usage", 3).await;

    let line = |items: &[Value], key: &str| {
        let item = items.iter().find(|item| item["key"] == key).unwrap_or_else(|| panic!("no {key} in {items:?}"));
        json!([item["requests"], item["failed"], item["refused"], item["prompt_tokens"], item["answer_tokens"]])
    };
    assert_eq!(line(&by_user, "ann@example.org"), json!([3, 1, 1, 10, 6]));
    assert_eq!(line(&by_user, "admin"), json!([1, 0, 0, 5, 3]));
    assert_eq!(line(&by_model, "llama3.2"), json!([1, 0, 0, 5, 3]));
    assert!(by_hour.len() <= 2);
    assert_eq!(mine.len(), 1);
    let csv = gateway.get("/api/v1/usage?format=csv", Some(&admin)).await;
    assert!(csv.text().starts_with("\"key\",\"requests\"") && csv.text().contains("\"ann@example.org\",\"3\""));
    for wrong in ["by=year", "format=xml", "from=yesterday", "nonsense=1"] {
        assert_eq!(gateway.get(&format!("/api/v1/usage?{wrong}"), Some(&admin)).await.status, 400, "{wrong}");
    }
    assert_eq!(gateway.get("/api/v1/usage", Some(&ann)).await.status, 403);
    assert_eq!(gateway.get("/api/v1/me/usage?user_id=x", Some(&ann)).await.status, 400);
}
