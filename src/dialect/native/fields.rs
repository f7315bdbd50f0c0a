//! Fields that several of Ollama's requests have: the model, options, format, thinking, functions.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Sent, Tree};
use crate::dialect::native::Front;
use crate::dialect::native::options::{NativeOptions, Options, read_options};
use crate::model::chat::{ChatRequest, Format, Think, Thinking, Tool};
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

/// What a request asks for beside its prompt.
#[derive(Default)]
pub struct Wishes {
    pub debug_render_only: Option<bool>,
    pub format: Option<NativeFormat>,
    pub keep_alive: Option<KeepAlive>,
    pub logprobs: Option<bool>,
    pub options: Option<NativeOptions>,
    pub shift: Option<bool>,
    pub think: Option<NativeThink>,
    pub top_logprobs: Option<i64>,
    pub truncate: Option<bool>,
}

/// Ollama's own limit.
const TOP_LOGPROBS_MAX: i64 = 20;

impl Wishes {
    /// Refuses what is not offered, and what would change the model server for all users.
    pub fn check_offered(&self, front: Front<'_>) -> Result<(), Error> {
        let is_asked = |wanted: Option<bool>| wanted == Some(true);
        let is_chat = matches!(front, Front::Chat { .. });
        for (field, is_refused, why) in [
            ("_debug_render_only", is_asked(self.debug_render_only), "is not offered; leave it out"),
            ("logprobs", is_chat && is_asked(self.logprobs), "is not offered; leave it out"),
            (
                "top_logprobs",
                is_chat && self.top_logprobs.is_some_and(|count| count != 0),
                "is not offered; leave it out",
            ),
            (
                "keep_alive",
                is_chat && self.keep_alive.is_some(),
                "is not offered: it would change the model server for everybody; leave it out",
            ),
            // Models are loaded with `true`. It changes how an answer ends, so it is refused everywhere.
            (
                "shift",
                self.shift == Some(false),
                "may only be `true`: another value would reload the model for everybody",
            ),
        ] {
            if is_refused {
                return Err(At::Body.key(field).unsupported(why));
            }
        }
        Ok(())
    }

    /// Reads a request without a prompt, which in Ollama loads the model, or unloads it with `keep_alive: 0`.
    pub fn check_load(&self) -> Result<(), Error> {
        if self.keep_alive.as_ref().is_some_and(KeepAlive::is_none) {
            let why = "of 0 without a prompt would unload the model for everybody, which is not offered; Ollama does so by \
                itself when its memory is needed";
            return Err(At::Body.key("keep_alive").unsupported(why));
        }
        Ok(())
    }

    /// Puts what was asked for into a request.
    pub fn put_into(self, chat: &mut ChatRequest, front: Front<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let options = self.options.unwrap_or_default();
        let Options { sampling, max_tokens, extra } = read_options(options, front, &At::Body.key("options"), ignored)?;
        (chat.sampling, chat.max_tokens, chat.extra) = (sampling, max_tokens, extra);
        chat.logprobs = read_logprobs(self.logprobs == Some(true), self.top_logprobs.unwrap_or(0), ignored)?;
        let think = self.think.map(|think| read_think(think, &At::Body.key("think"))).transpose()?;
        chat.think = think.map(|level| Thinking { level, optional: None });
        chat.format = self.format.map(|format| read_format(format, &At::Body.key("format"))).transpose()?;
        chat.too_long = self.truncate.map(too_long);
        if self.keep_alive.is_some() {
            // It says how long the model stays in memory, for everybody, and changes nothing in the answer.
            ignored.add("keep_alive");
        }
        Ok(())
    }
}

/// How long a model stays in memory afterwards, for everybody.
#[derive(Deserialize)]
pub enum KeepAlive {
    #[serde(rename = "a number")]
    Seconds(f64),
    #[serde(rename = "a string")]
    Text(String),
}

impl KeepAlive {
    /// Returns whether the model is to be unloaded at once: 0, `"0"`, `"0s"`, `"0m"` …
    fn is_none(&self) -> bool {
        match self {
            KeepAlive::Seconds(seconds) => *seconds == 0.0,
            KeepAlive::Text(text) => text.trim_end_matches(|unit: char| !unit.is_ascii_digit()).parse() == Ok(0.0),
        }
    }
}

/// Returns what Ollama's `truncate` says.
pub fn too_long(truncate: bool) -> TooLong {
    if truncate { TooLong::Cut } else { TooLong::Refuse }
}

pub fn read_model(name: Option<String>, front: Front<'_>) -> Result<ModelName, Error> {
    match (name, front) {
        (Some(name), _) => ModelName::parse(&name),
        (None, Front::Chat { default_model }) => ModelName::parse(default_model),
        (None, Front::Api) => Err(Error::invalid("model", "`model` is missing; name one that `GET /api/tags` lists")),
    }
}

/// Returns how many alternatives of each token are wanted; `None`: no probabilities.
fn read_logprobs(is_wanted: bool, top: i64, ignored: &mut Ignored) -> Result<Option<u8>, Error> {
    let at = At::Body.key("top_logprobs");
    if !(0..=TOP_LOGPROBS_MAX).contains(&top) {
        return Err(at.invalid(format_args!("must be between 0 and {TOP_LOGPROBS_MAX}")));
    }
    if top > 0 && !is_wanted {
        // Ollama sends none then, either.
        ignored.add("top_logprobs");
    }
    Ok(is_wanted.then_some(top as u8))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct NativeTool {
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

pub fn read_tools(tools: Vec<NativeTool>, at: &At<'_>) -> Result<Vec<Tool>, Error> {
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
pub enum NativeFormat {
    #[serde(rename = "a string that is `json`")]
    Word(String),
    #[serde(rename = "an object that is a JSON schema")]
    Schema(Tree),
}

fn read_format(format: NativeFormat, at: &At<'_>) -> Result<Format, Error> {
    match format {
        NativeFormat::Word(word) if word == "json" => Ok(Format::Json),
        NativeFormat::Word(_) => Err(at.invalid("must be `json` or a JSON schema")),
        NativeFormat::Schema(Tree(schema)) => Ok(Format::Schema { schema, field: "format" }),
    }
}

#[derive(Deserialize)]
pub enum NativeThink {
    #[serde(rename = "a boolean")]
    Switch(bool),
    #[serde(rename = "a string")]
    Level(String),
}

fn read_think(think: NativeThink, at: &At<'_>) -> Result<Think, Error> {
    let level = match think {
        NativeThink::Switch(true) => return Ok(Think::On),
        NativeThink::Switch(false) => return Ok(Think::Off),
        NativeThink::Level(level) => level,
    };
    match level.as_str() {
        "low" => Ok(Think::Low),
        "medium" => Ok(Think::Medium),
        "high" => Ok(Think::High),
        "max" => Ok(Think::Max),
        _ => Err(at.invalid("must be a boolean or one of `low`, `medium`, `high`, `max`")),
    }
}
