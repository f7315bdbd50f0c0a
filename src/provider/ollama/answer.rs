//! Decodes Ollama's stream of a chat or a completion, however its bytes are split.

use std::fmt;

use memchr::memchr2;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::base::clock::UpstreamTime;
use crate::base::error::Error;
use crate::base::fields::Fields;
use crate::model::chat::{ChatEvent, End, Finish, Piece, Timings, TokenLogprob, ToolCall, Usage};
use crate::provider::Decoder;
use crate::provider::ollama::count::{Count, count};
use crate::provider::ollama::failure::{mid_stream_error, refused};
use crate::provider::ollama::stops::{SearchedText, StopSearch};
use crate::provider::wire::Lines;

/// The longest call written as text, which is held back until it is complete.
const CALL_BYTES_MAX: usize = 1024 * 1024;

pub struct TextDecoder {
    lines: Lines,
    state: State,
}

/// The decoder of an answer, and what it has seen so far.
struct State {
    at: UpstreamTime,
    /// The beginning of the last line with text, up to its time. All lines of an answer name the same model.
    head: Vec<u8>,
    /// The text is in `response`, not in a message.
    is_completion: bool,
    must_call: Vec<String>,
    one_call: bool,
    /// The ids of the calls so far.
    ids: Vec<String>,
    /// Text that will be read as a call.
    held: String,
    stops: StopSearch,
    /// The number of pieces so far, each about a token.
    pieces: u64,
    /// A stop sequence came.
    has_stopped: bool,
    /// The end mark was seen; nothing is read after it.
    done: bool,
    failed: bool,
}

impl TextDecoder {
    /// Returns a decoder for a chat; the parameters are those of `Reading`.
    pub fn chat(must_call: Vec<String>, one_call: bool, stops: Vec<String>) -> Self {
        TextDecoder::new(State { must_call, one_call, stops: StopSearch::of(stops), ..State::new() })
    }

    pub fn completion() -> Self {
        TextDecoder::new(State { is_completion: true, ..State::new() })
    }

    fn new(state: State) -> Self {
        TextDecoder { lines: Lines::default(), state }
    }
}

impl Decoder for TextDecoder {
    fn bytes(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let TextDecoder { lines, state } = self;
        if state.done {
            return Ok(());
        }
        state.check()?;
        let read = lines.feed(chunk, |line| state.line(line, out));
        state.failed = read.is_err();
        read
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let TextDecoder { lines, state } = self;
        state.check()?;
        if state.done {
            return Ok(());
        }
        // The last line may lack its break. Half a line is a truncated answer, not garbage.
        let read = lines.finish(|line| {
            let is_whole = serde_json::from_slice::<IgnoredAny>(line).is_ok();
            if is_whole { state.line(line, out) } else { Err(cut_short()) }
        });
        state.failed = read.is_err();
        read?;
        if state.done { Ok(()) } else { Err(cut_short()) }
    }

    fn has_ended_early(&self) -> bool {
        self.state.has_stopped
    }
}

