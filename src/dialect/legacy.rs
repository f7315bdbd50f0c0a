//! `POST /chat`, the gateway's first contract: credentials in the body, and Ollama's chat JSON field for field.
//!
//! What it takes beyond the first version works as in Ollama's own API, except for what would change the model server
//! for everybody: such options are refused.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::chat::{
    ChatEvent, ChatReply, ChatRequest, End, Extra, Finish, Format, Image, Message, ModelName, Piece, Role, Sampling,
    Think, Tool, ToolCall,
};
use crate::clock;
use crate::credential::{Credential, Username};
use crate::dialect::json::{self, At, Ignored, Json, Object};
use crate::dialect::{Decoded, Delivery, Dialect, Encoder, Head, Reply, Route};
use crate::dialect::{image, wire};
use crate::error::Error;
use crate::ids::RequestId;
use crate::rights::Scope;
use crate::secret::Secret;
use crate::work::Work;

pub struct Legacy;

const ROUTES: &[Route] = &[Route { method: "POST", path: "/chat", scope: Scope::Chat }];

const STOPS_MAX: usize = 16;

impl Dialect for Legacy {
    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn credential(&self, head: &dyn Head) -> Result<Option<Credential>, Error> {
        wire::bearer(head)
    }

    fn decode(&self, head: &dyn Head, body: &[u8]) -> Result<Decoded, Error> {
        let mut asked = read(json::parse(body)?, head)?;
        // Who shows a token is identified by it; credentials in the body are then without effect.
        if asked.credential.is_some() && wire::bearer(head)?.is_some() {
            asked.credential = None;
            asked.ignored.add("auth");
        }
        let answer = Answer { model: asked.chat.model.as_str().to_owned(), calls: 0 };
        let delivery = if asked.stream { Delivery::Stream { content_type: wire::NDJSON } } else { Delivery::Whole };
        Ok(Decoded {
            work: Work::Chat(asked.chat),
            reply: Box::new(answer),
            delivery,
            ignored: asked.ignored.into_names(),
            credential: asked.credential,
        })
    }

    fn error(&self, error: &Error, _: &RequestId) -> Reply {
        let mut headers = wire::retry_header(error);
        if let Error::MethodNotAllowed { allow, .. } = error {
            headers.push(("Allow", allow.clone()));
        }
        Reply {
            status: status(error),
            headers,
            content_type: wire::JSON,
            body: wire::json_bytes(&WireError::of(error)),
        }
    }
}

/// The statuses of the other dialects, but for the one that the first version promised.
fn status(error: &Error) -> u16 {
    match error {
        Error::Unauthenticated { .. } => 403,
        other => wire::status(other),
    }
}

#[derive(Serialize)]
struct WireError {
    error: String,
}

impl WireError {
    /// Scripts compare the two texts of the first version.
    fn of(error: &Error) -> Self {
        let text = match error {
            Error::Unauthenticated { .. } => "unauthorized".to_owned(),
            Error::RateLimited { .. } => "rate limit exceeded".to_owned(),
            other => other.to_string(),
        };
        WireError { error: text }
    }
}

// --- Reading --------------------------------------------------------------------------------------------------------

struct Asked {
    chat: ChatRequest,
    stream: bool,
    ignored: Ignored,
    credential: Option<Credential>,
}

const FIELDS: &[&str] = &[
    "_debug_render_only",
    "auth",
    "format",
    "keep_alive",
    "logprobs",
    "messages",
    "model",
    "options",
    "shift",
    "stream",
    "think",
    "tools",
    "top_logprobs",
    "truncate",
];

