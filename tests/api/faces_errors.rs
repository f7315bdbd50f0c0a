//! Each error in each language: the envelope that its clients read, the status and the headers of all, and in the middle of a
//! stream a form of its own, without an end mark behind it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, text};
use crate::support::gateway::{Answer, TestGateway, client_without_timeout};

/// The form of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OpenAi,
    Anthropic,
    /// Ollama's: a text alone.
    Text,
}

struct Face {
    path: &'static str,
    form: Form,
    body: fn() -> Value,
    /// What a stream consists of; `None`: there is none.
    stream: Option<Stream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Chunks,
    Responses,
    Messages,
    Lines,
}

fn chat() -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 50 })
}

fn native() -> Value {
    json!({ "model": "fake", "messages": [{ "role": "user", "content": "Hi" }], "stream": false })
}

fn prompt() -> Value {
    json!({ "model": "fake", "prompt": "The sea is", "stream": false })
}

fn input() -> Value {
    json!({ "model": "fake", "input": "the sea" })
}

const FACES: [Face; 9] = [
    Face { path: "/v1/chat/completions", form: Form::OpenAi, body: chat, stream: Some(Stream::Chunks) },
    Face { path: "/v1/completions", form: Form::OpenAi, body: prompt, stream: Some(Stream::Chunks) },
    Face { path: "/v1/responses", form: Form::OpenAi, body: input, stream: Some(Stream::Responses) },
    Face { path: "/v1/embeddings", form: Form::OpenAi, body: input, stream: None },
    Face { path: "/v1/messages", form: Form::Anthropic, body: chat, stream: Some(Stream::Messages) },
    Face { path: "/api/chat", form: Form::Text, body: native, stream: Some(Stream::Lines) },
    Face { path: "/api/generate", form: Form::Text, body: prompt, stream: Some(Stream::Lines) },
    Face { path: "/api/embed", form: Form::Text, body: input, stream: None },
    Face { path: "/chat", form: Form::Text, body: native, stream: Some(Stream::Lines) },
];

const LIFTED: [(&str, &str); 3] = [
    ("LIMITS__REQUESTS_PER_MINUTE", "1000"),
    ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "1000"),
    ("BREAKER__ERRORS_FREE", "0"),
];

impl Face {
    fn body_with(&self, fields: Value) -> Value {
        let mut body = (self.body)();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    }

    fn streaming(&self) -> Value {
        self.body_with(json!({ "stream": true }))
    }

    /// Checks an error: its envelope, and the headers that all errors have.
    fn check(&self, answer: &Answer, status: u16, code: &str) {
        let said = format!("{} {code}: {} {}", self.path, answer.status, answer.text());
        assert_eq!(answer.status, self.status(status, code), "{said}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{said}");
        let id = answer.header("x-request-id").expect(&said);
        let body = answer.json();
        let message = match self.form {
            Form::OpenAi => {
                assert_eq!(body["error"]["code"], code, "{said}");
                assert!(body["error"]["type"].is_string() && body["error"].get("param").is_some(), "{said}");
                &body["error"]["message"]
            }
            Form::Anthropic => {
                assert_eq!((&body["type"], &body["request_id"]), (&json!("error"), &json!(id)), "{said}");
                assert_eq!(body["error"]["type"], anthropic_type(answer.status), "{said}");
                assert_eq!(answer.header("request-id"), Some(id), "{said}");
                &body["error"]["message"]
            }
            Form::Text => {
                assert_eq!(body.as_object().unwrap().len(), 1, "{said}");
                &body["error"]
            }
        };
        assert!(message.as_str().is_some_and(|text| !text.is_empty()), "{said}");
        let may_wait = ["rate_limit_exceeded", "queue_full", "host_busy"].contains(&code);
        let wait = answer.header("retry-after").map(|wait| wait.parse::<u64>().unwrap());
        assert_eq!(wait.is_some_and(|wait| wait >= 1), may_wait, "{said}");
    }

