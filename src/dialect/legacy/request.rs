//! `POST /chat`'s body: credentials, and Ollama's fields of a chat.

use serde::Deserialize;

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::dialect::Head;
use crate::dialect::json::{self, At, Ignored, Object, Sent, Tree, Unread};
use crate::dialect::legacy::message::read_messages;
use crate::dialect::legacy::options::{Options, WireOptions, read_options};
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

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "_debug_render_only")]
    debug_render_only: Option<bool>,
    auth: Option<WireAuth>,
    format: Option<WireFormat>,
    keep_alive: Option<Unread>,
    logprobs: Option<bool>,
    /// Read separately, by `read_messages`.
    messages: Unread,
    model: Option<String>,
    options: Option<WireOptions>,
    shift: Option<bool>,
    stream: Option<bool>,
    think: Option<WireThink>,
    tools: Option<Vec<WireTool>>,
    top_logprobs: Option<i64>,
    truncate: Option<bool>,
}

pub fn read(mut body: Object<'_>, head: &dyn Head) -> Result<LegacyChat, Error> {
    let mut ignored = Ignored::default();
    // They are read one by one, and the first that is wrong ends it: all of them at once may need far more memory.
    let messages = json::take(&mut body, "messages");
    let body: Body = json::read_body(body, &mut ignored)?;
    check_offered(&body)?;
    let credential = body.auth.map(|auth| read_auth(auth, &At::Body.key("auth"))).transpose()?;
    let messages = match messages {
        Some(messages) => {
            let at = At::Body.key("messages");
            read_messages(messages.array(&at)?, &at, &mut ignored)?
        }
        None => Vec::new(),
    };
    if messages.is_empty() {
        // The first version's words.
        return Err(Error::invalid("messages", "messages required"));
    }
    let model = ModelName::parse(body.model.as_deref().unwrap_or(head.default_model()))?;
    let options = body.options.unwrap_or_default();
    let Options { sampling, max_tokens, extra } = read_options(options, &At::Body.key("options"), &mut ignored)?;
    let think = body.think.map(|think| read_think(think, &At::Body.key("think"))).transpose()?;
    let chat = ChatRequest {
        tools: read_tools(body.tools.unwrap_or_default(), &At::Body.key("tools"))?,
        format: body.format.map(|format| read_format(format, &At::Body.key("format"))).transpose()?,
        sampling,
        max_tokens,
        think: think.map(|level| Thinking { level, optional: None }),
        too_long: body.truncate.map(|cut| if cut { TooLong::Cut } else { TooLong::Refuse }),
        extra,
        ..ChatRequest::new(model, messages)
    };
    Ok(LegacyChat { chat, stream: body.stream.unwrap_or(false), ignored, credential })
}

/// Refuses what is not offered, and what would change the model server for all users.
fn check_offered(body: &Body) -> Result<(), Error> {
    let is_asked = |wanted: Option<bool>| wanted == Some(true);
    for (field, is_refused, why) in [
        ("_debug_render_only", is_asked(body.debug_render_only), "is not offered; leave it out"),
        ("logprobs", is_asked(body.logprobs), "is not offered; leave it out"),
        ("top_logprobs", body.top_logprobs.is_some_and(|count| count != 0), "is not offered; leave it out"),
        (
            "keep_alive",
            body.keep_alive.is_some(),
            "is not offered: it would change the model server for everybody; leave it out",
        ),
        // Models are loaded with `true`.
        ("shift", body.shift == Some(false), "may only be `true`: another value would reload the model for everybody"),
    ] {
        if is_refused {
            return Err(At::Body.key(field).unsupported(why));
        }
    }
    Ok(())
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

#[derive(Deserialize)]
enum WireFormat {
    #[serde(rename = "a string that is `json`")]
    Word(String),
    #[serde(rename = "an object that is a JSON schema")]
    Schema(Tree),
}

fn read_format(format: WireFormat, at: &At<'_>) -> Result<Format, Error> {
    match format {
        WireFormat::Word(word) if word == "json" => Ok(Format::Json),
        WireFormat::Word(_) => Err(at.invalid("must be `json` or a JSON schema")),
        WireFormat::Schema(Tree(schema)) => Ok(Format::Schema { schema, field: "format" }),
    }
}

#[derive(Deserialize)]
enum WireThink {
    #[serde(rename = "a boolean")]
    Switch(bool),
    #[serde(rename = "a string")]
    Level(String),
}

fn read_think(think: WireThink, at: &At<'_>) -> Result<Think, Error> {
    let level = match think {
        WireThink::Switch(true) => return Ok(Think::On),
        WireThink::Switch(false) => return Ok(Think::Off),
        WireThink::Level(level) => level,
    };
    match level.as_str() {
        "low" => Ok(Think::Low),
        "medium" => Ok(Think::Medium),
        "high" => Ok(Think::High),
        "max" => Ok(Think::Max),
        _ => Err(at.invalid("must be a boolean or one of `low`, `medium`, `high`, `max`")),
    }
}
