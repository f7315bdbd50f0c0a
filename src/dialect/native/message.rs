//! The messages of a chat, as Ollama writes them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::dialect::data::Data;
use crate::dialect::json::{At, Ignored, Json, Sent, Unread};
use crate::dialect::{data, image};
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireMessage<'a> {
    content: Option<String>,
    #[serde(borrow)]
    images: Option<Vec<NativeImage<'a>>>,
    role: Option<String>,
    thinking: Option<String>,
    tool_call_id: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<WireCall<'a>>>,
    tool_name: Option<String>,
}

/// An image in base64: not copied, since it may be as large as the body.
#[derive(Deserialize)]
pub struct NativeImage<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCall<'a> {
    #[serde(borrow)]
    function: Sent<CalledFunction<'a>>,
    id: Sent<String>,
    /// Clients send back what other APIs gave them; there is only one type.
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CalledFunction<'a> {
    #[serde(borrow)]
    arguments: Sent<Data<'a>>,
    /// The calls of a message are renumbered in their order.
    index: Unread,
    name: Sent<String>,
}

pub fn read_messages(messages: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Message>, Error> {
    let mut read = Vec::with_capacity(messages.len());
    for (number, message) in messages.into_iter().enumerate() {
        let at = at.index(number);
        read.push(read_message(message.read(&at, ignored)?, &at, ignored)?);
    }
    Ok(read)
}

fn read_message(message: WireMessage<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let role = read_role(message.role.as_deref(), &at.key("role"))?;
    let (call_id, name, text) = (message.tool_call_id, message.tool_name, message.content);
    let images = read_images(message.images.unwrap_or_default(), &at.key("images"))?;
    let calls = read_tool_calls(message.tool_calls.unwrap_or_default(), &at.key("tool_calls"), ignored)?;
    let said = if role == Role::Tool || call_id.is_some() || name.is_some() {
        Some(Part::ToolResult(ToolResult { call_id, name, text: text.unwrap_or_default() }))
    } else {
        text.map(Part::Text)
    };
    let parts = message.thinking.map(Part::Reasoning).into_iter().chain(said);
    let parts = parts.chain(images.into_iter().map(Part::Image)).chain(calls.into_iter().map(Part::ToolCall));
    Ok(Message { role, parts: parts.collect() })
}

fn read_role(role: Option<&str>, at: &At<'_>) -> Result<Role, Error> {
    let role = role.ok_or_else(|| at.invalid("is missing; send one of `system`, `user`, `assistant`, `tool`"))?;
    // Ollama takes roles in any case.
    match role.to_ascii_lowercase().as_str() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => Err(at.invalid("must be one of `system`, `user`, `assistant`, `tool`")),
    }
}

pub fn read_images(images: Vec<NativeImage<'_>>, at: &At<'_>) -> Result<Vec<Image>, Error> {
    let mut read = Vec::with_capacity(images.len());
    for (number, NativeImage(text)) in images.into_iter().enumerate() {
        let at = at.index(number);
        read.push(Image { bytes: image::of_base64(&text, &at)?, field: at.to_string() });
    }
    Ok(read)
}

fn read_tool_calls(calls: Vec<WireCall<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<ToolCall>, Error> {
    let mut read = Vec::with_capacity(calls.len());
    for (number, call) in calls.into_iter().enumerate() {
        let at = at.index(number);
        let at = at.key("function");
        let function = call.function.0.ok_or_else(|| at.invalid("is missing; send an object with `name`"))?;
        // A model may have called nothing by name, and its client keeps that, too.
        let name = function.name.0.ok_or_else(|| at.key("name").invalid("is missing"))?;
        let arguments = match function.arguments.0 {
            Some(arguments) => read_arguments(arguments, ignored)?,
            None => to_raw_value(&Map::new()).map_err(Error::internal)?,
        };
        read.push(ToolCall { id: call.id.0.unwrap_or_default(), name, arguments });
    }
    Ok(read)
}

/// Reads arguments as they were sent. Those that Ollama can't parse are kept: a refusal would make the conversation unusable.
fn read_arguments(came: Data<'_>, ignored: &mut Ignored) -> Result<Box<RawValue>, Error> {
    if let Some(arguments) = came.arguments() {
        return Ok(arguments);
    }
    ignored.add("messages[].tool_calls[].function.arguments");
    data::unreadable_arguments(came.text())
}
