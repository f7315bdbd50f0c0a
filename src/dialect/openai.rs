//! OpenAI's chat completions, streamed and whole.
//!
//! What changes the meaning and can't be honoured is refused by name; what has no effect is named in `ignored`.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::Value;

use crate::chat::{
    ChatEvent, ChatReply, ChatRequest, End, Extra, Finish, Format, Message, ModelName, Piece, Role, Sampling, Think,
    ToolCall, Usage,
};
use crate::credential::Credential;
use crate::dialect::json::{self, At, Ignored, Json, Object};
use crate::dialect::wire;
use crate::dialect::{Decoded, Delivery, Dialect, Encoder, Head, Reply, Route, Work};
use crate::error::Error;
use crate::ids::RequestId;

pub struct OpenAi;

const ROUTES: &[Route] = &[Route { method: "POST", path: "/v1/chat/completions" }];

/// OpenAI's own limit.
const STOPS_MAX: usize = 4;

impl Dialect for OpenAi {
    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let asked = read(json::parse(body)?)?;
        let answer = Answer::new(head, &asked);
        let delivery = if asked.stream { Delivery::Stream { content_type: wire::SSE } } else { Delivery::Whole };
        Ok(Decoded {
            work: Work::Chat(asked.chat),
            reply: Box::new(answer),
            delivery,
            ignored: asked.ignored.into_names(),
            credential: None,
        })
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        wire::error_reply(error)
    }
}

// --- Reading --------------------------------------------------------------------------------------------------------

struct Asked {
    chat: ChatRequest,
    stream: bool,
    include_usage: bool,
    ignored: Ignored,
}

/// Every field that `read` knows: another spelling of one of these is an error.
const FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

