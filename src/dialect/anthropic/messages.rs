//! The messages of a request, and its system prompt.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::anthropic::blocks::{Block, WireBlock, read_block};
use crate::dialect::calls::name_results;
use crate::dialect::json::{At, Ignored, Json, NoEffect, Sent};
use crate::model::chat::{Message, Part, Role};

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireMessage<'a> {
    /// An empty text is a text; in every other field empty means absent.
    #[serde(borrow)]
    content: Sent<WireContent<'a>>,
    role: Option<String>,
}

#[derive(Deserialize)]
enum WireContent<'a> {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of blocks", borrow)]
    Blocks(Vec<WireBlock<'a>>),
}

/// Appends the messages of a request. One message may hold several results, each of which is a message here.
pub fn read_messages(
    items: Vec<Json<'_>>,
    at: &At<'_>,
    ignored: &mut Ignored,
    messages: &mut Vec<Message>,
) -> Result<(), Error> {
    messages.reserve(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let wire: WireMessage = item.read(&at, ignored)?;
        let role = read_role(wire.role.as_deref(), &at.key("role"))?;
        let at = at.key("content");
        let content = wire.content.0.ok_or_else(|| at.invalid("is missing; send a string or blocks"))?;
        read_content(content, role, &at, ignored, messages)?;
    }
    name_results(messages);
    Ok(())
}

fn read_role(role: Option<&str>, at: &At<'_>) -> Result<Role, Error> {
    match role {
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        // Claude Code sends reminders in the middle of a conversation.
        Some("system") => Ok(Role::System),
        Some(_) => Err(at.invalid("must be one of `user`, `assistant`, `system`")),
        None => Err(at.invalid("is missing; send one of `user`, `assistant`, `system`")),
    }
}

fn read_content(
    content: WireContent<'_>,
    role: Role,
    at: &At<'_>,
    ignored: &mut Ignored,
    messages: &mut Vec<Message>,
) -> Result<(), Error> {
    let blocks = match content {
        WireContent::Text(text) => {
            messages.push(Message::new(role, text));
            return Ok(());
        }
        WireContent::Blocks(blocks) => blocks,
    };
    if blocks.is_empty() && role != Role::Assistant {
        return Err(at.invalid("is empty; send a string or blocks"));
    }
    let (mut said, mut has_results) = (Vec::new(), false);
    for (number, block) in blocks.into_iter().enumerate() {
        match read_block(block, role, &at.index(number), ignored)? {
            Block::Part(part) => said.push(part),
            Block::Result(parts) => {
                // Results come first: a model expects them right behind its calls.
                messages.push(Message { role: Role::Tool, parts });
                has_results = true;
            }
            Block::Nothing => {}
        }
    }
    if !said.is_empty() || !has_results {
        messages.push(Message { role, parts: said });
    }
    Ok(())
}

/// A system prompt: a text, or a list of them.
#[derive(Deserialize)]
enum WireSystem {
    #[serde(rename = "a string")]
    Text(String),
    #[serde(rename = "an array of text blocks")]
    Blocks(Vec<SystemBlock>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SystemBlock {
    cache_control: NoEffect,
    citations: NoEffect,
    text: Sent<String>,
    r#type: Option<String>,
}

/// Reads the system prompt. Each of its blocks begins on a line of its own: they are parts of a text that has sections.
pub fn read_system(system: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Message, Error> {
    let blocks = match system.read(at, ignored)? {
        WireSystem::Text(text) => return Ok(Message::new(Role::System, text)),
        WireSystem::Blocks(blocks) => blocks,
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (number, block) in blocks.into_iter().enumerate() {
        let at = at.index(number);
        if block.r#type.as_deref() != Some("text") {
            return Err(at.key("type").invalid("must be `text`"));
        }
        let text = block.text.0.ok_or_else(|| at.key("text").invalid("is missing; send a string"))?;
        parts.push(Part::Text(if number == 0 { text } else { format!("\n{text}") }));
    }
    Ok(Message { role: Role::System, parts })
}
