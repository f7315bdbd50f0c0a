//! The messages of a chat, as Ollama writes them.

use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, Object};
use crate::dialect::{data, image};
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};

const MESSAGE_FIELDS: &[&str] = &["content", "images", "role", "thinking", "tool_call_id", "tool_calls", "tool_name"];

pub fn read_messages(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        messages.push(read_message(item.object(&at)?, &at, ignored)?);
    }
    Ok(messages)
}

fn read_message(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let mut role = None;
    let (mut text, mut reasoning, mut images, mut calls) = (None, None, Vec::new(), Vec::new());
    let (mut call_id, mut name) = (None, None);
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
            "content" => text = Some(value.text(&here)?.into_owned()),
            "thinking" => reasoning = Some(value.text(&here)?.into_owned()),
            "images" => images = read_images(value.array(&here)?, &here)?,
            "tool_calls" => calls = read_tool_calls(value.array(&here)?, &here, ignored)?,
            "tool_name" => name = Some(value.text(&here)?.into_owned()),
            "tool_call_id" => call_id = Some(value.text(&here)?.into_owned()),
            other => ignored.add(format_args!("messages[].{other}")),
        }
    }
    let role =
        role.ok_or_else(|| at.key("role").invalid("is missing; send one of `system`, `user`, `assistant`, `tool`"))?;
    let said = if role == Role::Tool || call_id.is_some() || name.is_some() {
        Some(Part::ToolResult(ToolResult { call_id, name, text: text.unwrap_or_default() }))
    } else {
        text.map(Part::Text)
    };
    let parts = reasoning.map(Part::Reasoning).into_iter().chain(said);
    let parts = parts.chain(images.into_iter().map(Part::Image)).chain(calls.into_iter().map(Part::ToolCall));
    Ok(Message { role, parts: parts.collect() })
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
        images.push(Image { bytes: image::of_base64(&text, &at)?, field: at.to_string() });
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
            "arguments" => arguments = Some(read_arguments(value, &at.key("arguments"), ignored)?),
            // The calls of a message are renumbered in their order.
            "index" => {}
            other => ignored.unknown(KNOWN, at, "messages[].tool_calls[].function.", other, &value)?,
        }
    }
    // A model may have called nothing by name, and its client keeps that, too.
    let name = name.ok_or_else(|| at.key("name").invalid("is missing"))?;
    let arguments = match arguments {
        Some(arguments) => arguments,
        None => to_raw_value(&Map::new()).map_err(Error::internal)?,
    };
    Ok(ToolCall { id, name, arguments })
}

/// Reads arguments as they were sent. Those that Ollama can't parse are kept: a refusal would make the conversation unusable.
fn read_arguments(value: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Box<RawValue>, Error> {
    let came = value.data(at)?;
    if let Some(arguments) = came.arguments() {
        return Ok(arguments);
    }
    ignored.add("messages[].tool_calls[].function.arguments");
    data::unreadable_arguments(came.text())
}
