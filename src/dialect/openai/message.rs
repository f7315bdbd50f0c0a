//! The messages of a chat completion's request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, NoEffect, Sent, Unread};
use crate::dialect::openai::tools::function_of;
use crate::dialect::{calls, data, image};
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};

pub fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages: Vec<Message> = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        messages.push(read_message(item, &at, ignored)?);
    }
    calls::name_results(&mut messages);
    Ok(messages)
}

/// The fields of a message, before its role says which of them count.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct OpenAiMessage<'a> {
    annotations: NoEffect,
    audio: Option<Unread>,
    /// An empty text is a text; in every other field empty means absent.
    #[serde(borrow)]
    content: Sent<WireContent<'a>>,
    function_call: Option<Unread>,
    name: Option<String>,
    reasoning: Option<String>,
    reasoning_content: Option<String>,
    refusal: Option<String>,
    role: Option<String>,
    tool_call_id: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
}

const REASONING_NAMES: [&str; 2] = ["reasoning", "reasoning_content"];

/// Returns the name of the reasoning that comes last in a message: where both are there and differ, this one is refused.
fn later_reasoning(message: &Json<'_>) -> Option<&'static str> {
    let Json::Object(fields) = message else { return None };
    fields.iter().rev().find_map(|(key, _)| REASONING_NAMES.into_iter().find(|name| name == key))
}

fn read_message(message: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let later_reasoning = later_reasoning(&message);
    let wire: OpenAiMessage = message.read(at, ignored)?;
    if wire.function_call.is_some() {
        return Err(at.key("function_call").unsupported("is out of use; send `tool_calls`"));
    }
    if wire.audio.is_some() {
        return Err(at.key("audio").unsupported("is not offered; send text"));
    }
    let role = read_role(wire.role.as_deref(), &at.key("role"))?;
    let reasoning = match (wire.reasoning, wire.reasoning_content) {
        (Some(one), Some(other)) if one != other => {
            let why = "is there under its other name too, and differs; send one of `reasoning`, `reasoning_content`";
            return Err(at.key(later_reasoning.unwrap_or("reasoning_content")).invalid(why));
        }
        (one, other) => one.or(other),
    };
    let content = wire.content.0.map(|content| read_content(content, &at.key("content"), ignored)).transpose()?;
    let tool_calls = read_tool_calls(wire.tool_calls.unwrap_or_default(), &at.key("tool_calls"), ignored)?;
    let parts = said(content, wire.refusal, role, !tool_calls.is_empty(), &at.key("content"))?;
    let mut message = Message { role, parts };
    if let Some(Image { field, .. }) = message.images().next().filter(|_| role != Role::User) {
        return Err(Error::invalid(field, format!("`{field}` is an image, which only a `user` may send")));
    }
    let mut without_effect = |is_there: bool, field: &str| {
        if is_there {
            ignored.add(format_args!("messages[].{field}"));
        }
    };
    match role {
        Role::Assistant => {
            message.parts.splice(0..0, reasoning.map(Part::Reasoning));
            message.parts.extend(tool_calls.into_iter().map(Part::ToolCall));
            without_effect(wire.name.is_some(), "name");
            without_effect(wire.tool_call_id.is_some(), "tool_call_id");
        }
        Role::Tool => {
            if wire.tool_call_id.is_none() {
                return Err(at.key("tool_call_id").invalid("is missing; send the `id` of the call that this answers"));
            }
            let text = message.text().into_owned();
            let result = ToolResult { call_id: wire.tool_call_id, name: wire.name, text };
            message.parts = vec![Part::ToolResult(result)];
            without_effect(reasoning.is_some(), "reasoning");
            without_effect(!tool_calls.is_empty(), "tool_calls");
        }
        Role::System | Role::User => {
            without_effect(wire.name.is_some(), "name");
            without_effect(reasoning.is_some(), "reasoning");
            without_effect(!tool_calls.is_empty(), "tool_calls");
            without_effect(wire.tool_call_id.is_some(), "tool_call_id");
        }
    }
    Ok(message)
}

/// Returns what a message says: its content or its refusal, or nothing where its role allows that.
fn said(
    content: Option<Vec<Part>>,
    refusal: Option<String>,
    role: Role,
    has_calls: bool,
    at: &At<'_>,
) -> Result<Vec<Part>, Error> {
    match (content, refusal) {
        (Some(parts), _) if !parts.is_empty() => Ok(parts),
        (Some(_), _) if matches!(role, Role::System | Role::User) => Err(at.invalid("is empty; send a string")),
        // A refusal is what the assistant said instead of an answer.
        (_, Some(text)) => Ok(vec![Part::Text(text)]),
        // Clients write an empty list for what was said beside calls (n8n's agent, through LangChain), or by a tool.
        (Some(_), None) => Ok(Vec::new()),
        // Beside calls nothing need be said.
        (None, None) if role == Role::Assistant && has_calls => Ok(Vec::new()),
        (None, None) => Err(at.invalid("is missing; send a string")),
    }
}

fn read_role(role: Option<&str>, at: &At<'_>) -> Result<Role, Error> {
    match role {
        // Few chat templates know `developer`.
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some("tool") => Ok(Role::Tool),
        Some("function") => Err(at.unsupported("is out of use; send `tool`")),
        Some(_) => Err(at.invalid("must be one of `system`, `developer`, `user`, `assistant`, `tool`")),
        None => Err(at.invalid("is missing; send one of `system`, `developer`, `user`, `assistant`, `tool`")),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCall {
    /// Refused by its `type`.
    custom: Unread,
    function: Sent<CalledFunction>,
    id: Option<String>,
    /// Calls put together from a stream keep it; they are renumbered in their order.
    index: Unread,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CalledFunction {
    arguments: Sent<String>,
    name: Sent<String>,
}

fn read_tool_calls(calls: Vec<WireCall>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<ToolCall>, Error> {
    let mut read = Vec::with_capacity(calls.len());
    for (number, call) in calls.into_iter().enumerate() {
        let at = at.index(number);
        let id = call.id.ok_or_else(|| at.key("id").invalid("is missing; send the id that the call came with"))?;
        let CalledFunction { name, arguments } = function_of(call.r#type.as_deref(), call.function, &at)?;
        // A model may have called nothing by name, and its client keeps that, too.
        let name = name.0.ok_or_else(|| at.key("function").key("name").invalid("is missing"))?;
        read.push(ToolCall { id, name, arguments: read_arguments(&arguments.0.unwrap_or_default(), ignored)? });
    }
    Ok(read)
}

/// Reads arguments, which are JSON inside a string. A model may have written something else, which its client keeps in the
/// conversation: a refusal would make that unusable.
fn read_arguments(text: &str, ignored: &mut Ignored) -> Result<Box<RawValue>, Error> {
    if let Some(arguments) = data::arguments_in(text) {
        return Ok(arguments);
    }
    ignored.add("messages[].tool_calls[].function.arguments");
    data::unreadable_arguments(text)
}

/// A text, or a list of texts and images.
#[derive(Deserialize)]
enum WireContent<'a> {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of parts", borrow)]
    Parts(Vec<WirePart<'a>>),
}

/// Returns the parts of a content. A text is one part, also when it is empty.
fn read_content(content: WireContent<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Part>, Error> {
    let wire = match content {
        WireContent::Text(text) => return Ok(vec![Part::Text(text)]),
        WireContent::Parts(wire) => wire,
    };
    let mut parts = Vec::with_capacity(wire.len());
    for (number, part) in wire.into_iter().enumerate() {
        parts.push(read_part(part, &at.index(number), ignored)?);
    }
    Ok(parts)
}

/// A part of a content, before its `type` says which field counts.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WirePart<'a> {
    /// This and `input_audio` are refused by their `type`.
    file: Unread,
    #[serde(borrow)]
    image_url: Sent<WireImage<'a>>,
    input_audio: Unread,
    refusal: Sent<String>,
    text: Sent<String>,
    r#type: Option<String>,
}

/// `{"url": "data:…", "detail": "auto"}`; some clients send the URI alone.
#[derive(Deserialize)]
enum WireImage<'a> {
    #[serde(rename = "an object", borrow)]
    Object(ImageUrl<'a>),
    #[serde(rename = "(a string)", borrow)]
    Uri(ImageUri<'a>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ImageUrl<'a> {
    detail: Option<String>,
    #[serde(borrow)]
    url: Sent<ImageUri<'a>>,
}

/// A data URI. It may hold megabytes, so it is not copied from the body.
#[derive(Deserialize)]
struct ImageUri<'a>(#[serde(borrow)] Cow<'a, str>);

fn read_part(part: WirePart<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Part, Error> {
    let (name, text) = match part.r#type.as_deref() {
        Some("text") => ("text", part.text),
        Some("refusal") => ("refusal", part.refusal),
        Some("image_url") => {
            let at = at.key("image_url");
            let bytes = read_image(part.image_url, &at, ignored)?;
            return Ok(Part::Image(Image { bytes, field: at.to_string() }));
        }
        Some("input_audio") => return Err(at.unsupported("is sound, which is not offered; send text")),
        Some("file") => return Err(at.unsupported("is a file, which is not offered; send its text")),
        Some(_) => return Err(at.key("type").invalid("must be `text` or `image_url`")),
        None => return Err(at.key("type").invalid("is missing; send `text` or `image_url`")),
    };
    text.0.map(Part::Text).ok_or_else(|| at.key(name).invalid("is missing; send a string"))
}

fn read_image(wire: Sent<WireImage<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Bytes, Error> {
    let ImageUrl { detail, url } = match wire.0.ok_or_else(|| at.invalid("is missing; send an object with `url`"))? {
        WireImage::Object(fields) => fields,
        WireImage::Uri(uri) => return image::of_uri(&uri.0, at),
    };
    // The upstream scales images as its models want them.
    if detail.is_some_and(|detail| detail != "auto") {
        ignored.add("messages[].content[].image_url.detail");
    }
    let at = at.key("url");
    let uri = url.0.ok_or_else(|| at.invalid("is missing; send `data:image/png;base64,…`"))?;
    image::of_uri(&uri.0, &at)
}
