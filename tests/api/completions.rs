//! The rest of a text, whole and as a stream.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script};
use crate::support::gateway::TestGateway;

#[actix_web::test]
async fn a_text_is_continued_whole_and_stands_in_the_record() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let answer = gateway
        .post("/v1/completions", Some(&admin), json!({ "model": "fake", "prompt": "The sea is", "suffix": "." }))
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(
        json["choices"],
        json!([{ "text": " blue and wide", "index": 0, "logprobs": null, "finish_reason": "stop" }])
    );
    assert_eq!(json["usage"], json!({ "prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7 }));
    assert_eq!(json["object"], "text_completion");
    let id = answer.header("x-request-id").unwrap().replace('-', "");
    assert_eq!(json["id"], format!("cmpl-{id}"));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(fake.chats()[0].path, "/api/generate");
    assert_eq!(
        sent,
        json!({ "model": "fake", "prompt": "The sea is", "suffix": ".", "stream": true,
            "options": { "num_predict": 8192 }, "think": false, "truncate": false })
    );
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!((&line["prompt"], &line["response"]), (&json!("The sea is"), &json!(" blue and wide")), "{line}");
}

#[actix_web::test]
async fn a_text_is_continued_as_a_stream_with_usage_when_asked() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for usage in [true, false] {
        let body = json!({ "model": "fake", "prompt": "The sea is", "stream": true,
            "stream_options": { "include_usage": usage } });

        let answer = gateway.post("/v1/completions", Some(&admin), body).await;

        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let text = answer.text();
        let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(events.pop(), Some("data: [DONE]"));
        let mut chunks: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect();
        if usage {
            let last = chunks.pop().unwrap();
            assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(7)));
        }
        let said: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(said, " blue and wide");
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
        assert!(chunks.iter().all(|chunk| chunk.get("usage") == usage.then_some(&Value::Null)));
    }
}

#[actix_web::test]
async fn a_prompt_that_is_too_long_is_a_400_that_names_it() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::status(400, r#"{"error":"the input length exceeds the context length"}"#));

    let answer = gateway.post("/v1/completions", Some(&admin), json!({ "model": "fake", "prompt": "a" })).await;

    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("prompt")));
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
}
