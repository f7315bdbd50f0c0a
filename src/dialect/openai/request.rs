//! A chat completion's request: fields to meaning, or a refusal that names the field.

use serde::{Deserialize, Deserializer};

use crate::base::error::Error;
use crate::dialect::effort::Effort;
use crate::dialect::json::typed::unsupported;
use crate::dialect::json::values::{Integer, NotOffered, Number, Stops, TokenLimit};
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Sent, Tree, Unread};
use crate::dialect::openai::message::read_messages;
use crate::dialect::openai::parse_model;
use crate::dialect::openai::tools::{WireChoice, WireTool, read_choice, read_tools};
use crate::model::chat::{ChatRequest, Format, Sampling, Think, Thinking};
use crate::model::too_long::TooLong;

/// OpenAI's own limits.
pub const STOPS_MAX: usize = 4;
const TOP_LOGPROBS_MAX: i64 = 20;

pub struct OpenAiChat {
    pub chat: ChatRequest,
    pub stream: bool,
    pub include_usage: bool,
    /// How many answers are wanted.
    pub choices: u8,
    pub ignored: Ignored,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    audio: Option<NotOffered>,
    frequency_penalty: Option<Number<-2, 2>>,
    function_call: Option<Unread>,
    functions: Option<Unread>,
    logit_bias: Option<NotOffered>,
    logprobs: Option<bool>,
    max_completion_tokens: Option<TokenLimit>,
    max_tokens: Option<TokenLimit>,
    /// Read separately, by `read_messages`.
    messages: Unread,
    metadata: NoEffect,
    modalities: Option<OnlyText>,
    model: Option<String>,
    moderation: NoEffect,
    n: Option<Choices>,
    parallel_tool_calls: Option<bool>,
    /// Here and in `web_search_options` an empty object counts: it asks for the defaults.
    prediction: Sent<NotOffered>,
    presence_penalty: Option<Number<-2, 2>>,
    prompt_cache_key: NoEffect,
    prompt_cache_options: NoEffect,
    prompt_cache_retention: NoEffect,
    reasoning: Option<Reasoning>,
    reasoning_effort: Option<Effort>,
    response_format: Option<WireFormat>,
    safety_identifier: NoEffect,
    seed: Option<i64>,
    service_tier: NoEffect,
    stop: Option<Stops>,
    store: NoEffect,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<Number<0, 2>>,
    tool_choice: Option<WireChoice>,
    tools: Option<Vec<WireTool>>,
    top_logprobs: Option<Integer<0, TOP_LOGPROBS_MAX>>,
    top_p: Option<Number<0, 1>>,
    user: NoEffect,
    verbosity: NoEffect,
    web_search_options: Sent<NotOffered>,
}

pub fn read(mut body: Object<'_>) -> Result<OpenAiChat, Error> {
    let mut ignored = Ignored::default();
    // Which fields of a message count depends on its role, and which of two names is wrong on their order.
    let messages = json::take(&mut body, "messages");
    let body: Body = json::read_body(body, &mut ignored)?;
    let messages = match messages {
        Some(messages) => {
            let at = At::Body.key("messages");
            read_messages(messages.array(&at)?, &at, &mut ignored)?
        }
        None => Vec::new(),
    };
    if body.functions.is_some() {
        return Err(At::Body.key("functions").unsupported("is out of use; send `tools`"));
    }
    if body.function_call.is_some() {
        return Err(At::Body.key("function_call").unsupported("is out of use; send `tool_choice`"));
    }
    let stream = body.stream.unwrap_or(false);
    let include_usage = wants_usage(stream, body.stream_options)?;
    let logprobs = read_logprobs(body.logprobs.unwrap_or(false), body.top_logprobs)?;
    let tools = read_tools(body.tools.unwrap_or_default(), &At::Body.key("tools"), &mut ignored)?;
    let choice = body.tool_choice.map(|choice| read_choice(choice, &At::Body.key("tool_choice"))).transpose()?;
    let (tools, must_call) = choice.unwrap_or_default().apply(tools)?;
    let format =
        body.response_format.map(|format| read_format(format, &At::Body.key("response_format"))).transpose()?;
    let model = parse_model(body.model)?;
    if messages.is_empty() {
        return Err(Error::invalid("messages", "`messages` is missing or empty; send at least one message"));
    }
    let stop = body.stop.map(|stops| stops.texts(&At::Body.key("stop"), STOPS_MAX)).transpose()?;
    let sampling = Sampling {
        temperature: body.temperature.map(|Number(value)| value),
        top_p: body.top_p.map(|Number(value)| value),
        presence_penalty: body.presence_penalty.map(|Number(value)| value),
        frequency_penalty: body.frequency_penalty.map(|Number(value)| value),
        seed: body.seed,
        stop: stop.unwrap_or_default(),
        ..Sampling::default()
    };
    let mut limit = |field, limit: Option<TokenLimit>| limit.and_then(|limit| limit.at_most(field, &mut ignored));
    let max_tokens = limit("max_tokens", body.max_tokens);
    let max_completion_tokens = limit("max_completion_tokens", body.max_completion_tokens);
    let effort = body.reasoning_effort.map(Think::from);
    let effort_name = if effort.is_some() { "reasoning_effort" } else { "reasoning.effort" };
    let reasoning = body.reasoning.and_then(|reasoning| reasoning.effort).map(Think::from);
    let think = agree(("reasoning_effort", effort), ("reasoning.effort", reasoning))?;
    let chat = ChatRequest {
        tools,
        must_call,
        one_call: body.parallel_tool_calls == Some(false),
        format: format.flatten(),
        sampling,
        max_tokens: agree(("max_tokens", max_tokens), ("max_completion_tokens", max_completion_tokens))?,
        think: think.map(|level| Thinking { level, optional: Some(effort_name) }),
        logprobs,
        // OpenAI's clients expect an error, not a conversation whose beginning vanished.
        too_long: Some(TooLong::Refuse),
        ..ChatRequest::new(model, messages)
    };
    Ok(OpenAiChat { chat, stream, include_usage, choices: choices(body.n), ignored })
}

