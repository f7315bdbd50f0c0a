use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::provider::ollama::OllamaProvider;
use crate::provider::{Provider, Reading};

fn decode(text: &str) -> (Vec<Piece>, Result<(), Error>) {
    let mut decoder = OllamaProvider.decoder(&Reading::plain_chat());
    let mut out = Vec::new();
    let ended = decoder.bytes(text.as_bytes(), &mut out).and_then(|()| decoder.end(&mut out));
    (out.into_iter().map(|event| event.what).collect(), ended)
}

#[test]
fn thinking_and_text_in_one_line_are_two_pieces() {
    let line = r#"{"message":{"content":"yes","thinking":"hm"},"done":false}"#;

    assert_eq!(decode(line).0, [Piece::Reasoning("hm".into()), Piece::Text("yes".into())]);
}

#[test]
fn a_call_written_as_text_keeps_its_arguments_as_the_model_wrote_them() {
    let called = |arguments: &str| {
        let text = serde_json::to_string(&format!("{{\n  \"name\": \"f\",\n  \"arguments\": {arguments}\n}}")).unwrap();
        let reading = Reading::Chat { must_call: vec!["f".into()], one_call: false, stops: Vec::new() };
        let (mut decoder, mut out) = (OllamaProvider.decoder(&reading), Vec::new());
        let line = format!(r#"{{"message":{{"content":{text}}},"done":true}}"#);
        let ended = decoder.bytes(line.as_bytes(), &mut out).and_then(|()| decoder.end(&mut out));
        ended.map(|()| match &out[0].what {
            Piece::ToolCall(call) => call.arguments.get().to_owned(),
            other => panic!("{other:?}"),
        })
    };

    assert_eq!(
        called("{\n\t\"a\": 1e400,\r\n \"A\": \"\\n\\ud83d\"}").unwrap(),
        "{ \t\"a\": 1e400,   \"A\": \"\\n\\ud83d\"}"
    );
    let nested = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    assert_eq!(called(&nested).unwrap(), nested);
    for bad in ["[1]", "null", "\"{}\"", "{", "{\"a\":01}"] {
        assert_eq!(called(bad).unwrap_err().code(), "upstream_error", "{bad}");
    }
}

#[test]
fn an_answer_without_its_end_mark_is_an_error() {
    let (pieces, ended) = decode("{\"message\":{\"content\":\"a\"},\"done\":false}\n");

    assert_eq!(pieces, [Piece::Text("a".into())]);
    assert_eq!(ended.unwrap_err().to_string(), "the model server ended the answer without its end mark");
    assert!(decode("").1.is_err());
}

#[test]
fn nothing_is_read_after_the_end_mark() {
    let (pieces, ended) = decode("{\"done\":true}\n{\"error\":\"late\"}\n{\"done\":true}\n garbage");

    assert_eq!(pieces.len(), 1);
    ended.unwrap();
}

#[test]
fn what_is_not_understood_is_an_error_and_stays_one() {
    for bad in [
        "nonsense\n",
        "[]",
        "{}",
        "{\"done\":false}",
        "{\"message\":{\"content\":5}}",
        "\u{feff}{\"done\":true}",
        "{\"done\":true",
    ] {
        assert_eq!(decode(bad).1.unwrap_err().code(), "upstream_error", "{bad}");
    }
    let mut decoder = OllamaProvider.decoder(&Reading::plain_chat());
    let mut out = Vec::new();
    decoder.bytes(b"nonsense\n", &mut out).unwrap_err();
    assert!(decoder.bytes(b"{\"done\":true}\n", &mut out).is_err());
    assert!(decoder.end(&mut out).is_err());
    assert_eq!(out, []);
}

#[test]
fn a_list_is_never_taken_for_an_object() {
    for bad in [
        r#"["m","2026-01-01T00:00:00Z",{"role":"assistant","content":"hi"},false]"#,
        r#"["2026-01-01T00:00:00Z",{"content":"hi"},null,null,false,null,null,null,1,1,1,1,1,1]"#,
        r#"{"model":"m","created_at":"2026-01-01T00:00:00Z","message":["assistant","hi"],"done":false}"#,
        r#"{"message":["hi",null,null],"done":false}"#,
        r#"{"message":{"tool_calls":[["a",{"name":"f"}]]},"done":false}"#,
        r#"{"message":{"tool_calls":[{"function":["f",{}]}]},"done":false}"#,
        r#"{"message":{"content":"a"},"logprobs":[["a",-1,null,null]],"done":false}"#,
    ] {
        let (pieces, ended) = decode(&format!("{bad}\n{{\"done\":true}}"));
        assert_eq!((pieces, ended.unwrap_err().code()), (vec![], "upstream_error"), "{bad}");
    }
}

fn plain_line(content: &str) -> String {
    format!(
        r#"{{"model":"m","created_at":"2026-01-01T00:00:00.5Z","message":{{"role":"assistant","content":{content}}},"done":false}}"#
    )
}

#[test]
fn a_line_of_plain_text_takes_the_short_way() {
    let mut out = Vec::new();

    assert!(State::new().text_line(plain_line(r#""a\n\u00fc""#).as_bytes(), &mut out));
    assert_eq!(out.pop().unwrap().what, Piece::Text("a\nü".into()));
    for other in [r#"null"#, r#""a","thinking":"hm""#, r#""a","tool_calls":[]"#, r#""a","content":"b""#, "\"\\ud800\""]
    {
        assert!(!State::new().text_line(plain_line(other).as_bytes(), &mut out), "{other}");
    }
    assert_eq!(out, []);
}

/// An object of these fields, each perhaps absent or there twice, in any order, or a list of their values.
fn nearly(fields: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let times = prop_oneof![30 => Just(1_usize), 1 => Just(0), 1 => Just(2)];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| (times.clone(), value).prop_map(move |(times, value)| vec![(name, value); times]).boxed())
        .collect();
    let shape = prop_oneof![12 => Just(false), 1 => Just(true)];
    let more = prop_oneof![
        8 => Just(None),
        1 => prop::sample::select(&[
            ("thinking", "\"hm\""), ("tool_calls", "[]"), ("error", "null"), ("done_reason", "\"stop\""),
            ("images", "[]"), ("eval_count", "2"), ("logprobs", "null"), ("unknown", "[{}]"), ("response", "\"a\""),
        ][..]).prop_map(Some),
    ];
    (fields, shape, more, any::<prop::sample::Index>())
        .prop_map(|(fields, is_list, more, turn)| {
            let mut fields: Vec<_> = fields.into_iter().flatten().collect();
            if let Some((name, value)) = more {
                fields.insert(turn.index(fields.len() + 1), (name, value.to_owned()));
            }
            if is_list {
                return format!("[{}]", fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(","));
            }
            // Any order, but mostly the usual one.
            let first = turn.index(fields.len() * 6 + 1);
            if first < fields.len() {
                fields.rotate_left(first);
            }
            let named = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", named.collect::<Vec<_>>().join(","))
        })
        .boxed()
}

fn one_of(often: &'static str, seldom: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![15 => Just(often), 1 => prop::sample::select(seldom)].prop_map(str::to_owned).boxed()
}

fn nearly_text_lines() -> impl Strategy<Value = Vec<u8>> {
    let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let content = prop_oneof![
        6 => text,
        1 => prop::sample::select(&[
            "null", "5", "[]", "\"\"", r#""\ud83d\ude42""#, r#""\ud800""#, r#""\/\b\u0000""#, r#""\x""#, "\"\t\"",
        ][..]).prop_map(str::to_owned),
    ];
    let message = nearly(vec![
        ("role", one_of("\"assistant\"", &["null", "7", "{}", r#""\ud800""#])),
        ("content", content.boxed()),
    ]);
    let message = prop_oneof![12 => message, 1 => Just("null".to_owned()), 1 => Just("\"hi\"".to_owned())];
    let line = nearly(vec![
        ("model", one_of("\"m\"", &["\"mm\"", "\"\"", "null", "1e999", "[[]]", r#""\ud800""#])),
        (
            "created_at",
            one_of("\"2026-01-01T00:00:00.5Z\"", &["null", "\"today\"", "5", r#""2026-01-01T00:00:00\u005a""#]),
        ),
        ("message", message.boxed()),
        ("done", one_of("false", &["true", "null", "0", "\"false\""])),
    ]);
    let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (line, damage).prop_map(|(line, damage)| {
        let mut line = line.into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(line.len());
            line[at] = byte;
        }
        line
    })
}

#[test]
fn the_short_way_reads_what_the_long_one_does() {
    let config = ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() };
    let taken = Cell::new(0);

    // As the first line of an answer, and as one that follows another, whose beginning is remembered.
    let lines = (prop::option::of(Just(plain_line("\"a\""))), nearly_text_lines());
    let held = TestRunner::new(config).run(&lines, |(before, line)| {
        let (mut short, mut long) = (State::new(), State::new());
        let (mut short_out, mut long_out) = (Vec::new(), Vec::new());
        if let Some(before) = before {
            prop_assert!(short.text_line(before.as_bytes(), &mut short_out));
            prop_assert!(long.any_line(before.as_bytes(), &mut long_out).is_ok());
        }
        let (pieces, at) = (short_out.len(), short.at);
        if short.text_line(&line, &mut short_out) {
            taken.set(taken.get() + 1);
            prop_assert!(long.any_line(&line, &mut long_out).is_ok(), "{}", String::from_utf8_lossy(&line));
            prop_assert_eq!(&short_out, &long_out);
            prop_assert_eq!((short.at, short.done), (long.at, long.done));
        } else {
            prop_assert_eq!((short_out.len(), short.at), (pieces, at));
        }
        Ok(())
    });

    held.unwrap();
    assert!(taken.get() > 500, "only {} lines took the short way", taken.get());
}

#[test]
fn reasons_for_the_end_are_what_the_caller_got() {
    let finish = |line: &str| match decode(line).0.pop() {
        Some(Piece::End(end)) => end.finish,
        other => panic!("{other:?}"),
    };
    let call = r#""message":{"tool_calls":[{"function":{"name":"f"}}]}"#;

    assert_eq!(finish(r#"{"done":true,"done_reason":"stop"}"#), Finish::Stop);
    assert_eq!(finish(r#"{"done":true,"done_reason":""}"#), Finish::Stop);
    assert_eq!(finish(r#"{"done":true,"done_reason":"load"}"#), Finish::Stop);
    assert_eq!(finish(r#"{"done":true,"done_reason":"length"}"#), Finish::Length);
    assert_eq!(finish(&format!(r#"{{"done":true,"done_reason":"stop",{call}}}"#)), Finish::ToolCalls);
    assert_eq!(finish(&format!(r#"{{"done":true,"done_reason":"length",{call}}}"#)), Finish::Length);
}

#[test]
fn calls_without_an_id_get_one_that_differs() {
    let calls = r#"[{"function":{"name":"f","arguments":{}}},{"id":"","function":{"name":"f","arguments":null}}]"#;
    let line = |second| {
        format!(r#"{{"created_at":"2026-01-01T00:00:0{second}.1Z","message":{{"tool_calls":{calls}}},"done":true}}"#)
    };
    let ids = |line: String| -> Vec<String> {
        let pieces = decode(&line).0;
        pieces
            .into_iter()
            .filter_map(|piece| if let Piece::ToolCall(call) = piece { Some(call.id) } else { None })
            .collect()
    };

    let (first, again, later) = (ids(line(1)), ids(line(1)), ids(line(2)));

    assert_eq!(first, again);
    assert_ne!(first[0], first[1]);
    assert_ne!(first[0], later[0]);
    assert!(first[0].starts_with("call_") && first[0].len() == 21);
}

#[test]
fn arguments_that_are_no_object_are_refused() {
    for bad in ["\"{}\"", "[]", "5", "true"] {
        let line =
            format!(r#"{{"message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{bad}}}}}]}},"done":true}}"#);
        assert!(decode(&line).1.is_err(), "{bad}");
    }
}
