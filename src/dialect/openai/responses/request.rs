//! A response's request: fields to meaning, or a refusal that names the field.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::Head;
use crate::dialect::effort::Effort;
use crate::dialect::json::values::{Integer, NotOffered, Number, TokenLimit};
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Sent, Tree, Unread};
use crate::dialect::openai::parse_model;
use crate::dialect::openai::responses::ids;
use crate::dialect::openai::responses::items::{Input, read_input};
use crate::dialect::openai::responses::settings::{FormatSettings, ResponsesSettings, effort};
use crate::dialect::openai::responses::tools::{ResponsesChoice, read_choice, read_tools};
use crate::model::chat::{ChatRequest, Format, Message, Role, Sampling, Think, Thinking};
use crate::model::kept::{KeptReply, missing_answer};
use crate::model::too_long::TooLong;

/// OpenAI's own limit.
const TOP_LOGPROBS_MAX: i64 = 20;

/// Maximum length of `metadata`, somewhat more than OpenAI's 16 names with their values.
const METADATA_BYTES_MAX: usize = 16 * 1024;

pub struct ResponsesRequest {
    pub chat: ChatRequest,
    pub stream: bool,
    pub follows: Option<RequestId>,
    /// The answers of which it has items by their id.
    pub refers: Vec<RequestId>,
    pub echo: ResponsesEcho,
    pub ignored: Ignored,
}

