//! The body of a chat in Ollama's format.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Unread};
use crate::dialect::native::Front;
use crate::dialect::native::fields::{
    KeepAlive, NativeFormat, NativeThink, NativeTool, Wishes, read_model, read_tools,
};
use crate::dialect::native::message::read_messages;
use crate::dialect::native::options::NativeOptions;
use crate::model::chat::ChatRequest;

pub struct NativeChat {
    /// Without messages it only loads the model, which only Ollama's own API allows.
    pub chat: ChatRequest,
    /// `None`: the route decides.
    pub stream: Option<bool>,
    pub ignored: Ignored,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "_debug_render_only")]
    debug_render_only: Option<bool>,
    /// `/chat` has read it before.
    auth: NoEffect,
    format: Option<NativeFormat>,
    keep_alive: Option<KeepAlive>,
    logprobs: Option<bool>,
    /// Read separately, by `read_messages`.
    messages: Unread,
    model: Option<String>,
    options: Option<NativeOptions>,
    shift: Option<bool>,
    stream: Option<bool>,
    think: Option<NativeThink>,
    tools: Option<Vec<NativeTool>>,
    top_logprobs: Option<i64>,
    truncate: Option<bool>,
}

pub fn read(mut body: Object<'_>, front: Front<'_>) -> Result<NativeChat, Error> {
    let mut ignored = Ignored::default();
    // They are read one by one, and the first that is wrong ends it: all of them at once may need far more memory.
    let messages = json::take(&mut body, "messages");
    let body: Body = json::read_body(body, &mut ignored)?;
    let wishes = Wishes {
        debug_render_only: body.debug_render_only,
        format: body.format,
        keep_alive: body.keep_alive,
        logprobs: body.logprobs,
        options: body.options,
        shift: body.shift,
        think: body.think,
        top_logprobs: body.top_logprobs,
        truncate: body.truncate,
    };
    wishes.check_offered(front)?;
    let messages = match messages {
        Some(messages) => {
            let at = At::Body.key("messages");
            read_messages(messages.array(&at)?, &at, &mut ignored)?
        }
        None => Vec::new(),
    };
    match front {
        // The first version's words.
        Front::Chat { .. } if messages.is_empty() => return Err(Error::invalid("messages", "messages required")),
        Front::Api if messages.is_empty() => wishes.check_load()?,
        _ => {}
    }
    let mut chat = ChatRequest::new(read_model(body.model, front)?, messages);
    wishes.put_into(&mut chat, front, &mut ignored)?;
    chat.tools = read_tools(body.tools.unwrap_or_default(), &At::Body.key("tools"))?;
    Ok(NativeChat { chat, stream: body.stream, ignored })
}
