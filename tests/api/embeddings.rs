//! Texts as numbers: forwarded, answered bit by bit, counted, limited and recorded like everything else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script};
use crate::support::gateway::{TestGateway, hello};

fn numbers() -> Script {
    Script::json(json!({ "model": "fake:latest", "embeddings": [[0.1, -0.5], [1e-7, 3.4028235e38]],
        "total_duration": 9000, "load_duration": 1000, "prompt_eval_count": 5 }))
}

const TEXTS: [&str; 2] = ["the sea", "the hill"];

#[actix_web::test]
async fn both_forms_hold_the_same_floats_bit_by_bit() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut answers = Vec::new();
    for form in ["base64", "float"] {
        fake.next(numbers());
        let body = json!({ "model": "fake", "input": TEXTS, "encoding_format": form, "user": "u" });
        let answer = gateway.post("/v1/embeddings", Some(&admin), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-ignored-parameters"), Some("user"));
        assert!(answer.header("openai-processing-ms").is_some());
        answers.push(answer.json());
    }

    let of_text = |value: &Value| STANDARD.decode(value["embedding"].as_str().unwrap()).unwrap();
    let of_list = |value: &Value| -> Vec<u8> {
        let list = value["embedding"].as_array().unwrap();
        list.iter().flat_map(|number| number.to_string().parse::<f32>().unwrap().to_le_bytes()).collect()
    };
    for (at, expected) in [[0.1_f32, -0.5], [1e-7, f32::MAX]].iter().enumerate() {
        let expected: Vec<u8> = expected.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(of_text(&answers[0]["data"][at]), expected);
        assert_eq!(of_list(&answers[1]["data"][at]), expected);
        assert_eq!(answers[0]["data"][at]["index"], at);
    }
    assert_eq!(answers[0]["usage"], json!({ "prompt_tokens": 5, "total_tokens": 5 }));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(fake.chats()[0].path, "/api/embed");
    assert_eq!(sent, json!({ "model": "fake", "input": TEXTS, "truncate": false }));
}

#[actix_web::test]
async fn the_record_keeps_the_texts_and_of_the_numbers_count_dimensions_and_digest() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(numbers());

    gateway.post("/v1/embeddings", Some(&admin), json!({ "model": "fake", "input": TEXTS })).await;

    let row = gateway.newest_outcome(&admin, "completed").await;
    assert_eq!(
        (&row["api"], &row["prompt_tokens"], &row["answer_tokens"]),
        (&json!("/v1/embeddings"), &json!(5), &json!(0))
    );
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(line["prompt"], json!(TEXTS), "{line}");
    let response: Value = serde_json::from_str(line["response"].as_str().unwrap()).unwrap();
    assert_eq!((&response["embeddings"], &response["dimensions"]), (&json!(2), &json!(2)));
    assert_eq!(response["sha256"].as_str().unwrap().len(), 64);
}

#[actix_web::test]
async fn they_count_against_the_limit() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("LIMITS__REQUESTS_PER_MINUTE", "1")]);
    let admin = gateway.admin().await;
    fake.next(numbers());
    let body = json!({ "model": "fake", "input": TEXTS });

    assert_eq!(gateway.post("/v1/embeddings", Some(&admin), body.clone()).await.status, 200);
    assert_eq!(gateway.post("/v1/embeddings", Some(&admin), body).await.status, 429);
    assert_eq!(fake.chats().len(), 1);
}

#[actix_web::test]
async fn a_token_needs_the_scope_embeddings_for_them() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ann = gateway.user(&admin, "ann").await;
    let body = json!({ "model": "fake", "input": TEXTS });
    for (scope, status) in [("embeddings", 200), ("chat", 403)] {
        let made = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": scope, "scopes": [scope] })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let token = made.json()["token"].as_str().unwrap().to_owned();
        if status == 200 {
            fake.next(numbers());
        }

        assert_eq!(gateway.post("/v1/embeddings", Some(&token), body.clone()).await.status, status, "{scope}");
        let chat = gateway.post("/v1/chat/completions", Some(&token), hello()).await;
        assert_eq!(chat.status, if status == 200 { 403 } else { 200 }, "{scope}");
    }
}

#[actix_web::test]
async fn what_the_model_server_says_of_a_text_is_told_with_its_field() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let body = json!({ "model": "fake", "input": TEXTS, "dimensions": 3 });
    let ask = async || gateway.post("/v1/embeddings", Some(&admin), body.clone()).await;

    fake.next(Script::status(400, r#"{"error":"the input length exceeds the context length"}"#));
    let too_long = ask().await;
    fake.next(numbers());
    let too_many_dimensions = ask().await;
    fake.next(Script::json(json!({ "embeddings": [[1, 2, 3]] })));
    let too_few = ask().await;

    assert_eq!((too_long.status, &too_long.json()["error"]["param"]), (400, &json!("input")));
    assert_eq!(too_long.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(
        (too_many_dimensions.status, &too_many_dimensions.json()["error"]["param"]),
        (400, &json!("dimensions"))
    );
    assert_eq!(too_few.status, 502);
}

#[actix_web::test]
async fn models_that_are_not_there_or_leave_the_host_are_refused() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for path in ["/v1/embeddings", "/v1/completions"] {
        for (model, status) in [("nope", 404), ("big:cloud", 403)] {
            let body = json!({ "model": model, "input": "a", "prompt": "a" });
            assert_eq!(gateway.post(path, Some(&admin), body).await.status, status, "{path} {model}");
        }
    }
    assert!(fake.chats().is_empty());
}