fn read(body: Object<'_>, head: &dyn Head) -> Result<Asked, Error> {
    let mut ignored = Ignored::default();
    let mut credential = None;
    let mut model = None;
    let (mut messages, mut tools) = (Vec::new(), Vec::new());
    let (mut format, mut think, mut truncate) = (None, None, None);
    let mut options = Options::default();
    let mut stream = false;
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
            "auth" => credential = Some(read_auth(value.object(&at)?, &at, &mut ignored)?),
            "model" => model = Some(ModelName::parse(&value.text(&at)?)?),
            "messages" => messages = read_messages(value.array(&at)?, &at, &mut ignored)?,
            "stream" => stream = value.boolean(&at)?,
            "options" => options = Options::read(value.object(&at)?, &at, &mut ignored)?,
            "format" => format = Some(read_format(value, &at)?),
            "tools" => tools = read_tools(value.array(&at)?, &at, &mut ignored)?,
            "think" => think = Some(read_think(value, &at)?),
            "truncate" => truncate = Some(value.boolean(&at)?),
            "shift" => {
                // `true` is what a model is loaded with; another value loads it anew, for everybody.
                if !value.boolean(&at)? {
                    return Err(
                        at.unsupported("may only be `true`: another value would reload the model for everybody")
                    );
                }
            }
            "keep_alive" => {
                return Err(
                    at.unsupported("is not offered: it would change the model server for everybody; leave it out")
                );
            }
            "logprobs" | "_debug_render_only" => {
                if value.boolean(&at)? {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            "top_logprobs" => {
                if value.integer(&at)? != 0 {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            other => ignored.add(other),
        }
    }
    if messages.is_empty() {
        // The first version's words.
        return Err(Error::invalid("messages", "messages required"));
    }
    let model = match model {
        Some(model) => model,
        None => ModelName::parse(head.default_model())?,
    };
    let Options { sampling, max_tokens, extra } = options;
    let chat = ChatRequest {
        model,
        messages,
        tools,
        must_call: false,
        one_call: false,
        format,
        sampling,
        max_tokens,
        think,
        think_wish: None,
        logprobs: None,
        truncate,
        extra,
    };
    Ok(Asked { chat, stream, ignored, credential })
}

/// No account has a longer name or password, and what is longer would cost time before anybody is identified.
const AUTH_BYTES_MAX: usize = 1024;

fn read_auth(auth: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Credential, Error> {
    let (mut username, mut password) = (None, None);
    for (key, value) in auth {
        let key = key.as_ref();
        let here = at.key(key);
        match key {
            "username" => username = Some(Username::of(&auth_text(value, &here)?)),
            "password" => password = Some(Secret::new(auth_text(value, &here)?.into_owned())),
            other => ignored.unknown(&["password", "username"], at, "auth.", other, &value)?,
        }
    }
    let missing = |name| at.key(name).invalid("is missing; send `username` and `password`");
    Ok(Credential::Password {
        username: username.ok_or_else(|| missing("username"))?,
        password: password.ok_or_else(|| missing("password"))?,
    })
}

fn auth_text<'a>(value: Json<'a>, at: &At<'_>) -> Result<Cow<'a, str>, Error> {
    let text = value.text(at)?;
    if text.len() > AUTH_BYTES_MAX {
        return Err(at.invalid(format_args!("is longer than {AUTH_BYTES_MAX} bytes")));
    }
    Ok(text)
}

const MESSAGE_FIELDS: &[&str] = &["content", "images", "role", "thinking", "tool_call_id", "tool_calls", "tool_name"];

fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        messages.push(read_message(item.object(&at)?, &at, ignored)?);
    }
    Ok(messages)
}

fn read_message(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let mut role = None;
    let mut message = Message::new(Role::User, "");
    for (key, value) in fields {
        let key = key.as_ref();
        let here = at.key(key);
        if !MESSAGE_FIELDS.contains(&key) {
            ignored.unknown(MESSAGE_FIELDS, at, "messages[].", key, &value)?;
            continue;
        }
        if value.is_absent() {
            continue;
        }
        match key {
            "role" => role = Some(read_role(&value.text(&here)?, &here)?),
            "content" => message.text = value.text(&here)?.into_owned(),
            "thinking" => message.reasoning = Some(value.text(&here)?.into_owned()),
            "images" => message.images = read_images(value.array(&here)?, &here)?,
            "tool_calls" => message.tool_calls = read_tool_calls(value.array(&here)?, &here, ignored)?,
            "tool_name" => message.tool_name = Some(value.text(&here)?.into_owned()),
            "tool_call_id" => message.tool_call_id = Some(value.text(&here)?.into_owned()),
            other => ignored.add(format_args!("messages[].{other}")),
        }
    }
    message.role =
        role.ok_or_else(|| at.key("role").invalid("is missing; send one of `system`, `user`, `assistant`, `tool`"))?;
    Ok(message)
}

fn read_role(role: &str, at: &At<'_>) -> Result<Role, Error> {
    // Ollama takes roles in any case.
    match role.to_ascii_lowercase().as_str() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => Err(at.invalid("must be one of `system`, `user`, `assistant`, `tool`")),
    }
}

