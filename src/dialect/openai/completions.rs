//! OpenAI's completions: the rest of a text. An old route, which code editors still use.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::dialect::json::{At, Ignored, Json, Object};
use crate::dialect::openai::answer::WireUsage;
use crate::dialect::openai::delivery;
use crate::dialect::openai::request::{STOPS_MAX, read_stream_options, wants_usage};
use crate::dialect::{Decoded, Encoder, Head, wire};
use crate::model::chat::{ChatEvent, ChatReply, Finish, Piece, Sampling, TokenLogprob};
use crate::model::complete::CompleteRequest;
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;
use crate::model::work::Work;

/// OpenAI's own limit.
const LOGPROBS_MAX: i64 = 5;

const FIELDS: &[&str] = &[
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "model",
    "n",
    "presence_penalty",
    "prompt",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];

pub fn decode(head: &dyn Head, body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let (mut model, mut prompt, mut suffix) = (None, None, None);
    let mut sampling = Sampling::default();
    let (mut max_tokens, mut logprobs) = (None, None);
    let (mut stream, mut stream_options) = (false, None);
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
            "model" => model = Some(ModelName::parse(&value.text(&at)?)?),
            "prompt" => prompt = Some(read_prompt(value, &at)?),
            "suffix" => suffix = Some(value.text(&at)?.into_owned()),
            "max_tokens" => max_tokens = value.token_limit(&at, &mut ignored)?,
            "temperature" => sampling.temperature = Some(value.number_in(&at, 0.0..=2.0)?),
            "top_p" => sampling.top_p = Some(value.number_in(&at, 0.0..=1.0)?),
            "presence_penalty" => sampling.presence_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(value.number_in(&at, -2.0..=2.0)?),
            "seed" => sampling.seed = Some(value.integer(&at)?),
            "stop" => sampling.stop = value.stop_sequences(&at, STOPS_MAX)?,
            "stream" => stream = value.boolean(&at)?,
            "stream_options" => stream_options = Some(read_stream_options(value.object(&at)?, &at, &mut ignored)?),
            "logprobs" => logprobs = Some(value.integer_in(&at, 0..=LOGPROBS_MAX)? as u8),
            "n" | "best_of" => {
                if value.integer(&at)? != 1 {
                    return Err(at.unsupported("must be 1: one request gets one answer; send several requests instead"));
                }
            }
            "echo" => {
                if value.boolean(&at)? {
                    return Err(at.unsupported("is not offered: put the prompt before the answer yourself"));
                }
            }
            "logit_bias" => return Err(at.unsupported("is not offered; leave it out")),
            _ => ignored.add(key),
        }
    }
    let include_usage = wants_usage(stream, stream_options)?;
    let model =
        model.ok_or_else(|| Error::invalid("model", "`model` is missing; name one that `GET /v1/models` lists"))?;
    let prompt = prompt.ok_or_else(|| Error::invalid("prompt", "`prompt` is missing or empty; send a text"))?;
    Ok(Decoded {
        reply: Box::new(Answer {
            id: head.request_id().with_prefix("cmpl-"),
            created: head.received_at().seconds(),
            model: model.as_str().to_owned(),
            include_usage,
            wants_logprobs: logprobs.is_some(),
            logprobs: Vec::new(),
            offset: 0,
        }),
        // OpenAI's clients expect an error, not a prompt whose beginning vanished.
        work: Work::Complete(CompleteRequest {
            model,
            prompt,
            suffix,
            sampling,
            max_tokens,
            logprobs,
            too_long: Some(TooLong::Refuse),
        }),
        delivery: delivery(stream),
        ignored: ignored.into_names(),
        credential: None,
    })
}

/// One text, or a list of one.
fn read_prompt(prompt: Json<'_>, at: &At<'_>) -> Result<String, Error> {
    let items = match prompt {
        Json::Text(text) => return Ok(text.into_owned()),
        other => other.array(at)?,
    };
    if items.iter().any(|item| matches!(item, Json::Number(_) | Json::Array(_))) {
        return Err(at.unsupported("holds token numbers, which only one family of models understands; send a text"));
    }
    if items.len() > 1 {
        return Err(at.unsupported("may hold one text: one request gets one answer; send several requests instead"));
    }
    let at = at.index(0);
    match items.into_iter().next().map(|item| item.text(&at)).transpose()? {
        Some(text) if !text.is_empty() => Ok(text.into_owned()),
        _ => Err(at.invalid("is empty; send a text")),
    }
}

/// The encoder of one answer.
struct Answer {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    wants_logprobs: bool,
    /// How likely the tokens of the next chunk were.
    logprobs: Vec<TokenLogprob>,
    /// Letters before that chunk.
    offset: usize,
}

impl Answer {
    fn object<'a>(&'a self, choices: &'a [Choice<'a>], usage: Option<Option<WireUsage>>) -> Completion<'a> {
        Completion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }
    }

    fn chunk(&mut self, text: &str, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        let tokens = std::mem::take(&mut self.logprobs);
        let choice = Choice { text, index: 0, logprobs: Logprobs::of(&tokens, &mut self.offset), finish_reason };
        wire::put_sse(out, &self.object(&[choice], self.include_usage.then_some(None)));
    }
}