fn read(body: Object<'_>) -> Result<Asked, Error> {
    let mut ignored = Ignored::default();
    let mut model = None;
    let mut messages = Vec::new();
    let mut sampling = Sampling::default();
    let (mut max_tokens, mut max_completion_tokens) = (None, None);
    let (mut format, mut effort, mut reasoning) = (None, None, None);
    let (mut stream, mut stream_options) = (false, None);
    for (key, value) in body {
        let key = key.as_ref();
        let at = At::Body.key(key);
        if !FIELDS.contains(&key) {
            ignored.unknown(FIELDS, &At::Body, "", key, &value)?;
            continue;
        }
        if value.is_absent() {
            continue;
        }
        match key {
            "model" => model = Some(ModelName::parse(&value.text(&at)?)?),
            "messages" => messages = read_messages(value.array(&at)?, &at, &mut ignored)?,
            "max_tokens" => max_tokens = Some(value.token_limit(&at)?),
            "max_completion_tokens" => max_completion_tokens = Some(value.token_limit(&at)?),
            "temperature" => sampling.temperature = Some(value.number_in(&at, 0.0..=2.0)?),
            "top_p" => sampling.top_p = Some(value.number_in(&at, 0.0..=1.0)?),
            "presence_penalty" => sampling.presence_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "seed" => sampling.seed = Some(value.integer(&at)?),
            "stop" => sampling.stop = value.stop_sequences(&at, STOPS_MAX)?,
            "stream" => stream = value.boolean(&at)?,
            "stream_options" => stream_options = Some(read_stream_options(value.object(&at)?, &at, &mut ignored)?),
            "response_format" => format = read_format(value.object(&at)?, &at, &mut ignored)?,
            "reasoning_effort" => effort = Some(read_effort(value, &at)?),
            "reasoning" => reasoning = read_reasoning(value.object(&at)?, &at, &mut ignored)?,
            "n" => {
                if value.integer(&at)? != 1 {
                    return Err(at.unsupported("must be 1: one request gets one answer; send several requests instead"));
                }
            }
            "logprobs" => {
                if value.boolean(&at)? {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            "top_logprobs" => {
                if value.integer(&at)? != 0 {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            "modalities" => {
                if !matches!(&value, Json::Array(kinds) if matches!(&kinds[..], [Json::Text(kind)] if kind == "text")) {
                    return Err(at.unsupported("may only be `[\"text\"]`: answers are text"));
                }
            }
            "tool_choice" => {
                if !matches!(&value, Json::Text(choice) if choice == "none" || choice == "auto") {
                    return Err(at.unsupported("may only be `none` or `auto`: tools are not offered yet"));
                }
            }
            "tools" => return Err(at.unsupported("are not offered yet; leave them out")),
            "functions" | "function_call" => {
                return Err(at.unsupported("is out of use; `tools` takes its place, and is not offered yet"));
            }
            "audio" | "logit_bias" | "prediction" | "web_search_options" => {
                return Err(at.unsupported("is not offered; leave it out"));
            }
            // What is left of `FIELDS` has no effect on the answer here.
            _ => ignored.add(key),
        }
    }
    if stream_options.is_some() && !stream {
        return Err(Error::invalid(
            "stream_options",
            "`stream_options` is only for streams; send `stream: true` or leave it out",
        ));
    }
    let Some(model) = model else {
        return Err(Error::invalid("model", "`model` is missing; name one that `GET /v1/models` lists"));
    };
    if messages.is_empty() {
        return Err(Error::invalid("messages", "`messages` is missing or empty; send at least one message"));
    }
    let chat = ChatRequest {
        model,
        messages,
        tools: Vec::new(),
        format,
        sampling,
        max_tokens: agree(("max_tokens", max_tokens), ("max_completion_tokens", max_completion_tokens))?,
        think: agree(("reasoning_effort", effort), ("reasoning.effort", reasoning))?,
        // OpenAI's clients expect an error, not a conversation whose beginning vanished.
        truncate: Some(false),
        extra: Extra::default(),
    };
    Ok(Asked { chat, stream, include_usage: stream_options.unwrap_or(false), ignored })
}

/// Two names for one thing: either, or both with the same value.
fn agree<T: PartialEq>(one: (&str, Option<T>), other: (&str, Option<T>)) -> Result<Option<T>, Error> {
    match (one.1, other.1) {
        (Some(first), Some(second)) if first != second => {
            Err(Error::invalid(other.0, format!("`{}` and `{}` differ; send one of them", one.0, other.0)))
        }
        (first, second) => Ok(first.or(second)),
    }
}

fn read_stream_options(options: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<bool, Error> {
    const KNOWN: &[&str] = &["include_obfuscation", "include_usage"];
    let mut include_usage = false;
    for (key, value) in options {
        match key.as_ref() {
            "include_usage" if !value.is_null() => include_usage = value.boolean(&at.key("include_usage"))?,
            "include_usage" => {}
            "include_obfuscation" => ignored.add("stream_options.include_obfuscation"),
            other => ignored.unknown(KNOWN, at, "stream_options.", other, &value)?,
        }
    }
    Ok(include_usage)
}

fn read_format(format: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Option<Format>, Error> {
    let (mut kind, mut schema) = (None, None);
    for (key, value) in format {
        match key.as_ref() {
            "type" => kind = Some(value.text(&at.key("type"))?),
            "json_schema" if value.is_null() => {}
            "json_schema" => {
                let at = at.key("json_schema");
                schema = read_schema(value.object(&at)?, &at, ignored)?;
            }
            other => ignored.unknown(&["json_schema", "type"], at, "response_format.", other, &value)?,
        }
    }
    match kind.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::Json)),
        Some("json_schema") => match schema {
            Some(schema) => Ok(Some(Format::Schema(schema))),
            None => Err(at.key("json_schema").key("schema").invalid("is missing; send the schema as an object")),
        },
        Some(_) => Err(at.key("type").invalid("must be one of `text`, `json_object`, `json_schema`")),
        None => Err(at.key("type").invalid("is missing; send one of `text`, `json_object`, `json_schema`")),
    }
}

/// `name` and `description` are for people. `strict` is kept in any case: the schema always binds the model.
fn read_schema(wrapped: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Option<Value>, Error> {
    const KNOWN: &[&str] = &["description", "name", "schema", "strict"];
    let mut schema = None;
    for (key, value) in wrapped {
        match key.as_ref() {
            "schema" if value.is_null() => {}
            "schema" => schema = Some(json::into_map(value.object(&at.key("schema"))?).into()),
            known if KNOWN.contains(&known) => {}
            other => ignored.unknown(KNOWN, at, "response_format.json_schema.", other, &value)?,
        }
    }
    Ok(schema)
}

fn read_reasoning(reasoning: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Option<Think>, Error> {
    let mut effort = None;
    for (key, value) in reasoning {
        match key.as_ref() {
            "effort" if value.is_absent() => {}
            "effort" => effort = Some(read_effort(value, &at.key("effort"))?),
            other => ignored.unknown(&["effort"], at, "reasoning.", other, &value)?,
        }
    }
    Ok(effort)
}

fn read_effort(value: Json<'_>, at: &At<'_>) -> Result<Think, Error> {
    match value.text(at)?.as_ref() {
        "none" => Ok(Think::Off),
        "minimal" | "low" => Ok(Think::Low),
        "medium" => Ok(Think::Medium),
        "high" => Ok(Think::High),
        "xhigh" | "max" => Ok(Think::Max),
        _ => Err(at.invalid("must be one of `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`")),
    }
}

fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        messages.push(read_message(item.object(&at)?, &at, ignored)?);
    }
    Ok(messages)
}

const MESSAGE_FIELDS: &[&str] = &[
    "annotations",
    "audio",
    "content",
    "function_call",
    "name",
    "reasoning",
    "reasoning_content",
    "refusal",
    "role",
    "tool_call_id",
    "tool_calls",
];

fn read_message(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let (mut role, mut text, mut refusal) = (None, None, None);
    let (mut reasoning, mut reasoning_content) = (None, None);
    for (key, value) in fields {
        let key = key.as_ref();
        let here = at.key(key);
        if !MESSAGE_FIELDS.contains(&key) {
            ignored.unknown(MESSAGE_FIELDS, at, "messages[].", key, &value)?;
            continue;
        }
        // An empty text is a text; in every other field empty means absent.
        if value.is_null() || (key != "content" && value.is_absent()) {
            continue;
        }
        match key {
            "role" => role = Some(read_role(&value.text(&here)?, &here)?),
            "content" => text = Some(read_content(value, &here, ignored)?),
            "refusal" => refusal = Some(value.text(&here)?.into_owned()),
            "reasoning" => reasoning = Some(value.text(&here)?.into_owned()),
            "reasoning_content" => reasoning_content = Some(value.text(&here)?.into_owned()),
            "tool_calls" | "function_call" => return Err(here.unsupported("is not offered yet: tools come later")),
            "audio" => return Err(here.unsupported("is not offered; send text")),
            _ => ignored.add(format_args!("messages[].{key}")),
        }
    }
    let Some(role) = role else {
        return Err(at.key("role").invalid("is missing; send one of `system`, `developer`, `user`, `assistant`"));
    };
    // A refusal is what the assistant said instead of an answer.
    let Some(text) = text.or(refusal) else {
        return Err(at.key("content").invalid("is missing; send a string"));
    };
    let mut message = Message::new(role, text);
    message.reasoning = reasoning.or(reasoning_content);
    if role != Role::Assistant && message.reasoning.take().is_some() {
        ignored.add("messages[].reasoning");
    }
    Ok(message)
}

fn read_role(role: &str, at: &At<'_>) -> Result<Role, Error> {
    match role {
        // Few chat templates know `developer`.
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" | "function" => Err(at.unsupported("can't be a tool yet: tools come later")),
        _ => Err(at.invalid("must be one of `system`, `developer`, `user`, `assistant`")),
    }
}

/// A text, or parts of text: OpenAI puts them together without anything in between.
fn read_content(content: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<String, Error> {
    let parts = match content {
        Json::Text(text) => return Ok(text.into_owned()),
        Json::Array(parts) => parts,
        other => return Err(at.invalid(format_args!("must be a string or an array of parts, not {}", other.kind()))),
    };
    if parts.is_empty() {
        return Err(at.invalid("is empty; send a string"));
    }
    let mut whole = String::new();
    for (number, part) in parts.into_iter().enumerate() {
        let at = at.index(number);
        whole.push_str(&read_part(part.object(&at)?, &at, ignored)?);
    }
    Ok(whole)
}

const PART_FIELDS: &[&str] = &["file", "image_url", "input_audio", "refusal", "text", "type"];

fn read_part<'a>(part: Object<'a>, at: &At<'_>, ignored: &mut Ignored) -> Result<Cow<'a, str>, Error> {
    let (mut kind, mut text, mut refusal) = (None, None, None);
    for (key, value) in part {
        match key.as_ref() {
            "type" => kind = Some(value.text(&at.key("type"))?),
            "text" => text = Some(value),
            "refusal" => refusal = Some(value),
            // Their `type` is refused below, by name.
            "image_url" | "input_audio" | "file" => {}
            other => ignored.unknown(PART_FIELDS, at, "messages[].content[].", other, &value)?,
        }
    }
    let (name, value) = match kind.as_deref() {
        Some("text") => ("text", text),
        Some("refusal") => ("refusal", refusal),
        Some("image_url") => return Err(at.unsupported("is an image; images are not offered here yet, send text")),
        Some("input_audio") => return Err(at.unsupported("is sound, which is not offered; send text")),
        Some("file") => return Err(at.unsupported("is a file, which is not offered; send its text")),
        Some(_) => return Err(at.key("type").invalid("must be `text`")),
        None => return Err(at.key("type").invalid("is missing; send `text`")),
    };
    match value {
        Some(value) => value.text(&at.key(name)),
        None => Err(at.key(name).invalid("is missing; send a string")),
    }
}

// --- Writing --------------------------------------------------------------------------------------------------------

/// The encoder of one answer.
struct Answer {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    /// What all chunks of a stream have in common, up to the value of `choices`.
    chunk_start: Vec<u8>,
    started: bool,
    calls: usize,
}

impl Answer {
    fn new(head: &dyn Head, asked: &Asked) -> Self {
        let mut answer = Answer {
            id: head.request_id().with_prefix("chatcmpl-"),
            created: head.received_at().seconds(),
            model: asked.chat.model.as_str().to_owned(),
            include_usage: asked.include_usage,
            chunk_start: Vec::new(),
            started: false,
            calls: 0,
        };
        if asked.stream {
            answer.chunk_start = answer.chunk_start();
        }
        answer
    }

    fn chunk_start(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Start<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        let start = Start { id: &self.id, object: "chat.completion.chunk", created: self.created, model: &self.model };
        let mut bytes = b"data: ".to_vec();
        bytes.extend(wire::json_bytes(&start));
        bytes.pop();
        bytes.extend(b",\"choices\":");
        bytes
    }

    /// One chunk per piece is the hot path of a stream: its first half was made once, for all of them.
    fn chunk(&mut self, delta: &Delta<'_>, finish: Option<&'static str>, out: &mut BytesMut) {
        if !self.started {
            self.started = true;
            self.chunk(&Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, None, out);
        }
        out.put_slice(&self.chunk_start);
        wire::put_json(out, &[ChunkChoice { index: 0, delta, logprobs: None, finish_reason: finish }]);
        let end: &[u8] = if self.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        out.put_slice(end);
    }

    fn end(&mut self, end: &End, out: &mut BytesMut) {
        self.chunk(&Delta::default(), Some(finish_reason(end.finish, self.calls > 0)), out);
        if self.include_usage {
            out.put_slice(&self.chunk_start);
            out.put_slice(b"[],\"usage\":");
            wire::put_json(out, &WireUsage::of(end.usage));
            out.put_slice(b"}\n\n");
        }
        out.put_slice(b"data: [DONE]\n\n");
    }
}

impl Encoder for Answer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let calls: Vec<_> = reply.tool_calls.iter().map(|call| WireCall::of(call, None)).collect();
        let completion = Completion {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: [Choice {
                index: 0,
                message: AnswerMessage {
                    role: "assistant",
                    content: (calls.is_empty() || !reply.text.is_empty()).then_some(&reply.text),
                    refusal: None,
                    reasoning: Some(reply.reasoning.as_str()).filter(|text| !text.is_empty()),
                    tool_calls: calls,
                },
                logprobs: None,
                finish_reason: finish_reason(reply.end.finish, !reply.tool_calls.is_empty()),
            }],
            usage: WireUsage::of(reply.end.usage),
        };
        wire::put_json(out, &completion);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match &event.what {
            Piece::Text(text) => self.chunk(&Delta { content: Some(text), ..Delta::default() }, None, out),
            Piece::Reasoning(text) => self.chunk(&Delta { reasoning: Some(text), ..Delta::default() }, None, out),
            Piece::ToolCall(call) => {
                let call = WireCall::of(call, Some(self.calls));
                self.calls += 1;
                self.chunk(&Delta { tool_calls: Some([call]), ..Delta::default() }, None, out);
            }
            Piece::End(end) => self.end(end, out),
        }
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_sse(out, &wire::envelope(error));
    }

    /// A comment: the only thing between events that every SDK bears.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        out.put_slice(b": \n\n");
    }
}

/// Upstreams say `stop` after a tool call; clients are told what they got. An answer that was cut stays `length`.
fn finish_reason(finish: Finish, has_calls: bool) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Stop if has_calls => "tool_calls",
        Finish::Stop => "stop",
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: WireUsage,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: AnswerMessage<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

/// `refusal` and `logprobs` are always null here, and required by OpenAI's schema.
#[derive(Serialize)]
struct AnswerMessage<'a> {
    role: &'static str,
    content: Option<&'a String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: &'a Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[WireCall<'a>; 1]>,
}

#[derive(Serialize)]
struct WireCall<'a> {
    /// In streams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    /// JSON inside a string.
    arguments: &'a str,
}