    /// `/chat` keeps the 403 of its first version, and Anthropic's clients know a status of their own.
    fn status(&self, status: u16, code: &str) -> u16 {
        match code {
            "invalid_api_key" if self.path == "/chat" => 403,
            _ if status == 503 && self.form == Form::Anthropic => 529,
            _ => status,
        }
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        400 | 405 | 415 | 421 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

/// Returns whether Ollama is asked to go on with a text, which it answers in another form than a chat.
fn is_text(face: &Face) -> bool {
    face.path == "/v1/completions"
}

/// Sends a request with more headers than a test usually has.
async fn send(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], bearer: &str, body: Vec<u8>) -> Answer {
    let mut request = gateway.client().post(format!("{}{path}", gateway.url)).bearer_auth(bearer);
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    let mut response = request.send_body(body).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.body().await.unwrap().to_vec() }
}

/// Sends a request that nobody waits for yet.
fn sent_soon(gateway: &TestGateway, path: &str, bearer: &str, body: Value) {
    let (url, bearer) = (format!("{}{path}", gateway.url), bearer.to_owned());
    actix_web::rt::spawn(async move {
        // It ends with the gateway.
        let _ = client_without_timeout().post(url).bearer_auth(bearer).send_json(&body).await;
    });
}

#[actix_web::test]
async fn what_is_refused_before_a_model_is_asked_is_told_in_each_envelope() {
    let fake = FakeOllama::start();
    let small =
        [("LIMITS__BODY_BYTES_MAX", "4096"), ("LIMITS__PROMPT_BYTES_MAX", "4096"), ("LIMITS__IMAGE_BYTES_MAX", "4096")];
    let gateway = TestGateway::start_with(&fake.url(), &[&LIFTED[..], &small[..]].concat());
    let admin = gateway.admin().await;
    let wish = json!({ "name": "metrics", "scopes": ["metrics"] });
    let narrow = gateway.post("/api/v1/tokens", Some(&admin), wish).await.json();
    let narrow = narrow["token"].as_str().unwrap();

    for face in &FACES {
        let body = || (face.body)().to_string().into_bytes();
        let ask = async |bearer, body| gateway.post(face.path, bearer, body).await;

        let stranger = ask(None, (face.body)()).await;
        face.check(&stranger, 401, "invalid_api_key");
        let asks_for_bearer = stranger.header("www-authenticate").is_some();
        assert_eq!(asks_for_bearer, face.path != "/chat", "{}", face.path);
        face.check(&ask(Some(narrow), (face.body)()).await, 403, "permission_denied");
        face.check(&ask(Some(&admin), json!({})).await, 400, "invalid_request");
        face.check(&ask(Some(&admin), face.body_with(json!({ "model": "nope" }))).await, 404, "model_not_found");
        face.check(&ask(Some(&admin), face.body_with(json!({ "model": "big:cloud" }))).await, 403, "permission_denied");
        let long = face.body_with(json!({ "pad": "x".repeat(5000) }));
        face.check(&ask(Some(&admin), long).await, 413, "request_too_large");
        let method = gateway.get(face.path, Some(&admin)).await;
        face.check(&method, 405, "method_not_allowed");
        assert_eq!(method.header("allow"), Some("POST"), "{}", face.path);
        let encoded = send(&gateway, face.path, &[("content-encoding", "gzip")], &admin, body()).await;
        face.check(&encoded, 415, "unsupported_encoding");
        let foreign = send(&gateway, face.path, &[("host", "gateway.example.org")], &admin, body()).await;
        face.check(&foreign, 421, "misdirected_request");

        let taken = ask(Some(&admin), face.body_with(json!({ "frobnicate": 1 }))).await;
        assert_eq!(taken.status, 200, "{}: {}", face.path, taken.text());
        let ignored = taken.header("x-ignored-parameters").unwrap_or_default();
        assert!(ignored.split(", ").any(|field| field == "frobnicate"), "{}: {ignored}", face.path);
    }
}

