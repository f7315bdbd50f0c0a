//! The blocks of a message: texts, images, calls of tools and their results, thoughts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::dialect::data::Data;
use crate::dialect::json::{At, Ignored, NoEffect, Sent, Unread};
use crate::dialect::{data, image};
use crate::model::chat::{Image, Part, Role, ToolCall, ToolResult};

/// A block, before its `type` says which fields count.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct WireBlock<'a> {
    cache_control: NoEffect,
    /// Who called a tool: only the model can.
    caller: Unread,
    citations: NoEffect,
    #[serde(borrow)]
    content: Sent<WireResult<'a>>,
    /// What a redacted thought hides.
    data: Unread,
    id: Option<String>,
    #[serde(borrow)]
    input: Sent<Data<'a>>,
    is_error: Option<bool>,
    name: Option<String>,
    /// Clients send it back with the thought that it came with.
    signature: Unread,
    #[serde(borrow)]
    source: Sent<WireSource<'a>>,
    text: Sent<String>,
    thinking: Sent<String>,
    tool_use_id: Option<String>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
enum WireResult<'a> {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of blocks", borrow)]
    Blocks(Vec<ResultBlock<'a>>),
}

/// A block of a result.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ResultBlock<'a> {
    cache_control: NoEffect,
    citations: NoEffect,
    #[serde(borrow)]
    source: Sent<WireSource<'a>>,
    text: Sent<String>,
    tool_name: Unread,
    r#type: Option<String>,
}

#[derive(Deserialize)]
enum WireSource<'a> {
    #[serde(rename = "an object", borrow)]
    Object(ImageSource<'a>),
    /// The source of a search result.
    #[serde(rename = "(a string)")]
    Address(Unread),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ImageSource<'a> {
    /// Base64. It may be megabytes, so it is not copied from the body.
    #[serde(borrow)]
    data: Sent<Base64<'a>>,
    file_id: Unread,
    /// The bytes of an image say themselves what it is.
    media_type: Unread,
    r#type: Option<String>,
    url: Unread,
}

#[derive(Deserialize)]
struct Base64<'a>(#[serde(borrow)] Cow<'a, str>);

/// The meaning of a block.
pub enum Block {
    Part(Part),
    /// The result of a call: its text, then its images.
    Result(Vec<Part>),
    /// Nothing that a model here could read. It is noted.
    Nothing,
}

/// Reads a block of a message whose sender has this role.
pub fn read_block(block: WireBlock<'_>, role: Role, at: &At<'_>, ignored: &mut Ignored) -> Result<Block, Error> {
    let only = |sender: Role, name: &str| match role == sender {
        true => Ok(()),
        false => Err(at.invalid(format_args!("is of a type that only a message of the role `{name}` may hold"))),
    };
    let part = match block.r#type.as_deref() {
        Some("text") => Part::Text(block.text.0.ok_or_else(|| at.key("text").invalid("is missing; send a string"))?),
        Some("image") => {
            only(Role::User, "user")?;
            Part::Image(read_image(block.source, &at.key("source"))?)
        }
        Some("tool_result") => {
            only(Role::User, "user")?;
            return read_result(block, at, ignored).map(Block::Result);
        }
        Some("tool_use") => {
            only(Role::Assistant, "assistant")?;
            Part::ToolCall(read_call(block, at, ignored)?)
        }
        Some("thinking") => {
            only(Role::Assistant, "assistant")?;
            let thought = block.thinking.0.ok_or_else(|| at.key("thinking").invalid("is missing; send a string"))?;
            Part::Reasoning(thought)
        }
        Some("redacted_thinking") => {
            only(Role::Assistant, "assistant")?;
            ignored.add("messages[].content[].redacted_thinking");
            return Ok(Block::Nothing);
        }
        Some(other) => return Err(not_offered(other, at)),
        None => return Err(at.key("type").invalid("is missing; send the type of the block, such as `text`")),
    };
    Ok(Block::Part(part))
}

