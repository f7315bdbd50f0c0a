//! Responses that the record keeps: shown again, deleted, and the items of their input.

use serde::Serialize;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::dialect::openai::responses::answer::ResponsesAnswer;
use crate::dialect::openai::responses::follow::split;
use crate::dialect::openai::responses::ids;
use crate::dialect::openai::responses::input_items::{PageAsked, input_items};
use crate::dialect::openai::responses::request::ResponsesEcho;
use crate::dialect::openai::responses::settings::{FormatSettings, ResponsesSettings};
use crate::dialect::{Encoder, KeptRoute, Reply, wire};
use crate::model::kept::{KeptAnswer, KeptTool};

const API: &str = "/v1/responses";

pub const GET: KeptRoute = KeptRoute { api: API, request: ids::request_of, shown: show, deletes: false };
pub const DELETE: KeptRoute = KeptRoute { api: API, request: ids::request_of, shown: show_deleted, deletes: true };
pub const INPUT_ITEMS: KeptRoute = KeptRoute { api: API, request: ids::request_of, shown: show_input, deletes: false };

/// Returns the response as it was.
fn show(kept: KeptAnswer, query: &str) -> Result<Reply, Error> {
    let wants_stream = |(name, value): (_, _)| name == "stream" && value == "true";
    if query.split('&').filter_map(|pair| pair.split_once('=')).any(wants_stream) {
        let why = "`stream` is not offered here: the answer is complete; leave it out";
        return Err(Error::unsupported("stream", why));
    }
    let settings = ResponsesSettings::kept(&kept.settings)?;
    let mut conversation = kept.conversation;
    let tools = std::mem::take(&mut conversation.tools);
    let schema = conversation.schema.take().filter(|_| matches!(settings.format, FormatSettings::JsonSchema { .. }));
    let (instructions, _) = split(conversation, &settings);
    let echo = ResponsesEcho {
        model: kept.model,
        instructions,
        tools: to_raw_value(&tools.iter().map(told).collect::<Vec<_>>()).map_err(Error::internal)?,
        schema,
        encrypted_reasoning: false,
        settings,
    };
    let mut body = bytes::BytesMut::new();
    ResponsesAnswer::of(kept.request, echo).whole(&kept.reply, &mut body);
    Ok(Reply { status: 200, headers: Vec::new(), content_type: wire::JSON, body: body.into() })
}

/// Returns a function as a response repeats it. One of a namespace has the name that the model knows.
fn told(tool: &KeptTool) -> Value {
    let parameters = tool.parameters.as_deref().and_then(|schema| serde_json::from_str::<Value>(schema.get()).ok());
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": false,
    })
}

fn show_deleted(kept: KeptAnswer, _: &str) -> Result<Reply, Error> {
    #[derive(Serialize)]
    struct Deleted {
        id: String,
        object: &'static str,
        deleted: bool,
    }
    ResponsesSettings::kept(&kept.settings)?;
    Ok(wire::json_reply(&Deleted { id: ids::of_response(&kept.request), object: "response", deleted: true }))
}

fn show_input(kept: KeptAnswer, query: &str) -> Result<Reply, Error> {
    let settings = ResponsesSettings::kept(&kept.settings)?;
    let page = PageAsked::read(query)?;
    let (_, messages) = split(kept.conversation, &settings);
    Ok(wire::json_reply(&input_items(&kept.request, messages, &settings, &page)?))
}
