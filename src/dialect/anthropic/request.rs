//! A request for a message: fields to meaning, or a refusal that names the field.

use serde::{Deserialize, Deserializer};

use crate::base::error::Error;
use crate::dialect::anthropic::messages::{read_messages, read_system};
use crate::dialect::anthropic::tools::{AnthropicChoice, AnthropicTool, read_choice, read_tools};
use crate::dialect::effort::Effort;
use crate::dialect::json::values::{Integer, Number, Stops};
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Sent, Tree, Unread};
use crate::model::chat::{ChatRequest, Format, Sampling, Think, Thinking};
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

/// Far more than clients send. Each piece of an answer is held against all of them.
const STOPS_MAX: usize = 64;
const STOP_BYTES_MAX: usize = 256;

/// The samplers themselves have no bound; this keeps out what is none of theirs.
const TOP_K_MAX: i64 = 1_000_000;

pub struct AnthropicRequest {
    pub chat: ChatRequest,
    pub stream: bool,
    pub ignored: Ignored,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    cache_control: NoEffect,
    container: NoEffect,
    context_management: NoEffect,
    inference_geo: NoEffect,
    max_tokens: Option<AnswerLimit>,
    mcp_servers: NoEffect,
    /// This and `system` are read separately, since they borrow from the body.
    messages: Unread,
    metadata: NoEffect,
    model: Option<String>,
    output_config: Option<OutputConfig>,
    /// The first name of `output_config.format`, which some SDKs still send.
    output_format: Option<WireFormat>,
    service_tier: NoEffect,
    speed: NoEffect,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    system: Unread,
    temperature: Option<Number<0, 2>>,
    thinking: Option<WireThinking>,
    tool_choice: Option<AnthropicChoice>,
    tools: Option<Vec<AnthropicTool>>,
    top_k: Option<Integer<0, TOP_K_MAX>>,
    top_p: Option<Number<0, 1>>,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AskedFor {
    Answer,
    /// The number of tokens of its prompt.
    Count,
}

pub fn read(mut body: Object<'_>, purpose: AskedFor) -> Result<AnthropicRequest, Error> {
    let mut ignored = Ignored::default();
    let system = json::take(&mut body, "system");
    let said = json::take(&mut body, "messages");
    let body: Body = json::read_body(body, &mut ignored)?;
    let mut messages = Vec::new();
    if let Some(system) = system {
        messages.push(read_system(system, &At::Body.key("system"), &mut ignored)?);
    }
    let at = At::Body.key("messages");
    let said = said.ok_or_else(|| at.invalid("is missing or empty; send at least one message"))?;
    read_messages(said.array(&at)?, &at, &mut ignored, &mut messages)?;
    let tools = read_tools(body.tools.unwrap_or_default(), &At::Body.key("tools"), &mut ignored)?;
    let choice = body.tool_choice.map(|choice| read_choice(choice, &At::Body.key("tool_choice"))).transpose()?;
    let (choice, one_call) = choice.unwrap_or_default();
    let (tools, must_call) = choice.apply(tools)?;
    let OutputConfig { effort, format, .. } = body.output_config.unwrap_or_default();
    let format = match (format, body.output_format) {
        (Some(format), None) => Some(read_format(format, &At::Body.key("output_config"), FORMAT)?),
        (None, Some(format)) => Some(read_format(format, &At::Body, FIRST_FORMAT)?),
        (None, None) => None,
        (Some(_), Some(_)) => {
            let why = "is there under its other name too; send `output_config.format` alone";
            return Err(At::Body.key("output_format").invalid(why));
        }
    };
    let think = read_thinking(body.thinking, effort, &mut ignored)?;
    let told_stops = read_stops(body.stop_sequences.unwrap_or_default(), &At::Body.key("stop_sequences"))?;
    let missing = |field, what| Error::invalid(field, format!("`{field}` is missing; {what}"));
    let model = body.model.ok_or_else(|| missing("model", "name one that `GET /v1/models` lists"))?;
    let model = ModelName::parse(&model)?;
    let max_tokens = match purpose {
        AskedFor::Answer => {
            let limit = body.max_tokens;
            limit.ok_or_else(|| missing("max_tokens", "send the longest answer that you want, in tokens"))?
        }
        // A model counts the prompt before it answers.
        AskedFor::Count => AnswerLimit(1),
    };
    let sampling = Sampling {
        temperature: body.temperature.map(|Number(value)| value),
        top_p: body.top_p.map(|Number(value)| value),
        top_k: body.top_k.map(|Integer(count)| count),
        ..Sampling::default()
    };
    let chat = ChatRequest {
        tools,
        must_call,
        one_call,
        format,
        sampling,
        told_stops,
        max_tokens: Some(max_tokens.0),
        think,
        // Anthropic's clients expect an error, by which they know to shorten the conversation.
        too_long: Some(TooLong::Refuse),
        ..ChatRequest::new(model, messages)
    };
    Ok(AnthropicRequest { chat, stream: body.stream.unwrap_or(false), ignored })
}

fn read_stops(stops: Vec<String>, at: &At<'_>) -> Result<Vec<String>, Error> {
    let stops = Stops::Several(stops).texts(at, STOPS_MAX)?;
    if let Some(number) = stops.iter().position(|stop| stop.len() > STOP_BYTES_MAX) {
        return Err(at.index(number).invalid(format_args!("may have at most {STOP_BYTES_MAX} bytes")));
    }
    Ok(stops)
}

/// `max_tokens`. What is beyond 32 bits is capped.
struct AnswerLimit(u32);

impl<'de> Deserialize<'de> for AnswerLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            ..1 => Err(serde::de::Error::custom("must be at least 1")),
            limit => Ok(AnswerLimit(u32::try_from(limit).unwrap_or(u32::MAX))),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutputConfig {
    effort: Option<Effort>,
    format: Option<WireFormat>,
    task_budget: NoEffect,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFormat {
    r#type: Option<String>,
    schema: Sent<Tree>,
}

/// The names of a format: its key in the object that holds it, and its schema for errors about it.
const FORMAT: (&str, &str) = ("format", "output_config.format.schema");
const FIRST_FORMAT: (&str, &str) = ("output_format", "output_format.schema");

fn read_format(format: WireFormat, within: &At<'_>, (key, field): (&str, &'static str)) -> Result<Format, Error> {
    let at = within.key(key);
    match format.r#type.as_deref() {
        Some("json_schema") => {}
        Some(_) => return Err(at.key("type").invalid("must be `json_schema`")),
        None => return Err(at.key("type").invalid("is missing; send `json_schema`")),
    }
    let Tree(schema) =
        format.schema.0.ok_or_else(|| at.key("schema").invalid("is missing; send the schema as an object"))?;
    Ok(Format::Schema { schema, field })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireThinking {
    /// Models here have no such limit but that of the whole answer.
    budget_tokens: NoEffect,
    display: NoEffect,
    r#type: Option<ThinkingType>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ThinkingType {
    Enabled,
    Adaptive,
    Disabled,
}

/// Returns how hard the model is to think: as hard as the effort says, unless it must not think at all.
fn read_thinking(
    thinking: Option<WireThinking>,
    effort: Option<Effort>,
    ignored: &mut Ignored,
) -> Result<Option<Thinking>, Error> {
    let kind = match thinking {
        Some(WireThinking { r#type: None, .. }) => {
            let why = "is missing; send one of `enabled`, `adaptive`, `disabled`";
            return Err(At::Body.key("thinking").key("type").invalid(why));
        }
        Some(WireThinking { r#type, .. }) => r#type,
        None => None,
    };
    let (level, optional) = match (kind, effort) {
        (Some(ThinkingType::Disabled), effort) => {
            if effort.is_some() {
                ignored.add("output_config.effort");
            }
            (Think::Off, "thinking")
        }
        (_, Some(effort)) => (Think::from(effort), "output_config.effort"),
        (Some(ThinkingType::Enabled | ThinkingType::Adaptive), None) => (Think::On, "thinking"),
        (None, None) => return Ok(None),
    };
    Ok(Some(Thinking { level, optional: Some(optional) }))
}
