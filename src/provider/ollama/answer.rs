//! Ollama's stream of a chat, read in any split.

use std::fmt;

use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::chat::{ChatEvent, End, Finish, Piece, Timings, ToolCall, Usage};
use crate::error::Error;
use crate::provider::Decoder;
use crate::provider::ollama::{mid_stream_error, refused};
use crate::provider::wire::Lines;

#[derive(Default)]
pub struct ChatDecoder {
    lines: Lines,
    state: State,
}

/// What of the answer has been seen.
struct State {
    at: OffsetDateTime,
    calls: u64,
    /// After the end mark nothing is read any more: an answer ends once.
    done: bool,
    failed: bool,
}

impl Default for State {
    fn default() -> Self {
        State { at: OffsetDateTime::UNIX_EPOCH, calls: 0, done: false, failed: false }
    }
}

impl Decoder for ChatDecoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let ChatDecoder { lines, state } = self;
        if state.done {
            return Ok(());
        }
        state.check()?;
        let read = lines.feed(chunk, |line| state.line(line, out));
        state.failed = read.is_err();
        read
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let ChatDecoder { lines, state } = self;
        state.check()?;
        if state.done {
            return Ok(());
        }
        // The last line may lack its break; half a line is no garbage, but an answer that was cut.
        let read = lines.finish(|line| {
            let is_whole = serde_json::from_slice::<IgnoredAny>(line).is_ok();
            if is_whole { state.line(line, out) } else { Err(cut_short()) }
        });
        state.failed = read.is_err();
        read?;
        if state.done { Ok(()) } else { Err(cut_short()) }
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        if self.failed { Err(refused("the model server's answer has failed already")) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.done {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line).map_err(|_| not_understood())?;
        if let Some(error) = line.error {
            return Err(mid_stream_error(&error));
        }
        if line.message.is_none() && !line.done {
            return Err(not_understood());
        }
        // Older versions may leave the time out; then the time of the line before is near enough.
        self.at = line.created_at.and_then(|moment| moment.0).unwrap_or(self.at);
        if let Some(message) = line.message {
            self.message(message, out)?;
        }
        if line.done {
            self.done = true;
            let finish = match line.done_reason.as_deref() {
                Some("length") => Finish::Length,
                // Ollama has no reason of its own for tool calls: it says `stop`, and older versions say nothing.
                _ if self.calls > 0 => Finish::ToolCalls,
                _ => Finish::Stop,
            };
            // A zero is absent on this wire.
            let count = Option::unwrap_or_default;
            let usage = Usage { prompt_tokens: count(line.prompt_eval_count), answer_tokens: count(line.eval_count) };
            let timings = Timings {
                total_ns: count(line.total_duration),
                load_ns: count(line.load_duration),
                prompt_ns: count(line.prompt_eval_duration),
                answer_ns: count(line.eval_duration),
            };
            self.push(Piece::End(End { finish, usage, timings }), out);
        }
        Ok(())
    }

    fn message(&mut self, message: LineMessage, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        // A model thinks before it speaks, so in one line the thinking comes first.
        for text in message.thinking.into_iter().filter(|text| !text.is_empty()) {
            self.push(Piece::Reasoning(text), out);
        }
        for text in message.content.into_iter().filter(|text| !text.is_empty()) {
            self.push(Piece::Text(text), out);
        }
        for call in message.tool_calls.into_iter().flatten() {
            let call = self.tool_call(call)?;
            self.push(Piece::ToolCall(call), out);
        }
        Ok(())
    }

    fn tool_call(&mut self, call: LineCall) -> Result<ToolCall, Error> {
        let name = call.function.name;
        let arguments = match call.function.arguments {
            Some(arguments) if arguments.get().starts_with('{') => arguments,
            Some(arguments) if arguments.get() != "null" => {
                return Err(refused("the model server sent a tool call whose arguments are not an object"));
            }
            _ => to_raw_value(&Map::new()).map_err(Error::internal)?,
        };
        let id = match call.id {
            Some(id) if !id.is_empty() => id,
            _ => self.made_up_id(&name, arguments.get()),
        };
        self.calls += 1;
        Ok(ToolCall { id, name, arguments })
    }

    /// Older versions send calls without an id. This one depends on nothing but the bytes, so that a golden file can
    /// hold it; the upstream's clock in it, to the nanosecond, keeps the calls of two answers apart.
    fn made_up_id(&self, name: &str, arguments: &str) -> String {
        let moment = self.at.unix_timestamp_nanos().to_le_bytes();
        let number = self.calls.to_le_bytes();
        let hash = fnv1a([&moment[..], &number, name.as_bytes(), b"\0", arguments.as_bytes()]);
        format!("call_{hash:016x}")
    }

    fn push(&self, what: Piece, out: &mut Vec<ChatEvent>) {
        out.push(ChatEvent { at: self.at, what });
    }
}

/// FNV-1a, 64 bits: spreads well enough for a name that only has to differ from its neighbours.
fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn cut_short() -> Error {
    refused("the model server ended the answer without its end mark")
}

fn not_understood() -> Error {
    refused("the model server sent a line that is not understood")
}

#[derive(Deserialize)]
struct Line {
    created_at: Option<Moment>,
    message: Option<LineMessage>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    error: Option<Value>,
    total_duration: Option<u64>,
    load_duration: Option<u64>,
    prompt_eval_count: Option<u64>,
    prompt_eval_duration: Option<u64>,
    eval_count: Option<u64>,
    eval_duration: Option<u64>,
}

#[derive(Deserialize)]
struct LineMessage {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<LineCall>>,
}

#[derive(Deserialize)]
struct LineCall {
    id: Option<String>,
    function: LineFunction,
}

#[derive(Deserialize)]
struct LineFunction {
    name: String,
    arguments: Option<Box<RawValue>>,
}

/// A point in time, read in place. One that can't be read is none: it must not cost an answer.
struct Moment(Option<OffsetDateTime>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                Ok(Moment(OffsetDateTime::parse(text, &Rfc3339).ok()))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;
    use crate::provider::ollama::Ollama;

    fn decode(text: &str) -> (Vec<Piece>, Result<(), Error>) {
        let mut decoder = Ollama.decoder();
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
        let mut decoder = Ollama.decoder();
        let mut out = Vec::new();
        decoder.bytes(b"nonsense\n", &mut out).unwrap_err();
        assert!(decoder.bytes(b"{\"done\":true}\n", &mut out).is_err());
        assert!(decoder.end(&mut out).is_err());
        assert_eq!(out, []);
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
            format!(
                r#"{{"created_at":"2026-01-01T00:00:0{second}.1Z","message":{{"tool_calls":{calls}}},"done":true}}"#
            )
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
            let line = format!(
                r#"{{"message":{{"tool_calls":[{{"function":{{"name":"f","arguments":{bad}}}}}]}},"done":true}}"#
            );
            assert!(decode(&line).1.is_err(), "{bad}");
        }
    }
}