#[actix_web::test]
async fn limits_and_full_queues_say_when_to_try_again_in_each_envelope() {
    let fake = FakeOllama::start();
    let waiting = [("QUEUE__WAITING_MAX", "2"), ("QUEUE__WAITING_PER_USER_MAX", "1"), ("BREAKER__REPEATS_FREE", "0")];
    let gateway = TestGateway::start_with(&fake.url(), &[&LIFTED[..2], &waiting[..]].concat());
    let admin = gateway.admin().await;
    let [ann, ben, cem] =
        [gateway.user(&admin, "ann").await, gateway.user(&admin, "ben").await, gateway.user(&admin, "cem").await];
    fake.next(Script { before: vec![Step::Wait], ..Script::hello() });
    sent_soon(&gateway, FACES[0].path, &ann, chat());
    fake.until(|chats| chats.len() == 1).await;
    sent_soon(&gateway, FACES[0].path, &ann, chat());
    sent_soon(&gateway, FACES[0].path, &ben, chat());
    gateway.until_waiting(&admin, 2).await;

    for face in &FACES {
        face.check(&gateway.post(face.path, Some(&ann), (face.body)()).await, 429, "queue_full");
        face.check(&gateway.post(face.path, Some(&cem), (face.body)()).await, 503, "host_busy");
    }

    // The setting holds from the next request on.
    let narrower = br#"{"requests_per_minute":1}"#.to_vec();
    assert_eq!(gateway.send("PATCH", "/api/v1/settings", Some(&admin), narrower).await.status, 200);
    for face in &FACES {
        let answer = gateway.post(face.path, Some(&cem), (face.body)()).await;
        face.check(&answer, 429, "rate_limit_exceeded");
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("1"), "{}", face.path);
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"), "{}", face.path);
    }
}

#[actix_web::test]
async fn what_becomes_of_the_model_server_is_told_in_each_envelope() {
    let fake = FakeOllama::start();
    let impatience = [("OLLAMA__FIRST_BYTE_SECONDS_MAX", "1"), ("OLLAMA__SLOTS", "16")];
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let impatient = TestGateway::start_with(&fake.url(), &[&LIFTED[..], &impatience[..]].concat());
    let (admin, other) = (gateway.admin().await, impatient.admin().await);

    for face in &FACES {
        fake.next(Script::status(500, r#"{"error":"out of memory"}"#));
        let failed = gateway.post(face.path, Some(&admin), (face.body)()).await;
        face.check(&failed, 502, "upstream_error");
        assert!(failed.text().contains("out of memory"), "{}", failed.text());
    }
    // All at once, since each takes a second.
    FACES.iter().for_each(|_| fake.next(Script { before: vec![Step::Wait], ..Script::hello() }));
    let slow = FACES.iter().map(|face| impatient.post(face.path, Some(&other), (face.body)()));
    for (face, answer) in FACES.iter().zip(join_all(slow).await) {
        face.check(&answer, 504, "upstream_timeout");
    }
    fake.dies().await;
    for face in &FACES {
        face.check(&gateway.post(face.path, Some(&admin), (face.body)()).await, 502, "upstream_unreachable");
    }
}

#[actix_web::test]
async fn an_error_in_the_middle_has_the_stream_s_own_form_and_no_end_mark_follows() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    for face in &FACES {
        let Some(stream) = face.stream else { continue };
        let first = if !is_text(face) {
            text("Hello")
        } else {
            Step::Send(b"{\"model\":\"fake:latest\",\"created_at\":\"2026-01-01T00:00:00.1Z\",\"response\":\"Hello\",\"done\":false}\n".to_vec())
        };
        fake.next(Script::of(vec![first, Step::Send(b"{\"error\":\"out of memory\"}\n".to_vec())]));

        let answer = gateway.post(face.path, Some(&admin), face.streaming()).await;

        let told = answer.text();
        let said = format!("{}: {told}", face.path);
        assert_eq!(answer.status, 200, "{said}");
        assert!(told.contains("Hello"), "{said}");
        let kind = answer.header("content-type").unwrap();
        let events: Vec<&str> = told.trim_end().split("\n\n").collect();
        let data = |event: &str| -> Value {
            let line = event.lines().find_map(|line| line.strip_prefix("data: ")).expect(&said);
            serde_json::from_str(line).expect(&said)
        };
        let message = match stream {
            Stream::Chunks => {
                assert!(kind.starts_with("text/event-stream") && !told.contains("[DONE]"), "{said}");
                assert!(!told.contains("\"finish_reason\":\"stop\""), "{said}");
                data(events.last().unwrap())["error"]["message"].clone()
            }
            Stream::Responses => {
                assert!(kind.starts_with("text/event-stream") && !told.contains("response.completed"), "{said}");
                let last = data(events.last().unwrap());
                assert_eq!(last["type"], "response.failed", "{said}");
                last["response"]["error"]["message"].clone()
            }
            Stream::Messages => {
                assert!(kind.starts_with("text/event-stream") && !told.contains("message_stop"), "{said}");
                assert!(events.last().unwrap().starts_with("event: error\n"), "{said}");
                let last = data(events.last().unwrap());
                assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("api_error")), "{said}");
                last["error"]["message"].clone()
            }
            Stream::Lines => {
                assert!(kind.starts_with("application/x-ndjson") && !told.contains("\"done\":true"), "{said}");
                let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
                assert_eq!(last.as_object().unwrap().len(), 1, "{said}");
                last["error"].clone()
            }
        };
        assert!(message.as_str().is_some_and(|text| text.contains("out of memory")), "{said}");
    }
}

