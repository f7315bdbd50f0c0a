//! OpenAI's letter: what we answer is what its published schema says, and what its own clients read.
//!
//! `LGW_STREAMS=FILE cargo test --test letter generated` writes 10,000 generated answers into FILE, a line each, for the
//! parsers of the Python and the Node client (`tests/sdk/`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use lan_gateway::dialect::{Dialect, Encoder, openai::OpenAi};
use lan_gateway::model::chat::{ChatEvent, Fold};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[path = "letter/schema.rs"]
mod schema;

#[path = "letter/anthropic.rs"]
mod anthropic;

#[path = "letter/rows.rs"]
mod rows;

#[path = "support/events.rs"]
mod events;

use events::{Post, any_events_with_logprobs};
use schema::Schema;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";

fn encoder(path: &'static str, body: &Value) -> Box<dyn Encoder> {
    OpenAi.decode(&Post { path }, body.to_string().as_bytes()).unwrap().reply
}

fn streamed(mut encoder: Box<dyn Encoder>, events: &[ChatEvent]) -> String {
    let mut out = BytesMut::new();
    for (number, event) in events.iter().enumerate() {
        if number % 3 == 0 {
            encoder.heartbeat(&mut out);
        }
        encoder.event(event, &mut out);
    }
    String::from_utf8(out.to_vec()).unwrap()
}

fn whole(mut encoder: Box<dyn Encoder>, events: &[ChatEvent]) -> Box<RawValue> {
    let mut fold = Fold::default();
    events.iter().cloned().for_each(|event| fold.add(event));
    let mut out = BytesMut::new();
    encoder.whole(&fold.finish().unwrap(), &mut out);
    RawValue::from_string(String::from_utf8(out.to_vec()).unwrap()).unwrap()
}

/// What stands behind each `data:` of a stream but the last, which is `[DONE]`.
fn chunks(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    request: &'a Value,
    stream: &'a str,
    whole: &'a RawValue,
}

#[test]
fn generated_answers_keep_to_the_published_schema() {
    let schema = Schema::read();
    let mut file = std::env::var_os("LGW_STREAMS").map(|path| fs::File::create(path).unwrap());
    let count = if file.is_some() { 10_000 } else { 1_000 };
    // The same ones each time.
    let mut runner = TestRunner::deterministic();
    for number in 0..count {
        let events = any_events_with_logprobs().new_tree(&mut runner).unwrap().current();
        // Every tenth is a completion.
        let (path, object, chunk) =
            if number % 10 == 9 { (COMPLETIONS, "completion", "completion") } else { (CHAT, "chat", "chat_chunk") };
        let mut body = json!({ "model": "M:1", "prompt": "hi", "messages": [{ "role": "user", "content": "hi" }] });
        body["logprobs"] = if path == CHAT { (number % 2 == 0).into() } else { json!(3) };

        let whole = whole(encoder(path, &body), &events);
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": number % 3 == 0 });
        let stream = streamed(encoder(path, &body), &events);

        schema.check(object, &serde_json::from_str(whole.get()).unwrap());
        chunks(&stream).iter().for_each(|value| schema.check(chunk, value));
        if let Some(file) = &mut file {
            // As it was written: serde_json may read a float's last digit differently.
            let line = Line { path, request: &body, stream: &stream, whole: &whole };
            writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        }
    }
}

/// `LGW_RESPONSE_STREAMS` names a file for 10,000 responses, like `LGW_STREAMS`.
#[test]
fn generated_responses_are_numbered_and_say_the_same_whole_and_in_a_stream() {
    let mut file = std::env::var_os("LGW_RESPONSE_STREAMS").map(|path| fs::File::create(path).unwrap());
    let count = if file.is_some() { 10_000 } else { 500 };
    let mut runner = TestRunner::deterministic();
    for number in 0..count {
        let events = any_events_with_logprobs().new_tree(&mut runner).unwrap().current();
        let mut body = json!({ "model": "M:1", "input": "hi" });
        if number % 2 == 0 {
            body["include"] = json!(["message.output_text.logprobs", "reasoning.encrypted_content"]);
        }

        let whole = whole(encoder(RESPONSES, &body), &events);
        body["stream"] = true.into();
        let stream = streamed(encoder(RESPONSES, &body), &events);

        let sent = chunks(&stream);
        for (place, event) in sent.iter().enumerate() {
            assert_eq!(event["sequence_number"], place, "{stream}");
        }
        let (last, told) = (&sent[sent.len() - 1]["response"], serde_json::from_str::<Value>(whole.get()).unwrap());
        for field in ["status", "usage", "incomplete_details", "id", "created_at"] {
            assert_eq!(last[field], told[field], "{field}: {stream}");
        }
        assert_eq!(said(last), said(&told), "{stream}");
        if let Some(file) = &mut file {
            let line = Line { path: RESPONSES, request: &body, stream: &stream, whole: &whole };
            writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        }
    }
}

/// What a response says, however its items are cut: thought, text, and calls.
fn said(response: &Value) -> (String, String, Vec<Value>) {
    let of = |kind: &str, list: &str| -> String {
        let items = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == kind);
        items.flat_map(|item| item[list].as_array().unwrap()).map(|part| part["text"].as_str().unwrap()).collect()
    };
    let calls = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == "function_call");
    let calls = calls.map(|item| json!([item["call_id"], item["name"], item["arguments"]])).collect();
    (of("reasoning", "summary"), of("message", "content"), calls)
}

#[test]
fn golden_answers_keep_to_the_published_schema() {
    let schema = Schema::read();
    let mut checked = 0;
    for (folder, object, chunk) in [
        ("openai", "chat", "chat_chunk"),
        ("openai_completions", "completion", "completion"),
        ("openai_embeddings", "embeddings", "embeddings"),
    ] {
        for case in cases(folder) {
            if let Ok(answer) = fs::read_to_string(case.join("answer.txt")) {
                let events = chunks(&answer);
                if events.is_empty() {
                    schema.check(object, &serde_json::from_str(&answer).unwrap());
                }
                for event in &events {
                    schema.check(if event.get("error").is_some() { "error" } else { chunk }, event);
                }
                checked += 1;
            }
            if let Ok(refusal) = fs::read_to_string(case.join("refusal.txt")) {
                schema.check("error", &serde_json::from_str(refusal.split_once("\n\n").unwrap().1).unwrap());
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "only {checked} answers were found");
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dialect").join(folder);
    fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect()
}
