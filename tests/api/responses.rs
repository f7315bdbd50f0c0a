//! OpenAI's Responses: followed, fetched and deleted by their owner alone, from the record.

use serde_json::{Value, json};

use crate::support::fake_ollama::{FakeOllama, Script, Step, done, text};
use crate::support::gateway::{Answer, TestGateway, hello};

const LIFTED: [(&str, &str); 3] = [
    ("LIMITS__REQUESTS_PER_MINUTE", "10000"),
    ("LIMITS__REQUESTS_PER_MINUTE_TOTAL", "10000"),
    ("LIMITS__OWN_ACTS_PER_MINUTE", "1000"),
];
const CALL: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"call_1","function":{"name":"docs.search","arguments":{"b": 1e5,"a":"x"}}}]},"done":false}"#;
const THOUGHT: &str = r#"{"model":"fake:latest","created_at":"2026-01-01T00:00:00.1Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#;
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn line(step: Step) -> String {
    let Step::Send(bytes) = step else { panic!("no line") };
    String::from_utf8(bytes).unwrap().trim_end().to_owned()
}

fn tools() -> Value {
    json!([{ "type": "namespace", "name": "docs", "description": "The handbook",
        "tools": [{ "type": "function", "name": "search", "parameters": { "type": "object", "properties": {} } }] }])
}

/// All that a client sees of an answer, but for what differs between any two.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let own = ["x-request-id", "date", "openai-processing-ms", "connection"];
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), format!("{value:?}")));
    let mut headers: Vec<_> =
        headers.filter(|(name, _)| !own.contains(&name.as_str()) && !name.starts_with("x-ratelimit")).collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