/// Returns why there are no blocks of this type.
fn not_offered(kind: &str, at: &At<'_>) -> Error {
    match kind {
        "document" | "container_upload" => {
            at.unsupported("is a file, which is not offered; send its text as a `text` block")
        }
        "search_result" => at.unsupported("is a search result, which is not offered; send its text as a `text` block"),
        "server_tool_use" | "mcp_tool_use" => {
            at.unsupported("is a call of a tool that runs on Anthropic's servers, which is not offered; leave it out")
        }
        other if other.ends_with("_tool_result") => {
            at.unsupported("comes from a tool that runs on Anthropic's servers, which is not offered; send its text")
        }
        _ => at
            .key("type")
            .invalid("must be one of `text`, `image`, `tool_use`, `tool_result`, `thinking`, `redacted_thinking`"),
    }
}

fn read_image(source: Sent<WireSource<'_>>, at: &At<'_>) -> Result<Image, Error> {
    let source = match source.0 {
        Some(WireSource::Object(source)) => source,
        Some(WireSource::Address(_)) => return Err(at.invalid("must be an object, not a string")),
        None => return Err(at.invalid("is missing; send an object with `type`, `media_type` and `data`")),
    };
    match source.r#type.as_deref() {
        Some("base64") => {}
        Some("url") => {
            return Err(at.unsupported("is an address, and images are not fetched here; send it as `base64`"));
        }
        Some("file") => return Err(at.unsupported("is a stored file, which is not offered; send it as `base64`")),
        Some(_) => return Err(at.key("type").invalid("must be `base64`")),
        None => return Err(at.key("type").invalid("is missing; send `base64`")),
    }
    let Base64(text) = source.data.0.ok_or_else(|| at.key("data").invalid("is missing; send the image in base64"))?;
    Ok(Image { bytes: image::of_base64(&text, &at.key("data"))?, field: at.to_string() })
}

fn read_call(block: WireBlock<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<ToolCall, Error> {
    let id = block.id.ok_or_else(|| at.key("id").invalid("is missing; send the id that the call came with"))?;
    let name = block.name.ok_or_else(|| at.key("name").invalid("is missing; send the name of the tool"))?;
    let arguments = match block.input.0 {
        Some(input) => read_input(input, ignored)?,
        None => to_raw_value(&Map::new()).map_err(Error::internal)?,
    };
    Ok(ToolCall { id, name, arguments })
}

/// Reads arguments as they were sent. Those that Ollama can't parse are kept: a refusal would make the conversation unusable.
fn read_input(input: Data<'_>, ignored: &mut Ignored) -> Result<Box<RawValue>, Error> {
    if let Some(arguments) = input.arguments() {
        return Ok(arguments);
    }
    ignored.add("messages[].content[].input");
    data::unreadable_arguments(input.text())
}

fn read_result(block: WireBlock<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Part>, Error> {
    let id = block.tool_use_id;
    let id =
        id.ok_or_else(|| at.key("tool_use_id").invalid("is missing; send the `id` of the call that this answers"))?;
    if block.is_error == Some(true) {
        // Models read the text of the result, which says what went wrong.
        ignored.add("messages[].content[].is_error");
    }
    let (mut text, mut images) = (String::new(), Vec::new());
    match block.content.0 {
        None => {}
        Some(WireResult::Text(whole)) => text = whole,
        Some(WireResult::Blocks(blocks)) => {
            let at = at.key("content");
            for (number, block) in blocks.into_iter().enumerate() {
                let at = at.index(number);
                match block.r#type.as_deref() {
                    Some("text") => {
                        let missing = || at.key("text").invalid("is missing; send a string");
                        text.push_str(&block.text.0.ok_or_else(missing)?);
                    }
                    Some("image") => images.push(Part::Image(read_image(block.source, &at.key("source"))?)),
                    // Names a tool that was found by a search. The model has all tools from the beginning.
                    Some("tool_reference") => ignored.add("messages[].content[].content[].tool_reference"),
                    Some(kind @ ("document" | "search_result")) => return Err(not_offered(kind, &at)),
                    Some(_) => return Err(at.key("type").invalid("must be `text` or `image`")),
                    None => return Err(at.key("type").invalid("is missing; send `text` or `image`")),
                }
            }
        }
    }
    let result = ToolResult { call_id: Some(id), name: None, text };
    Ok([Part::ToolResult(result)].into_iter().chain(images).collect())
}