fn read_images(items: Vec<Json<'_>>, at: &At<'_>) -> Result<Vec<Image>, Error> {
    let mut images = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let text = item.text(&at)?;
        images.push(image::of_base64(&text, &at)?);
    }
    Ok(images)
}

fn read_tool_calls(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<ToolCall>, Error> {
    const KNOWN: &[&str] = &["function", "id", "type"];
    let mut calls = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let (mut id, mut function) = (String::new(), None);
        for (key, value) in item.object(&at)? {
            match key.as_ref() {
                _ if value.is_null() => {}
                "id" => id = value.text(&at.key("id"))?.into_owned(),
                "function" => function = Some(value.object(&at.key("function"))?),
                // Clients send back what other APIs gave them; there is only one type.
                "type" => {}
                other => ignored.unknown(KNOWN, &at, "messages[].tool_calls[].", other, &value)?,
            }
        }
        let function = function.ok_or_else(|| at.key("function").invalid("is missing; send an object with `name`"))?;
        calls.push(read_called(id, function, &at.key("function"), ignored)?);
    }
    Ok(calls)
}

fn read_called(id: String, function: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<ToolCall, Error> {
    const KNOWN: &[&str] = &["arguments", "index", "name"];
    let (mut name, mut arguments) = (None, None);
    for (key, value) in function {
        match key.as_ref() {
            _ if value.is_null() => {}
            "name" => name = Some(value.text(&at.key("name"))?.into_owned()),
            "arguments" => arguments = Some(raw_object(value, &at.key("arguments"))?),
            // The calls of a message are counted anew in their order.
            "index" => {}
            other => ignored.unknown(KNOWN, at, "messages[].tool_calls[].function.", other, &value)?,
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| at.key("name").invalid("is missing"))?;
    let arguments = match arguments {
        Some(arguments) => arguments,
        None => to_raw_value(&Map::new()).map_err(Error::internal)?,
    };
    Ok(ToolCall { id, name, arguments })
}

fn raw_object(value: Json<'_>, at: &At<'_>) -> Result<Box<RawValue>, Error> {
    let fields = value.object(at)?;
    to_raw_value(&Json::Object(fields)).map_err(Error::internal)
}

fn read_tools(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let mut function = None;
        for (key, value) in item.object(&at)? {
            match key.as_ref() {
                _ if value.is_null() => {}
                "type" => {
                    if value.text(&at.key("type"))? != "function" {
                        return Err(at.key("type").unsupported("may only be `function`"));
                    }
                }
                "function" => function = Some(value.object(&at.key("function"))?),
                other => ignored.unknown(&["function", "type"], &at, "tools[].", other, &value)?,
            }
        }
        let function = function.ok_or_else(|| at.key("function").invalid("is missing; send an object with `name`"))?;
        tools.push(read_tool(function, &at.key("function"), ignored)?);
    }
    Ok(tools)
}

fn read_tool(function: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Tool, Error> {
    const KNOWN: &[&str] = &["description", "name", "parameters"];
    let mut tool = Tool { name: String::new(), description: None, parameters: None };
    for (key, value) in function {
        match key.as_ref() {
            _ if value.is_null() => {}
            "name" => tool.name = value.text(&at.key("name"))?.into_owned(),
            "description" => tool.description = Some(value.text(&at.key("description"))?.into_owned()),
            "parameters" => {
                tool.parameters = Some(json::into_map(value.object(&at.key("parameters"))?).into());
            }
            other => ignored.unknown(KNOWN, at, "tools[].function.", other, &value)?,
        }
    }
    if tool.name.is_empty() {
        return Err(at.key("name").invalid("is missing"));
    }
    Ok(tool)
}

fn read_format(format: Json<'_>, at: &At<'_>) -> Result<Format, Error> {
    match format {
        Json::Text(text) if text == "json" => Ok(Format::Json),
        Json::Object(fields) => Ok(Format::Schema(json::into_map(fields).into())),
        _ => Err(at.invalid("must be `json` or a JSON schema")),
    }
}

fn read_think(think: Json<'_>, at: &At<'_>) -> Result<Think, Error> {
    match think {
        Json::Bool(true) => Ok(Think::On),
        Json::Bool(false) => Ok(Think::Off),
        Json::Text(level) => match level.as_ref() {
            "low" => Ok(Think::Low),
            "medium" => Ok(Think::Medium),
            "high" => Ok(Think::High),
            "max" => Ok(Think::Max),
            _ => Err(at.invalid("must be a boolean or one of `low`, `medium`, `high`, `max`")),
        },
        other => Err(at.invalid(format_args!("must be a boolean or a string, not {}", other.kind()))),
    }
}

/// Ollama's `options`, those that concern one answer.
#[derive(Default)]
struct Options {
    sampling: Sampling,
    max_tokens: Option<u32>,
    extra: Extra,
}

/// A changed value of one of these loads the model anew, for everybody.
const RUNNER_OPTIONS: &[&str] =
    &["draft_num_predict", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_thread", "use_mmap"];

const OPTIONS: &[&str] = &[
    "draft_num_predict",
    "frequency_penalty",
    "main_gpu",
    "min_p",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "presence_penalty",
    "repeat_last_n",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "use_mmap",
];

// Ollama itself knows no bounds for these; they only keep out what no sampler can use.
const COUNT_MAX: i64 = 1_000_000;
const FACTOR_MAX: f64 = 100.0;
const FACTOR_MIN: f64 = 0.01;

impl Options {
    fn read(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Self, Error> {
        let mut options = Options::default();
        for (key, value) in fields {
            let key = key.as_ref();
            if !OPTIONS.contains(&key) {
                // Ollama leaves out options that it does not know, and says so in its log alone.
                ignored.unknown(OPTIONS, at, "options.", key, &value)?;
            } else if !value.is_absent() {
                options.set(key, value, &at.key(key), ignored)?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        if RUNNER_OPTIONS.contains(&key) {
            return Err(at.unsupported("is not offered: it would reload the model for everybody; leave it out"));
        }
        let sampling = &mut self.sampling;
        match key {
            "temperature" => sampling.temperature = Some(value.number_in(at, 0.0..=FACTOR_MAX)?),
            "top_p" => sampling.top_p = Some(value.number_in(at, 0.0..=1.0)?),
            "top_k" => sampling.top_k = Some(value.integer_in(at, 0..=COUNT_MAX)?),
            "seed" => sampling.seed = Some(value.integer(at)?),
            "presence_penalty" => sampling.presence_penalty = Some(value.number_in(at, -FACTOR_MAX..=FACTOR_MAX)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(value.number_in(at, -FACTOR_MAX..=FACTOR_MAX)?),
            "stop" => sampling.stop = value.stop_sequences(at, STOPS_MAX)?,
            "num_predict" => match value.integer(at)? {
                0 => return Err(at.invalid("must be at least 1, or negative for the gateway's own limit")),
                // In Ollama: no limit. Here no answer runs for ever, and the caller is told so.
                ..0 => ignored.add("options.num_predict"),
                limit => self.max_tokens = Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            },
            "min_p" | "typical_p" => self.keep(key, value.number_in(at, 0.0..=1.0)?),
            // A factor of zero would divide by zero in the sampler.
            "repeat_penalty" => self.keep(key, value.number_in(at, FACTOR_MIN..=FACTOR_MAX)?),
            // -1 stands for the whole context in both.
            "num_keep" | "repeat_last_n" => self.keep(key, value.integer_in(at, -1..=COUNT_MAX)?),
            other => ignored.add(format_args!("options.{other}")),
        }
        Ok(())
    }

    fn keep(&mut self, key: &str, value: impl Into<Value>) {
        self.extra.ollama.insert(key.to_owned(), value.into());
    }
}

// --- Writing --------------------------------------------------------------------------------------------------------

/// The encoder of one answer, in the order of Ollama's own fields.
struct Answer {
    model: String,
    calls: usize,
}

impl Encoder for Answer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let tool_calls = reply.tool_calls.iter().enumerate().map(WireCall::of).collect();
        let message =
            WireMessage { content: &reply.text, thinking: &reply.reasoning, tool_calls, ..WireMessage::EMPTY };
        wire::put_json(out, &self.object(reply.at, message, Some(&reply.end)));
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        let mut message = WireMessage::EMPTY;
        let mut end = None;
        let first_call = self.calls;
        match &event.what {
            Piece::Text(text) => message.content = text,
            Piece::Reasoning(text) => message.thinking = text,
            Piece::ToolCall(call) => {
                message.tool_calls = vec![WireCall::of((first_call, call))];
                self.calls += 1;
            }
            Piece::End(what) => end = Some(what),
            // `/chat` asks for neither.
            Piece::Logprobs(_) | Piece::Embedding(_) => return,
        }
        wire::put_line(out, &self.object(event.at, message, end));
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_line(out, &WireError::of(error));
    }

    /// Ollama's clients parse every line, and an empty one breaks them.
    fn heartbeat(&mut self, _: &mut BytesMut) {}
}

impl Answer {
    fn object<'a>(&'a self, at: OffsetDateTime, message: WireMessage<'a>, end: Option<&End>) -> WireObject<'a> {
        let usage = end.map(|end| end.usage).unwrap_or_default();
        let timings = end.map(|end| end.timings).unwrap_or_default();
        WireObject {
            model: &self.model,
            created_at: clock::rfc3339(at),
            message,
            done: end.is_some(),
            done_reason: end.map(|end| match end.finish {
                Finish::Length => "length",
                // Ollama has no reason of its own for tool calls.
                Finish::Stop | Finish::ToolCalls => "stop",
            }),
            total_duration: timings.total_ns,
            load_duration: timings.load_ns,
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: timings.prompt_ns,
            eval_count: usage.answer_tokens,
            eval_duration: timings.answer_ns,
        }
    }
}

#[derive(Serialize)]
struct WireObject<'a> {
    model: &'a str,
    created_at: String,
    message: WireMessage<'a>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    // In Ollama a zero is absent in all six.
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

impl WireMessage<'_> {
    const EMPTY: Self = WireMessage { role: "assistant", content: "", thinking: "", tool_calls: Vec::new() };
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    index: usize,
    name: &'a str,
    arguments: &'a RawValue,
}

impl<'a> WireCall<'a> {
    fn of((index, call): (usize, &'a ToolCall)) -> Self {
        WireCall { id: &call.id, function: WireFunction { index, name: &call.name, arguments: &call.arguments } }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dialect::TestHead;

    const POST: TestHead = TestHead { path: "/chat", headers: &[] };
    const MESSAGES: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

    fn decode_body(body: &str) -> Result<Decoded, Error> {
        Legacy.decode(&POST, body.as_bytes())
    }

    /// A good request with some fields more.
    fn decode(fields: &str) -> Result<(ChatRequest, Vec<String>), Error> {
        chat(decode_body(&format!("{{{MESSAGES}{fields}}}")))
    }

    /// A request of one message.
    fn decode_message(message: &str) -> Result<(ChatRequest, Vec<String>), Error> {
        chat(decode_body(&format!(r#"{{"messages":[{message}]}}"#)))
    }

    fn chat(decoded: Result<Decoded, Error>) -> Result<(ChatRequest, Vec<String>), Error> {
        let decoded = decoded?;
        let Work::Chat(chat) = decoded.work else { panic!("no chat") };
        Ok((chat, decoded.ignored))
    }

    #[track_caller]
    fn refused<T>(result: Result<T, Error>, code: &str, field: &str) {
        let Err(error) = result else { panic!("{field} is not refused") };
        assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
    }

    const INVALID: &str = "invalid_request";
    const UNSUPPORTED: &str = "unsupported_parameter";

    #[test]
    fn credentials_are_in_the_body() {
        let body = format!(r#"{{"auth":{{"username":" Ann@Example.org ","password":" p "}},{MESSAGES}}}"#);

        let Some(Credential::Password { username, password }) = decode_body(&body).unwrap().credential else {
            panic!("no credential");
        };

        assert_eq!(username.as_str(), "ann@example.org");
        assert_eq!(password.expose(), " p ");
    }

    #[test]
    fn a_body_without_credentials_has_none() {
        for auth in ["", r#""auth":null,"#, r#""auth":{},"#] {
            assert!(decode_body(&format!("{{{auth}{MESSAGES}}}")).unwrap().credential.is_none());
        }
    }

    #[test]
    fn credentials_that_are_not_whole_are_refused_by_name() {
        let auth = |auth: &str| decode_body(&format!(r#"{{"auth":{auth},{MESSAGES}}}"#));
        let long = |length: usize| format!(r#"{{"username":"a","password":"{}"}}"#, "x".repeat(length));

        refused(auth(r#""ann:secret""#), INVALID, "auth");
        refused(auth(r#"{"username":"ann"}"#), INVALID, "auth.password");
        refused(auth(r#"{"password":"x"}"#), INVALID, "auth.username");
        refused(auth(r#"{"username":5,"password":"x"}"#), INVALID, "auth.username");
        refused(auth(r#"{"Username":"ann","password":"x"}"#), INVALID, "auth.Username");
        assert!(auth(&long(AUTH_BYTES_MAX)).is_ok());
        refused(auth(&long(AUTH_BYTES_MAX + 1)), INVALID, "auth.password");
    }

    #[test]
    fn a_token_in_the_head_takes_the_place_of_credentials_in_the_body() {
        let body = format!(r#"{{"auth":{{"username":"ann","password":"p"}},{MESSAGES}}}"#);

        let decoded =
            Legacy.decode(&TestHead { headers: &[("authorization", "Bearer abc")], ..POST }, body.as_bytes()).unwrap();

        assert!(decoded.credential.is_none());
        assert_eq!(decoded.ignored, ["auth"]);
    }

    #[test]
    fn the_model_is_the_default_one_when_none_is_named() {
        let model = |fields: &str| decode(fields).unwrap().0.model.as_str().to_owned();

        assert_eq!(model(""), "llama3.2:latest");
        assert_eq!(model(r#","model":"""#), "llama3.2:latest");
        assert_eq!(model(r#","model":"Other""#), "Other");
        refused(decode(r#","model":["a"]"#), INVALID, "model");
    }

    #[test]
    fn messages_are_required() {
        for body in ["{}", r#"{"messages":[]}"#, r#"{"messages":null}"#] {
            let Err(error) = decode_body(body) else { panic!("{body} is not refused") };
            let reply = Legacy.error(&error, &RequestId(uuid::Uuid::nil()));
            assert_eq!((reply.status, &reply.body[..]), (400, &br#"{"error":"messages required"}"#[..]));
        }
        refused(decode_body(r#"{"messages":{"role":"user"}}"#), INVALID, "messages");
    }

    #[test]
    fn messages_are_those_of_ollama() {
        let (chat, ignored) = decode_body(
            r#"{"messages":[{"role":"System","content":"s"},{"role":"user","content":null,"images":["aGk="]},
            {"role":"assistant","thinking":"hm","tool_calls":[{"id":"c1","type":"function","function":{"index":4,"name":"f","arguments":{"z":1,"a":[2.5,null]}}}]},
            {"role":"tool","content":"20","tool_name":"f","tool_call_id":"c1","colour":1}]}"#,
        )
        .map(|decoded| (decoded.work, decoded.ignored))
        .unwrap();
        let Work::Chat(chat) = chat else { panic!("no chat") };

        let roles: Vec<_> = chat.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
        assert_eq!(chat.messages[1].images, [Image(bytes::Bytes::from_static(b"hi"))]);
        let call = &chat.messages[2].tool_calls[0];
        assert_eq!(
            (call.id.as_str(), call.name.as_str(), call.arguments.get()),
            ("c1", "f", r#"{"z":1,"a":[2.5,null]}"#)
        );
        assert_eq!(chat.messages[2].reasoning.as_deref(), Some("hm"));
        assert_eq!(chat.messages[3].tool_call_id.as_deref(), Some("c1"));
        assert_eq!(chat.truncate, None);
        assert_eq!(ignored, ["messages[].colour"]);
    }

    #[test]
    fn a_message_that_is_not_right_is_named() {
        for (message, field) in [
            (r#"{"content":"x"}"#, "messages[0].role"),
            (r#"{"role":"developer","content":"x"}"#, "messages[0].role"),
            (r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#, "messages[0].content"),
            (r#"{"role":"user","Content":"x"}"#, "messages[0].Content"),
            (r#"{"role":"user","images":"aGk="}"#, "messages[0].images"),
            (
                r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#,
                "messages[0].tool_calls[0].function.arguments",
            ),
            (
                r#"{"role":"assistant","tool_calls":[{"function":{"arguments":{}}}]}"#,
                "messages[0].tool_calls[0].function.name",
            ),
            (r#"{"role":"assistant","tool_calls":[{"name":"f"}]}"#, "messages[0].tool_calls[0].function"),
        ] {
            refused(decode_message(message), INVALID, field);
        }
    }

    #[test]
    fn images_are_plain_base64_as_go_reads_it() {
        let image = |text: &str| {
            let message = format!(r#"{{"role":"user","images":["aGk=","{text}"]}}"#);
            decode_message(&message).map(|(mut chat, _)| chat.messages.remove(0).images.remove(1).0)
        };

        assert_eq!(image("+/8=").unwrap(), &b"\xfb\xff"[..]);
        assert_eq!(image(r"aG\nk=\r\n").unwrap(), &b"hi"[..]);
        assert_eq!(image("aGl=").unwrap(), &b"hi"[..]);
        for bad in ["-_8=", "aGk", "a", "aGk=x", "data:image/png;base64,aGk=", "", "äöü"] {
            refused(image(bad), INVALID, "messages[0].images[1]");
        }
    }

    #[test]
    fn options_of_one_answer_are_taken_within_bounds() {
        let option = |name: &str, value: &str| decode(&format!(r#","options":{{"{name}":{value}}}"#));

        for (name, good, bad) in [
            ("temperature", &["0", "0.7", "100"][..], &["-0.1", "100.1", "\"hot\""][..]),
            ("top_p", &["0", "1"], &["-0.1", "1.1"]),
            ("min_p", &["0", "1"], &["-0.1", "1.1"]),
            ("typical_p", &["0", "1"], &["-0.1", "1.1", "true"]),
            ("top_k", &["0", "40", "1000000"], &["-1", "1000001", "1.5"]),
            ("num_keep", &["-1", "0", "1000000"], &["-2", "1000001"]),
            ("repeat_last_n", &["-1", "64"], &["-2"]),
            ("repeat_penalty", &["0.01", "1.1", "100"], &["0", "-1", "100.1"]),
            ("presence_penalty", &["-100", "100"], &["-100.1", "100.1"]),
            ("frequency_penalty", &["-100", "100"], &["-100.1", "100.1"]),
            ("seed", &["-1", "42", "42.0"], &["\"42\"", "1.5"]),
            ("num_predict", &["1", "-1", "-2", "100000000000"], &["0", "\"5\""]),
            ("stop", &["\"a\"", "[\"a\"]", "[]"], &["5", "[5]", "[\"\"]"]),
        ] {
            for value in good.iter().chain(&["null"]) {
                option(name, value).unwrap_or_else(|error| panic!("{name} {value}: {error}"));
            }
            for value in bad {
                let Err(error) = option(name, value) else { panic!("{name} {value} is taken") };
                assert!(error.field().unwrap().starts_with(&format!("options.{name}")), "{error}");
                assert_eq!(error.code(), INVALID);
            }
        }
        let (chat, _) = decode(r#","options":{"num_keep":5,"min_p":0.1,"num_predict":7,"top_k":9}"#).unwrap();
        assert_eq!(Value::from(chat.extra.ollama).to_string(), r#"{"num_keep":5,"min_p":0.1}"#);
        assert_eq!((chat.max_tokens, chat.sampling.top_k), (Some(7), Some(9)));
    }

    #[test]
    fn a_negative_limit_is_the_gateways_and_the_caller_is_told() {
        let (chat, ignored) = decode(r#","options":{"num_predict":-1}"#).unwrap();

        assert_eq!(chat.max_tokens, None);
        assert_eq!(ignored, ["options.num_predict"]);
    }

    #[test]
    fn what_would_reload_the_model_for_everybody_is_refused_by_name() {
        for name in RUNNER_OPTIONS {
            let value = if *name == "use_mmap" { "true" } else { "4096" };
            refused(decode(&format!(r#","options":{{"{name}":{value}}}"#)), UNSUPPORTED, &format!("options.{name}"));
            decode(&format!(r#","options":{{"{name}":null}}"#)).unwrap();
        }
        for (name, value) in [
            ("keep_alive", "0"),
            ("keep_alive", "\"5m\""),
            ("shift", "false"),
            ("logprobs", "true"),
            ("top_logprobs", "2"),
            ("_debug_render_only", "true"),
        ] {
            refused(decode(&format!(r#","{name}":{value}"#)), UNSUPPORTED, name);
        }
        for (name, value) in [("keep_alive", "null"), ("shift", "true"), ("logprobs", "false"), ("top_logprobs", "0")] {
            decode(&format!(r#","{name}":{value}"#)).unwrap();
        }
    }

    #[test]
    fn unknown_fields_and_options_are_named() {
        let (_, ignored) = decode(r#","options":{"mirostat":1,"tfs_z":null},"colour":"red","raw":null"#).unwrap();

        assert_eq!(ignored, ["options.mirostat", "colour"]);
        refused(decode(r#","Options":{}"#), INVALID, "Options");
        refused(decode(r#","options":{"Num_ctx":1}"#), INVALID, "options.Num_ctx");
    }

    #[test]
    fn format_and_think_are_those_of_ollama() {
        let read = |fields: &str| decode(fields).map(|(chat, _)| chat);

        assert!(matches!(read(r#","format":"json""#).unwrap().format, Some(Format::Json)));
        assert!(matches!(read(r#","format":{"type":"object"}"#).unwrap().format, Some(Format::Schema(_))));
        assert!(read(r#","format":"""#).unwrap().format.is_none());
        refused(read(r#","format":"xml""#), INVALID, "format");
        refused(read(r#","format":true"#), INVALID, "format");
        for (value, think) in
            [("true", Think::On), ("false", Think::Off), ("\"low\"", Think::Low), ("\"max\"", Think::Max)]
        {
            assert_eq!(read(&format!(r#","think":{value}"#)).unwrap().think, Some(think));
        }
        refused(read(r#","think":"yes""#), INVALID, "think");
        refused(read(r#","think":1"#), INVALID, "think");
    }

    #[test]
    fn tools_are_functions() {
        let (chat, ignored) = decode(r#","tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1,"a":2},"strict":true}}]"#).unwrap();

        assert_eq!((chat.tools[0].name.as_str(), chat.tools[0].description.as_deref()), ("f", Some("d")));
        assert_eq!(chat.tools[0].parameters.as_ref().unwrap().to_string(), r#"{"z":1,"a":2}"#);
        assert_eq!(ignored, ["tools[].function.strict"]);
        refused(decode(r#","tools":[{"type":"function"}]"#), INVALID, "tools[0].function");
        refused(decode(r#","tools":[{"function":{"description":"d"}}]"#), INVALID, "tools[0].function.name");
        refused(decode(r#","tools":[{"type":"web_search"}]"#), UNSUPPORTED, "tools[0].type");
    }

    #[test]
    fn errors_are_one_text() {
        let reply = |error: Error| Legacy.error(&error, &RequestId(uuid::Uuid::nil()));
        let wait = Duration::from_secs(3);

        let unauthorized = reply(Error::bad_credentials());
        assert_eq!((unauthorized.status, unauthorized.body), (403, br#"{"error":"unauthorized"}"#.to_vec()));
        assert_eq!(unauthorized.headers, []);
        let limited = reply(Error::RateLimited { message: "ten a minute".into(), retry_after: wait });
        assert_eq!((limited.status, limited.body), (429, br#"{"error":"rate limit exceeded"}"#.to_vec()));
        assert_eq!(limited.headers, [("Retry-After", "3".into())]);
        let busy = reply(Error::HostBusy { message: "busy".into(), retry_after: wait });
        assert_eq!((busy.status, busy.body), (503, br#"{"error":"busy"}"#.to_vec()));
    }
}
