//! Ollama's `POST /api/generate`: the answer to one prompt.
//!
//! Ollama itself makes a conversation of a prompt: the system message, then the prompt with its images as a message of the user.
//! So does this, and the request is sent on, checked and recorded as a chat. Only a prompt that the model reads as it is (`raw`)
//! and one with a text after the gap (`suffix`) are completions.

use serde::Deserialize;

use crate::base::error::Error;
use crate::dialect::json::{self, At, Ignored, NoEffect, Object, Unread};
use crate::dialect::native::Front;
use crate::dialect::native::answer::NativeAnswer;
use crate::dialect::native::fields::{KeepAlive, NativeFormat, NativeThink, Wishes, read_model};
use crate::dialect::native::message::{NativeImage, read_images};
use crate::dialect::native::options::NativeOptions;
use crate::dialect::ollama::{delivery, load, text_of};
use crate::dialect::{Continuation, Decoded};
use crate::model::chat::{ChatRequest, Message, Part, Role, Think};
use crate::model::complete::CompleteRequest;
use crate::model::work::Work;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body<'a> {
    #[serde(rename = "_debug_render_only")]
    debug_render_only: Option<bool>,
    context: Option<Unread>,
    format: Option<NativeFormat>,
    /// Of models that draw, which are not offered; Ollama ignores it for all others, as `steps` and `width`.
    height: NoEffect,
    #[serde(borrow)]
    images: Option<Vec<NativeImage<'a>>>,
    keep_alive: Option<KeepAlive>,
    logprobs: Option<bool>,
    model: Option<String>,
    options: Option<NativeOptions>,
    prompt: Option<String>,
    raw: Option<bool>,
    shift: Option<bool>,
    steps: NoEffect,
    stream: Option<bool>,
    suffix: Option<String>,
    system: Option<String>,
    template: Option<Unread>,
    think: Option<NativeThink>,
    top_logprobs: Option<i64>,
    truncate: Option<bool>,
    width: NoEffect,
}

pub fn decode(body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let body: Body<'_> = json::read_body(body, &mut ignored)?;
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
    wishes.check_offered(Front::Api)?;
    check_offered(body.template, body.context)?;
    let model = read_model(body.model, Front::Api)?;
    let Some(prompt) = body.prompt else {
        wishes.check_load()?;
        let mut chat = ChatRequest::new(model, Vec::new());
        wishes.put_into(&mut chat, Front::Api, &mut ignored)?;
        let answer = NativeAnswer::generated(&chat, text_of);
        return Ok(load(chat.model, answer, body.stream, ignored));
    };
    let images = read_images(body.images.unwrap_or_default(), &At::Body.key("images"))?;
    let mut question = Message::new(Role::User, prompt);
    question.parts.extend(images.into_iter().map(Part::Image));
    let mut chat = ChatRequest { prompt_field: "prompt", ..ChatRequest::new(model, vec![question]) };
    wishes.put_into(&mut chat, Front::Api, &mut ignored)?;
    let reply = NativeAnswer::generated(&chat, text_of);
    let work = if body.raw == Some(true) || body.suffix.is_some() {
        Work::Complete(completion(chat, body.raw == Some(true), body.suffix, body.system)?)
    } else {
        chat.messages.splice(0..0, body.system.map(|text| Message::new(Role::System, text)));
        Work::Chat(chat)
    };
    Ok(Decoded {
        reply: Box::new(reply),
        work,
        delivery: delivery(body.stream),
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    })
}

fn check_offered(template: Option<Unread>, context: Option<Unread>) -> Result<(), Error> {
    for (field, is_sent, why) in [
        // A template is a program that Ollama runs, and nothing bounds how long.
        ("template", template.is_some(), "is not offered; leave it out, or send a finished prompt with `raw: true`"),
        // Numbers of an earlier answer, which no answer of this gateway has.
        ("context", context.is_some(), "is not offered; send the conversation to `POST /api/chat`"),
    ] {
        if is_sent {
            return Err(At::Body.key(field).unsupported(why));
        }
    }
    Ok(())
}

/// Returns a completion with what `chat` asks for, or the error of a field that completions don't have.
fn completion(
    mut chat: ChatRequest,
    raw: bool,
    suffix: Option<String>,
    system: Option<String>,
) -> Result<CompleteRequest, Error> {
    let cause = if raw { "raw: true" } else { "suffix" };
    let thinks = chat.think.is_some_and(|think| think.level != Think::Off);
    let question = chat.messages.pop();
    let has_images = question.as_ref().is_some_and(|question| question.images().next().is_some());
    for (field, is_sent) in [
        ("system", system.is_some()),
        ("images", has_images),
        ("format", chat.format.is_some()),
        ("think", thinks),
        ("suffix", raw && suffix.is_some()),
    ] {
        if is_sent {
            return Err(At::Body
                .key(field)
                .unsupported(format_args!("is not offered with `{cause}`; leave one of them out")));
        }
    }
    Ok(CompleteRequest {
        model: chat.model,
        prompt: question.map(|question| question.text().into_owned()).unwrap_or_default(),
        suffix,
        raw,
        sampling: chat.sampling,
        max_tokens: chat.max_tokens,
        logprobs: chat.logprobs,
        too_long: chat.too_long,
        extra: chat.extra,
    })
}
