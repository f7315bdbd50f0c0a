//! The tools of a response's request, and which of them the model may or must call.
//!
//! Functions are offered. Tools that run elsewhere (web search, a shell of the client's own kind, …) are left out and named:
//! clients send them unasked, and go without them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::dialect::choice::Choice;
use crate::dialect::json::{self, At, Ignored, Json, NoEffect, Object, Sent, Tree, Unread};
use crate::dialect::openai::tools::TOOLS_MAX;
use crate::model::chat::Tool;

/// The functions that a request offers.
#[derive(Default)]
pub struct OfferedTools {
    pub tools: Vec<Tool>,
    pub namespaces: Vec<String>,
    /// The same for the client, in its own shape.
    pub told: Vec<Value>,
}

impl OfferedTools {
    /// Returns them as the response repeats them.
    pub fn told(self) -> Box<RawValue> {
        serde_json::value::to_raw_value(&self.told).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFunction {
    allowed_callers: NoEffect,
    r#async: NoEffect,
    defer_loading: NoEffect,
    description: Sent<String>,
    name: Option<String>,
    output_schema: NoEffect,
    parameters: Sent<Tree>,
    strict: Option<bool>,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireNamespace {
    description: Sent<String>,
    name: Option<String>,
    /// Read separately.
    tools: Unread,
    r#type: Unread,
}

pub fn read_tools(tools: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<OfferedTools, Error> {
    let mut offered = OfferedTools::default();
    for (number, tool) in tools.into_iter().enumerate() {
        let at = at.index(number);
        let mut tool = tool.object(&at)?;
        match kind_of(&tool, &at)?.as_str() {
            "function" => {
                let tool = read_function(tool, None, &at, ignored)?;
                offered.told.push(told(&tool.name, &tool));
                offered.tools.push(tool);
            }
            "namespace" => {
                let within = json::take(&mut tool, "tools");
                let WireNamespace { name, description, .. } = Json::Object(tool).read(&at, ignored)?;
                let name = name.ok_or_else(|| at.key("name").invalid("is missing"))?;
                let inside = read_namespace(&name, within, &at.key("tools"), &mut offered, ignored)?;
                let description = description.0;
                offered
                    .told
                    .push(json!({"type": "namespace", "name": name, "description": description, "tools": inside}));
                if !offered.namespaces.contains(&name) {
                    offered.namespaces.push(name);
                }
            }
            other => ignored.add(format_args!("tools[].{other}")),
        }
        if offered.tools.len() > TOOLS_MAX {
            return Err(Error::invalid("tools", format!("`tools` may hold at most {TOOLS_MAX} functions")));
        }
    }
    Ok(offered)
}

/// Reads the functions of a namespace, and returns them as the response repeats them.
fn read_namespace(
    namespace: &str,
    tools: Option<Json<'_>>,
    at: &At<'_>,
    offered: &mut OfferedTools,
    ignored: &mut Ignored,
) -> Result<Vec<Value>, Error> {
    let mut inside = Vec::new();
    for (number, tool) in tools.map(|tools| tools.array(at)).transpose()?.into_iter().flatten().enumerate() {
        let at = at.index(number);
        let tool = tool.object(&at)?;
        match kind_of(&tool, &at)?.as_str() {
            "function" => {
                let tool = read_function(tool, Some(namespace), &at, ignored)?;
                let name = tool.name.get(namespace.len() + 1..).unwrap_or_default();
                inside.push(told(name, &tool));
                offered.tools.push(tool);
            }
            other => ignored.add(format_args!("tools[].tools[].{other}")),
        }
    }
    Ok(inside)
}

/// Reads a function. One of a namespace is `namespace.name` for the model.
fn read_function(tool: Object<'_>, namespace: Option<&str>, at: &At<'_>, ignored: &mut Ignored) -> Result<Tool, Error> {
    let function: WireFunction = Json::Object(tool).read(at, ignored)?;
    // Models here are not held to the schema of a function that they need not call.
    if function.strict == Some(true) {
        ignored.add("tools[].strict");
    }
    let name = function.name.ok_or_else(|| at.key("name").invalid("is missing"))?;
    let parameters = function.parameters.0.map(|Tree(schema)| schema);
    Ok(Tool { name: full_name(namespace, name), description: function.description.0, parameters })
}

/// Returns the name of a function as the model sees it.
pub fn full_name(namespace: Option<&str>, name: String) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}.{name}"),
        None => name,
    }
}

/// Returns a function as a response repeats it.
pub fn told(name: &str, tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": false,
    })
}

