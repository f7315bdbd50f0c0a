//! Ollama's own API: what its clients send and read, and what stays with the gateway.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, text};
use crate::support::gateway::{Answer, TestGateway, client, hello};

const LIFTED: [(&str, &str); 2] =
    [("LIMITS__REQUESTS_PER_MINUTE", "10000"), ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000")];

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sent(fake: &FakeOllama) -> (String, Value) {
    let chat = fake.chats().pop().unwrap();
    (chat.path, serde_json::from_slice(&chat.body).unwrap())
}

#[actix_web::test]
async fn a_chat_is_streamed_in_lines_unless_told_otherwise() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let stream = gateway.post("/api/chat", Some(&admin), hello()).await;

    assert_eq!(stream.header("content-type"), Some("application/x-ndjson; charset=utf-8"));
    let lines = lines(&stream);
    let said: String = lines.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!((said.as_str(), lines.len()), ("Hello world!", 4));
    assert_eq!(
        lines[3],
        json!({
            "model": "fake", "created_at": "2026-01-01T00:00:00.3Z", "message": { "role": "assistant", "content": "" },
            "done": true, "done_reason": "stop", "total_duration": 9_000, "load_duration": 1_000,
            "prompt_eval_count": 5, "prompt_eval_duration": 3_000, "eval_count": 3, "eval_duration": 2_000
        })
    );
    let mut body = hello();
    body["stream"] = json!(false);
    let whole = gateway.post("/api/chat", Some(&admin), body).await;
    assert_eq!(whole.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(whole.json()["message"]["content"], "Hello world!");
    let rows = gateway.record(&admin).await;
    assert!(rows.iter().filter(|row| row["kind"] == "result").all(|row| row["outcome"] == "completed"), "{rows:?}");
}

#[actix_web::test]
async fn an_error_has_its_status_before_the_first_line_and_is_a_line_after_it() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    for path in ["/api/chat", "/api/generate"] {
        let mut body = hello();
        body["prompt"] = json!("hi");
        fake.next(Script::status(500, r#"{"error":"model requires more system memory"}"#));
        let early = gateway.post(path, Some(&admin), body.clone()).await;
        assert_eq!((early.status, early.json()["error"].is_string()), (502, true), "{}", early.text());

        fake.next(Script::of(vec![text("He"), Step::Send(b"{\"error\":\"out of memory\"}\n".to_vec())]));
        let late = gateway.post(path, Some(&admin), body.clone()).await;
        let told = lines(&late);
        assert_eq!((late.status, told.len()), (200, 2), "{}", late.text());
        assert!(told[1]["error"].as_str().unwrap().contains("out of memory"), "{}", late.text());
        assert_eq!(told[1].as_object().unwrap().len(), 1);

        body["model"] = json!("llama9");
        let unknown = gateway.post(path, Some(&admin), body).await;
        assert_eq!((unknown.status, unknown.json()["error"].as_str().unwrap().contains("llama9")), (404, true));
    }
}

#[actix_web::test]
async fn a_prompt_is_a_chat_and_a_raw_one_a_completion() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    let body = json!({ "model": "fake", "prompt": "hi", "system": "be kind", "stream": false });
    let answer = gateway.post("/api/generate", Some(&admin), body).await;
    assert_eq!(answer.json()["response"], "Hello world!");
    let (path, forwarded) = sent(&fake);
    assert_eq!(path, "/api/chat");
    let said = json!([{ "role": "system", "content": "be kind" }, { "role": "user", "content": "hi" }]);
    assert_eq!(forwarded["messages"], said);

    let body = json!({ "model": "fake", "prompt": "The sea is", "raw": true });
    let answer = gateway.post("/api/generate", Some(&admin), body).await;
    let said: String = lines(&answer).iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(said, " blue and wide");
    let (path, forwarded) = sent(&fake);
    assert_eq!((path.as_str(), &forwarded["raw"]), ("/api/generate", &json!(true)));
    assert_eq!(forwarded["options"]["num_predict"], 8192);
}

#[actix_web::test]
async fn embeddings_have_a_newer_and_an_older_form() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let body = json!({ "model": "fake", "input": ["a", "b"], "truncate": false });
    let several = gateway.post("/api/embed", Some(&admin), body).await.json();
    let one = gateway.post("/api/embeddings", Some(&admin), json!({ "model": "fake", "prompt": "a" })).await.json();

    assert_eq!(several, json!({ "model": "fake", "embeddings": [[0.6, -0.8], [0.6, -0.8]], "prompt_eval_count": 4 }));
    assert_eq!(one, json!({ "embedding": [0.6, -0.8] }));
    assert_eq!(sent(&fake), ("/api/embed".into(), json!({ "model": "fake", "input": ["a"] })));
}

#[actix_web::test]
async fn a_request_without_a_prompt_only_loads_the_model() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let loaded =
        r#"{"model":"fake","created_at":"2026-01-01T00:00:00.1Z","response":"","done":true,"done_reason":"load"}"#;

    for (path, body) in [
        ("/api/chat", json!({ "model": "fake", "messages": [] })),
        ("/api/generate", json!({ "model": "fake", "prompt": "", "keep_alive": "10m" })),
    ] {
        fake.next(Script::lines(&[loaded]));
        let answer = gateway.post(path, Some(&admin), body.clone()).await;
        assert_eq!(
            (answer.status, lines(&answer)[0]["done_reason"].as_str()),
            (200, Some("load")),
            "{}",
            answer.text()
        );
        assert_eq!(sent(&fake), ("/api/generate".into(), json!({ "model": "fake", "prompt": "", "stream": true })));

        let mut unload = body;
        unload["keep_alive"] = json!(0);
        let refused = gateway.post(path, Some(&admin), unload).await;
        assert_eq!((refused.status, refused.text().contains("unload")), (400, true), "{}", refused.text());
    }
    assert_eq!(fake.chats().len(), 2);
}

