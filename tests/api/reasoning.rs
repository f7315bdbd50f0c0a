//! How much a model should think: a wish, which one that does not think leaves out.

use serde_json::{Value, json};

use crate::support::fake_ollama::FakeOllama;
use crate::support::gateway::{TestGateway, hello};

fn asked(model: &str, field: &str, effort: Value) -> Value {
    let mut body = hello();
    body["model"] = json!(model);
    body[field] = effort;
    body
}

#[actix_web::test]
async fn an_effort_is_left_out_for_a_model_that_does_not_think_and_this_is_said() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ask = async |model, field, effort| {
        let answer = gateway.post("/v1/chat/completions", Some(&admin), asked(model, field, effort)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent: Value = serde_json::from_slice(&fake.chats().last().unwrap().body).unwrap();
        (sent.get("think").cloned(), answer.header("x-ignored-parameters").map(str::to_owned))
    };

    let ignored = |name: &str| Some(name.to_owned());
    assert_eq!(ask("fake", "reasoning_effort", json!("high")).await, (None, ignored("reasoning_effort")));
    let nested = json!({ "effort": "low" });
    assert_eq!(ask("FAKE:latest", "reasoning", nested).await, (None, ignored("reasoning.effort")));
    assert_eq!(ask("user/other:1b", "reasoning_effort", json!("high")).await, (Some(json!("high")), None));
    // Not to think is within everybody's power, and no question.
    assert_eq!(ask("llama3.2", "reasoning_effort", json!("none")).await, (Some(json!(false)), None));

    // Once per model, not per request.
    assert_eq!(fake.shown(), 2);
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    let id = line["request_id"].as_str().unwrap();
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.json();
    assert_eq!(story["notes"], "ignored reasoning_effort");
}

#[actix_web::test]
async fn what_chat_asks_for_is_passed_on_as_it_is() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    gateway.post("/chat", Some(&admin), asked("fake", "think", json!(true))).await;

    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!((&sent["think"], fake.shown()), (&json!(true), 0));
}
