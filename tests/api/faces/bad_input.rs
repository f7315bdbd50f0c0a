//! What is wrong with a request is told in each language, and a conversation may be odd.

use serde_json::{Value, json};

use super::{FACES, Scene, add, hi};

/// What is added to a request, in each language, and a part of the error that names it.
struct Fault {
    fields: [Value; 5],
    told: [&'static str; 5],
}

fn of_ollama(fields: [Value; 3], ollama: Value) -> [Value; 5] {
    let [chat, responses, messages] = fields;
    [chat, responses, messages, ollama.clone(), ollama]
}

fn faults() -> Vec<Fault> {
    let said = |content: Value| json!({ "role": "user", "content": content });
    let image = "data:image/png;base64,%%%";
    let gone = json!({ "type": "object", "properties": { "k": { "$ref": "#/$defs/Gone" } } });
    vec![
        // Base64 that is none.
        Fault {
            fields: of_ollama(
                [
                    json!({ "+messages": [said(json!([{ "type": "image_url", "image_url": { "url": image } }]))] }),
                    json!({ "+input": [said(json!([{ "type": "input_image", "image_url": image }]))] }),
                    json!({ "+messages": [said(json!([{ "type": "image",
                        "source": { "type": "base64", "media_type": "image/png", "data": "%%%" } }]))] }),
                ],
                json!({ "+messages": [{ "role": "user", "content": "x", "images": ["%%%"] }] }),
            ),
            told: [
                "messages[1].content[0]",
                "input[1].content[0]",
                "messages[1].content[0]",
                "messages[1].images[0]",
                "messages[1].images[0]",
            ],
        },
        // A kind of part that there is not. Ollama's messages have none at all.
        Fault {
            fields: of_ollama(
                [
                    json!({ "+messages": [said(json!([{ "type": "hologram" }]))] }),
                    json!({ "+input": [{ "type": "hologram" }] }),
                    json!({ "+messages": [said(json!([{ "type": "hologram" }]))] }),
                ],
                json!({ "+messages": [said(json!([{ "type": "hologram" }]))] }),
            ),
            told: [
                "messages[1].content[0].type",
                "input[1].type",
                "messages[1].content[0].type",
                "messages[1].content",
                "messages[1].content",
            ],
        },
        // A schema that makes no sense.
        Fault {
            fields: of_ollama(
                [
                    json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": gone } } }),
                    json!({ "text": { "format": { "type": "json_schema", "name": "x", "schema": gone } } }),
                    json!({ "output_config": { "format": { "type": "json_schema", "schema": gone } } }),
                ],
                json!({ "format": gone }),
            ),
            told: [
                "response_format.json_schema.schema.properties.k.$ref",
                "text.format.schema.properties.k.$ref",
                "output_config.format.schema.properties.k.$ref",
                "format.properties.k.$ref",
                "format.properties.k.$ref",
            ],
        },
        Fault {
            fields: of_ollama(
                [
                    json!({ "+messages": [{ "role": "wizard", "content": "x" }] }),
                    json!({ "+input": [{ "role": "wizard", "content": "x" }] }),
                    json!({ "+messages": [{ "role": "wizard", "content": "x" }] }),
                ],
                json!({ "+messages": [{ "role": "wizard", "content": "x" }] }),
            ),
            told: ["messages[1].role", "input[1].role", "messages[1].role", "messages[1].role", "messages[1].role"],
        },
        many(200_000),
    ]
}

/// So many short messages.
fn many(count: usize) -> Fault {
    let messages: Vec<Value> = (0..count).map(|_| json!({ "role": "user", "content": "x" })).collect();
    let [chat, items] = ["+messages", "+input"].map(|name| json!({ name: messages }));
    Fault { fields: of_ollama([chat.clone(), items, chat.clone()], chat), told: ["values"; 5] }
}

#[actix_web::test]
async fn a_fault_is_told_in_each_language_with_its_field() {
    let scene = Scene::new().await;
    for fault in faults() {
        for (face, (name, path)) in FACES.iter().enumerate() {
            let mut body = hi(face);
            add(&mut body, &fault.fields[face]);
            let answer = scene.gateway.post(path, Some(&scene.admin), body).await;

            let told = answer.json();
            let text = if face < 3 { &told["error"]["message"] } else { &told["error"] };
            let is_named = text.as_str().is_some_and(|text| text.contains(fault.told[face]));
            assert!(answer.status == 400 && is_named, "{name}: {} {told}", answer.status);
        }
    }
    assert_eq!(scene.fake.chats().len(), 0, "nothing of it was sent on");
}

#[actix_web::test]
async fn roles_may_come_in_any_order_and_results_without_a_call() {
    let scene = Scene::new().await;
    let result = |answers: Value| [json!({ "role": "assistant", "content": "Yes?" }), answers];
    let in_ollamas = json!({ "^messages": result(json!({ "role": "tool", "content": "20", "tool_call_id": "c9" })) });
    let fields = of_ollama(
        [
            in_ollamas.clone(),
            json!({ "^input": result(json!({ "type": "function_call_output", "call_id": "c9", "output": "20" })) }),
            json!({ "^messages": result(json!({ "role": "user",
                "content": [{ "type": "tool_result", "tool_use_id": "c9", "content": "20" }] })) }),
        ],
        in_ollamas,
    );
    for (face, fields) in fields.iter().enumerate() {
        let mut body = hi(face);
        add(&mut body, fields);
        scene.ask(face, body).await;
    }
    let chats = scene.fake.chats();
    assert_eq!(chats.len(), FACES.len());
    for chat in &chats {
        assert_eq!(chat.body, chats[0].body);
    }
}
