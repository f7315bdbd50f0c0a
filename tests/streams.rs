//! Generated answers of Ollama's own API: the lines of a stream add up to the whole answer.
//!
//! `LGW_OLLAMA_STREAMS=FILE cargo test --test streams` writes 10,000 of them into FILE, a line each, for the parser of Ollama's
//! Python client (`tests/sdk/`).

use std::fs;
use std::io::Write;

use bytes::BytesMut;
use lan_gateway::dialect::{Dialect, Encoder, ollama::Ollama};
use lan_gateway::model::chat::{ChatEvent, Fold};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[path = "support/events.rs"]
mod events;

use events::{Post, any_events_with_logprobs};

#[derive(Serialize)]
struct Line<'a> {
    request: &'a Value,
    stream: &'a str,
    whole: &'a RawValue,
}

const PATH: &str = "/api/chat";

fn encoder(body: &Value, stream: bool) -> Box<dyn Encoder> {
    let mut body = body.clone();
    body["stream"] = stream.into();
    Ollama.decode(&Post { path: PATH }, body.to_string().as_bytes()).unwrap().reply
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

#[test]
fn the_lines_of_a_chat_add_up_to_the_whole_chat() {
    let mut file = std::env::var_os("LGW_OLLAMA_STREAMS").map(|path| fs::File::create(path).unwrap());
    let count = if file.is_some() { 10_000 } else { 500 };
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    // The same ones each time.
    let mut runner = TestRunner::deterministic();
    for _ in 0..count {
        let events = any_events_with_logprobs().new_tree(&mut runner).unwrap().current();
        let stream = streamed(encoder(&body, true), &events);
        let whole = whole(encoder(&body, false), &events);

        check(&stream, &serde_json::from_str(whole.get()).unwrap());

        if let Some(file) = &mut file {
            let line = Line { request: &body, stream: &stream, whole: &whole };
            writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        }
    }
}

fn check(stream: &str, whole: &Value) {
    let lines: Vec<Value> = stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let joined = |field: &str| lines.iter().filter_map(|line| line["message"][field].as_str()).collect::<String>();
    let calls = lines.iter().filter_map(|line| line["message"]["tool_calls"].as_array()).flatten().cloned();
    let message = &whole["message"];
    assert_eq!((joined("content"), joined("thinking")), (text(&message["content"]), text(&message["thinking"])));
    assert_eq!(&calls.collect::<Value>(), message.get("tool_calls").unwrap_or(&json!([])));
    let last = lines.last().unwrap();
    for field in ["done", "done_reason", "prompt_eval_count", "eval_count", "total_duration", "created_at"] {
        assert_eq!(last.get(field), whole.get(field), "{field}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
