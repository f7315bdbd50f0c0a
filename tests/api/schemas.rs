//! Schemas that bind an answer: what of them reaches the model server, and what a refused one is told.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script};
use crate::support::gateway::{TestGateway, hello};

const CHAT: &str = "/v1/chat/completions";

fn bound_by(schema: Value) -> Value {
    let mut body = hello();
    body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    body
}

#[actix_web::test]
async fn a_schema_is_written_anew_and_what_was_left_out_is_told() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let schema = json!({ "type": "object", "properties": {
        "zip": { "type": "string", "pattern": r"^\d{5}$" },
        "mail": { "type": "string", "pattern": "^(?!x)y$" },
    }, "required": ["zip", "mail"] });

    let answer = gateway.post(CHAT, Some(&admin), bound_by(schema)).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let place = "response_format.json_schema.schema.properties.mail.pattern";
    assert_eq!(answer.header("x-simplified-schema"), Some(place));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!(
        sent["format"]["properties"],
        json!({ "zip": { "type": "string", "pattern": "^[0-9]{5,5}$" }, "mail": { "type": "string" } })
    );
    let path = format!("/api/v1/audit/{}", answer.header("x-request-id").unwrap());
    let story = gateway.get(&path, Some(&admin)).await.json();
    assert_eq!(story["notes"], format!("simplified {place}"));
}

#[actix_web::test]
async fn a_schema_that_the_model_server_refuses_is_the_requests_fault() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for stream in [false, true] {
        fake.next(Script::status(500, r#"{"error":"invalid JSON schema in format"}"#));
        let mut body = bound_by(json!({ "type": "string" }));
        body["stream"] = json!(stream);

        let answer = gateway.post(CHAT, Some(&admin), body).await;

        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["type"]), (400, &json!("invalid_request_error")), "{error}");
        assert_eq!(error["param"], "response_format.json_schema.schema");
    }
    fake.next(Script::status(500, r#"{"error":"invalid JSON schema in format"}"#));
    let legacy =
        json!({ "model": "fake", "messages": [{ "role": "user", "content": "x" }], "format": { "type": "string" } });
    assert_eq!(gateway.post("/chat", Some(&admin), legacy).await.status, 400);
}

#[actix_web::test]
async fn a_schema_that_makes_no_sense_is_refused_before_it_is_sent() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let answer =
        gateway.post(CHAT, Some(&admin), bound_by(json!({ "properties": { "k": { "$ref": "#/$defs/Gone" } } }))).await;

    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["param"], "response_format.json_schema.schema.properties.k.$ref");
    assert_eq!(fake.chats().len(), 0);
}

#[actix_web::test]
async fn a_text_in_which_the_model_server_finds_nothing_is_the_requests_fault() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    fake.next(Script::status(500, r#"{"error":"Failed to create new sequence: no input provided"}"#));

    let answer = gateway.post("/v1/embeddings", Some(&admin), json!({ "model": "fake", "input": ["\u{200b}"] })).await;

    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("input")));
}

#[actix_web::test]
async fn an_image_that_unpacks_to_gigabytes_reaches_no_model() {
    use base64::Engine;
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let ask = async |width: u32| {
        let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        image.extend_from_slice(&width.to_be_bytes());
        image.extend_from_slice(&4096_u32.to_be_bytes());
        let url = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(image));
        let part = json!({ "type": "image_url", "image_url": { "url": url } });
        gateway
            .post(CHAT, Some(&admin), json!({ "model": "fake", "messages": [{ "role": "user", "content": [part] }] }))
            .await
    };

    assert_eq!(ask(8192).await.status, 200);
    let refused = ask(8193).await;

    assert_eq!((refused.status, fake.chats().len()), (400, 1));
    assert_eq!(refused.json()["error"]["param"], "messages[0].content[0].image_url");
}

#[actix_web::test]
async fn a_temperature_that_no_sampler_can_divide_by_is_sent_as_zero() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    for (asked, sent) in [(1e-5, json!(1e-5)), (9e-6, json!(0.0)), (1e-45, json!(0.0)), (0.0, json!(0.0))] {
        let mut body = hello();
        body["temperature"] = json!(asked);

        assert_eq!(gateway.post(CHAT, Some(&admin), body).await.status, 200);

        let body: Value = serde_json::from_slice(&fake.chats().last().unwrap().body).unwrap();
        assert_eq!(body["options"]["temperature"], sent, "{asked}");
    }
}
