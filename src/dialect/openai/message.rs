//! The messages of a chat completion's request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, Object, Sent, Unread};
use crate::dialect::openai::tools::function_of;
use crate::dialect::{data, image};
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};

pub fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages: Vec<Message> = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let mut message = read_message(item.object(&at)?, &at, ignored)?;
        for part in &mut message.parts {
            if let Part::ToolResult(ToolResult { call_id: Some(id), name, .. }) = part
                && let Some(called) = name_of_call(&messages, id)
            {
                *name = Some(called);
            }
        }
        messages.push(message);
    }
    Ok(messages)
}

/// Returns the function that an earlier message called under this id. Ids may come again: the last one is meant.
fn name_of_call(messages: &[Message], id: &str) -> Option<String> {
    let mut calls = messages.iter().rev().flat_map(|message| message.tool_calls().rev());
    calls.find(|call| call.id == id).map(|call| call.name.clone())
}

pub const MESSAGE_FIELDS: &[&str] = &[
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

/// The fields of a message, before its role says which of them count.
#[derive(Default)]
struct Fields {
    content: Option<Content>,
    refusal: Option<String>,
    reasoning: Option<String>,
    name: Option<String>,
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
}

/// Texts and images, in their order.
#[derive(Default)]
struct Content {
    parts: Vec<Part>,
    /// An empty list of parts.
    is_empty_list: bool,
}

impl Content {
    fn of_text(text: String) -> Self {
        Content { parts: vec![Part::Text(text)], is_empty_list: false }
    }
}

fn read_message(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let mut role = None;
    let mut read = Fields::default();
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
            "content" => read.content = Some(read_content(value, &here, ignored)?),
            "refusal" => read.refusal = Some(value.text(&here)?.into_owned()),
            "reasoning" | "reasoning_content" => {
                let text = value.text(&here)?;
                if read.reasoning.as_ref().is_some_and(|other| *other != text) {
                    let why =
                        "is there under its other name too, and differs; send one of `reasoning`, `reasoning_content`";
                    return Err(here.invalid(why));
                }
                read.reasoning = Some(text.into_owned());
            }
            "name" => read.name = Some(value.text(&here)?.into_owned()),
            "tool_calls" => read.tool_calls = read_tool_calls(value.read(&here, ignored)?, &here, ignored)?,
            "tool_call_id" => read.tool_call_id = Some(value.text(&here)?.into_owned()),
            "function_call" => return Err(here.unsupported("is out of use; send `tool_calls`")),
            "audio" => return Err(here.unsupported("is not offered; send text")),
            _ => ignored.add(format_args!("messages[].{key}")),
        }
    }
    let role = role.ok_or_else(|| {
        at.key("role").invalid("is missing; send one of `system`, `developer`, `user`, `assistant`, `tool`")
    })?;
    read.into_message(role, at, ignored)
}

impl Fields {
    fn into_message(self, role: Role, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
        let Fields { content, refusal, reasoning, name, tool_calls, tool_call_id } = self;
        // Clients write an empty list for what was said beside calls (n8n's agent, through LangChain), or by a tool.
        let content = match content {
            Some(Content { is_empty_list: true, .. }) => match role {
                Role::Assistant | Role::Tool => refusal.is_none().then(Content::default),
                Role::System | Role::User => return Err(at.key("content").invalid("is empty; send a string")),
            },
            content => content,
        };
        // A refusal is what the assistant said instead of an answer; beside calls nothing need be said.
        let content = match (content, refusal) {
            (Some(content), _) => content,
            (None, Some(text)) => Content::of_text(text),
            (None, None) if role == Role::Assistant && !tool_calls.is_empty() => Content::default(),
            (None, None) => return Err(at.key("content").invalid("is missing; send a string")),
        };
        let mut message = Message { role, parts: content.parts };
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
                without_effect(name.is_some(), "name");
                without_effect(tool_call_id.is_some(), "tool_call_id");
            }
            Role::Tool => {
                if tool_call_id.is_none() {
                    return Err(at
                        .key("tool_call_id")
                        .invalid("is missing; send the `id` of the call that this answers"));
                }
                let text = message.text().into_owned();
                message.parts = vec![Part::ToolResult(ToolResult { call_id: tool_call_id, name, text })];
                without_effect(reasoning.is_some(), "reasoning");
                without_effect(!tool_calls.is_empty(), "tool_calls");
            }
            Role::System | Role::User => {
                without_effect(name.is_some(), "name");
                without_effect(reasoning.is_some(), "reasoning");
                without_effect(!tool_calls.is_empty(), "tool_calls");
                without_effect(tool_call_id.is_some(), "tool_call_id");
            }
        }
        Ok(message)
    }
}

fn read_role(role: &str, at: &At<'_>) -> Result<Role, Error> {
    match role {
        // Few chat templates know `developer`.
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        "function" => Err(at.unsupported("is out of use; send `tool`")),
        _ => Err(at.invalid("must be one of `system`, `developer`, `user`, `assistant`, `tool`")),
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

/// Reads a text, or a list of texts and images.
fn read_content(content: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Content, Error> {
    let parts = match content {
        Json::Text(text) => return Ok(Content::of_text(text.into_owned())),
        Json::Array(parts) => parts,
        other => return Err(at.invalid(format_args!("must be a string or an array of parts, not {}", other.kind()))),
    };
    let mut whole = Content { is_empty_list: parts.is_empty(), ..Content::default() };
    for (number, part) in parts.into_iter().enumerate() {
        let at = at.index(number);
        whole.parts.push(read_part(part.read(&at, ignored)?, &at, ignored)?);
    }
    Ok(whole)
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