fn kind_of(fields: &Object<'_>, at: &At<'_>) -> Result<String, Error> {
    match fields.iter().find(|(name, _)| name == "type") {
        Some((_, Json::Text(kind))) => Ok(kind.clone().into_owned()),
        Some((_, other)) if !other.is_null() => {
            Err(at.key("type").invalid(format_args!("must be a string, not {}", other.kind())))
        }
        _ => Err(at.key("type").invalid("is missing; send `function`")),
    }
}

#[derive(Deserialize)]
pub enum ResponsesChoice {
    #[serde(rename = "a string")]
    Word(String),
    #[serde(rename = "an object that names a function")]
    Named(NamedFunctions),
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NamedFunctions {
    mode: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    server_label: Unread,
    tools: Option<Vec<NamedTool>>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedTool {
    name: Option<String>,
    namespace: Option<String>,
    server_label: Unread,
    r#type: Option<String>,
}

/// Returns the choice, and how the response repeats it.
pub fn read_choice(choice: ResponsesChoice, at: &At<'_>, ignored: &mut Ignored) -> Result<(Choice, Value), Error> {
    let choice = match choice {
        ResponsesChoice::Word(word) => {
            let choice = match word.as_str() {
                "auto" => Choice::Auto,
                "none" => Choice::None,
                "required" => Choice::Required,
                _ => return Err(at.invalid("must be `none`, `auto`, `required` or an object that names a function")),
            };
            return Ok((choice, word.into()));
        }
        ResponsesChoice::Named(choice) => choice,
    };
    match choice.r#type.as_deref() {
        Some("function") => {
            let name = choice.name.ok_or_else(|| at.key("name").invalid("is missing"))?;
            let told = json!({"type": "function", "name": name});
            let names = vec![(full_name(choice.namespace.as_deref(), name), at.key("name").to_string())];
            Ok((Choice::Among { names, must_call: true }, told))
        }
        Some("allowed_tools") => read_allowed(choice, at, ignored),
        Some(_) => {
            Err(at.key("type").unsupported("may only be `function` or `allowed_tools`: other tools are left out"))
        }
        None => Err(at.key("type").invalid("is missing; send `function` or `allowed_tools`")),
    }
}

fn read_allowed(choice: NamedFunctions, at: &At<'_>, ignored: &mut Ignored) -> Result<(Choice, Value), Error> {
    let must_call = match choice.mode.as_deref() {
        None | Some("auto") => false,
        Some("required") => true,
        Some(_) => return Err(at.key("mode").invalid("must be `auto` or `required`")),
    };
    let at = &at.key("tools");
    let tools = choice.tools.unwrap_or_default();
    let mut names = Vec::with_capacity(tools.len());
    let mut told = Vec::with_capacity(tools.len());
    for (number, tool) in tools.into_iter().enumerate() {
        let at = &at.index(number);
        match tool.r#type.as_deref() {
            Some("function") => {
                let name = tool.name.ok_or_else(|| at.key("name").invalid("is missing"))?;
                told.push(json!({"type": "function", "name": name}));
                names.push((full_name(tool.namespace.as_deref(), name), at.key("name").to_string()));
            }
            Some(other) => ignored.add(format_args!("tool_choice.tools[].{other}")),
            None => return Err(at.key("type").invalid("is missing; send `function`")),
        }
    }
    let mode = if must_call { "required" } else { "auto" };
    Ok((Choice::Among { names, must_call }, json!({"type": "allowed_tools", "mode": mode, "tools": told})))
}
