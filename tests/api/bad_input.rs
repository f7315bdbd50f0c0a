//! Bad input: a 4xx in the caller's dialect that names the field; never a 5xx, never a forwarded request.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script};
use crate::support::gateway::{TestGateway, hello};

const LIFTED: [(&str, &str); 2] =
    [("LIMITS__REQUESTS_PER_MINUTE", "10000"), ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000")];

#[actix_web::test]
async fn a_wrong_body_is_a_400_that_names_the_field() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let message = r#"{"role":"user","content":"hi"}"#;
    let cases: Vec<(Vec<u8>, Option<&str>)> = vec![
        (b"".to_vec(), None),
        (b"{".to_vec(), None),
        (b"[]".to_vec(), None),
        (b"null".to_vec(), None),
        (b"\xff\xfe{}".to_vec(), None),
        (format!("{{\"model\":\"fake\",\"messages\":[{message}]}} x").into_bytes(), None),
        (b"{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}".to_vec(), None),
        (format!("{{\"model\":\"fake\",\"messages\":{deep}}}").into_bytes(), None),
        (format!("{{\"model\":\"fake\",\"model\":\"fake\",\"messages\":[{message}]}}").into_bytes(), Some("model")),
        (format!("{{\"model\":\"fake\",\"MODEL\":\"fake\",\"messages\":[{message}]}}").into_bytes(), Some("MODEL")),
        (format!("{{\"Model\":\"fake\",\"messages\":[{message}]}}").into_bytes(), Some("Model")),
        (br#"{"model":"fake"}"#.to_vec(), Some("messages")),
        (br#"{"model":"fake","messages":[]}"#.to_vec(), Some("messages")),
        (br#"{"model":"fake","messages":"hi"}"#.to_vec(), Some("messages")),
        (br#"{"model":"fake","messages":[{"role":"oracle","content":"hi"}]}"#.to_vec(), Some("messages[0].role")),
        (br#"{"model":"fake","messages":[{"role":"user","content":7}]}"#.to_vec(), Some("messages[0].content")),
        (format!("{{\"model\":7,\"messages\":[{message}]}}").into_bytes(), Some("model")),
        (format!("{{\"model\":\"a b\",\"messages\":[{message}]}}").into_bytes(), Some("model")),
        (format!("{{\"model\":\"fake\",\"stream\":\"yes\",\"messages\":[{message}]}}").into_bytes(), Some("stream")),
    ];

    for (body, field) in cases {
        // Without messages, Ollama's own route loads the model.
        let loads = body == br#"{"model":"fake"}"# || body.ends_with(br#""messages":[]}"#);
        for path in ["/v1/chat/completions", "/v1/messages", "/chat", "/api/chat"] {
            if path == "/api/chat" && loads {
                continue;
            }
            let answer = gateway.send("POST", path, Some(&admin), body.clone()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
            assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text());
            let error = &answer.json()["error"];
            if !path.starts_with("/v1") {
                assert!(error.is_string(), "{error}");
            } else {
                assert_eq!(error["type"], "invalid_request_error", "{shown}");
                if let Some(field) = field.filter(|_| path != "/v1/messages") {
                    assert_eq!(error["param"], field, "{shown}: {error}");
                }
            }
            if let Some(field) = field {
                assert!(answer.text().contains(field), "{shown}: {}", answer.text());
            }
        }
    }
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn what_is_not_mapped_and_changes_the_meaning_is_refused_by_name() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    for (field, value) in [
        ("n", json!(5)),
        ("logit_bias", json!({ "1": 5 })),
        ("functions", json!([{ "name": "f" }])),
        ("modalities", json!(["audio"])),
        ("web_search_options", json!({ "search_context_size": "low" })),
    ] {
        let mut body = hello();
        body[field] = value;
        let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;
        let error = answer.json()["error"].clone();
        assert_eq!(answer.status, 400, "{field}: {error}");
        assert!(error["param"].as_str().unwrap().starts_with(field), "{error}");
    }
    for option in ["num_ctx", "num_gpu"] {
        let mut body = hello();
        body["options"] = json!({ option: 1 });
        let answer = gateway.post("/chat", Some(&admin), body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(option));
    }
    let mut body = hello();
    body["keep_alive"] = json!(-1);
    assert_eq!(gateway.post("/chat", Some(&admin), body).await.status, 400);
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn models_that_are_not_here_or_leave_the_host_are_refused() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let ask = async |model: &str| {
        let mut body = hello();
        body["model"] = json!(model);
        gateway.post("/v1/chat/completions", Some(&admin), body).await
    };

    let unknown = ask("llama9").await;
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(unknown.json()["error"]["param"], "model");
    for cloud in ["big:cloud", "big:70b-cloud", "BIG:Cloud"] {
        let answer = ask(cloud).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("permission_denied")), "{cloud}");
    }
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn routes_that_are_not_in_the_table_do_not_exist() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    for path in [
        "/api/me",
        "/api/signout",
        "/v1/../api/pull",
        "//api/delete",
        "/debug/pprof/",
        "/v1/v1/models",
        "/chat/",
        "/nope",
    ] {
        let answer = gateway.send("POST", path, Some(&admin), b"{}".to_vec()).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(!answer.text().is_empty(), "{path}");
    }
    // Each client reads its own shape.
    for path in ["/api/nope", "//api/nope/", "/api"] {
        let told = gateway.get(path, None).await.json();
        assert!(told["error"].as_str().is_some_and(|text| text.contains("Ollama's own API")), "{path}: {told}");
    }
    for (path, words) in [
        ("/v1/messages/batches", "batches"),
        ("/v1/messages/", "`/v1/messages`"),
        ("/messages", "`/v1/messages`"),
        ("/v1/v1/messages", "`/v1/messages`"),
        ("/anthropic/v1/messages", "without `/v1`"),
    ] {
        let answer = gateway.post(path, Some(&admin), json!({})).await;
        let told = answer.json();
        assert_eq!((&told["type"], &told["error"]["type"]), (&json!("error"), &json!("not_found_error")), "{path}");
        assert!(told["error"]["message"].as_str().unwrap().contains(words), "{told}");
        assert_eq!(told["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    }
    for (path, meant) in [
        ("/v1/chat/completions/", "`/v1/chat/completions`"),
        ("//v1//embeddings", "`/v1/embeddings`"),
        ("/v1/models/", "`/v1/models`"),
        ("/api/v1/me/", "`/api/v1/me`"),
    ] {
        let answer = gateway.get(path, Some(&admin)).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (404, &json!("unknown_url")), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().contains(meant), "{path}: {error}");
    }
    for path in ["/v1/api/chat", "/ollama/api/chat"] {
        let told = gateway.post(path, Some(&admin), hello()).await.json();
        assert!(told["error"].as_str().is_some_and(|text| text.contains("it is `/api/chat`")), "{path}: {told}");
    }
    let chat = gateway.post("/chat/", None, hello()).await.json();
    assert!(chat["error"].as_str().unwrap().contains("`/chat`"), "{chat}");
    let unknown = gateway.get("/v1/nope", Some(&admin)).await.json();
    assert_eq!(unknown["error"]["code"], "unknown_url");
    let wrong = gateway.get("/v1/chat/completions", Some(&admin)).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert_eq!(wrong.json()["error"]["code"], "method_not_allowed");
    let wrong = gateway.get("/chat", None).await;
    assert!(wrong.status == 405 && wrong.json()["error"].is_string(), "{}", wrong.text());
    assert!(fake.chats().is_empty() && fake.other_paths().is_empty());
}

#[actix_web::test]
async fn tokens_that_are_not_ours_are_refused_in_the_callers_dialect() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let forged = format!("{}x", &admin[..admin.len() - 1]);

    for token in ["x", "a.b.c", "lgw_x", forged.as_str(), &"x".repeat(5000)] {
        let answer = gateway.post("/v1/chat/completions", Some(token), hello()).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (401, &json!("invalid_api_key")));
        assert!(error["message"].as_str().unwrap().starts_with("Incorrect API key provided"), "{error}");
        let chat = gateway.post("/chat", Some(token), hello()).await;
        assert_eq!((chat.status, chat.json()), (403, json!({ "error": "unauthorized" })));
    }
    assert_eq!(gateway.post("/chat", None, hello()).await.status, 403);
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn a_prompt_that_is_too_long_is_told_in_the_words_that_frameworks_look_for() {
    let fake = FakeOllama::start();
    let settings = [LIFTED[0], LIFTED[1], ("LIMITS__PROMPT_BYTES_MAX", "200"), ("LIMITS__CONTEXT_TOKENS_MAX", "20")];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    let ask = async |letters: usize| {
        let messages = json!([{ "role": "user", "content": "x".repeat(letters) }]);
        gateway.post("/v1/chat/completions", Some(&admin), json!({ "model": "fake", "messages": messages })).await
    };

    let more_than_a_prompt = ask(201).await;
    let more_than_a_quota = ask(200).await;
    fake.next(Script::status(400, r#"{"error":"the input length exceeds the context length"}"#));
    let more_than_the_model_takes = ask(1).await;

    for (answer, status, code) in [
        (more_than_a_prompt, 413, "request_too_large"),
        (more_than_a_quota, 400, "context_length_exceeded"),
        (more_than_the_model_takes, 400, "context_length_exceeded"),
    ] {
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"], &error["param"]), (status, &json!(code), &json!("messages")));
        let message = error["message"].as_str().unwrap();
        // litellm makes its `ContextWindowExceededError` of the first, LangChain its `ContextOverflowError` of the second.
        assert!(message.contains("prompt is too long") && message.contains("exceeds the context window"), "{message}");
    }
    assert_eq!(ask(1).await.status, 200);
}

#[actix_web::test]
async fn bodies_that_are_large_or_encoded_are_refused_unread() {
    let fake = FakeOllama::start();
    let settings = [LIFTED[0], LIFTED[1], ("LIMITS__BODY_BYTES_MAX", "100000")];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;
    let body =
        |bytes: usize| json!({ "model": "fake", "messages": [{ "role": "user", "content": "x".repeat(bytes) }] });
    let overhead = body(0).to_string().len();

    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), body(100_000 - overhead)).await.status, 200);
    let large = gateway.post("/v1/chat/completions", Some(&admin), body(100_001 - overhead)).await;
    assert_eq!((large.status, &large.json()["error"]["code"]), (413, &json!("request_too_large")));
    for (encoding, status) in [("gzip", 415), ("br", 415), ("zstd", 415), ("deflate", 415), ("Identity", 400)] {
        let encoded = crate::support::gateway::client()
            .post(format!("{}/v1/chat/completions", gateway.url))
            .bearer_auth(&admin)
            .insert_header(("content-encoding", encoding))
            .send_body("x")
            .await
            .unwrap();
        assert_eq!(encoded.status().as_u16(), status, "{encoding}");
    }
    assert_eq!(fake.chats().len(), 1);
}

#[actix_web::test]
async fn what_is_forwarded_is_what_is_recorded() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let said = "a \"quote\", a \\ and a \u{1F600}; = + - @ \u{0} \u{2028}";

    let mut body = hello();
    body["messages"][0]["content"] = json!(said);
    assert_eq!(gateway.post("/v1/chat/completions", Some(&admin), body).await.status, 200);

    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(sent["messages"][0]["content"], said);
    assert_eq!(line["prompt"], sent["messages"]);
}

#[actix_web::test]
async fn a_list_is_no_object_whose_fields_are_all_left_out() {
    let gateway = TestGateway::start("http://127.0.0.1:1");
    let admin = gateway.admin().await;

    for list in [json!([]), json!([1])] {
        for (path, body, field) in [
            ("/api/v1/exports", json!({ "filter": list }), "filter"),
            ("/api/v1/tokens", json!({ "name": "ci", "quotas": list }), "quotas"),
            ("/api/v1/register", json!(["dora@example.org", "quiet lamps over water"]), "body"),
        ] {
            let refused = gateway.post(path, Some(&admin), body).await;
            assert_eq!(
                (refused.status, refused.json()["error"]["param"].as_str()),
                (400, Some(field)),
                "{}",
                refused.text()
            );
        }
    }
}
