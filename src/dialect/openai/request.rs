//! A chat completion's request: fields to meaning, or a refusal that names the field.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::base::error::Error;
use crate::dialect::json::typed::unsupported;
use crate::dialect::json::{At, Ignored, Json, NoEffect, Object};
use crate::dialect::openai::message::read_messages;
use crate::dialect::openai::tools::{Choice, read_choice, read_tools};
use crate::model::chat::{ChatRequest, Extra, Format, Sampling, Think, Thinking};
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

/// OpenAI's own limits.
pub const STOPS_MAX: usize = 4;
const TOP_LOGPROBS_MAX: i64 = 20;

pub struct Asked {
    pub chat: ChatRequest,
    pub stream: bool,
    pub include_usage: bool,
    pub ignored: Ignored,
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

/// An empty object here is a wish all the same: a search with its defaults.
const MEANT_WHEN_EMPTY: &[&str] = &["prediction", "web_search_options"];

pub fn read(body: Object<'_>) -> Result<Asked, Error> {
    let mut ignored = Ignored::default();
    let mut model = None;
    let mut messages = Vec::new();
    let mut sampling = Sampling::default();
    let (mut max_tokens, mut max_completion_tokens) = (None, None);
    let (mut format, mut effort, mut reasoning) = (None, None, None);
    let (mut tools, mut choice, mut one_call) = (Vec::new(), Choice::Auto, false);
    let (mut logprobs, mut top_logprobs) = (false, None);
    let (mut stream, mut stream_options) = (false, None);
    for (key, value) in body {
        let key = key.as_ref();
        let at = At::Body.key(key);
        if !FIELDS.contains(&key) {
            ignored.unknown(FIELDS, &At::Body, "", key, &value)?;
            continue;
        }
        if value.is_null() || (value.is_absent() && !MEANT_WHEN_EMPTY.contains(&key)) {
            continue;
        }
        match key {
            "model" => model = Some(ModelName::parse(&value.text(&at)?)?),
            "messages" => messages = read_messages(value.array(&at)?, &at, &mut ignored)?,
            "max_tokens" => max_tokens = value.token_limit(&at, &mut ignored)?,
            "max_completion_tokens" => max_completion_tokens = value.token_limit(&at, &mut ignored)?,
            "temperature" => sampling.temperature = Some(value.number_in(&at, 0.0..=2.0)?),
            "top_p" => sampling.top_p = Some(value.number_in(&at, 0.0..=1.0)?),
            "presence_penalty" => sampling.presence_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "seed" => sampling.seed = Some(value.integer(&at)?),
            "stop" => sampling.stop = value.stop_sequences(&at, STOPS_MAX)?,
            "stream" => stream = value.boolean(&at)?,
            "stream_options" => stream_options = Some(value.read(&at, &mut ignored)?),
            "response_format" => format = read_format(value.object(&at)?, &at, &mut ignored)?,
            "reasoning_effort" => effort = Some(read_effort(value, &at)?),
            "reasoning" => reasoning = read_reasoning(value.object(&at)?, &at, &mut ignored)?,
            "n" => {
                value.read::<OneAnswer>(&at, &mut ignored)?;
            }
            "logprobs" => logprobs = value.boolean(&at)?,
            "top_logprobs" => top_logprobs = Some(value.integer_in(&at, 0..=TOP_LOGPROBS_MAX)? as u8),
            "modalities" => {
                if !matches!(&value, Json::Array(kinds) if matches!(&kinds[..], [Json::Text(kind)] if kind == "text")) {
                    return Err(at.unsupported("may only be `[\"text\"]`: answers are text"));
                }
            }
            "tools" => tools = read_tools(value.array(&at)?, &at, &mut ignored)?,
            "tool_choice" => choice = read_choice(value, &at, &mut ignored)?,
            "parallel_tool_calls" => one_call = !value.boolean(&at)?,
            "functions" => return Err(at.unsupported("is out of use; send `tools`")),
            "function_call" => return Err(at.unsupported("is out of use; send `tool_choice`")),
            "audio" | "logit_bias" | "prediction" | "web_search_options" => {
                return Err(at.unsupported("is not offered; leave it out"));
            }
            // What is left of `FIELDS` has no effect on the answer here.
            _ => ignored.add(key),
        }
    }
    let include_usage = wants_usage(stream, stream_options)?;
    if top_logprobs.is_some_and(|top| top > 0) && !logprobs {
        return Err(Error::invalid("top_logprobs", "`top_logprobs` needs `logprobs: true`; send it or leave both out"));
    }
    let (tools, must_call) = choice.apply(tools)?;
    let Some(model) = model else {
        return Err(Error::invalid("model", "`model` is missing; name one that `GET /v1/models` lists"));
    };
    if messages.is_empty() {
        return Err(Error::invalid("messages", "`messages` is missing or empty; send at least one message"));
    }
    let effort_name = if effort.is_some() { "reasoning_effort" } else { "reasoning.effort" };
    let think = agree(("reasoning_effort", effort), ("reasoning.effort", reasoning))?;
    let chat = ChatRequest {
        model,
        messages,
        tools,
        must_call,
        one_call,
        format,
        sampling,
        max_tokens: agree(("max_tokens", max_tokens), ("max_completion_tokens", max_completion_tokens))?,
        think: think.map(|level| Thinking { level, optional: Some(effort_name) }),
        logprobs: logprobs.then_some(top_logprobs.unwrap_or(0)),
        // OpenAI's clients expect an error, not a conversation whose beginning vanished.
        too_long: Some(TooLong::Refuse),
        extra: Extra::default(),
    };
    Ok(Asked { chat, stream, include_usage, ignored })
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

/// Whether a stream ends with its usage.
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

/// `n` and its like, which may only be 1.
pub struct OneAnswer;

impl<'de> Deserialize<'de> for OneAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if i64::deserialize(deserializer)? != 1 {
            return Err(unsupported("must be 1: one request gets one answer; send several requests instead"));
        }
        Ok(OneAnswer)
    }
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
            Some(schema) => Ok(Some(Format::Schema { schema, field: "response_format.json_schema.schema" })),
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
            "schema" => schema = Some(value.tree(&at.key("schema"))?),
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
        "xhigh" | "max" | "ultra" => Ok(Think::Max),
        _ => Err(at.invalid("must be one of `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`, `ultra`")),
    }
}

#[cfg(test)]
mod tests;
