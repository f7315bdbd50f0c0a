//! The tools of a request, and which of them the model may or must call.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::choice::Choice;
use crate::dialect::json::{At, Ignored, NoEffect, Sent, Tree};
use crate::model::chat::Tool;

/// More than any client sends, each with its schema: agents with several MCP servers have a few hundred.
const TOOLS_MAX: usize = 1024;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct AnthropicTool {
    allowed_callers: NoEffect,
    cache_control: NoEffect,
    /// All tools are shown to the model from the beginning.
    defer_loading: NoEffect,
    description: Sent<String>,
    eager_input_streaming: NoEffect,
    input_examples: NoEffect,
    input_schema: Sent<Tree>,
    name: Option<String>,
    strict: Option<bool>,
    r#type: Option<String>,
}

/// Returns the tools that the client runs. Those that only Anthropic's servers or models know are left out and noted.
pub fn read_tools(tools: Vec<AnthropicTool>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Tool>, Error> {
    if tools.len() > TOOLS_MAX {
        return Err(at.invalid(format_args!("may hold at most {TOOLS_MAX} tools")));
    }
    let mut read = Vec::with_capacity(tools.len());
    for (number, tool) in tools.into_iter().enumerate() {
        if let Some(kind) = tool.r#type.as_deref().filter(|kind| *kind != "custom") {
            ignored.add(format_args!("tools[].{kind}"));
            continue;
        }
        // Models here are not held to the schema of a tool that they need not call.
        if tool.strict == Some(true) {
            ignored.add("tools[].strict");
        }
        let name = tool.name.ok_or_else(|| at.index(number).key("name").invalid("is missing"))?;
        let parameters = tool.input_schema.0.map(|Tree(schema)| schema);
        read.push(Tool { name, description: tool.description.0, parameters });
    }
    Ok(read)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct AnthropicChoice {
    disable_parallel_tool_use: Option<bool>,
    name: Option<String>,
    r#type: Option<String>,
}

/// Returns which tools may or must be called, and whether at most one call is wanted.
pub fn read_choice(choice: AnthropicChoice, at: &At<'_>) -> Result<(Choice, bool), Error> {
    let one_call = choice.disable_parallel_tool_use == Some(true);
    let choice = match choice.r#type.as_deref() {
        Some("auto") => Choice::Auto,
        Some("any") => Choice::Required,
        Some("none") => Choice::None,
        Some("tool") => {
            let at = at.key("name");
            let name = choice.name.ok_or_else(|| at.invalid("is missing; send the name of the tool"))?;
            Choice::Among { names: vec![(name, at.to_string())], must_call: true }
        }
        Some(_) => return Err(at.key("type").invalid("must be one of `auto`, `any`, `tool`, `none`")),
        None => return Err(at.key("type").invalid("is missing; send one of `auto`, `any`, `tool`, `none`")),
    };
    Ok((choice, one_call))
}