impl Encoder for Answer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let tokens: &[TokenLogprob] = if self.wants_logprobs { &reply.logprobs } else { &[] };
        let choice = Choice {
            text: &reply.text,
            index: 0,
            logprobs: Logprobs::of(tokens, &mut 0),
            finish_reason: Some(finish_reason(reply.end.finish)),
        };
        wire::put_json(out, &self.object(&[choice], Some(Some(WireUsage::of(reply.end.usage)))));
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match &event.what {
            Piece::Text(text) => self.chunk(text, None, out),
            Piece::Logprobs(tokens) => {
                if self.wants_logprobs {
                    self.logprobs.extend_from_slice(tokens);
                }
            }
            Piece::End(end) => {
                self.chunk("", Some(finish_reason(end.finish)), out);
                if self.include_usage {
                    wire::put_sse(out, &self.object(&[], Some(Some(WireUsage::of(end.usage)))));
                }
                out.put_slice(b"data: [DONE]\n\n");
            }
            // A text has no place for them, and none were asked for.
            Piece::Reasoning(_) | Piece::ToolCall(_) | Piece::Embedding(_) => {}
        }
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_sse(out, &wire::envelope(error));
    }

    /// A comment: the only thing between events that every SDK bears.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        out.put_slice(b": \n\n");
    }
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        // There are no calls on this route.
        Finish::Stop | Finish::ToolCalls => "stop",
    }
}

/// Whole answers and chunks are the same object.
#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// In streams only where it was asked for, and then null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<WireUsage>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

/// Four lists, of a place each per token.
#[derive(Serialize)]
struct Logprobs<'a> {
    tokens: Vec<&'a str>,
    token_logprobs: Vec<f64>,
    /// The likeliest tokens, and the one that was taken.
    top_logprobs: Vec<Map<String, Value>>,
    text_offset: Vec<usize>,
}

impl<'a> Logprobs<'a> {
    /// `offset` counts the letters before the first token, and goes on behind the last.
    fn of(tokens: &'a [TokenLogprob], offset: &mut usize) -> Option<Self> {
        let letters = |token: &TokenLogprob| token.bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let text_offset = tokens.iter().map(|token| std::mem::replace(offset, *offset + letters(token))).collect();
        let top = |token: &TokenLogprob| {
            token.top.iter().chain([token]).map(|token| (token.token.clone(), token.logprob.into())).collect()
        };
        (!tokens.is_empty()).then(|| Logprobs {
            tokens: tokens.iter().map(|token| token.token.as_str()).collect(),
            token_logprobs: tokens.iter().map(|token| token.logprob).collect(),
            top_logprobs: tokens.iter().map(top).collect(),
            text_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{TestHead, json};

    const POST: TestHead = TestHead { path: "/v1/completions", headers: &[] };

    fn read(fields: &str) -> Result<CompleteRequest, Error> {
        let body = format!(r#"{{"model":"m"{fields}}}"#);
        let Work::Complete(request) = decode(&POST, json::read(body.as_bytes(), &[])?)?.work else {
            panic!("no completion")
        };
        Ok(request)
    }

    #[track_caller]
    fn refused(fields: &str, code: &str, field: &str) {
        let error = read(fields).expect_err("a refusal");
        assert_eq!((error.code(), error.field()), (code, Some(field)), "{error}");
    }

    const INVALID: &str = "invalid_request";
    const UNSUPPORTED: &str = "unsupported_parameter";

    #[test]
    fn a_prompt_is_one_text() {
        assert_eq!(read(r#","prompt":"a""#).unwrap().prompt, "a");
        assert_eq!(read(r#","prompt":["a"]"#).unwrap().prompt, "a");
        for absent in ["", r#","prompt":null"#, r#","prompt":"""#, r#","prompt":[]"#] {
            refused(absent, INVALID, "prompt");
        }
        refused(r#","prompt":[""]"#, INVALID, "prompt[0]");
        refused(r#","prompt":5"#, INVALID, "prompt");
        for prompt in [r#"["a","b"]"#, "[1,2]", "[[1],[2]]", "[1]"] {
            refused(&format!(r#","prompt":{prompt}"#), UNSUPPORTED, "prompt");
        }
    }

    #[test]
    fn what_changes_the_meaning_and_is_not_offered_is_refused_by_name() {
        for (field, value) in [("n", "2"), ("best_of", "2"), ("echo", "true"), ("logit_bias", r#"{"1":5}"#)] {
            refused(&format!(r#","prompt":"a","{field}":{value}"#), UNSUPPORTED, field);
        }
        for (field, value) in [("n", "1"), ("best_of", "1"), ("echo", "false"), ("logit_bias", "{}"), ("n", "null")] {
            read(&format!(r#","prompt":"a","{field}":{value}"#)).unwrap();
        }
        assert_eq!(read(r#","prompt":"a","logprobs":5"#).unwrap().logprobs, Some(5));
        assert_eq!(read(r#","prompt":"a","logprobs":0"#).unwrap().logprobs, Some(0));
        refused(r#","prompt":"a","logprobs":6"#, INVALID, "logprobs");
        refused(r#","prompt":"a","stream_options":{"include_usage":true}"#, INVALID, "stream_options");
    }

    #[test]
    fn tokens_stand_where_their_first_letter_does() {
        let token = |text: &str, bytes: &[u8]| TokenLogprob {
            token: text.into(),
            logprob: -0.5,
            bytes: bytes.to_vec(),
            top: Vec::new(),
        };
        // "ü" in two tokens: the second has no first letter of its own.
        let tokens = [token("ab", b"ab"), token("\u{fffd}", b"\xc3"), token("\u{fffd}", b"\xbc"), token("!", b"!")];
        let mut offset = 10;

        let logprobs = Logprobs::of(&tokens, &mut offset).unwrap();

        assert_eq!(logprobs.text_offset, [10, 12, 13, 13]);
        assert_eq!(offset, 14);
        assert_eq!(logprobs.top_logprobs[0]["ab"], -0.5);
    }
}
