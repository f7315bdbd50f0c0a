//! The tools of a chat completion's request, and which of them the model may or must call.

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, Object};
use crate::model::chat::Tool;

/// OpenAI's own limit.
const TOOLS_MAX: usize = 128;

pub fn read_tools(items: Vec<Json<'_>>, at: &At<'_>, ignored: &mut Ignored) -> Result<Vec<Tool>, Error> {
    if items.len() > TOOLS_MAX {
        return Err(at.invalid(format_args!("may hold at most {TOOLS_MAX} functions")));
    }
    let mut tools = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let function = read_function(item.object(&at)?, &at, "tools[].", ignored)?;
        tools.push(read_tool(function, &at.key("function"), ignored)?);
    }
    Ok(tools)
}

/// `{"type": "function", "function": {…}}`: what stands in `function`.
pub fn read_function<'a>(
    fields: Object<'a>,
    at: &At<'_>,
    prefix: &str,
    ignored: &mut Ignored,
) -> Result<Object<'a>, Error> {
    let (mut kind, mut function) = (None, None);
    for (key, value) in fields {
        match key.as_ref() {
            _ if value.is_null() => {}
            "type" => kind = Some(value.text(&at.key("type"))?),
            "function" => function = Some(value.object(&at.key("function"))?),
            // Its `type` is refused below, by name.
            "custom" => {}
            other => ignored.unknown(&["custom", "function", "type"], at, prefix, other, &value)?,
        }
    }
    match kind.as_deref() {
        Some("function") | None => {}
        Some("custom") => {
            return Err(at.key("type").unsupported("may only be `function`: custom tools are not offered"));
        }
        Some(_) => return Err(at.key("type").unsupported("may only be `function`")),
    }
    function.ok_or_else(|| at.key("function").invalid("is missing; send an object with `name`"))
}

fn read_tool(function: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Tool, Error> {
    const KNOWN: &[&str] = &["description", "name", "parameters", "strict"];
    let mut tool = Tool { name: String::new(), description: None, parameters: None };
    for (key, value) in function {
        match key.as_ref() {
            _ if value.is_null() => {}
            "name" => tool.name = value.text(&at.key("name"))?.into_owned(),
            "description" => tool.description = Some(value.text(&at.key("description"))?.into_owned()),
            "parameters" => tool.parameters = Some(value.tree(&at.key("parameters"))?),
            // Models here are not held to the schema of a function that they need not call.
            "strict" => {
                if value.boolean(&at.key("strict"))? {
                    ignored.add("tools[].function.strict");
                }
            }
            other => ignored.unknown(KNOWN, at, "tools[].function.", other, &value)?,
        }
    }
    if tool.name.is_empty() {
        return Err(at.key("name").invalid("is missing"));
    }
    Ok(tool)
}

/// What the model may do with the tools.
#[derive(Debug, Default, PartialEq)]
pub enum Choice {
    #[default]
    Auto,
    None,
    Required,
    /// Only these, each with the place where it was named.
    Among {
        names: Vec<(String, String)>,
        must_call: bool,
    },
}

pub fn read_choice(choice: Json<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Choice, Error> {
    let fields = match choice {
        Json::Text(word) => {
            return match word.as_ref() {
                "auto" => Ok(Choice::Auto),
                "none" => Ok(Choice::None),
                "required" => Ok(Choice::Required),
                _ => Err(at.invalid("must be `none`, `auto`, `required` or an object that names a function")),
            };
        }
        other => other.object(at)?,
    };
    let is_list = fields.iter().any(|(key, value)| {
        (key == "type" && *value == Json::Text("allowed_tools".into())) || (key == "allowed_tools" && !value.is_null())
    });
    if is_list {
        return read_allowed(fields, at, ignored);
    }
    let function = read_function(fields, at, "tool_choice.", ignored)?;
    let name = read_name(function, &at.key("function"), "tool_choice.function.", ignored)?;
    Ok(Choice::Among { names: vec![name], must_call: true })
}

fn read_allowed(fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<Choice, Error> {
    let mut allowed = None;
    for (key, value) in fields {
        match key.as_ref() {
            "type" => {
                if value.text(&at.key("type"))? != "allowed_tools" {
                    return Err(at.key("type").invalid("must be `allowed_tools` beside a field of that name"));
                }
            }
            "allowed_tools" => allowed = Some(value.object(&at.key("allowed_tools"))?),
            other => ignored.unknown(&["allowed_tools", "type"], at, "tool_choice.", other, &value)?,
        }
    }
    let at = &at.key("allowed_tools");
    let allowed = allowed.ok_or_else(|| at.invalid("is missing; send an object with `mode` and `tools`"))?;
    let (mut must_call, mut names) = (false, Vec::new());
    for (key, value) in allowed {
        match key.as_ref() {
            "mode" => {
                must_call = match value.text(&at.key("mode"))?.as_ref() {
                    "auto" => false,
                    "required" => true,
                    _ => return Err(at.key("mode").invalid("must be `auto` or `required`")),
                }
            }
            "tools" => {
                let at = &at.key("tools");
                for (number, item) in value.array(at)?.into_iter().enumerate() {
                    let at = &at.index(number);
                    let function = read_function(item.object(at)?, at, "tool_choice.allowed_tools.tools[].", ignored)?;
                    let prefix = "tool_choice.allowed_tools.tools[].function.";
                    names.push(read_name(function, &at.key("function"), prefix, ignored)?);
                }
            }
            other => ignored.unknown(&["mode", "tools"], at, "tool_choice.allowed_tools.", other, &value)?,
        }
    }
    Ok(Choice::Among { names, must_call })
}

/// The name of a function, and where it stands.
fn read_name(
    function: Object<'_>,
    at: &At<'_>,
    prefix: &str,
    ignored: &mut Ignored,
) -> Result<(String, String), Error> {
    let mut name = None;
    for (key, value) in function {
        match key.as_ref() {
            "name" => name = Some(value.text(&at.key("name"))?.into_owned()),
            other => ignored.unknown(&["name"], at, prefix, other, &value)?,
        }
    }
    let at = at.key("name");
    name.map(|name| (name, at.to_string())).ok_or_else(|| at.invalid("is missing"))
}

impl Choice {
    /// The tools that are left, and whether one of them must be called.
    pub fn apply(self, mut tools: Vec<Tool>) -> Result<(Vec<Tool>, bool), Error> {
        let (names, must_call) = match self {
            Choice::Auto => return Ok((tools, false)),
            Choice::None => return Ok((Vec::new(), false)),
            Choice::Required => (None, true),
            Choice::Among { names, must_call } => (Some(names), must_call),
        };
        if let Some(names) = names {
            for (name, place) in &names {
                if !tools.iter().any(|tool| tool.name == *name) {
                    let message = format!("`{place}` names a function that is not among `tools`");
                    return Err(Error::invalid(place, message));
                }
            }
            tools.retain(|tool| names.iter().any(|(name, _)| *name == tool.name));
        }
        if must_call && tools.is_empty() {
            return Err(Error::invalid(
                "tool_choice",
                "`tool_choice` asks for a call, but there is no function in `tools`",
            ));
        }
        Ok((tools, must_call))
    }
}
