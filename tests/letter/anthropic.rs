//! Anthropic's letter: generated answers have its events in their order, and say the same whole and in a stream.
//!
//! `LGW_ANTHROPIC_STREAMS=FILE cargo test --test letter generated` writes 10,000 of them into FILE for the parsers of its SDKs.

use std::fs;
use std::io::Write;

use lan_gateway::dialect::anthropic::Anthropic;
use lan_gateway::dialect::{Dialect, Encoder};
use lan_gateway::model::chat::{ChatEvent, Finish, Fold, Piece};
use lan_gateway::model::work::Work;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::events::{Post, any_events};
use super::{Line, streamed, whole};

const PATH: &str = "/v1/messages";
const STOPS: [&str; 2] = ["\n\n", "END"];

fn encoder(body: &Value) -> Box<dyn Encoder> {
    Anthropic.decode(&Post { path: PATH }, body.to_string().as_bytes()).unwrap().reply
}

#[test]
fn generated_answers_of_anthropic_have_their_events_in_order() {
    let mut file = std::env::var_os("LGW_ANTHROPIC_STREAMS").map(|path| fs::File::create(path).unwrap());
    let count = if file.is_some() { 10_000 } else { 1_000 };
    // The same ones each time.
    let mut runner = TestRunner::deterministic();
    for number in 0..count {
        let mut events = any_events().new_tree(&mut runner).unwrap().current();
        if number % 5 == 0 {
            stop_at_a_sequence(&mut events);
        }
        let mut body = json!({ "model": "M:1", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }],
            "stop_sequences": STOPS });

        let whole = whole(encoder(&body), &events);
        body["stream"] = true.into();
        let stream = streamed(encoder(&body), &events);

        let told: Value = serde_json::from_str(whole.get()).unwrap();
        let read = Read::of(&stream);
        assert_eq!(read.text, joined(&told, "text"));
        assert_eq!(read.thinking, joined(&told, "thinking"));
        assert_eq!(read.calls, blocks(&told, "tool_use").cloned().collect::<Vec<_>>());
        assert_eq!(read.end["usage"], told["usage"]);
        for name in ["stop_reason", "stop_sequence"] {
            assert_eq!(read.end["delta"][name], told[name]);
        }
        assert_is_taken_back(&whole, &events);
        if let Some(file) = &mut file {
            let line = Line { path: PATH, request: &body, stream: &stream, whole: &whole };
            writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        }
    }
}

/// Clients send an answer back as they got it.
fn assert_is_taken_back(whole: &RawValue, events: &[ChatEvent]) {
    #[derive(serde::Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let Told { content } = serde_json::from_str(whole.get()).unwrap();
    let hi = r#"{"role":"user","content":"hi"}"#;
    let messages = format!(r#"[{hi},{{"role":"assistant","content":{content}}},{hi}]"#);
    let body = format!(r#"{{"model":"m","max_tokens":9,"messages":{messages}}}"#);
    let decoded = Anthropic.decode(&Post { path: PATH }, body.as_bytes()).unwrap();
    let Work::Chat(chat) = decoded.work else { panic!("no chat") };
    let mut fold = Fold::default();
    events.iter().cloned().for_each(|event| fold.add(event));
    let told = fold.finish().unwrap();
    let read = &chat.messages[1];
    assert!(read.tool_calls().eq(&told.tool_calls));
    assert_eq!((&*read.text(), &*read.reasoning()), (&*told.text, &*told.reasoning));
    assert_eq!(decoded.ignored, [""; 0]);
}

fn stop_at_a_sequence(events: &mut [ChatEvent]) {
    if let Some(ChatEvent { what: Piece::End(end), .. }) = events.last_mut() {
        end.finish = Finish::StopSequence(1);
    }
}

fn blocks<'a>(message: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    message["content"].as_array().unwrap().iter().filter(move |block| block["type"] == kind)
}

fn joined(message: &Value, kind: &str) -> String {
    blocks(message, kind).map(|block| block[kind].as_str().unwrap()).collect()
}

/// A stream, read as strictly as its description has it.
#[derive(Default)]
struct Read {
    text: String,
    thinking: String,
    calls: Vec<Value>,
    end: Value,
}

impl Read {
    fn of(stream: &str) -> Read {
        let mut events = stream.strip_suffix("\n\n").unwrap().split("\n\n").map(|frame| {
            let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        });
        let start = events.next().unwrap();
        assert_eq!((&start["type"], &start["message"]["content"]), (&json!("message_start"), &json!([])));
        let (mut read, mut open, mut next) = (Read::default(), None::<Value>, 0);
        while let Some(event) = events.next() {
            match event["type"].as_str().unwrap() {
                "ping" => {}
                "content_block_start" => {
                    assert!(open.is_none(), "one block at a time");
                    assert_eq!(event["index"], next);
                    open = Some(event["content_block"].clone());
                }
                "content_block_delta" => {
                    assert_eq!(event["index"], next);
                    read.delta(open.as_mut().unwrap(), &event["delta"]);
                }
                "content_block_stop" => {
                    assert_eq!(event["index"], next);
                    next += 1;
                    let block = open.take().unwrap();
                    if block["type"] == "tool_use" {
                        read.calls.push(block);
                    }
                }
                "message_delta" => {
                    assert!(open.is_none());
                    read.end = event;
                    assert_eq!(events.next(), Some(json!({ "type": "message_stop" })));
                    assert_eq!(events.next(), None);
                }
                other => panic!("{other}"),
            }
        }
        assert_ne!(read.end, Value::Null);
        read
    }

    fn delta(&mut self, block: &mut Value, delta: &Value) {
        let text = |name: &str| delta[name].as_str().unwrap().to_owned();
        match (block["type"].as_str().unwrap(), delta["type"].as_str().unwrap()) {
            ("text", "text_delta") => self.text.push_str(&text("text")),
            ("thinking", "thinking_delta") => self.thinking.push_str(&text("thinking")),
            ("thinking", "signature_delta") => assert_eq!(text("signature"), ""),
            ("tool_use", "input_json_delta") => {
                assert_eq!(block["input"], json!({}));
                block["input"] = serde_json::from_str(&text("partial_json")).unwrap();
            }
            pair => panic!("{pair:?}"),
        }
    }
}
