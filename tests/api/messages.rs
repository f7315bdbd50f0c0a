//! Anthropic's messages and its list of models, as its clients ask for them.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::fake_ollama::{Ending, FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway, client};

const PATH: &str = "/v1/messages";

fn hi() -> Value {
    json!({ "model": "fake", "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] })
}

fn hi_stream() -> Value {
    let mut body = hi();
    body["stream"] = true.into();
    body
}

/// The events of a stream, each with its name.
fn events(text: &str) -> Vec<(String, Value)> {
    let frames = text.split_terminator("\n\n");
    frames
        .map(|frame| {
            let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            (name.to_owned(), data)
        })
        .collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// Sends what Anthropic's SDKs send besides the body.
async fn send(gateway: &TestGateway, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = client().request(method.parse().unwrap(), format!("{}{path}", gateway.url));
    for header in headers {
        request = request.insert_header(*header);
    }
    let mut response =
        if body.is_null() { request.send().await.unwrap() } else { request.send_json(body).await.unwrap() };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.body().await.unwrap().to_vec() }
}

#[actix_web::test]
async fn a_message_is_answered_whole_and_is_in_the_record() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut body = hi();
    body["system"] = json!("Be brief.");
    body["metadata"] = json!({ "user_id": "u" });

    // The key in the header of its own, any version, a beta, and a query as the SDK's `beta` part sends it.
    let headers = [
        ("x-api-key", admin.as_str()),
        ("anthropic-version", "2099-01-01"),
        ("anthropic-beta", "context-1m-2025-08-07"),
    ];
    let answer = send(&gateway, "POST", "/v1/messages?beta=true", &headers, &body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["content"], json!([{ "type": "text", "text": "Hello world!" }]));
    assert_eq!((&json["stop_reason"], &json["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    assert_eq!((&json["usage"]["input_tokens"], &json["usage"]["output_tokens"]), (&json!(5), &json!(3)));
    let id = answer.header("request-id").unwrap();
    assert_eq!(answer.header("x-request-id"), Some(id));
    assert_eq!(json["id"], format!("msg_{}", id.replace('-', "")));
    assert_eq!(answer.header("x-ignored-parameters"), Some("metadata, anthropic-beta"));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(
        sent,
        json!({ "model": "fake",
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi" }],
            "stream": true, "options": { "num_predict": 50 }, "truncate": false })
    );
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.json();
    assert_eq!((&story["answer"], &story["api"]), (&json!("Hello world!"), &json!(PATH)), "{story}");
}

#[actix_web::test]
async fn a_stream_has_its_events_in_order_and_the_true_usage_at_its_end() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let answer = gateway.post(PATH, Some(&admin), hi_stream()).await;

    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    let events = events(&answer.text());
    let delta = "content_block_delta";
    let order = ["message_start", "content_block_start", delta, delta, delta, "content_block_stop", "message_delta"];
    assert_eq!(names(&events), [&order[..], &["message_stop"]].concat());
    assert_eq!(events[0].1["message"]["usage"]["input_tokens"], 1, "an estimate");
    let usage = &events[6].1["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(5), &json!(3)));
}

#[actix_web::test]
async fn a_client_that_waits_gets_pings_behind_the_first_event() {
    let fake = FakeOllama::start();
    let settings = [("ANSWERS__HEAD_START_SECONDS_MAX", "1"), ("ANSWERS__HEARTBEAT_SECONDS", "1")];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![Step::Wait, text("Hello"), done("stop")]));

    let mut response = gateway.open("POST", PATH, Some(&admin), hi_stream().to_string().into_bytes()).await;
    let mut stream = String::new();
    while let Some(chunk) = response.next().await {
        stream.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        // The model says nothing before a ping has come.
        if stream.contains("ping") {
            fake.release();
        }
    }

    let events = events(&stream);
    assert_eq!(names(&events)[..2], ["message_start", "ping"]);
    assert_eq!(names(&events)[names(&events).len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
}

#[actix_web::test]
async fn an_answer_that_breaks_off_ends_with_an_error_and_without_its_end() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::of(vec![text("Hello"), Step::Send(b"{\"error\":\"out of memory\"}\n".to_vec())]));

    let answer = gateway.post(PATH, Some(&admin), hi_stream()).await;

    let events = events(&answer.text());
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["error"]["type"]), ("error", &json!("api_error")), "{data}");
    assert_eq!(data["request_id"].as_str(), answer.header("request-id"));
    assert!(!names(&events).contains(&"message_stop"));
}

