//! Tools: called, asked for, and not called.

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{TestGateway, hello};

fn with_tools(choice: Value) -> Value {
    let mut body = hello();
    body["tools"] = json!([{ "type": "function", "function": { "name": "get_weather", "parameters": {
        "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } } }]);
    body["tool_choice"] = choice;
    body
}

const CALL: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"get_weather","arguments":{"city":"Rome"}}}]},"done":false}"#;
const END: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.3Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":3}"#;

#[actix_web::test]
async fn a_call_is_answered_whole_and_streamed_and_stands_in_the_record() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    fake.next(Script::lines(&[CALL, END]));
    let whole = gateway.post("/v1/chat/completions", Some(&admin), with_tools(json!("auto"))).await.json();
    fake.next(Script::lines(&[CALL, END]));
    let mut body = with_tools(json!("auto"));
    body["stream"] = json!(true);
    let stream = gateway.post("/v1/chat/completions", Some(&admin), body).await.text();

    let choice = &whole["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    assert_eq!(
        choice["message"]["tool_calls"][0]["function"],
        json!({ "name": "get_weather", "arguments": "{\"city\":\"Rome\"}" })
    );
    assert!(stream.contains(r#""finish_reason":"tool_calls""#), "{stream}");
    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(line["tool_calls"][0]["arguments"], json!({ "city": "Rome" }), "{line}");
}

#[actix_web::test]
async fn a_call_comes_back_to_the_model_as_it_was_made() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    const ARGUMENTS: &str =
        r#"{"url":"x","headers":{"Authorization":"a","authorization":"b","":"c"},"n":12345678901234567890123}"#;
    let call = CALL.replace(r#"{"city":"Rome"}"#, ARGUMENTS);
    let question = r#"{"role":"user","content":"hi"}"#;

    for path in ["/v1/chat/completions", "/chat"] {
        fake.next(Script::lines(&[&call, END]));
        let made = gateway.post(path, Some(&admin), hello()).await;
        let body = if path == "/chat" {
            let made = made.text();
            let message = &made[made.find(r#"{"role":"assistant""#).unwrap()..made.find(r#","done""#).unwrap()];
            format!(r#"{{"model":"fake","messages":[{question},{message},{{"role":"tool","content":"200"}}]}}"#)
        } else {
            let message = made.json()["choices"][0]["message"].clone();
            let id = &message["tool_calls"][0]["id"];
            let answer = json!({ "role": "tool", "tool_call_id": id, "content": [] });
            format!(r#"{{"model":"fake","messages":[{question},{message},{answer}]}}"#)
        };

        let answer = gateway.send("POST", path, Some(&admin), body.into_bytes()).await;

        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-ignored-parameters"), None, "{path}");
        let sent = fake.chats().last().unwrap().body.clone();
        assert!(String::from_utf8_lossy(&sent).contains(&format!(r#""arguments":{ARGUMENTS}"#)), "{path}");
    }
}

#[actix_web::test]
async fn arguments_that_were_cut_do_not_end_the_conversation() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let mut body = hello();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [
        { "id": "c", "type": "function", "function": { "name": "run", "arguments": "{\"command\": \"ls /ho" } }] }));
    messages.push(json!({ "role": "tool", "tool_call_id": "c", "content": "error: invalid JSON" }));

    let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-ignored-parameters"), Some("messages[].tool_calls[].function.arguments"));
    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    let call = &sent["messages"][1]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], json!({ "INVALID_ARGUMENTS": "{\"command\": \"ls /ho" }));
}

#[actix_web::test]
async fn a_call_that_is_asked_for_comes_as_a_call() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    fake.next(Script::of(vec![
        text(r#"{"name": "get_weather", "argu"#),
        text(r#"ments": {"city": "Rome"}}"#),
        done("stop"),
    ]));
    let answer = gateway.post("/v1/chat/completions", Some(&admin), with_tools(json!("required"))).await.json();

    let sent: Value = serde_json::from_slice(&fake.chats()[0].body).unwrap();
    assert_eq!((sent.get("tools"), sent["format"]["anyOf"].as_array().unwrap().len()), (None, 1));
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"city": "Rome"}"#, "{answer}");
    assert_eq!(message["content"], Value::Null);
}

#[actix_web::test]
async fn a_call_that_was_asked_for_and_did_not_come_is_an_error() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;

    let answer = gateway.post("/v1/chat/completions", Some(&admin), with_tools(json!("required"))).await;

    assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_error")));
    assert_eq!(gateway.newest_outcome(&admin, "failed").await["reason"], "upstream_error");
}

/// A call with these arguments, as Ollama sends it.
fn call(arguments: &str) -> String {
    CALL.replace(r#"{"city":"Rome"}"#, arguments)
}

#[actix_web::test]
async fn arguments_that_no_type_holds_stand_in_the_record_as_the_model_wrote_them() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let numbers = r#"{"x":1e400,"y":12345678901234567890123,"z":-0,"one":1.0,"e":1e2,"f":0.30000000000000004}"#;

    for arguments in [deep.as_str(), numbers] {
        for stream in [false, true] {
            fake.next(Script::lines(&[&call(arguments), END]));
            let mut body = with_tools(json!("auto"));
            body["stream"] = json!(stream);
            let answer = gateway.post("/v1/chat/completions", Some(&admin), body).await;

            let escaped = Value::from(arguments).to_string();
            assert!(
                answer.status == 200 && answer.text().contains(&escaped[1..escaped.len() - 1]),
                "{}",
                answer.text()
            );
            assert!(!stream || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
            assert_eq!(gateway.record(&admin).await[0]["outcome"], "completed");
            let id = answer.header("x-request-id").unwrap().to_owned();
            let story = gateway.get(&format!("/api/v1/audit/{id}"), Some(&admin)).await.json();
            let expected = format!(r#","name":"get_weather","arguments":{arguments}}}]"#);
            assert!(story["tool_calls"].as_str().unwrap().ends_with(&expected), "{story}");
        }
    }
    let export = gateway.export(&admin, "admin", "jsonl").await;
    for arguments in [deep.as_str(), numbers] {
        let lines = export.lines().filter(|line| line.contains(&format!(r#""arguments":{arguments}}}]"#)));
        assert_eq!(lines.count(), 2, "{export}");
    }
}

#[actix_web::test]
async fn a_call_that_a_client_has_seen_is_on_record_after_a_crash() {
    let fake = FakeOllama::start();
    let mut gateway = TestGateway::start(&fake.url());
    let admin = gateway.admin().await;
    let two = call(r#"{"city":"Oslo"}"#);
    let line = |text: &str| Step::Send(format!("{text}\n").into_bytes());
    fake.next(Script::of(vec![text("Let me look."), line(CALL), line(&two), Step::Wait, line(END)]));
    let mut body = with_tools(json!("auto"));
    body["stream"] = json!(true);
    let mut response = gateway.open("POST", "/v1/chat/completions", Some(&admin), body.to_string().into_bytes()).await;
    let mut seen = String::new();
    while !seen.contains("Oslo") {
        seen += &String::from_utf8_lossy(&response.next().await.unwrap().unwrap());
    }
    // A segment is written within a quarter of a second, and then synced.
    let written =
        "SELECT CAST(count(*) AS TEXT) FROM record_part WHERE kind = 'tool_calls' AND CAST(body AS TEXT) LIKE '%Oslo%'";
    gateway.until_text(written, "1").await;

    gateway.kill();
    gateway.restart();

    let export = gateway.export(&admin, "admin", "jsonl").await;
    let line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!((&line["outcome"], &line["response"]), (&json!("interrupted"), &json!("Let me look.")));
    let cities: Vec<_> = line["tool_calls"].as_array().unwrap().iter().map(|call| &call["arguments"]["city"]).collect();
    assert_eq!(cities, ["Rome", "Oslo"]);
}
