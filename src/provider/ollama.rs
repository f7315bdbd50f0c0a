//! Ollama's native chat API, as the gateway speaks it to a model server.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::catalog::ModelCard;
use crate::chat::{
    ChatEvent, ChatRequest, End, Finish, Format, Message, ModelName, Piece, Role, Think, Timings, Tool, ToolCall, Usage,
};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::provider::wire::Lines;
use crate::provider::{Call, Decoder, ImageAt, Provider};

pub struct Ollama;

impl Provider for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn chat(&self, request: &ChatRequest) -> Result<Call, Error> {
        let mut images = Vec::new();
        let body = body(request, &mut images);
        Ok(Call { path: "/api/chat", body: Bytes::from(body), images, notes: Vec::new() })
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(ChatDecoder::default())
    }

    fn failure(&self, status: u16, body: &[u8]) -> Error {
        failure(status, body)
    }

    fn models_path(&self) -> &'static str {
        "/api/tags"
    }

    fn models(&self, body: &[u8]) -> Result<Vec<ModelCard>, Error> {
        models(body)
    }
}

// --- The request ----------------------------------------------------------------------------------------------------

/// The envelope is written by hand because the place of each image in it is part of the record.
fn body(request: &ChatRequest, images: &mut Vec<ImageAt>) -> Vec<u8> {
    let mut out = Vec::with_capacity(expected_length(request));
    out.extend_from_slice(b"{\"model\":");
    put(&mut out, request.model.as_str());
    out.extend_from_slice(b",\"messages\":[");
    for (number, message) in request.messages.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put_message(&mut out, message, images);
    }
    // Streaming is the only path: a whole answer is a stream folded.
    out.extend_from_slice(b"],\"stream\":true");
    if !request.tools.is_empty() {
        let tools: Vec<_> = request.tools.iter().map(WireTool::of).collect();
        put_field(&mut out, "tools", &tools);
    }
    match &request.format {
        Some(Format::Json) => put_field(&mut out, "format", "json"),
        Some(Format::Schema(schema)) => put_field(&mut out, "format", schema),
        None => {}
    }
    let options = options(request);
    if !options.is_empty() {
        put_field(&mut out, "options", &options);
    }
    match request.think {
        Some(Think::Off) => put_field(&mut out, "think", &false),
        Some(Think::On) => put_field(&mut out, "think", &true),
        Some(Think::Low) => put_field(&mut out, "think", "low"),
        Some(Think::Medium) => put_field(&mut out, "think", "medium"),
        Some(Think::High) => put_field(&mut out, "think", "high"),
        Some(Think::Max) => put_field(&mut out, "think", "max"),
        None => {}
    }
    if let Some(truncate) = request.truncate {
        put_field(&mut out, "truncate", &truncate);
    }
    out.push(b'}');
    out
}

fn expected_length(request: &ChatRequest) -> usize {
    let of_message = |message: &Message| {
        let images: usize = message.images.iter().map(|image| image.0.len().div_ceil(3) * 4 + 4).sum();
        message.text.len() + message.text.len() / 8 + images + 64
    };
    256 + request.messages.iter().map(of_message).sum::<usize>()
}

fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    // Memory takes every write, and what is written here has text for its keys.
    debug_assert!(written.is_ok(), "{written:?}");
}

fn put_field<T: Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, value: &T) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    put(out, value);
}

fn put_message(out: &mut Vec<u8>, message: &Message, images: &mut Vec<ImageAt>) {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    out.extend_from_slice(b"{\"role\":");
    put(out, role);
    put_field(out, "content", &message.text);
    if let Some(reasoning) = &message.reasoning {
        put_field(out, "thinking", reasoning);
    }
    if !message.images.is_empty() {
        out.extend_from_slice(b",\"images\":[");
        for (number, image) in message.images.iter().enumerate() {
            out.extend_from_slice(if number > 0 { b",\"" } else { b"\"" });
            images.push(put_base64(out, &image.0));
            out.push(b'"');
        }
        out.push(b']');
    }
    if !message.tool_calls.is_empty() {
        let calls: Vec<_> = message.tool_calls.iter().enumerate().map(WireSentCall::of).collect();
        put_field(out, "tool_calls", &calls);
    }
    if let Some(name) = &message.tool_name {
        put_field(out, "tool_name", name);
    }
    if let Some(id) = &message.tool_call_id {
        put_field(out, "tool_call_id", id);
    }
    out.push(b'}');
}