#[actix_web::test]
async fn errors_have_anthropics_envelope_status_and_id() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut unknown = hi();
    unknown["model"] = json!("llama9");
    let mut no_limit = hi();
    no_limit.as_object_mut().unwrap().remove("max_tokens");
    fake.next(Script::status(400, r#"{"error":"the input length exceeds the context length"}"#));

    for (token, body, status, kind, words) in [
        (Some(&admin), hi(), 400, "invalid_request_error", "prompt is too long"),
        (Some(&admin), no_limit, 400, "invalid_request_error", "`max_tokens` is missing"),
        (Some(&admin), unknown, 404, "not_found_error", "`llama9`"),
        (None, hi(), 401, "authentication_error", "none was sent"),
    ] {
        let answer = gateway.post(PATH, token.map(String::as_str), body).await;

        let told = answer.json();
        assert_eq!((answer.status, &told["type"], &told["error"]["type"]), (status, &json!("error"), &json!(kind)));
        assert!(told["error"]["message"].as_str().unwrap().contains(words), "{told}");
        assert_eq!(told["request_id"].as_str(), answer.header("request-id"));
        assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    }
}

#[actix_web::test]
async fn models_are_listed_in_the_shape_that_the_client_reads() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let bearer = format!("Bearer {admin}");
    let versioned = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];
    let get = async |path: &str| send(&gateway, "GET", path, &versioned, &Value::Null).await;

    let all = get("/v1/models?limit=1000").await;

    let list = all.json();
    let models = list["data"].as_array().unwrap().clone();
    let of_openai = gateway.get("/v1/models", Some(&admin)).await.json();
    assert_eq!(of_openai["data"].as_array().unwrap().len(), models.len());
    assert_eq!((&of_openai["object"], &of_openai["has_more"]), (&json!("list"), &Value::Null));
    assert_eq!(list["has_more"], false);
    assert_eq!((&list["first_id"], &list["last_id"]), (&models[0]["id"], &models[models.len() - 1]["id"]));
    assert_eq!(models[0]["type"], "model");
    assert_eq!(all.header("request-id"), all.header("x-request-id"));

    let one = get(&format!("/v1/models/{}", models[0]["id"].as_str().unwrap())).await;
    assert_eq!((one.status, one.json()), (200, models[0].clone()));
    let first = get("/v1/models?limit=1").await.json();
    assert_eq!((&first["data"], &first["has_more"]), (&json!([models[0]]), &json!(models.len() > 1)));
    let rest = get(&format!("/v1/models?after_id={}", first["last_id"].as_str().unwrap())).await.json();
    assert_eq!(rest["data"].as_array().unwrap()[..], models[1..]);

    for (path, status, kind) in [
        ("/v1/models/llama9", 404, "not_found_error"),
        ("/v1/models?limit=0", 400, "invalid_request_error"),
        ("/v1/models?after_id=llama9", 400, "invalid_request_error"),
        ("/v1/nope", 404, "not_found_error"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (status, &json!(kind)), "{path}");
        assert_eq!(answer.json()["request_id"].as_str(), answer.header("request-id"), "{path}");
    }
    // What an OpenAI client asks for stays as it is, whatever it sends.
    let chat = json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }] });
    let answer = send(&gateway, "POST", "/v1/chat/completions", &versioned, &chat).await;
    assert_eq!(answer.json()["object"], "chat.completion");
}

