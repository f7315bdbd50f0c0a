//! The tools of a chat completion's request, and which of them the model may or must call.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::choice::Choice;
use crate::dialect::json::{At, Ignored, Sent, Tree, Unread};
use crate::model::chat::Tool;

/// OpenAI's own limit.
pub const TOOLS_MAX: usize = 128;

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct WireTool {
    /// Refused by its `type`.
    custom: Unread,
    function: Sent<WireFunction>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFunction {
    description: Sent<String>,
    name: Option<String>,
    parameters: Sent<Tree>,
    strict: Option<bool>,
}

pub fn read_tools(tools: Vec<WireTool>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Tool>, Error> {
    if tools.len() > TOOLS_MAX {
        return Err(at.invalid(format_args!("may hold at most {TOOLS_MAX} functions")));
    }
    let mut read = Vec::with_capacity(tools.len());
    for (number, tool) in tools.into_iter().enumerate() {
        let at = at.index(number);
        let function = function_of(tool.r#type.as_deref(), tool.function, &at)?;
        // Models here are not held to the schema of a function that they need not call.
        if function.strict == Some(true) {
            ignored.add("tools[].function.strict");
        }
        let name = function.name.ok_or_else(|| at.key("function").key("name").invalid("is missing"))?;
        let parameters = function.parameters.0.map(|Tree(schema)| schema);
        read.push(Tool { name, description: function.description.0, parameters });
    }
    Ok(read)
}

/// Returns what is in `function`, if that is the type.
pub fn function_of<F>(kind: Option<&str>, function: Sent<F>, at: &At<'_>) -> Result<F, Error> {
    match kind {
        Some("function") | None => {}
        Some("custom") => {
            return Err(at.key("type").unsupported("may only be `function`: custom tools are not offered"));
        }
        Some(_) => return Err(at.key("type").unsupported("may only be `function`")),
    }
    function.0.ok_or_else(|| at.key("function").invalid("is missing; send an object with `name`"))
}

#[derive(Deserialize)]
pub enum WireChoice {
    #[serde(rename = "a string")]
    Word(String),
    #[serde(rename = "an object that names a function")]
    Named(NamedChoice),
}

/// A function, or a list of those that are allowed.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NamedChoice {
    allowed_tools: Sent<AllowedTools>,
    custom: Unread,
    function: Sent<FunctionName>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AllowedTools {
    mode: Option<String>,
    tools: Vec<AllowedTool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AllowedTool {
    custom: Unread,
    function: Sent<FunctionName>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FunctionName {
    name: Sent<String>,
}

pub fn read_choice(choice: WireChoice, at: &At<'_>) -> Result<Choice, Error> {
    let choice = match choice {
        WireChoice::Word(word) => {
            return match word.as_str() {
                "auto" => Ok(Choice::Auto),
                "none" => Ok(Choice::None),
                "required" => Ok(Choice::Required),
                _ => Err(at.invalid("must be `none`, `auto`, `required` or an object that names a function")),
            };
        }
        WireChoice::Named(choice) => choice,
    };
    let is_list = choice.r#type.as_deref() == Some("allowed_tools");
    if is_list || choice.allowed_tools.0.is_some() {
        if !is_list && choice.r#type.is_some() {
            return Err(at.key("type").invalid("must be `allowed_tools` beside a field of that name"));
        }
        return read_allowed(choice.allowed_tools, &at.key("allowed_tools"));
    }
    let function = function_of(choice.r#type.as_deref(), choice.function, at)?;
    Ok(Choice::Among { names: vec![name_of(function, &at.key("function"))?], must_call: true })
}

fn read_allowed(allowed: Sent<AllowedTools>, at: &At<'_>) -> Result<Choice, Error> {
    let allowed = allowed.0.ok_or_else(|| at.invalid("is missing; send an object with `mode` and `tools`"))?;
    let must_call = match allowed.mode.as_deref() {
        None | Some("auto") => false,
        Some("required") => true,
        Some(_) => return Err(at.key("mode").invalid("must be `auto` or `required`")),
    };
    let at = &at.key("tools");
    let mut names = Vec::with_capacity(allowed.tools.len());
    for (number, tool) in allowed.tools.into_iter().enumerate() {
        let at = &at.index(number);
        let function = function_of(tool.r#type.as_deref(), tool.function, at)?;
        names.push(name_of(function, &at.key("function"))?);
    }
    Ok(Choice::Among { names, must_call })
}

/// Returns the name of a function, and its place.
fn name_of(function: FunctionName, at: &At<'_>) -> Result<(String, String), Error> {
    let at = at.key("name");
    function.name.0.map(|name| (name, at.to_string())).ok_or_else(|| at.invalid("is missing"))
}
