//! Ollama's embeddings: `POST /api/embed`, and `/api/embeddings`, its older form for one text.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use crate::base::error::Error;
use crate::dialect::json::values::Integer;
use crate::dialect::json::{self, At, Ignored, NoEffect, Object};
use crate::dialect::native::Front;
use crate::dialect::native::answer::is_zero;
use crate::dialect::native::fields::{read_model, too_long};
use crate::dialect::{Continuation, Decoded, Delivery, Encoder, wire};
use crate::model::chat::{ChatEvent, ChatReply};
use crate::model::embed::{EmbedRequest, Embedding};
use crate::model::model_name::ModelName;
use crate::model::work::Work;

/// As many as OpenAI's clients may send.
const TEXTS_MAX: usize = 2048;

/// `options` and `keep_alive` concern how a model is loaded, for everybody; nothing in them changes the numbers.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    dimensions: Option<Integer<1, { u32::MAX as i64 }>>,
    input: Option<Input>,
    keep_alive: NoEffect,
    model: Option<String>,
    options: NoEffect,
    truncate: Option<bool>,
}

#[derive(Deserialize)]
enum Input {
    #[serde(rename = "a string")]
    One(String),
    #[serde(rename = "an array of strings")]
    Several(Vec<String>),
}

pub fn decode(body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let body: Body = json::read_body(body, &mut ignored)?;
    let model = read_model(body.model, Front::Api)?;
    let at = At::Body.key("input");
    let texts = match body.input {
        Some(Input::One(text)) => vec![text],
        Some(Input::Several(texts)) => texts,
        None => return Err(at.invalid("is missing or empty; send a text or a list of texts")),
    };
    if texts.len() > TEXTS_MAX {
        return Err(at.invalid(format_args!("may hold at most {TEXTS_MAX} texts")));
    }
    if let Some(number) = texts.iter().position(String::is_empty) {
        return Err(at.index(number).invalid("is empty; send a text"));
    }
    let answer = EmbedAnswer { model: model.as_str().to_owned(), is_legacy: false };
    let dimensions = body.dimensions.map(|Integer(count)| count as u32);
    let request = EmbedRequest { dimensions, too_long: body.truncate.map(too_long), ..request_of(model, texts) };
    Ok(decoded(request, answer, ignored))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LegacyBody {
    keep_alive: NoEffect,
    model: Option<String>,
    options: NoEffect,
    prompt: Option<String>,
}

/// Reads the older form. Its numbers are those of the newer one, scaled to the length 1: Ollama doesn't scale them there, and
/// counts no tokens.
pub fn decode_legacy(body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let body: LegacyBody = json::read_body(body, &mut ignored)?;
    let model = read_model(body.model, Front::Api)?;
    let text = body.prompt.ok_or_else(|| Error::invalid("prompt", "`prompt` is missing or empty; send a text"))?;
    let answer = EmbedAnswer { model: model.as_str().to_owned(), is_legacy: true };
    Ok(decoded(EmbedRequest { prompt_field: "prompt", ..request_of(model, vec![text]) }, answer, ignored))
}

fn request_of(model: ModelName, texts: Vec<String>) -> EmbedRequest {
    EmbedRequest { model, texts, dimensions: None, too_long: None, prompt_field: "input" }
}

fn decoded(request: EmbedRequest, answer: EmbedAnswer, ignored: Ignored) -> Decoded {
    Decoded {
        reply: Box::new(answer),
        work: Work::Embed(request),
        delivery: Delivery::Whole,
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    }
}

/// The encoder of one answer.
struct EmbedAnswer {
    /// The name as requested.
    model: String,
    is_legacy: bool,
}

impl Encoder for EmbedAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let mut embeddings = reply.embeddings.iter().map(|Embedding(numbers)| numbers.as_slice());
        if self.is_legacy {
            wire::put_json(out, &OneEmbedding { embedding: embeddings.next().unwrap_or_default() });
            return;
        }
        let answer = Embeddings {
            model: &self.model,
            embeddings: embeddings.collect(),
            total_duration: reply.end.timings.total_ns,
            load_duration: reply.end.timings.load_ns,
            prompt_eval_count: reply.end.usage.prompt_tokens,
        };
        wire::put_json(out, &answer);
    }

    /// Embeddings are never streamed.
    fn event(&mut self, _: &ChatEvent, _: &mut BytesMut) {}

    fn error(&mut self, _: &Error, _: &mut BytesMut) {}

    fn heartbeat(&mut self, _: &mut BytesMut) {}
}

#[derive(Serialize)]
struct Embeddings<'a> {
    model: &'a str,
    embeddings: Vec<&'a [f32]>,
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
}

#[derive(Serialize)]
struct OneEmbedding<'a> {
    embedding: &'a [f32],
}