impl State {
    fn new() -> Self {
        State {
            at: UpstreamTime::EPOCH,
            head: Vec::new(),
            is_completion: false,
            must_call: Vec::new(),
            one_call: false,
            ids: Vec::new(),
            held: String::new(),
            stops: StopSearch::of(Vec::new()),
            pieces: 0,
            has_stopped: false,
            done: false,
            failed: false,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.failed { Err(refused("the model server's answer has failed already")) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.done {
            return Ok(());
        }
        if self.text_line(line, out) { Ok(()) } else { self.any_line(line, out) }
    }

    fn any_line(&mut self, line: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let Fields(line) = serde_json::from_slice::<Fields<Line>>(line).map_err(|_| not_understood())?;
        if let Some(error) = line.error {
            let asks = if self.is_completion { "prompt" } else { "messages" };
            return Err(mid_stream_error(&error).about(asks));
        }
        let message = if self.is_completion {
            line.response.map(|text| LineMessage { content: Some(text), thinking: line.thinking, tool_calls: None })
        } else {
            line.message.map(|Fields(message)| message)
        };
        if message.is_none() && !line.done {
            return Err(not_understood());
        }
        // Older versions may omit the time; then the previous line's is close enough.
        self.at = line.created_at.and_then(|moment| moment.0).unwrap_or(self.at);
        // Logprobs of a call's letters would be taken for those of a text.
        let tokens = line.logprobs.filter(|tokens| !tokens.is_empty() && self.must_call.is_empty());
        if let Some(tokens) = tokens {
            self.push(Piece::Logprobs(LineToken::read_all(tokens)), out);
        }
        if let Some(message) = message {
            self.message(message, out)?;
        }
        if line.done && !self.has_stopped {
            self.done = true;
            self.give_rest(out);
            let is_cut = line.done_reason.as_deref() == Some("length");
            if !self.must_call.is_empty() {
                self.give_held(is_cut, out)?;
            }
            let finish = match line.done_reason.as_deref() {
                Some("length") => Finish::Length,
                // Ollama has no finish reason for tool calls: it sends `stop`, and older versions send none.
                _ if !self.ids.is_empty() => Finish::ToolCalls,
                _ => Finish::Stop,
            };
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

    /// Reads a line that holds a piece of a chat's text and nothing else, as `any_line` would, and returns whether it is
    /// one. Measured: with it a stream without pauses costs the gateway a sixth less CPU time per token.
    fn text_line(&mut self, line: &[u8], out: &mut Vec<ChatEvent>) -> bool {
        if self.is_completion || !self.must_call.is_empty() {
            return false;
        }
        let Some((moment, text)) = self.behind_head(line).and_then(text_in) else { return false };
        self.at = moment.0.unwrap_or(self.at);
        if !text.is_empty() {
            self.say(text, out);
        }
        true
    }

    /// Parses a line of a chat from its time on. Ollama always writes the fields in the same order.
    fn behind_head<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        if self.head.is_empty() || !line.starts_with(&self.head) {
            let (_, rest) = plain_string(line.strip_prefix(br#"{"model":"#)?)?;
            let rest = rest.strip_prefix(br#","created_at":"#)?;
            self.head = line[..line.len() - rest.len()].to_vec();
        }
        Some(&line[self.head.len()..])
    }

    fn message(&mut self, message: LineMessage, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        // A model reasons before it answers, so the reasoning of a line comes first.
        for text in message.thinking.into_iter().filter(|text| !text.is_empty()) {
            self.pieces += 1;
            self.give_rest(out);
            self.push(Piece::Reasoning(text), out);
        }
        for text in message.content.into_iter().filter(|text| !text.is_empty()) {
            if self.must_call.is_empty() {
                self.say(text, out);
            } else if self.held.len() + text.len() > CALL_BYTES_MAX {
                return Err(refused(format!("the model's call grew beyond {CALL_BYTES_MAX} bytes")));
            } else {
                self.held.push_str(&text);
            }
        }
        if self.has_stopped {
            return Ok(());
        }
        for Fields(call) in message.tool_calls.into_iter().flatten() {
            self.pieces += 1;
            self.give_rest(out);
            self.call(call, out)?;
        }
        Ok(())
    }

    /// Passes text on up to a stop sequence, at which the answer ends.
    fn say(&mut self, text: String, out: &mut Vec<ChatEvent>) {
        self.pieces += 1;
        if self.stops.is_for_nothing() {
            return self.push(Piece::Text(text), out);
        }
        let SearchedText { text, stop } = self.stops.pass(&text);
        if !text.is_empty() {
            self.push(Piece::Text(text), out);
        }
        if let Some(number) = stop {
            self.has_stopped = true;
            self.done = true;
            // The upstream is cut off and won't report what it has read; the gateway estimates that.
            let usage = Usage { prompt_tokens: 0, answer_tokens: self.pieces };
            let end = End { finish: Finish::StopSequence(number), usage, timings: Timings::default() };
            self.push(Piece::End(end), out);
        }
    }

    /// Passes on text that was held back, since it is no stop sequence.
    fn give_rest(&mut self, out: &mut Vec<ChatEvent>) {
        let rest = self.stops.rest();
        if !rest.is_empty() {
            self.push(Piece::Text(rest), out);
        }
    }

    /// Turns text that was bound to the schema of a call into that call. Truncated text is passed on as text; any other text
    /// comes from a model server that does not enforce schemas.
    fn give_held(&mut self, is_cut: bool, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let text = std::mem::take(&mut self.held);
        // Line breaks can only be between the parts of JSON, never in its strings: a call must fit into a line.
        let json = text.replace(['\n', '\r'], " ");
        match serde_json::from_str::<Fields<HeldCall>>(&json) {
            Ok(Fields(call)) if self.must_call.contains(&call.name) && call.arguments.get().starts_with('{') => {
                let function = LineFunction { name: call.name, arguments: Some(call.arguments) };
                self.call(LineCall { id: None, function: Fields(function) }, out)
            }
            _ if is_cut => {
                if !text.is_empty() {
                    self.push(Piece::Text(text), out);
                }
                Ok(())
            }
            _ if self.ids.is_empty() => {
                Err(refused("the model did not call a function, as `tool_choice` asks; try another model or `auto`"))
            }
            _ => Ok(()),
        }
    }

    fn call(&mut self, call: LineCall, out: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.one_call && !self.ids.is_empty() {
            return Ok(());
        }
        let call = self.tool_call(call)?;
        self.ids.push(call.id.clone());
        self.push(Piece::ToolCall(call), out);
        Ok(())
    }

    fn tool_call(&mut self, call: LineCall) -> Result<ToolCall, Error> {
        let Fields(LineFunction { name, arguments }) = call.function;
        let arguments = match arguments {
            Some(arguments) if arguments.get().starts_with('{') => arguments,
            Some(arguments) if arguments.get() != "null" => {
                return Err(refused("the model server sent a tool call whose arguments are not an object"));
            }
            _ => to_raw_value(&Map::new()).map_err(Error::internal)?,
        };
        let id = match call.id {
            Some(id) if !id.is_empty() && !self.ids.contains(&id) => id,
            _ => self.made_up_id(&name, arguments.get()),
        };
        Ok(ToolCall { id, name, arguments })
    }

    /// Returns an id for a call, since older versions send none. It depends on the bytes alone, so that a golden file can hold
    /// it; the upstream's time, to the nanosecond, distinguishes the calls of two answers.
    fn made_up_id(&self, name: &str, arguments: &str) -> String {
        let moment = self.at.nanoseconds().to_le_bytes();
        let number = (self.ids.len() as u64).to_le_bytes();
        let hash = fnv1a([&moment[..], &number, name.as_bytes(), b"\0", arguments.as_bytes()]);
        format!("call_{hash:016x}")
    }

    fn push(&self, what: Piece, out: &mut Vec<ChatEvent>) {
        out.push(ChatEvent { at: self.at, what });
    }
}

/// Returns FNV-1a with 64 bits: good enough for ids that only have to differ from their neighbours.
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

/// The content of most lines from their time on: the time and a piece of text between constant bytes.
fn text_in(line: &[u8]) -> Option<(Moment, String)> {
    let (time, rest) = plain_string(line)?;
    let rest = rest.strip_prefix(br#","message":{"role":"assistant","content":"#)?;
    let text = rest.strip_suffix(br#"},"done":false}"#)?;
    let text = match plain_string(text) {
        Some((text, [])) => text.to_owned(),
        _ => serde_json::from_slice(text).ok()?,
    };
    Some((Moment::parse(time), text))
}

/// Returns a JSON string without escapes, and the rest behind it.
fn plain_string(json: &[u8]) -> Option<(&str, &[u8])> {
    let json = json.strip_prefix(b"\"")?;
    let end = memchr2(b'"', b'\\', json)?;
    let rest = json[end..].strip_prefix(b"\"")?;
    let text = str::from_utf8(&json[..end]).ok()?;
    let has_control = text.bytes().any(|byte| byte < b' ');
    (!has_control).then_some((text, rest))
}

#[derive(Deserialize)]
struct Line {
    created_at: Option<Moment>,
    message: Option<Fields<LineMessage>>,
    /// Only in completions, as `thinking` is.
    response: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    logprobs: Option<Vec<Fields<LineToken>>>,
    error: Option<Value>,
    total_duration: Option<Count>,
    load_duration: Option<Count>,
    prompt_eval_count: Option<Count>,
    prompt_eval_duration: Option<Count>,
    eval_count: Option<Count>,
    eval_duration: Option<Count>,
}

#[derive(Deserialize)]
struct LineMessage {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Fields<LineCall>>>,
}

#[derive(Deserialize)]
struct LineCall {
    id: Option<String>,
    function: Fields<LineFunction>,
}

#[derive(Deserialize)]
struct LineFunction {
    name: String,
    arguments: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct LineToken {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
    top_logprobs: Option<Vec<Fields<LineToken>>>,
}

impl LineToken {
    fn read_all(tokens: Vec<Fields<LineToken>>) -> Vec<TokenLogprob> {
        tokens.into_iter().map(|Fields(token)| token.read()).collect()
    }

    fn read(self) -> TokenLogprob {
        let top = LineToken::read_all(self.top_logprobs.unwrap_or_default());
        let bytes = self.bytes.unwrap_or_else(|| self.token.as_bytes().to_vec());
        TokenLogprob { token: self.token, logprob: self.logprob, bytes, top }
    }
}

/// A call as the schema of `bound_to_call` makes a model write it. Its arguments are an object, kept as text: `1e400` is valid
/// JSON, but no number that could be read here.
#[derive(Deserialize)]
struct HeldCall {
    name: String,
    arguments: Box<RawValue>,
}

/// A time. An unreadable one is read as none, so that it doesn't fail the answer.
struct Moment(Option<UpstreamTime>);

impl Moment {
    fn parse(text: &str) -> Self {
        Moment(UpstreamTime::parse(text))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
                Ok(Moment::parse(text))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests;