#[actix_web::test]
async fn a_stop_sequence_is_told_and_ends_the_generation() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("OLLAMA__SLOTS", "1")]);
    let admin = gateway.admin().await;
    for stream in [false, true] {
        // The fake goes on until its connection is closed.
        fake.next(Script::of(vec![text("one E"), text("ND two"), Step::Wait, text(" three"), done("stop")]));
        let mut body = hi();
        body["stop_sequences"] = json!(["\n\n", "END"]);
        body["stream"] = stream.into();

        let answer = gateway.post(PATH, Some(&admin), body).await;

        assert_eq!(answer.status, 200, "{}", answer.text());
        let (said, delta, usage) = if stream {
            let events = events(&answer.text());
            let said: String =
                events.iter().filter_map(|(_, data)| Some(data["delta"]["text"].as_str()?.to_owned())).collect();
            let (_, last) = &events[events.len() - 2];
            (said, last["delta"].clone(), last["usage"].clone())
        } else {
            let json = answer.json();
            (json["content"][0]["text"].as_str().unwrap().to_owned(), json.clone(), json["usage"].clone())
        };
        assert_eq!(said, "one ");
        assert_eq!((&delta["stop_reason"], &delta["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(1), &json!(2)), "estimated, and counted");
        fake.until(|chats| {
            chats.last().is_some_and(|chat| chat.ended.is_some_and(|(end, _)| end == Ending::Cancelled))
        })
        .await;
        let sent: Value = serde_json::from_slice(&fake.chats().last().unwrap().body).unwrap();
        assert_eq!(sent["options"], json!({ "num_predict": 50 }), "not forwarded");
        let row = gateway.newest_outcome(&admin, "completed").await;
        assert_eq!(row["request_id"].as_str(), answer.header("request-id"));
        // The only slot is free again.
        assert_eq!(gateway.post(PATH, Some(&admin), hi()).await.status, 200);
    }
}

#[actix_web::test]
async fn tokens_are_counted_by_the_model_and_estimated_where_it_does_not_tell() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &[("OLLAMA__SLOTS", "1")]);
    let admin = gateway.admin().await;
    let count = async || {
        let body = json!({ "model": "fake", "messages": [{ "role": "user", "content": "hi" }] });
        gateway.post("/v1/messages/count_tokens", Some(&admin), body).await
    };

    let exact = count().await;

    assert_eq!((exact.status, exact.json()), (200, json!({ "input_tokens": 5 })), "{}", exact.text());
    assert_eq!(exact.header("x-token-count"), None);
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(sent["options"], json!({ "num_predict": 1 }));
    let id = exact.header("request-id").unwrap();
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.json();
    assert_eq!(story["api"], "/v1/messages/count_tokens");

    fake.next(Script::lines(&[r#"{"model":"fake","message":{"role":"assistant","content":"a"},"done":true}"#]));
    let untold = count().await;
    assert_eq!((untold.json(), untold.header("x-token-count")), (json!({ "input_tokens": 1 }), Some("estimated")));

    // Another request has the only slot.
    fake.next(Script::of(vec![Step::Wait, done("stop")]));
    let busy = gateway.open("POST", PATH, Some(&admin), hi_stream().to_string().into_bytes());
    let (waited, _) = futures_util::future::join(
        async {
            fake.until(|chats| chats.len() == 3).await;
            let waited = count().await;
            fake.release();
            waited
        },
        busy,
    )
    .await;
    assert_eq!((waited.json(), waited.header("x-token-count")), (json!({ "input_tokens": 1 }), Some("estimated")));
    assert_eq!(fake.chats().len(), 3, "it was not forwarded");
    let id = waited.header("request-id").unwrap();
    let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.json();
    assert_eq!((&story["outcome"], &story["status"]), (&json!("abandoned"), &json!(200)), "{story}");
    assert!(story["notes"].as_str().unwrap().contains("an estimate was returned"), "{story}");
}