#[actix_web::test]
async fn fields_about_the_whole_server_are_left_out_and_named() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut body = hello();
    body["keep_alive"] = json!("5m");
    body["options"] = json!({ "num_ctx": 32768, "num_gpu": null, "temperature": 0.5 });

    let answer = gateway.post("/api/chat", Some(&admin), body).await;

    assert_eq!(answer.header("x-ignored-parameters"), Some("keep_alive, options.num_ctx"));
    let forwarded = sent(&fake).1;
    assert_eq!((&forwarded["options"]["num_ctx"], forwarded.get("keep_alive")), (&Value::Null, None));
    assert_eq!(forwarded["options"]["temperature"], 0.5);
}

#[actix_web::test]
async fn a_body_needs_no_content_type() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let mut answer = client()
        .post(format!("{}/api/generate", gateway.url))
        .bearer_auth(&admin)
        .send_body(r#"{"model":"fake","prompt":"hi","stream":false,"images":[]}"#)
        .await
        .unwrap();

    assert_eq!(answer.status().as_u16(), 200);
    let told: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
    assert_eq!(told["response"], "Hello world!");
}

#[actix_web::test]
async fn who_shows_no_token_is_told_where_ollamas_clients_put_one() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());

    for (path, body) in [("/api/chat", hello()), ("/api/show", json!({ "model": "fake" }))] {
        let told = gateway.post(path, None, body).await;
        assert_eq!((told.status, told.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(told.json()["error"].as_str().unwrap().contains("OLLAMA_API_KEY"), "{path}: {}", told.text());
    }
    for path in ["/api/tags", "/api/ps", "/api/version"] {
        let told = gateway.get(path, Some("lgw_wrong")).await;
        assert_eq!((told.status, told.json()["error"].is_string()), (401, true), "{path}: {}", told.text());
    }
    assert!(fake.chats().is_empty());
}

#[actix_web::test]
async fn lists_are_cut_to_what_the_caller_may_use_and_keep_the_host_to_themselves() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let wish = json!({ "name": "narrow", "models": ["llama3.2"], "scopes": ["models"] });
    let narrow = gateway.post("/api/v1/tokens", Some(&admin), wish).await.json()["token"].as_str().unwrap().to_owned();
    let names = async |path: &str, who: &str| -> Vec<String> {
        let list = gateway.get(path, Some(who)).await.json();
        list["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(names("/api/tags", &admin).await, ["fake:latest", "llama3.2:latest", "user/other:1b"]);
    assert_eq!(names("/api/tags", &narrow).await, ["llama3.2:latest"]);
    assert_eq!(names("/api/ps", &admin).await, ["fake:latest"]);
    assert_eq!(names("/api/ps", &narrow).await, Vec::<String>::new());
    let listed = gateway.get("/api/tags", Some(&admin)).await;
    assert_eq!(
        listed.json()["models"][0],
        json!({
            "name": "fake:latest", "model": "fake:latest", "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "d",
            "details": { "parent_model": "", "format": "", "family": "fake", "families": [], "parameter_size": "",
                "quantization_level": "" }
        })
    );
    let loaded = gateway.get("/api/ps", Some(&admin)).await.json()["models"][0].clone();
    assert_eq!((&loaded["size"], &loaded["size_vram"]), (&json!(3_000_000), &json!(2_000_000)));
    assert_eq!((&loaded["expires_at"], &loaded["context_length"]), (&json!("2100-01-01T00:00:00Z"), &json!(4096)));
    assert_eq!(gateway.get("/api/version", Some(&narrow)).await.json(), json!({ "version": "0.24.0" }));

    let show = async |who: &str, body: Value| gateway.post("/api/show", Some(who), body).await;
    let shown = show(&admin, json!({ "model": "Fake", "verbose": true, "system": "x" })).await;
    assert_eq!(shown.header("x-ignored-parameters"), Some("verbose, system"));
    assert_eq!(
        shown.json(),
        json!({
            "parameters": "num_ctx 2048", "template": "{{ .Prompt }}",
            "details": listed.json()["models"][0]["details"], "model_info": { "fake.context_length": 8192 },
            "capabilities": ["completion", "vision"], "modified_at": "2026-01-01T00:00:00Z"
        })
    );
    for answer in [&listed, &shown] {
        assert!(!answer.text().contains("/root") && !answer.text().contains("private"), "{}", answer.text());
    }
    assert_eq!(show(&narrow, json!({ "name": "llama3.2" })).await.status, 200);
    let (hidden, unknown) =
        (show(&narrow, json!({ "model": "fake" })).await, show(&narrow, json!({ "model": "none" })).await);
    assert_eq!((hidden.status, unknown.status), (404, 404));
    assert_eq!(hidden.text().replace("fake", "none"), unknown.text());
    for body in
        [json!({}), json!({ "model": "" }), json!({ "model": "a", "name": "b" }), json!({ "Model": "fake" }), json!([])]
    {
        assert_eq!(show(&admin, body.clone()).await.status, 400, "{body}");
    }
}