/// Returns how many alternatives of each token are wanted; `None`: no probabilities.
fn read_logprobs(wanted: bool, top: Option<Integer<0, TOP_LOGPROBS_MAX>>) -> Result<Option<u8>, Error> {
    let top = top.map_or(0, |Integer(count)| count as u8);
    if top > 0 && !wanted {
        return Err(Error::invalid("top_logprobs", "`top_logprobs` needs `logprobs: true`; send it or leave both out"));
    }
    Ok(wanted.then_some(top))
}

/// Returns the value of a field that has two names: either may be sent, or both with the same value.
pub fn agree<T: PartialEq>(one: (&str, Option<T>), other: (&str, Option<T>)) -> Result<Option<T>, Error> {
    match (one.1, other.1) {
        (Some(first), Some(second)) if first != second => {
            Err(Error::invalid(other.0, format!("`{}` and `{}` differ; send one of them", one.0, other.0)))
        }
        (first, second) => Ok(first.or(second)),
    }
}

/// Returns whether a stream ends with its usage.
pub fn wants_usage(stream: bool, options: Option<StreamOptions>) -> Result<bool, Error> {
    if options.is_some() && !stream {
        return Err(Error::invalid(
            "stream_options",
            "`stream_options` is only for streams; send `stream: true` or leave it out",
        ));
    }
    Ok(options.and_then(|options| options.include_usage).unwrap_or(false))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct StreamOptions {
    include_obfuscation: NoEffect,
    include_usage: Option<bool>,
}

/// `n`, within OpenAI's own limit; the policy has another.
pub type Choices = Integer<1, 128>;

/// Returns how many answers are wanted.
pub fn choices(n: Option<Choices>) -> u8 {
    n.map_or(1, |Integer(count)| u8::try_from(count).unwrap_or(u8::MAX))
}

/// `modalities`, which may only be text.
struct OnlyText;

impl<'de> Deserialize<'de> for OnlyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if Vec::<String>::deserialize(deserializer).is_ok_and(|kinds| kinds == ["text"]) {
            return Ok(OnlyText);
        }
        Err(unsupported("may only be `[\"text\"]`: answers are text"))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFormat {
    r#type: Option<String>,
    json_schema: Option<WireSchema>,
}

/// `name` and `description` are for people. `strict` is kept in any case: the schema always binds the model.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSchema {
    description: Unread,
    name: Unread,
    schema: Sent<Tree>,
    strict: Unread,
}

fn read_format(format: WireFormat, at: &At<'_>) -> Result<Option<Format>, Error> {
    match format.r#type.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::Json)),
        Some("json_schema") => match format.json_schema.and_then(|wrapped| wrapped.schema.0) {
            Some(Tree(schema)) => Ok(Some(Format::Schema { schema, field: "response_format.json_schema.schema" })),
            None => Err(at.key("json_schema").key("schema").invalid("is missing; send the schema as an object")),
        },
        Some(_) => Err(at.key("type").invalid("must be one of `text`, `json_object`, `json_schema`")),
        None => Err(at.key("type").invalid("is missing; send one of `text`, `json_object`, `json_schema`")),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reasoning {
    effort: Option<Effort>,
}

#[cfg(test)]
mod tests;
