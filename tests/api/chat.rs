//! A chat that goes well, in both dialects.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, done, text};
use crate::support::gateway::{Answer, PASSWORD, TestGateway, hello, hello_stream};

#[actix_web::test]
async fn the_documents_chat_answers_ollamas_object() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;

    let answer = gateway
        .post(
            "/chat",
            None,
            json!({
                "auth": { "username": "ann@example.org", "password": PASSWORD },
                "messages": [{ "role": "user", "content": "Explain MQTT" }]
            }),
        )
        .await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json(),
        json!({
            "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.3Z",
            "message": { "role": "assistant", "content": "Hello world!" },
            "done_reason": "stop", "done": true, "total_duration": 9_000, "load_duration": 1_000,
            "prompt_eval_count": 5, "prompt_eval_duration": 3_000, "eval_count": 3, "eval_duration": 2_000
        })
    );
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!((&sent["model"], &sent["stream"]), (&json!("llama3.2:latest"), &json!(true)));
    assert_eq!(sent["options"]["num_predict"], 8192);
    assert!(!String::from_utf8_lossy(&fake.chats()[0].body).contains(PASSWORD));
}

#[actix_web::test]
async fn the_documents_chat_takes_a_bearer_too_and_streams_when_asked() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let answer = gateway.post("/chat", Some(&admin), hello_stream()).await;

    assert_eq!(answer.header("content-type"), Some("application/x-ndjson; charset=utf-8"));
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: String = lines.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(said, "Hello world!");
    assert_eq!((&lines.last().unwrap()["done"], lines.len()), (&json!(true), 4));
}

#[actix_web::test]
async fn a_job_that_sends_its_password_each_time_does_not_pay_a_hash_each_time() {
    let fake = FakeOllama::start();
    let settings = [
        ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
        ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000"),
        ("ACCOUNTS__HASHING_WAITING_MAX", "1"),
    ];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    gateway.user(&admin, "ann").await;
    let mut body = hello();
    body["auth"] = json!({ "username": "ann@example.org", "password": PASSWORD });

    // With a hash each, all but two of these would find the pool full.
    let answers = futures_util::future::join_all((0..20).map(|_| gateway.post("/chat", None, body.clone()))).await;

    assert!(answers.iter().all(|answer| answer.status == 200));
    let id = gateway.id_of(&admin, "ann").await;
    gateway.post(&format!("/api/v1/users/{id}/disable"), Some(&admin), json!({})).await;
    assert_eq!(gateway.post("/chat", None, body).await.status, 403);
}

#[actix_web::test]
async fn chat_completions_whole() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut body = hello();
    body["user"] = json!("somebody");
    body["seed"] = json!(7);

    let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(
        json["choices"],
        json!([{ "index": 0, "message": { "role": "assistant", "content": "Hello world!", "refusal": null },
        "logprobs": null, "finish_reason": "stop" }])
    );
    assert_eq!(json["usage"], json!({ "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8 }));
    assert_eq!(json["model"], "fake");
    let id = answer.header("x-request-id").unwrap().replace('-', "");
    assert_eq!(json["id"], format!("chatcmpl-{id}"));
    assert_eq!(answer.header("x-ignored-parameters"), Some("user"));
    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("10"));
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("9"));
    assert_eq!(answer.header("x-ratelimit-reset-requests"), Some("60s"));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(sent["options"]["seed"], 7);
}

#[actix_web::test]
async fn chat_completions_as_a_stream() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut body = hello_stream();
    body["stream_options"] = json!({ "include_usage": true });

    let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;

    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events: Vec<&str> = std::str::from_utf8(&answer.body).unwrap().split_terminator("\n\n").collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let said: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "Hello world!");
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(8)));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
}

#[actix_web::test]
async fn a_token_reaches_the_client_when_it_is_made() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("one"), crate::support::fake_ollama::Step::Wait, text("two"), done("stop")]));

    let mut response =
        gateway.open("POST", "/v1/chat/completions", Some(&admin), hello_stream().to_string().into_bytes()).await;
    let mut seen = String::new();
    while !seen.contains("one") {
        seen.push_str(std::str::from_utf8(&response.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!seen.contains("two"));
    fake.release();
    while let Some(bytes) = response.next().await {
        seen.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }

    assert!(seen.ends_with("data: [DONE]\n\n"));
}

#[actix_web::test]
async fn models_are_listed_without_those_that_leave_the_host() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let list = gateway.get("/v1/models", Some(&admin)).await.json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["fake:latest", "llama3.2:latest", "user/other:1b"]);
    for path in ["fake", "fake:latest", "fake%3Alatest", "user/other:1b", "user%2Fother%3A1b"] {
        let one = gateway.get(&format!("/v1/models/{path}"), Some(&admin)).await;
        assert_eq!((one.status, &one.json()["object"]), (200, &json!("model")), "{path}");
    }
    let unknown = gateway.get("/v1/models/nope", Some(&admin)).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(gateway.get("/v1/models", None).await.status, 401);
}

#[actix_web::test]
async fn an_image_reaches_the_model_and_stands_in_the_record() {
    use base64::Engine;
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let image = |bytes: usize| {
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01".to_vec();
        image.resize(bytes, 7);
        base64::engine::general_purpose::STANDARD.encode(image)
    };
    let (image, large) = (image(3000), image(5 * 1024 * 1024 + 1));
    let body = |images: Value| json!({ "messages": [{ "role": "user", "content": "what is it?", "images": images }] });

    let answer = gateway.post("/chat", Some(&admin), body(json!([image]))).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(String::from_utf8_lossy(&fake.chats()[0].body).contains(&image));
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(line["prompt"][0]["images"][0], image.as_str());
    assert_eq!(gateway.post("/chat", Some(&admin), body(json!([image, image]))).await.status, 400);
    assert_eq!(gateway.post("/chat", Some(&admin), body(json!([large]))).await.status, 400);
    assert_eq!(fake.chats().len(), 1);
}

#[actix_web::test]
async fn an_image_for_a_model_that_sees_none_is_refused_by_name() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let content =
        json!([{ "type": "text", "text": "what is it?" }, { "type": "image_url", "image_url": { "url": url } }]);
    let body = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": content }] });

    let refused = gateway.post("/v1/chat/completions", Some(&admin), body("user/other:1b")).await;
    let seen = gateway.post("/v1/chat/completions", Some(&admin), body("fake")).await;

    assert_eq!((refused.status, seen.status), (400, 200), "{}", seen.text());
    let error = refused.json()["error"].clone();
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("messages[0].content[1].image_url"), &json!("unsupported_parameter"))
    );
    let chat = json!({ "model": "user/other:1b", "messages": [{ "role": "user", "images": ["iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="] }] });
    let refused = gateway.post("/chat", Some(&admin), chat).await;
    assert!(refused.status == 400 && refused.text().contains("`messages[0].images[0]`"), "{}", refused.text());
    assert_eq!((fake.chats().len(), fake.shown()), (1, 2));
}

#[actix_web::test]
async fn openais_routes_say_how_long_they_took_and_others_do_not() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let took = |answer: &Answer| answer.header("openai-processing-ms").map(|text| text.parse::<u64>().unwrap());

    assert!(took(&gateway.post("/v1/chat/completions", Some(&admin), hello()).await).is_some());
    assert!(took(&gateway.post("/v1/chat/completions", Some(&admin), json!({})).await).is_some());
    assert!(took(&gateway.get("/v1/models", Some(&admin)).await).is_some());
    assert!(took(&gateway.post("/chat", Some(&admin), hello()).await).is_none());
}