impl<'a> WireCall<'a> {
    fn of(call: &'a ToolCall, index: Option<usize>) -> Self {
        let function = WireFunction { name: &call.name, arguments: call.arguments.get() };
        WireCall { index, id: &call.id, r#type: "function", function }
    }
}

#[derive(Serialize)]
struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl WireUsage {
    fn of(usage: Usage) -> Self {
        WireUsage {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.answer_tokens,
            total_tokens: usage.prompt_tokens.saturating_add(usage.answer_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    struct Post;

    impl Head for Post {
        fn path(&self) -> &str {
            "/v1/chat/completions"
        }

        fn header(&self, _: &str) -> Option<&str> {
            None
        }

        fn request_id(&self) -> RequestId {
            RequestId(uuid::Uuid::nil())
        }

        fn received_at(&self) -> Timestamp {
            Timestamp(1_795_480_000_123_456)
        }

        fn default_model(&self) -> &str {
            "llama3.2:latest"
        }
    }

    /// A good request with some fields more.
    fn decode(fields: &str) -> Result<(ChatRequest, Vec<String>), Error> {
        decode_body(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{fields}}}"#))
    }

    /// A request of one message.
    fn decode_message(message: &str) -> Result<(ChatRequest, Vec<String>), Error> {
        decode_body(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}},{message}]}}"#))
    }

    fn decode_body(body: &str) -> Result<(ChatRequest, Vec<String>), Error> {
        let decoded = OpenAi.decode(&Post, body.as_bytes())?;
        let Work::Chat(chat) = decoded.work;
        Ok((chat, decoded.ignored))
    }

    #[track_caller]
    fn refused(result: Result<(ChatRequest, Vec<String>), Error>, code: &str, field: &str) -> String {
        let error = result.expect_err("a refusal");
        assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
        error.to_string()
    }

    const INVALID: &str = "invalid_request";
    const UNSUPPORTED: &str = "unsupported_parameter";

    #[test]
    fn numbers_are_taken_up_to_openais_bounds() {
        for (name, low, high) in
            [("temperature", 0, 2), ("top_p", 0, 1), ("presence_penalty", -2, 2), ("frequency_penalty", -2, 2)]
        {
            for good in [format!("{low}"), format!("{high}"), format!("{high}.0"), "null".into()] {
                decode(&format!(r#","{name}":{good}"#)).unwrap();
            }
            for bad in [format!("{}", f64::from(low) - 0.01), format!("{high}.01"), "\"1\"".into(), "true".into()] {
                refused(decode(&format!(r#","{name}":{bad}"#)), INVALID, name);
            }
        }
        assert_eq!(decode(r#","temperature":0.7"#).unwrap().0.sampling.temperature, Some(0.7));
    }

    #[test]
    fn a_seed_is_any_integer_of_64_bits() {
        for seed in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(decode(&format!(r#","seed":{seed}"#)).unwrap().0.sampling.seed, Some(seed));
        }
        refused(decode(r#","seed":9223372036854775808"#), INVALID, "seed");
        refused(decode(r#","seed":1.5"#), INVALID, "seed");
    }

    #[test]
    fn a_limit_of_tokens_has_two_names_and_one_value() {
        let limit = |fields| decode(fields).map(|(chat, _)| chat.max_tokens);

        assert_eq!(limit("").unwrap(), None);
        assert_eq!(limit(r#","max_tokens":1"#).unwrap(), Some(1));
        assert_eq!(limit(r#","max_completion_tokens":5"#).unwrap(), Some(5));
        assert_eq!(limit(r#","max_tokens":5,"max_completion_tokens":5"#).unwrap(), Some(5));
        assert_eq!(limit(r#","max_tokens":5,"max_completion_tokens":null"#).unwrap(), Some(5));
        assert_eq!(limit(r#","max_tokens":9000000000"#).unwrap(), Some(u32::MAX));
        refused(decode(r#","max_tokens":5,"max_completion_tokens":6"#), INVALID, "max_completion_tokens");
        refused(decode(r#","max_tokens":0"#), INVALID, "max_tokens");
        refused(decode(r#","max_completion_tokens":-1"#), INVALID, "max_completion_tokens");
        refused(decode(r#","max_tokens":"5""#), INVALID, "max_tokens");
    }

    #[test]
    fn stops_are_one_text_or_four_at_most() {
        let stop = |value: &str| decode(&format!(r#","stop":{value}"#)).map(|(chat, _)| chat.sampling.stop);

        assert_eq!(stop(r#""a""#).unwrap(), ["a"]);
        assert_eq!(stop(r#"["a","b","c","d"]"#).unwrap().len(), 4);
        for absent in ["null", "[]", "\"\""] {
            assert!(stop(absent).unwrap().is_empty());
        }
        refused(decode(r#","stop":["a","b","c","d","e"]"#), INVALID, "stop");
        refused(decode(r#","stop":["a",""]"#), INVALID, "stop[1]");
        refused(decode(r#","stop":["a",5]"#), INVALID, "stop[1]");
        refused(decode(r#","stop":5"#), INVALID, "stop");
    }

    #[test]
    fn messages_are_needed() {
        refused(decode_body(r#"{"model":"m"}"#), INVALID, "messages");
        refused(decode_body(r#"{"model":"m","messages":[]}"#), INVALID, "messages");
        refused(decode_body(r#"{"model":"m","messages":null}"#), INVALID, "messages");
        refused(decode_body(r#"{"model":"m","messages":"hi"}"#), INVALID, "messages");
        refused(decode_body(r#"{"model":"m","messages":["hi"]}"#), INVALID, "messages[0]");
    }

    #[test]
    fn a_model_is_needed() {
        let message = r#""messages":[{"role":"user","content":"hi"}]"#;

        for bad in ["", r#""model":"","#, r#""model":null,"#, r#""model":5,"#, r#""model":"a b","#] {
            refused(decode_body(&format!("{{{bad}{message}}}")), INVALID, "model");
        }
    }

    #[test]
    fn roles_are_those_of_the_api() {
        let role = |role: &str| decode_message(&format!(r#"{{"role":"{role}","content":"x"}}"#));

        assert_eq!(role("system").unwrap().0.messages[1].role, Role::System);
        assert_eq!(role("developer").unwrap().0.messages[1].role, Role::System);
        assert_eq!(role("user").unwrap().0.messages[1].role, Role::User);
        assert_eq!(role("assistant").unwrap().0.messages[1].role, Role::Assistant);
        refused(role("tool"), UNSUPPORTED, "messages[1].role");
        refused(role("function"), UNSUPPORTED, "messages[1].role");
        refused(role("User"), INVALID, "messages[1].role");
        refused(role("robot"), INVALID, "messages[1].role");
        refused(decode_message(r#"{"content":"x"}"#), INVALID, "messages[1].role");
    }

    #[test]
    fn content_is_text_or_parts_of_text() {
        let text = |content: &str| {
            decode_message(&format!(r#"{{"role":"user","content":{content}}}"#))
                .map(|(mut chat, _)| chat.messages.remove(1).text)
        };
        let field = "messages[1].content";

        assert_eq!(text(r#""""#).unwrap(), "");
        assert_eq!(text(r#""a\n\u00fc""#).unwrap(), "a\nü");
        assert_eq!(text(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#).unwrap(), "ab");
        for (content, code, field) in [
            ("null", INVALID, field.to_owned()),
            ("[]", INVALID, field.to_owned()),
            ("5", INVALID, field.to_owned()),
            ("{}", INVALID, field.to_owned()),
            (r#"["a"]"#, INVALID, format!("{field}[0]")),
            (r#"[{"type":"text"}]"#, INVALID, format!("{field}[0].text")),
            (r#"[{"type":"text","text":5}]"#, INVALID, format!("{field}[0].text")),
            (r#"[{"text":"a"}]"#, INVALID, format!("{field}[0].type")),
            (r#"[{"type":"poem","text":"a"}]"#, INVALID, format!("{field}[0].type")),
            (r#"[{"type":"text","Text":"a"}]"#, INVALID, format!("{field}[0].Text")),
            (
                r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]"#,
                UNSUPPORTED,
                format!("{field}[1]"),
            ),
            (r#"[{"type":"input_audio","input_audio":{}}]"#, UNSUPPORTED, format!("{field}[0]")),
            (r#"[{"type":"file","file":{}}]"#, UNSUPPORTED, format!("{field}[0]")),
        ] {
            refused(decode_message(&format!(r#"{{"role":"user","content":{content}}}"#)), code, &field);
        }
    }

    #[test]
    fn what_an_assistant_said_comes_back_in_several_shapes() {
        let message = |message: &str| decode_message(message).map(|(mut chat, _)| chat.messages.remove(1));

        let refusing = message(r#"{"role":"assistant","content":null,"refusal":"no"}"#).unwrap();
        assert_eq!(refusing.text, "no");
        for name in ["reasoning", "reasoning_content"] {
            let thinking = message(&format!(r#"{{"role":"assistant","content":"a","{name}":"hm"}}"#)).unwrap();
            assert_eq!(thinking.reasoning.as_deref(), Some("hm"));
        }
        message(
            r#"{"role":"assistant","content":"a","refusal":null,"tool_calls":[],"function_call":null,"audio":null}"#,
        )
        .unwrap();
        for field in ["tool_calls", "function_call", "audio"] {
            let body = format!(r#"{{"role":"assistant","content":"a","{field}":{{"a":1}}}}"#);
            refused(decode_message(&body), UNSUPPORTED, &format!("messages[1].{field}"));
        }
    }

    #[test]
    fn what_changes_the_meaning_and_is_not_offered_is_refused_by_name() {
        for (field, value) in [
            ("n", "2"),
            ("n", "0"),
            ("logprobs", "true"),
            ("top_logprobs", "3"),
            ("logit_bias", r#"{"50256":-100}"#),
            ("tools", r#"[{"type":"function","function":{"name":"f"}}]"#),
            ("tool_choice", r#""required""#),
            ("tool_choice", r#"{"type":"function","function":{"name":"f"}}"#),
            ("functions", r#"[{"name":"f"}]"#),
            ("function_call", r#""auto""#),
            ("modalities", r#"["text","audio"]"#),
            ("audio", r#"{"voice":"a"}"#),
            ("prediction", r#"{"type":"content","content":"a"}"#),
            ("web_search_options", r#"{"a":1}"#),
        ] {
            refused(decode(&format!(r#","{field}":{value}"#)), UNSUPPORTED, field);
        }
    }

    #[test]
    fn null_empty_and_default_values_mean_absent() {
        for field in FIELDS {
            if ["model", "messages"].contains(field) {
                continue;
            }
            for empty in ["null", "[]", "{}", "\"\""] {
                let (_, ignored) =
                    decode(&format!(r#","{field}":{empty}"#)).unwrap_or_else(|error| panic!("{field}: {error}"));
                assert!(ignored.is_empty(), "{field}");
            }
        }
        for fine in [
            r#""n":1"#,
            r#""logprobs":false"#,
            r#""top_logprobs":0"#,
            r#""modalities":["text"]"#,
            r#""tool_choice":"none""#,
            r#""tool_choice":"auto""#,
            r#""response_format":{"type":"text"}"#,
        ] {
            assert_eq!(decode(&format!(",{fine}")).unwrap().1, [""; 0], "{fine}");
        }
    }

    #[test]
    fn fields_without_effect_are_named() {
        let (_, ignored) = decode(
            r#","store":false,"metadata":{"a":"b"},"user":"u","safety_identifier":"s","service_tier":"auto","verbosity":"low",
            "prompt_cache_key":"k","parallel_tool_calls":false,"keep_alive":0,"options":{"num_ctx":9},"think":true,"bad\nname":1"#,
        )
        .unwrap();

        let expected = [
            "store",
            "metadata",
            "user",
            "safety_identifier",
            "service_tier",
            "verbosity",
            "prompt_cache_key",
            "parallel_tool_calls",
            "keep_alive",
            "options",
            "think",
            "bad?name",
        ];
        assert_eq!(ignored, expected);
        let (_, ignored) = decode_message(r#"{"role":"user","content":"x","name":"ann","colour":1}"#).unwrap();
        assert_eq!(ignored, ["messages[].name", "messages[].colour"]);
    }

    #[test]
    fn another_spelling_of_a_field_is_refused_with_the_right_one() {
        for field in FIELDS {
            let other = field.to_uppercase();
            let body = format!(r#"{{"{other}":null}}"#);
            let message = refused(decode_body(&body), INVALID, &other);
            assert!(message.ends_with(&format!("write `{field}`")), "{message}");
        }
        for field in MESSAGE_FIELDS {
            let other = field.to_uppercase();
            let message =
                refused(decode_message(&format!(r#"{{"{other}":1}}"#)), INVALID, &format!("messages[1].{other}"));
            assert!(message.ends_with(&format!("write `{field}`")), "{message}");
        }
        refused(
            decode(r#","stream":true,"stream_options":{"Include_Usage":true}"#),
            INVALID,
            "stream_options.Include_Usage",
        );
        refused(decode(r#","response_format":{"Type":"text"}"#), INVALID, "response_format.Type");
    }

    #[test]
    fn options_of_a_stream_need_a_stream() {
        decode(r#","stream":true,"stream_options":{"include_usage":true}"#).unwrap();
        decode(r#","stream_options":{"include_usage":true},"stream":true"#).unwrap();
        refused(decode(r#","stream_options":{"include_usage":true}"#), INVALID, "stream_options");
        refused(decode(r#","stream":false,"stream_options":{"include_usage":false}"#), INVALID, "stream_options");
        refused(
            decode(r#","stream":true,"stream_options":{"include_usage":1}"#),
            INVALID,
            "stream_options.include_usage",
        );
        refused(decode(r#","stream":"yes""#), INVALID, "stream");
    }

    #[test]
    fn a_format_is_text_json_or_a_schema() {
        let format = |value: &str| decode(&format!(r#","response_format":{value}"#)).map(|(chat, _)| chat.format);

        assert!(format(r#"{"type":"text"}"#).unwrap().is_none());
        assert!(matches!(format(r#"{"type":"json_object"}"#), Ok(Some(Format::Json))));
        let schema =
            format(r#"{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"z":1,"a":2}}}"#);
        let Ok(Some(Format::Schema(schema))) = schema else { panic!("{schema:?}") };
        assert_eq!(schema.to_string(), r#"{"z":1,"a":2}"#);
        for (bad, field) in [
            (r#"{"type":"json_schema"}"#, "response_format.json_schema.schema"),
            (r#"{"type":"json_schema","json_schema":{"name":"n"}}"#, "response_format.json_schema.schema"),
            (r#"{"type":"json_schema","json_schema":{"schema":"s"}}"#, "response_format.json_schema.schema"),
            (r#"{"type":"xml"}"#, "response_format.type"),
            (r#"{"json_schema":{}}"#, "response_format.type"),
            (r#""json""#, "response_format"),
        ] {
            refused(decode(&format!(r#","response_format":{bad}"#)), INVALID, field);
        }
    }

    #[test]
    fn effort_has_ollamas_levels() {
        let think = |fields: &str| decode(fields).map(|(chat, _)| chat.think);

        for (effort, level) in [
            ("none", Think::Off),
            ("minimal", Think::Low),
            ("low", Think::Low),
            ("medium", Think::Medium),
            ("high", Think::High),
            ("xhigh", Think::Max),
            ("max", Think::Max),
        ] {
            assert_eq!(think(&format!(r#","reasoning_effort":"{effort}""#)).unwrap(), Some(level));
            assert_eq!(think(&format!(r#","reasoning":{{"effort":"{effort}"}}"#)).unwrap(), Some(level));
        }
        refused(decode(r#","reasoning_effort":"huge""#), INVALID, "reasoning_effort");
        refused(decode(r#","reasoning":{"effort":"huge"}"#), INVALID, "reasoning.effort");
        refused(decode(r#","reasoning_effort":"low","reasoning":{"effort":"high"}"#), INVALID, "reasoning.effort");
    }

    #[test]
    fn a_prompt_that_does_not_fit_is_an_error_and_not_cut() {
        assert_eq!(decode("").unwrap().0.truncate, Some(false));
    }
}
