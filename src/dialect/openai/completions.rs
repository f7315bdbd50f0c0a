//! OpenAI's completions: the rest of a text. An old route, which code editors still use.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::dialect::json::typed::unsupported;
use crate::dialect::json::values::{Integer, NotOffered, Number, Stops, TokenLimit};
use crate::dialect::json::{self, At, Ignored, NoEffect, Object};
use crate::dialect::openai::answer::WireUsage;
use crate::dialect::openai::request::{Choices, STOPS_MAX, StreamOptions, choices, wants_usage};
use crate::dialect::openai::texts::{Item, Texts};
use crate::dialect::openai::{delivery, parse_model};
use crate::dialect::{Continuation, Decoded, Encoder, Head, wire};
use crate::model::chat::{ChatEvent, ChatReply, Extra, Finish, Piece, Sampling, TokenLogprob, Usage};
use crate::model::complete::CompleteRequest;
use crate::model::too_long::TooLong;
use crate::model::work::Work;

/// OpenAI's own limit.
const LOGPROBS_MAX: i64 = 5;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    best_of: Option<Choices>,
    echo: Option<NoEcho>,
    frequency_penalty: Option<Number<-2, 2>>,
    logit_bias: Option<NotOffered>,
    logprobs: Option<Integer<0, LOGPROBS_MAX>>,
    max_tokens: Option<TokenLimit>,
    model: Option<String>,
    n: Option<Choices>,
    presence_penalty: Option<Number<-2, 2>>,
    prompt: Option<Texts>,
    seed: Option<i64>,
    stop: Option<Stops>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    suffix: Option<String>,
    temperature: Option<Number<0, 2>>,
    top_p: Option<Number<0, 1>>,
    user: NoEffect,
}

pub fn decode(head: &dyn Head, body: Object<'_>) -> Result<Decoded, Error> {
    let mut ignored = Ignored::default();
    let body: Body = json::read_body(body, &mut ignored)?;
    let stream = body.stream.unwrap_or(false);
    let include_usage = wants_usage(stream, body.stream_options)?;
    let model = parse_model(body.model)?;
    let prompt = body.prompt.ok_or_else(|| Error::invalid("prompt", "`prompt` is missing or empty; send a text"))?;
    let prompt = one_text(prompt, &At::Body.key("prompt"))?;
    let (choices, best_of) = (choices(body.n), body.best_of.map(|best_of| choices(Some(best_of))));
    if best_of.is_some_and(|best_of| best_of != choices) {
        let message = "`best_of` must be the same as `n`: all answers are returned, and none is chosen";
        return Err(Error::unsupported("best_of", message));
    }
    let stop = body.stop.map(|stops| stops.texts(&At::Body.key("stop"), STOPS_MAX)).transpose()?;
    let sampling = Sampling {
        temperature: body.temperature.map(|Number(value)| value),
        top_p: body.top_p.map(|Number(value)| value),
        presence_penalty: body.presence_penalty.map(|Number(value)| value),
        frequency_penalty: body.frequency_penalty.map(|Number(value)| value),
        seed: body.seed,
        stop: stop.unwrap_or_default(),
        ..Sampling::default()
    };
    let max_tokens = body.max_tokens.and_then(|limit| limit.at_most("max_tokens", &mut ignored));
    let logprobs = body.logprobs.map(|Integer(count)| count as u8);
    Ok(Decoded {
        reply: Box::new(OpenAiAnswer {
            id: head.request_id().with_prefix("cmpl-"),
            created: head.received_at().seconds(),
            model: model.as_str().to_owned(),
            include_usage,
            wants_logprobs: logprobs.is_some(),
            choices: (0..choices).map(|_| ChoiceState::default()).collect(),
            used: Vec::new(),
        }),
        // OpenAI's clients expect an error, not a prompt whose beginning vanished.
        work: Work::Complete(CompleteRequest {
            model,
            prompt,
            suffix: body.suffix,
            raw: false,
            sampling,
            max_tokens,
            logprobs,
            too_long: Some(TooLong::Refuse),
            extra: Extra::default(),
        }),
        delivery: delivery(stream),
        ignored: ignored.into_names(),
        credential: None,
        continuation: Continuation::default(),
    })
}

/// Returns the one text that a prompt may hold.
fn one_text(prompt: Texts, at: &At<'_>) -> Result<String, Error> {
    if prompt.has_tokens() {
        return Err(at.unsupported("holds token numbers, which only one family of models understands; send a text"));
    }
    let mut items = match prompt {
        Texts::One(text) => return Ok(text),
        Texts::Several(items) => items,
    };
    if items.len() > 1 {
        return Err(at.unsupported("may hold one text: one request gets one answer; send several requests instead"));
    }
    match items.pop().and_then(Item::text) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(at.index(0).invalid("is empty; send a text")),
    }
}