async fn ask(gateway: &TestGateway, bearer: &str, body: Value) -> Value {
    let answer = gateway.post("/v1/responses", Some(bearer), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn id(response: &Value) -> String {
    response["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_response_is_followed_as_if_its_conversation_had_been_sent_again() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let question = json!({ "role": "user", "content": [{ "type": "input_text", "text": "What is this?" },
        { "type": "input_image", "image_url": format!("data:image/png;base64,{PIXEL}") }] });
    let result = json!({ "type": "function_call_output", "call_id": "call_1", "output": "found" });

    let called = Script::lines(&[THOUGHT, &line(text("Let me look.")), CALL, &line(done("stop"))]);
    fake.next(called);
    let first = ask(
        &gateway,
        &admin,
        json!({ "model": "fake", "instructions": "Be brief.", "input": [question], "tools": tools() }),
    )
    .await;
    // The second must call, so that the order to do so stands in its system message.
    fake.next(Script::of(vec![text(r#"{"name":"docs.search","arguments":{"b": 1}}"#), done("stop")]));
    let second = ask(
        &gateway,
        &admin,
        json!({ "model": "fake", "instructions": "Be loud.", "input": [result], "tools": tools(),
            "tool_choice": "required", "previous_response_id": id(&first) }),
    )
    .await;
    let again = second["output"][0]["call_id"].clone();
    assert_eq!((&second["output"][0]["namespace"], &second["output"][0]["name"]), (&json!("docs"), &json!("search")));
    let output = json!({ "type": "function_call_output", "call_id": again, "output": "once more" });
    let body = json!({ "model": "fake", "input": [output, { "role": "user", "content": "So?" }],
        "previous_response_id": id(&second), "stream": true });
    let third = gateway.post("/v1/responses", Some(&admin), body).await.text();

    assert!(third.contains("event: response.completed"), "{third}");
    let mut whole: Vec<Value> = vec![question];
    whole.extend(first["output"].as_array().unwrap().clone());
    whole.push(result);
    whole.extend(second["output"].as_array().unwrap().clone());
    whole.extend([output, json!({ "role": "user", "content": "So?" })]);
    ask(&gateway, &admin, json!({ "model": "fake", "input": whole })).await;
    let sent: Vec<_> = fake.chats().iter().map(|chat| String::from_utf8(chat.body.clone()).unwrap()).collect();
    assert_eq!(sent[2], sent[3]);
    assert!(
        sent[1].contains(r#"{"role":"system","content":"Be loud.\n\nAnswer with one function call"#),
        "{}",
        sent[1]
    );
    assert!(!sent[1].contains("Be brief.") && sent[1].contains(r#""tool_name":"docs.search""#), "{}", sent[1]);
    assert!(sent[2].contains(PIXEL) && !sent[2].contains("Be loud") && !sent[2].contains("Answer with one"));
}

#[actix_web::test]
async fn items_that_are_sent_by_their_id_are_those_of_the_record() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    fake.next(Script::lines(&[THOUGHT, &line(text("Let me look.")), CALL, &line(done("stop"))]));
    let first = ask(&gateway, &ann, json!({ "model": "fake", "input": "hi", "tools": tools() })).await;
    let result = json!({ "type": "function_call_output", "call_id": "call_1", "output": "found" });
    let conversation = |output: &[Value]| {
        let mut items = vec![json!({ "role": "user", "content": "hi" })];
        items.extend(output.iter().cloned());
        items.extend([result.clone(), json!({ "role": "user", "content": "So?" })]);
        json!({ "model": "fake", "input": items })
    };
    let output = first["output"].as_array().unwrap().clone();
    let by_id: Vec<_> = output.iter().map(|item| json!({ "type": "item_reference", "id": item["id"] })).collect();
    assert_eq!(output.len(), 3);

    ask(&gateway, &ann, conversation(&output)).await;
    ask(&gateway, &ann, conversation(&by_id)).await;

    let sent: Vec<_> = fake.chats().iter().map(|chat| String::from_utf8(chat.body.clone()).unwrap()).collect();
    assert_eq!(sent[1], sent[2]);
    assert!(sent[2].contains("Let me look.") && sent[2].contains(r#""tool_name":"docs.search""#), "{}", sent[2]);

    let unstored = ask(&gateway, &ann, json!({ "model": "fake", "input": "hi", "store": false })).await;
    let mut answers = vec![gateway.post("/v1/responses", Some(&bob), conversation(&by_id)).await];
    let text_id = output[1]["id"].as_str().unwrap();
    for id in [
        "msg_1",
        "msg_0190123456787abc8def0123456789ab_0",
        &text_id.replace("msg_", "call_"),
        unstored["output"][0]["id"].as_str().unwrap(),
        // Its answer has neither a thought nor a call.
        &unstored["output"][0]["id"].as_str().unwrap().replace("msg_", "fc_"),
    ] {
        let wrong = json!({ "type": "item_reference", "id": id });
        answers.push(gateway.post("/v1/responses", Some(&ann), conversation(&[wrong])).await);
    }
    for answer in &answers {
        assert_eq!((answer.status, seen(answer)), (404, seen(&answers[0])));
    }
    let missing = gateway.post("/v1/responses", Some(&ann), conversation(&[json!({ "type": "item_reference" })])).await;
    assert_eq!((missing.status, &missing.json()["error"]["param"]), (400, &json!("input[1].id")));

    // As many responses as may be looked for, of which the first is missing, and one more.
    let ids = |count: u32| {
        (0..count).map(|n| json!({ "type": "item_reference", "id": format!("msg_0190123456787abc8def{n:012x}_0") }))
    };
    let most = gateway.post("/v1/responses", Some(&ann), conversation(&ids(128).collect::<Vec<_>>())).await;
    let one_more = gateway.post("/v1/responses", Some(&ann), conversation(&ids(129).collect::<Vec<_>>())).await;
    assert_eq!((most.status, one_more.status), (404, 400));
    assert_eq!(one_more.json()["error"]["param"], "input[129]");
}

#[actix_web::test]
async fn a_response_is_shown_as_it_was() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] });
    let function = json!({ "type": "function", "name": "f", "description": "does", "strict": false,
        "parameters": { "type": "object", "properties": {} } });
    for (script, extra) in [
        (Script::hello(), json!({})),
        (
            Script::hello(),
            json!({ "instructions": "Be brief.", "metadata": { "topic": "x" }, "temperature": 0.5, "top_p": 0.9,
            "max_output_tokens": 7, "truncation": "auto", "reasoning": { "effort": "none" }, "tools": [function],
            "parallel_tool_calls": false }),
        ),
        (
            Script::of(vec![text("{}"), done("stop")]),
            json!({ "text": { "format": { "type": "json_schema",
            "name": "animal", "schema": schema } } }),
        ),
        (Script::of(vec![text("He"), done("length")]), json!({})),
        (Script::lines(&[THOUGHT, CALL, &line(done("stop"))]), json!({})),
    ] {
        fake.next(script);
        let mut body = json!({ "model": "fake", "input": "hi" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());

        let mut made = ask(&gateway, &admin, body).await;
        let shown = gateway.get(&format!("/v1/responses/{}", id(&made)), Some(&admin)).await;
        let mut shown = shown.json();

        for response in [&mut made, &mut shown] {
            // By the clock of the model server, and by the record's.
            let at = response.as_object_mut().unwrap().remove("completed_at").unwrap();
            assert_eq!(at.is_null(), response["status"] == "incomplete");
        }
        assert_eq!(made, shown);
    }
    let streamed = gateway.get("/v1/responses/resp_x?stream=true", Some(&admin)).await;
    assert_eq!(streamed.status, 404, "{}", streamed.text());
}

#[actix_web::test]
async fn what_is_not_the_callers_to_see_is_one_404() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let (ann, bob) = (gateway.user(&admin, "ann").await, gateway.user(&admin, "bob").await);
    let token = gateway.post("/api/v1/tokens", Some(&ann), json!({ "name": "ci", "scopes": ["chat"] })).await.json();
    let token = token["token"].as_str().unwrap().to_owned();
    let hi = || json!({ "model": "fake", "input": "hi" });
    let of = async |bearer: &str, body: Value| id(&ask(&gateway, bearer, body).await);

    let bobs = of(&bob, hi()).await;
    let unstored = of(&ann, json!({ "model": "fake", "input": "hi", "store": false })).await;
    let deleted = of(&ann, hi()).await;
    let erased = of(&ann, hi()).await;
    let anns = of(&ann, hi()).await;
    let tokens = of(&token, hi()).await;
    let chat =
        gateway.post("/v1/chat/completions", Some(&ann), hello()).await.json()["id"].as_str().unwrap().to_owned();
    fake.next(Script::status(500, r#"{"error":"x"}"#));
    let failed = gateway.post("/v1/responses", Some(&ann), hi()).await;
    let failed = format!("resp_{}", failed.header("x-request-id").unwrap().replace('-', ""));
    let gone = gateway.send("DELETE", &format!("/v1/responses/{deleted}"), Some(&ann), Vec::new()).await;
    assert_eq!(gone.json(), json!({ "id": deleted, "object": "response", "deleted": true }), "{}", gone.status);
    gateway.on_the_file(&format!(
        "DELETE FROM record_part WHERE log_id IN (SELECT log_id FROM record WHERE request_id = x'{}')",
        &erased["resp_".len()..]
    ));

    let mut answers = Vec::new();
    for id in [
        "resp_0190123456787abc8def0123456789ab",
        "resp_01f9ffffffff7abc8def0123456789ab",
        "resp_x",
        &bobs,
        &unstored,
        &deleted,
        &erased,
        &failed,
        &chat.replace("chatcmpl-", "resp_"),
    ] {
        for (method, path) in [
            ("GET", format!("/v1/responses/{id}")),
            ("DELETE", format!("/v1/responses/{id}")),
            ("GET", format!("/v1/responses/{id}/input_items")),
        ] {
            answers.push((format!("{method} {path}"), gateway.send(method, &path, Some(&ann), Vec::new()).await));
        }
        let mut body = hi();
        body["previous_response_id"] = json!(id);
        answers.push((format!("follows {id}"), gateway.post("/v1/responses", Some(&ann), body).await));
    }

    for (what, answer) in &answers {
        assert_eq!(seen(answer), seen(&answers[0].1), "{what}");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("not_found")), "{what}");
    }
    // A token sees what it made; its owner sees both.
    let look = async |bearer: &str, id: &str| gateway.get(&format!("/v1/responses/{id}"), Some(bearer)).await.status;
    assert_eq!((look(&token, &tokens).await, look(&token, &anns).await), (200, 404));
    assert_eq!((look(&ann, &tokens).await, look(&ann, &anns).await), (200, 200));
    assert_eq!(look(&admin, &anns).await, 404, "not even an admin's");
    // The record keeps what was deleted, and says so.
    let act = gateway.get("/api/v1/audit?act=response_deleted", Some(&admin)).await.json();
    assert_eq!(act["items"].as_array().unwrap().len(), 1, "{act}");
    let kept = format!("/api/v1/me/record/{}", gateway.detail_of("response_deleted")["request_id"].as_str().unwrap());
    assert_eq!(gateway.get(&kept, Some(&ann)).await.json()["answer"], "Hello world!");
}

#[actix_web::test]
async fn the_items_of_an_input_are_listed_in_pages() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;
    let first = ask(&gateway, &admin, json!({ "model": "fake", "instructions": "Be brief.", "input": "hi" })).await;
    let body = json!({ "model": "fake", "input": "and?", "previous_response_id": id(&first) });
    let second = id(&ask(&gateway, &admin, body).await);
    let list = async |query: &str| {
        let path = format!("/v1/responses/{second}/input_items{query}");
        gateway.get(&path, Some(&admin)).await.json()
    };
    let texts = |page: &Value| -> Vec<String> {
        let texts = page["data"].as_array().unwrap().iter();
        texts.map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()).collect()
    };

    let newest = list("").await;
    let oldest = list("?order=asc&limit=2").await;
    let rest = list(&format!("?order=asc&after={}", oldest["last_id"].as_str().unwrap())).await;
    let wrong = list("?after=msg_1").await;

    assert_eq!(texts(&newest), ["and?", "Hello world!", "hi"]);
    assert_eq!((texts(&oldest), &oldest["has_more"]), (vec!["hi".to_owned(), "Hello world!".to_owned()], &json!(true)));
    assert_eq!((texts(&rest), &rest["has_more"]), (vec!["and?".to_owned()], &json!(false)));
    assert_eq!(wrong["error"]["param"], "after");
    assert_eq!((&newest["object"], &newest["first_id"]), (&json!("list"), &newest["data"][0]["id"]));
}

#[actix_web::test]
async fn a_conversation_that_grows_too_long_is_refused_in_the_words_of_its_input() {
    let fake = FakeOllama::start();
    let settings = [LIFTED[0], LIFTED[1], ("LIMITS__PROMPT_BYTES_MAX", "100")];
    let gateway = TestGateway::start_with(&fake.url(), &settings);
    let admin = gateway.admin().await;

    let first = ask(&gateway, &admin, json!({ "model": "fake", "input": "x".repeat(60) })).await;
    let body = json!({ "model": "fake", "input": "y".repeat(60), "previous_response_id": id(&first) });
    let second = gateway.post("/v1/responses", Some(&admin), body).await;

    let error = second.json()["error"].clone();
    assert_eq!((second.status, &error["code"], &error["param"]), (413, &json!("request_too_large"), &json!("input")));
}

#[actix_web::test]
async fn a_failure_in_a_stream_is_told_as_failed_and_nothing_follows() {
    let fake = FakeOllama::start();
    let gateway = TestGateway::start_with(&fake.url(), &LIFTED);
    let admin = gateway.admin().await;

    fake.next(Script::of(vec![text("He"), Step::Send(b"{\"error\":\"the runner stopped\"}\n".to_vec())]));
    let body = json!({ "model": "fake", "input": "hi", "stream": true });
    let stream = gateway.post("/v1/responses", Some(&admin), body).await.text();

    let last = stream.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: response.failed\n"), "{stream}");
    let failed: Value = serde_json::from_str(last.split_once("data: ").unwrap().1).unwrap();
    assert_eq!(
        (&failed["response"]["status"], &failed["response"]["error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "He");
}
