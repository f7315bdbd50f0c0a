//! The messages of a chat completion's request.

use std::borrow::Cow;

use crate::chat::{Message, Role};
use crate::dialect::json::{At, Ignored, Json, Object};
use crate::error::Error;

pub fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        messages.push(read_message(item.object(&at)?, &at, ignored)?);
    }
    Ok(messages)
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