/// `echo`, which may only be false.
struct NoEcho;

impl<'de> Deserialize<'de> for NoEcho {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            return Err(unsupported("is not offered: put the prompt before the answer yourself"));
        }
        Ok(NoEcho)
    }
}

/// The encoder of one answer.
struct OpenAiAnswer {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    wants_logprobs: bool,
    choices: Vec<ChoiceState>,
    /// What the answers that have ended used.
    used: Vec<Usage>,
}

/// The state of the stream of one answer.
#[derive(Default)]
struct ChoiceState {
    /// How likely the tokens of the next chunk were.
    logprobs: Vec<TokenLogprob>,
    /// Number of characters before that chunk.
    offset: usize,
}

impl OpenAiAnswer {
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

    fn choice<'a>(&self, index: usize, reply: &'a ChatReply) -> Choice<'a> {
        let tokens: &[TokenLogprob] = if self.wants_logprobs { &reply.logprobs } else { &[] };
        let logprobs = Logprobs::of(tokens, &mut 0);
        Choice { text: &reply.text, index, logprobs, finish_reason: Some(finish_reason(reply.end.finish)) }
    }

    fn chunk(&mut self, index: usize, text: &str, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        let Some(state) = self.choices.get_mut(index) else { return };
        let tokens = std::mem::take(&mut state.logprobs);
        let choice = Choice { text, index, logprobs: Logprobs::of(&tokens, &mut state.offset), finish_reason };
        wire::put_sse(out, &self.object(&[choice], self.include_usage.then_some(None)));
    }
}

impl Encoder for OpenAiAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        self.whole_choices(std::slice::from_ref(reply), out);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        self.choice_event(0, event, out);
    }

    fn choices(&self) -> u8 {
        self.choices.len() as u8
    }

    fn whole_choices(&mut self, replies: &[ChatReply], out: &mut BytesMut) {
        let choices: Vec<_> = replies.iter().enumerate().map(|(index, reply)| self.choice(index, reply)).collect();
        let usage = Usage::of_choices(replies.iter().map(|reply| reply.end.usage));
        wire::put_json(out, &self.object(&choices, Some(Some(WireUsage::of(usage)))));
    }

    fn choice_event(&mut self, index: usize, event: &ChatEvent, out: &mut BytesMut) {
        match &event.what {
            Piece::Text(text) => self.chunk(index, text, None, out),
            Piece::Logprobs(tokens) => {
                if let Some(choice) = self.choices.get_mut(index).filter(|_| self.wants_logprobs) {
                    choice.logprobs.extend_from_slice(tokens);
                }
            }
            Piece::End(end) => {
                self.chunk(index, "", Some(finish_reason(end.finish)), out);
                self.used.push(end.usage);
                if self.used.len() < self.choices.len() {
                    return;
                }
                if self.include_usage {
                    let usage = Usage::of_choices(self.used.drain(..));
                    wire::put_sse(out, &self.object(&[], Some(Some(WireUsage::of(usage)))));
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

    /// Appends a comment: the only thing between events that every SDK ignores.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        out.put_slice(b": \n\n");
    }
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        // There are no calls on this route.
        Finish::Stop | Finish::ToolCalls | Finish::StopSequence(_) => "stop",
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
    index: usize,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

/// Four parallel lists with an item per token.
#[derive(Serialize)]
struct Logprobs<'a> {
    tokens: Vec<&'a str>,
    token_logprobs: Vec<f64>,
    /// The likeliest tokens, and the one that was taken.
    top_logprobs: Vec<Map<String, Value>>,
    text_offset: Vec<usize>,
}

impl<'a> Logprobs<'a> {
    /// Converts tokens. `offset` is the number of characters before the first one, and is advanced past the last.
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
        for (field, value) in [("best_of", "2"), ("echo", "true"), ("logit_bias", r#"{"1":5}"#)] {
            refused(&format!(r#","prompt":"a","{field}":{value}"#), UNSUPPORTED, field);
        }
        for (field, value) in [("n", "1"), ("best_of", "1"), ("echo", "false"), ("logit_bias", "{}"), ("n", "null")] {
            read(&format!(r#","prompt":"a","{field}":{value}"#)).unwrap();
        }
        read(r#","prompt":"a","n":2,"best_of":2"#).unwrap();
        refused(r#","prompt":"a","n":2,"best_of":1"#, UNSUPPORTED, "best_of");
        refused(r#","prompt":"a","n":129"#, INVALID, "n");
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