/// What the response repeats of its request.
pub struct ResponsesEcho {
    pub model: String,
    pub settings: ResponsesSettings,
    pub instructions: Option<String>,
    pub tools: Box<RawValue>,
    pub schema: Option<Box<RawValue>>,
    /// Reasoning is asked for in a form that can be sent back.
    pub encrypted_reasoning: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    access_programs: NoEffect,
    background: Option<bool>,
    background_options: NoEffect,
    context_management: NoEffect,
    conversation: Sent<Unread>,
    include: Option<Vec<String>>,
    /// This, `tools` and `tool_choice` are read separately: their items differ by type.
    input: Unread,
    instructions: Option<String>,
    max_output_tokens: Option<TokenLimit>,
    /// Of tools that run elsewhere.
    max_tool_calls: NoEffect,
    metadata: Option<Tree>,
    model: Option<String>,
    moderation: NoEffect,
    parallel_tool_calls: Option<bool>,
    previous_response_id: Option<String>,
    prompt: Sent<NotOffered>,
    prompt_cache_key: NoEffect,
    prompt_cache_options: NoEffect,
    prompt_cache_retention: NoEffect,
    reasoning: Option<Reasoning>,
    safety_identifier: NoEffect,
    service_tier: NoEffect,
    store: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<Number<0, 2>>,
    text: Option<TextOptions>,
    tool_choice: Option<ResponsesChoice>,
    tools: Unread,
    top_logprobs: Option<Integer<0, TOP_LOGPROBS_MAX>>,
    top_p: Option<Number<0, 1>>,
    truncation: Option<Truncation>,
    user: NoEffect,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StreamOptions {
    include_obfuscation: NoEffect,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reasoning {
    effort: Option<Effort>,
    generate_summary: Unread,
    /// What a model here thinks is told in any case, and in full.
    summary: Unread,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Truncation {
    Auto,
    Disabled,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TextOptions {
    format: Option<WireFormat>,
    verbosity: NoEffect,
}

/// `description` is for people. `strict` is kept in any case: the schema always binds the model.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFormat {
    description: Unread,
    name: Option<String>,
    schema: Sent<Tree>,
    strict: Unread,
    r#type: Option<String>,
}

pub fn read(head: &dyn Head, mut body: Object<'_>, kept: &[KeptReply]) -> Result<ResponsesRequest, Error> {
    let mut ignored = Ignored::default();
    let input = json::take(&mut body, "input");
    let tools = json::take(&mut body, "tools");
    let body: Body = json::read_body(body, &mut ignored)?;
    check_offered(&body)?;
    let model = parse_model(body.model)?;
    let follows =
        body.previous_response_id.as_deref().map(|id| ids::request_of(id).ok_or_else(missing_answer)).transpose()?;

    let at = At::Body.key("tools");
    let tools = tools.map(|tools| read_tools(tools.array(&at)?, &at, &mut ignored)).transpose()?.unwrap_or_default();
    let choice = body.tool_choice.map(|choice| read_choice(choice, &At::Body.key("tool_choice"), &mut ignored));
    let (choice, told_choice) = choice.transpose()?.unwrap_or_else(|| (Default::default(), "auto".into()));
    let (callable, must_call) = choice.apply(tools.tools.clone())?;

    let at = At::Body.key("input");
    let Input { mut messages, refers } = match input {
        Some(input) => read_input(input, kept, &at, &mut ignored)?,
        None => Input::default(),
    };
    if messages.is_empty() && refers.is_empty() {
        return Err(at.invalid("is missing or empty; send a text or a list of items"));
    }
    if let Some(instructions) = &body.instructions {
        messages.insert(0, Message::new(Role::System, instructions.clone()));
    }
    let (format, told_format) = read_format(body.text.and_then(|text| text.format))?;
    let (logprobs, encrypted_reasoning) = read_include(body.include, body.top_logprobs, &mut ignored);
    let think = body.reasoning.and_then(|reasoning| reasoning.effort).map(Think::from);
    let max_tokens = body.max_output_tokens.and_then(|limit| limit.at_most("max_output_tokens", &mut ignored));
    let cuts = matches!(body.truncation, Some(Truncation::Auto));
    let parallel_tool_calls = body.parallel_tool_calls.unwrap_or(true);
    let settings = ResponsesSettings {
        created_at: head.received_at().seconds(),
        store: body.store.unwrap_or(true),
        instructions_bytes: body.instructions.as_ref().map_or(0, String::len),
        namespaces: tools.namespaces.clone(),
        previous_response_id: body.previous_response_id,
        metadata: read_metadata(body.metadata)?,
        tool_choice: told_choice,
        parallel_tool_calls,
        max_output_tokens: max_tokens,
        temperature: body.temperature.map(|Number(value)| value),
        top_p: body.top_p.map(|Number(value)| value),
        top_logprobs: logprobs.unwrap_or(0),
        logprobs: logprobs.is_some(),
        format: told_format,
        effort: think.map(|think| effort(think).to_owned()),
        cuts,
    };
    let schema = match &format {
        Some(Format::Schema { schema, .. }) => Some(to_raw_value(schema).map_err(Error::internal)?),
        Some(Format::Json) | None => None,
    };
    let echo = ResponsesEcho {
        model: model.as_str().to_owned(),
        instructions: body.instructions,
        tools: tools.told(),
        schema,
        encrypted_reasoning,
        settings,
    };
    let chat = ChatRequest {
        tools: callable,
        must_call,
        one_call: !parallel_tool_calls,
        format,
        sampling: Sampling {
            temperature: echo.settings.temperature,
            top_p: echo.settings.top_p,
            ..Sampling::default()
        },
        max_tokens,
        think: think.map(|level| Thinking { level, optional: Some("reasoning.effort") }),
        logprobs,
        // As with chat completions, a conversation whose beginning vanished has to be asked for.
        too_long: Some(if cuts { TooLong::Cut } else { TooLong::Refuse }),
        prompt_field: "input",
        ..ChatRequest::new(model, messages)
    };
    Ok(ResponsesRequest { chat, stream: body.stream.unwrap_or(false), follows, refers, echo, ignored })
}

/// Refuses what would have to be kept or done where nobody waits for it.
fn check_offered(body: &Body) -> Result<(), Error> {
    if body.background == Some(true) {
        let why = "is not offered: an answer is made while its client waits; leave it out, and send `stream: true`";
        return Err(At::Body.key("background").unsupported(why));
    }
    if body.conversation.0.is_some() {
        let why = "is not offered; send `previous_response_id`, or the whole conversation in `input`";
        return Err(At::Body.key("conversation").unsupported(why));
    }
    Ok(())
}

fn read_metadata(metadata: Option<Tree>) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
    let at = At::Body.key("metadata");
    match metadata {
        None => Ok(serde_json::Map::new()),
        Some(Tree(serde_json::Value::Object(fields))) => {
            if serde_json::to_string(&fields).map_or(0, |text| text.len()) > METADATA_BYTES_MAX {
                return Err(at.invalid(format_args!("is longer than {METADATA_BYTES_MAX} bytes")));
            }
            Ok(fields)
        }
        Some(_) => Err(at.invalid("must be an object")),
    }
}

/// Returns how many alternatives of each token are wanted, and whether reasoning is to come back later. `None`: no
/// probabilities.
fn read_include(
    include: Option<Vec<String>>,
    top: Option<Integer<0, TOP_LOGPROBS_MAX>>,
    ignored: &mut Ignored,
) -> (Option<u8>, bool) {
    let top = top.map_or(0, |Integer(count)| count as u8);
    let (mut logprobs, mut encrypted) = (top > 0, false);
    for wanted in include.unwrap_or_default() {
        match wanted.as_str() {
            "message.output_text.logprobs" => logprobs = true,
            "reasoning.encrypted_content" => encrypted = true,
            // What tools that run elsewhere found.
            _ => ignored.add("include"),
        }
    }
    (logprobs.then_some(top), encrypted)
}

fn read_format(format: Option<WireFormat>) -> Result<(Option<Format>, FormatSettings), Error> {
    let Some(format) = format else { return Ok((None, FormatSettings::Text)) };
    let text = At::Body.key("text");
    let at = &text.key("format");
    match format.r#type.as_deref() {
        Some("text") => Ok((None, FormatSettings::Text)),
        Some("json_object") => Ok((Some(Format::Json), FormatSettings::JsonObject)),
        Some("json_schema") => match format.schema.0 {
            Some(Tree(schema)) => Ok((
                Some(Format::Schema { schema, field: "text.format.schema" }),
                FormatSettings::JsonSchema { name: format.name },
            )),
            None => Err(at.key("schema").invalid("is missing; send the schema as an object")),
        },
        Some(_) => Err(at.key("type").invalid("must be one of `text`, `json_object`, `json_schema`")),
        None => Err(at.key("type").invalid("is missing; send one of `text`, `json_object`, `json_schema`")),
    }
}