#[actix_web::test]
async fn a_silent_stream_shows_signs_of_life_only_where_clients_bear_them() {
    let fake = FakeOllama::start();
    let beats =
        [("ANSWERS__HEARTBEAT_SECONDS", "1"), ("ANSWERS__HEAD_START_SECONDS_MAX", "0"), ("OLLAMA__SLOTS", "16")];
    let gateway = TestGateway::start_with(&fake.url(), &[&LIFTED[..], &beats[..]].concat());
    let admin = gateway.admin().await;
    // All at once, since each takes some seconds. Chats and texts differ in their scripts, so they are two groups.
    for (texts, script) in [(false, Script::hello()), (true, Script::rest())] {
        let streams = || {
            let streams = FACES.iter().filter(|face| face.stream.is_some());
            streams.filter(|face| is_text(face) == texts)
        };
        for _ in streams() {
            fake.next(Script { before: vec![Step::Sleep(Duration::from_millis(2500))], ..script.clone() });
        }
        let asked = streams().map(|face| gateway.post(face.path, Some(&admin), face.streaming()));
        for (face, answer) in streams().zip(join_all(asked).await) {
            check_life(face, &answer.text());
        }
    }
}

fn check_life(face: &Face, told: &str) {
    let said = format!("{}: {told}", face.path);
    let comments = told.lines().filter(|line| line.starts_with(':')).count();
    let pings = told.matches("event: ping\n").count();
    match face.stream.unwrap() {
        Stream::Chunks => assert!(comments >= 1 && told.ends_with("data: [DONE]\n\n"), "{said}"),
        Stream::Responses => assert!(comments >= 1 && told.contains("response.completed"), "{said}"),
        Stream::Messages => assert!(pings >= 1 && comments == 0 && told.contains("message_stop"), "{said}"),
        Stream::Lines => {
            for line in told.lines() {
                serde_json::from_str::<Value>(line).expect(&said);
            }
            assert!(told.contains("\"done\":true"), "{said}");
        }
    }
}
