//! `POST /chat`'s body: credentials, and Ollama's fields of a chat.

use serde::Deserialize;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::dialect::Head;
use crate::dialect::json::{At, Ignored, Json, Object, Sent, Tree, tree};
use crate::dialect::legacy::message::read_messages;
use crate::dialect::legacy::options::{Options, read_options};
use crate::model::chat::{ChatRequest, Format, Think, Thinking, Tool};
use crate::model::credential::{Credential, Username};
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

pub struct LegacyChat {
    pub chat: ChatRequest,
    pub stream: bool,
    pub ignored: Ignored,
    pub credential: Option<Credential>,
}

const FIELDS: &[&str] = &[
    "_debug_render_only",
    "auth",
    "format",
    "keep_alive",
    "logprobs",
    "messages",
    "model",
    "options",
    "shift",
    "stream",
    "think",
    "tools",
    "top_logprobs",
    "truncate",
];

pub fn read(body: Object<'_>, head: &dyn Head) -> Result<LegacyChat, Error> {
    let mut ignored = Ignored::default();
    let mut credential = None;
    let mut model = None;
    let (mut messages, mut tools) = (Vec::new(), Vec::new());
    let (mut format, mut think, mut too_long) = (None, None, None);
    let mut options = Options::default();
    let mut stream = false;
    for (key, value) in body {
        let key = key.as_ref();
        let at = At::Body.key(key);
        if !FIELDS.contains(&key) {
            ignored.unknown(FIELDS, &At::Body, "", key, &value)?;
            continue;
        }
        if value.is_absent() {
            continue;
        }
        match key {
            "auth" => credential = Some(read_auth(value.read(&at, &mut ignored)?, &at)?),
            "model" => model = Some(ModelName::parse(&value.text(&at)?)?),
            "messages" => messages = read_messages(value.read(&at, &mut ignored)?, &at, &mut ignored)?,
            "stream" => stream = value.boolean(&at)?,
            "options" => options = read_options(value.read(&at, &mut ignored)?, &at, &mut ignored)?,
            "format" => format = Some(read_format(value, &at)?),
            "tools" => tools = read_tools(value.read(&at, &mut ignored)?, &at)?,
            "think" => think = Some(read_think(value, &at)?),
            "truncate" => too_long = Some(if value.boolean(&at)? { TooLong::Cut } else { TooLong::Refuse }),
            "shift" => {
                // Models are loaded with `true`; another value would reload the model for everybody.
                if !value.boolean(&at)? {
                    return Err(
                        at.unsupported("may only be `true`: another value would reload the model for everybody")
                    );
                }
            }
            "keep_alive" => {
                return Err(
                    at.unsupported("is not offered: it would change the model server for everybody; leave it out")
                );
            }
            "logprobs" | "_debug_render_only" => {
                if value.boolean(&at)? {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            "top_logprobs" => {
                if value.integer(&at)? != 0 {
                    return Err(at.unsupported("is not offered; leave it out"));
                }
            }
            other => ignored.add(other),
        }
    }
    if messages.is_empty() {
        // The first version's words.
        return Err(Error::invalid("messages", "messages required"));
    }
    let model = match model {
        Some(model) => model,
        None => ModelName::parse(head.default_model())?,
    };
    let Options { sampling, max_tokens, extra } = options;
    let think = think.map(|level| Thinking { level, optional: None });
    let chat = ChatRequest {
        tools,
        format,
        sampling,
        max_tokens,
        think,
        too_long,
        extra,
        ..ChatRequest::new(model, messages)
    };
    Ok(LegacyChat { chat, stream, ignored, credential })
}

/// Maximum length of a name or password: no account has a longer one, and hashing it would cost time before authentication.
pub const AUTH_BYTES_MAX: usize = 1024;

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAuth {
    password: Sent<Secret<String>>,
    username: Sent<String>,
}

fn read_auth(auth: WireAuth, at: &At<'_>) -> Result<Credential, Error> {
    let missing = |name| at.key(name).invalid("is missing; send `username` and `password`");
    let username = auth.username.0.ok_or_else(|| missing("username"))?;
    let password = auth.password.0.ok_or_else(|| missing("password"))?;
    for (name, text) in [("username", &username), ("password", password.expose())] {
        if text.len() > AUTH_BYTES_MAX {
            return Err(at.key(name).invalid(format_args!("is longer than {AUTH_BYTES_MAX} bytes")));
        }
    }
    Ok(Credential::Password { username: Username::of(&username), password })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTool {
    function: Sent<WireFunction>,
    r#type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireFunction {
    description: Sent<String>,
    name: Option<String>,
    parameters: Sent<Tree>,
}

fn read_tools(tools: Vec<WireTool>, at: &At<'_>) -> Result<Vec<Tool>, Error> {
    let mut read = Vec::with_capacity(tools.len());
    for (number, tool) in tools.into_iter().enumerate() {
        let at = at.index(number);
        if tool.r#type.is_some_and(|kind| kind != "function") {
            return Err(at.key("type").unsupported("may only be `function`"));
        }
        let at = at.key("function");
        let function = tool.function.0.ok_or_else(|| at.invalid("is missing; send an object with `name`"))?;
        let name = function.name.ok_or_else(|| at.key("name").invalid("is missing"))?;
        let parameters = function.parameters.0.map(|Tree(schema)| schema);
        read.push(Tool { name, description: function.description.0, parameters });
    }
    Ok(read)
}

fn read_format(format: Json<'_>, at: &At<'_>) -> Result<Format, Error> {
    match format {
        Json::Text(text) if text == "json" => Ok(Format::Json),
        Json::Data(schema) if schema.is_object() => Ok(Format::Schema { schema: tree(schema, at)?, field: "format" }),
        _ => Err(at.invalid("must be `json` or a JSON schema")),
    }
}

fn read_think(think: Json<'_>, at: &At<'_>) -> Result<Think, Error> {
    match think {
        Json::Bool(true) => Ok(Think::On),
        Json::Bool(false) => Ok(Think::Off),
        Json::Text(level) => match level.as_ref() {
            "low" => Ok(Think::Low),
            "medium" => Ok(Think::Medium),
            "high" => Ok(Think::High),
            "max" => Ok(Think::Max),
            _ => Err(at.invalid("must be a boolean or one of `low`, `medium`, `high`, `max`")),
        },
        other => Err(at.invalid(format_args!("must be a boolean or a string, not {}", other.kind()))),
    }
}