fn put_base64(out: &mut Vec<u8>, bytes: &Bytes) -> ImageAt {
    let offset = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(offset + length, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[offset..]);
    debug_assert_eq!(written, Ok(length));
    ImageAt { offset, length, bytes: bytes.clone() }
}

fn options(request: &ChatRequest) -> Map<String, Value> {
    let mut options = request.extra.ollama.clone();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    let sampling = &request.sampling;
    set("num_predict", request.max_tokens.map(Value::from));
    set("temperature", sampling.temperature.map(Value::from));
    set("top_p", sampling.top_p.map(Value::from));
    set("top_k", sampling.top_k.map(Value::from));
    set("seed", sampling.seed.map(Value::from));
    set("presence_penalty", sampling.presence_penalty.map(Value::from));
    set("frequency_penalty", sampling.frequency_penalty.map(Value::from));
    // Ollama takes a list only, and answers 500 to a bare string.
    set("stop", (!sampling.stop.is_empty()).then(|| Value::from(sampling.stop.as_slice())));
    options
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireToolFunction<'a>,
}

#[derive(Serialize)]
struct WireToolFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: WireParameters<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireParameters<'a> {
    Given(&'a Value),
    None { r#type: &'static str, properties: Map<String, Value> },
}

impl<'a> WireTool<'a> {
    fn of(tool: &'a Tool) -> Self {
        let parameters = match &tool.parameters {
            Some(schema) => WireParameters::Given(schema),
            None => WireParameters::None { r#type: "object", properties: Map::new() },
        };
        let function = WireToolFunction { name: &tool.name, description: tool.description.as_deref(), parameters };
        WireTool { r#type: "function", function }
    }
}

#[derive(Serialize)]
struct WireSentCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    function: WireSentFunction<'a>,
}

#[derive(Serialize)]
struct WireSentFunction<'a> {
    index: usize,
    name: &'a str,
    arguments: &'a RawValue,
}

impl<'a> WireSentCall<'a> {
    fn of((index, call): (usize, &'a ToolCall)) -> Self {
        WireSentCall {
            id: &call.id,
            function: WireSentFunction { index, name: &call.name, arguments: &call.arguments },
        }
    }
}

// --- The answer -----------------------------------------------------------------------------------------------------

#[derive(Default)]
struct ChatDecoder {
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

fn refused(message: impl Into<String>) -> Error {
    Error::UpstreamRefused { message: message.into() }
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

// --- Failures -------------------------------------------------------------------------------------------------------

/// Upstream text in an error of ours, at most.
const ECHO_CHARS_MAX: usize = 300;

/// Ollama's queue is full; it does not say for how long.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// An error in Ollama's words: its text, and what llama-server said if that is wrapped in it.
struct Failure {
    text: String,
    kind: String,
}

impl Failure {
    fn of(error: &Value) -> Self {
        // llama-server's own JSON comes through as text inside the text.
        let inner = error.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object);
        let error = inner.as_ref().map_or(error, |inner| inner.get("error").unwrap_or(inner));
        let field = |name| error.get(name).and_then(Value::as_str);
        let text = field("message").or(error.as_str()).unwrap_or_default();
        Failure { text: bounded(text), kind: bounded(field("type").unwrap_or_default()) }
    }

    fn is_context_too_long(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        self.kind == "exceed_context_size_error"
            || text.contains("exceeds the context length")
            || text.contains("longer than the context length")
            || text.contains("exceeds the available context size")
    }

    /// The error that it is whatever the status says.
    fn by_text(&self) -> Option<Error> {
        self.is_context_too_long().then(|| Error::ContextTooLong {
            message: format!("the messages are too long for this model's context: {}", self.text),
        })
    }

    fn refused(self, before: &str) -> Error {
        if self.text.is_empty() { refused(before) } else { refused(format!("{before}: {}", self.text)) }
    }
}

/// On one line, and short: what an upstream says goes into logs, headers and records.
fn bounded(text: &str) -> String {
    let mut short: String =
        text.trim().chars().take(ECHO_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(ECHO_CHARS_MAX).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

fn failure(status: u16, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Body {
        error: Value,
    }
    // Routes and methods that Ollama does not know are answered in plain text, a wrong host with nothing.
    let json = serde_json::from_slice::<Body>(body).ok();
    let is_json = json.is_some();
    let failure = Failure::of(&json.map_or_else(|| Value::from(String::from_utf8_lossy(body)), |body| body.error));
    if let Some(error) = failure.by_text() {
        return error;
    }
    match status {
        400 => {
            let message = match failure.text.as_str() {
                "" => "the model server refused the request".to_owned(),
                text => format!("the model server refused the request: {text}"),
            };
            Error::invalid("", message)
        }
        404 if is_json && failure.text.to_ascii_lowercase().contains("not found") => {
            Error::ModelNotFound { model: quoted(&failure.text).unwrap_or("unknown").to_owned() }
        }
        404 | 405 => failure.refused("the model server does not know this call (is it an Ollama?)"),
        401 => failure.refused("the model server wants somebody to sign in on its host"),
        403 => failure.refused("the model server does not let this gateway in"),
        503 => Error::HostBusy { message: "the model server is busy; try again later".into(), retry_after: BUSY_RETRY },
        _ => failure.refused(&format!("the model server failed with status {status}")),
    }
}

fn mid_stream_error(error: &Value) -> Error {
    let failure = Failure::of(error);
    failure.by_text().unwrap_or_else(|| failure.refused("the model server failed"))
}

/// The name in `model 'm' not found` or `model "m" not found, try pulling it first`.
fn quoted(text: &str) -> Option<&str> {
    let start = text.find(['\'', '"'])?;
    let quote = &text[start..=start];
    let name = text[start + 1..].split_once(quote)?.0;
    Some(name).filter(|name| !name.is_empty())
}

// --- Models ---------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Tags {
    models: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tag {
    name: Option<String>,
    modified_at: Option<String>,
    remote_host: Option<String>,
    remote_model: Option<String>,
}

/// The models that this host runs itself. Those that it would pass on to somebody else's servers are left out, and so
/// are names that no request could carry.
fn models(body: &[u8]) -> Result<Vec<ModelCard>, Error> {
    let tags: Tags =
        serde_json::from_slice(body).map_err(|_| refused("the model server's list of models is not understood"))?;
    Ok(tags.models.unwrap_or_default().into_iter().filter_map(card).collect())
}

fn card(tag: Tag) -> Option<ModelCard> {
    let is_remote = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
    if is_remote(tag.remote_host) || is_remote(tag.remote_model) {
        return None;
    }
    let name = ModelName::parse(&tag.name?).ok().filter(|name| !name.leaves_the_lan())?;
    let modified_at = tag.modified_at.and_then(|text| Timestamp::parse(&text)).unwrap_or(Timestamp(0));
    Some(ModelCard { name, modified_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Extra, Image, Sampling};

    fn request() -> ChatRequest {
        ChatRequest {
            model: ModelName::parse("m:1").unwrap(),
            messages: vec![Message::new(Role::User, "hi")],
            tools: Vec::new(),
            format: None,
            sampling: Sampling::default(),
            max_tokens: None,
            think: None,
            truncate: None,
            extra: Extra::default(),
        }
    }

    fn sent(request: &ChatRequest) -> String {
        String::from_utf8(Ollama.chat(request).unwrap().body.to_vec()).unwrap()
    }

    fn decode(text: &str) -> (Vec<Piece>, Result<(), Error>) {
        let mut decoder = Ollama.decoder();
        let mut out = Vec::new();
        let ended = decoder.bytes(text.as_bytes(), &mut out).and_then(|()| decoder.end(&mut out));
        (out.into_iter().map(|event| event.what).collect(), ended)
    }

    #[test]
    fn a_plain_request_always_streams() {
        let body = sent(&request());

        assert_eq!(body, r#"{"model":"m:1","messages":[{"role":"user","content":"hi"}],"stream":true}"#);
    }

    #[test]
    fn the_limit_of_tokens_and_the_stops_are_options() {
        let mut request = request();
        request.max_tokens = Some(8192);
        request.sampling.stop = vec!["\n".into()];

        assert!(sent(&request).ends_with(r#""options":{"num_predict":8192,"stop":["\n"]}}"#));
    }

    #[test]
    fn the_place_of_each_image_is_told() {
        let mut request = request();
        for bytes in [&b"a"[..], b"ab", b"abc"] {
            request.messages[0].images.push(Image(Bytes::copy_from_slice(bytes)));
        }
        request.messages.push(Message::new(Role::User, "YQ=="));

        let call = Ollama.chat(&request).unwrap();

        let found: Vec<_> = call.images.iter().map(|at| &call.body[at.offset..at.offset + at.length]).collect();
        assert_eq!(found, [&b"YQ=="[..], b"YWI=", b"YWJj"]);
        assert_eq!(call.images[2].bytes, "abc");
        serde_json::from_slice::<Value>(&call.body).unwrap();
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

    #[test]
    fn an_upstream_text_is_cut_to_300_letters() {
        let long = |length| format!(r#"{{"error":"{}"}}"#, "ü".repeat(length));
        let said = |length| failure(500, long(length).as_bytes()).to_string().split_once(": ").unwrap().1.to_owned();

        assert_eq!(said(300), "ü".repeat(300));
        assert_eq!(said(301), format!("{}…", "ü".repeat(299)));
    }

    #[test]
    fn any_error_body_is_borne() {
        for body in [
            &b""[..],
            b"\xff\xfe",
            b"404 page not found",
            b"{\"error\":null}",
            b"{\"error\":{\"message\":7}}",
            b"{\"error\":\"{}\"}",
        ] {
            for status in [100, 301, 400, 401, 403, 404, 405, 418, 429, 499, 500, 502, 503, 504, 999] {
                let error = failure(status, body);
                assert!(
                    ["invalid_request", "upstream_error", "host_busy"].contains(&error.code()),
                    "{status} {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_missing_model_is_told_from_a_missing_route() {
        let model = |body: &str| match failure(404, body.as_bytes()) {
            Error::ModelNotFound { model } => model,
            other => panic!("{other:?}"),
        };

        assert_eq!(model(r#"{"error":"model 'llama9' not found"}"#), "llama9");
        assert_eq!(model(r#"{"error":"model \"x:1\" Not Found, try pulling it first"}"#), "x:1");
        assert_eq!(failure(404, b"404 page not found").code(), "upstream_error");
    }

    #[test]
    fn models_that_leave_the_lan_are_not_listed() {
        let tags = r#"{"models":[
            {"name":"a:1","modified_at":"2026-11-24T03:12:38.2+02:00"},
            {"name":"b:cloud"},
            {"name":"c","remote_host":"https://ollama.com"},
            {"name":"d","remote_model":"d"},
            {"name":"e","remote_host":"","remote_model":null},
            {"name":"sp ace"},
            {"modified_at":"x"}]}"#;

        let cards = models(tags.as_bytes()).unwrap();

        let names: Vec<_> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names, ["a:1", "e"]);
        assert_eq!(cards[0].modified_at.rfc3339(), "2026-11-24T01:12:38.2Z");
        assert_eq!(models(br#"{"models":null}"#).unwrap().len(), 0);
        assert!(models(b"<html>").is_err());
    }
}
