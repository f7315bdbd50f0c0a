//! Ollama's answers, whole and line by line, in the order of its own fields.

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::clock::UpstreamTime;
use crate::base::error::Error;
use crate::dialect::{Encoder, wire};
use crate::model::chat::{ChatEvent, ChatReply, ChatRequest, End, Finish, Piece, TokenLogprob, ToolCall};

/// The error body, and the line that ends a stream that failed.
#[derive(Serialize)]
pub struct ErrorLine {
    pub error: String,
}

/// Which object an answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The text is in a `message`.
    Chat,
    /// The text is in `response`.
    Generated,
}

/// The encoder of one answer.
pub struct NativeAnswer {
    shape: Shape,
    /// The name as requested.
    model: String,
    /// The model was only loaded.
    is_load: bool,
    /// Number of tool calls sent so far.
    calls: usize,
    wants_logprobs: bool,
    /// How likely the tokens of the next line were.
    logprobs: Vec<TokenLogprob>,
    text_of: fn(&Error) -> String,
}

impl NativeAnswer {
    /// Returns the encoder of a chat. `text_of` returns the text of an error.
    pub fn chat(asked: &ChatRequest, text_of: fn(&Error) -> String) -> Self {
        NativeAnswer::new(Shape::Chat, asked, text_of)
    }

    /// Returns the encoder of a generated text, which may have been asked for as a chat.
    pub fn generated(asked: &ChatRequest, text_of: fn(&Error) -> String) -> Self {
        NativeAnswer::new(Shape::Generated, asked, text_of)
    }

    fn new(shape: Shape, asked: &ChatRequest, text_of: fn(&Error) -> String) -> Self {
        let (model, wants_logprobs) = (asked.model.as_str().to_owned(), asked.logprobs.is_some());
        NativeAnswer { shape, model, is_load: false, calls: 0, wants_logprobs, logprobs: Vec::new(), text_of }
    }

    /// Returns the encoder of the answer to a request that only loads a model.
    pub fn of_load(self) -> Self {
        NativeAnswer { is_load: true, ..self }
    }

    fn put(
        &self,
        at: UpstreamTime,
        said: &Said<'_>,
        tokens: &[TokenLogprob],
        end: Option<&End>,
        out: &mut BytesMut,
        write: Writer,
    ) {
        let (model, created_at, done) = (self.model.as_str(), at.to_string(), end.is_some());
        let done_reason = end.map(|end| match end.finish {
            _ if self.is_load => "load",
            Finish::Length => "length",
            // Ollama has no reason of its own for tool calls.
            Finish::Stop | Finish::ToolCalls | Finish::StopSequence(_) => "stop",
        });
        let logprobs = tokens.iter().map(WireToken::of).collect();
        let metrics = end.map(Metrics::of).unwrap_or_default();
        match self.shape {
            Shape::Chat => {
                let tool_calls = said.calls.iter().enumerate();
                let tool_calls =
                    tool_calls.map(|(number, call)| WireCall::of((said.first_call + number, call))).collect();
                let message =
                    WireMessage { role: "assistant", content: said.text, thinking: said.thinking, tool_calls };
                write.put(out, &ChatLine { model, created_at, message, done, done_reason, logprobs, metrics });
            }
            Shape::Generated => {
                let (response, thinking) = (said.text, said.thinking);
                let line =
                    GeneratedLine { model, created_at, response, thinking, done, done_reason, metrics, logprobs };
                write.put(out, &line);
            }
        }
    }
}

/// How an object is written.
#[derive(Clone, Copy)]
enum Writer {
    Whole,
    Line,
}

impl Writer {
    fn put<T: Serialize>(self, out: &mut BytesMut, value: &T) {
        match self {
            Writer::Whole => wire::put_json(out, value),
            Writer::Line => wire::put_line(out, value),
        }
    }
}

/// What one object says.
#[derive(Default)]
struct Said<'a> {
    text: &'a str,
    thinking: &'a str,
    calls: &'a [ToolCall],
    /// The number of calls before these.
    first_call: usize,
}

impl Encoder for NativeAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let said = Said { text: &reply.text, thinking: &reply.reasoning, calls: &reply.tool_calls, first_call: 0 };
        let tokens: &[TokenLogprob] = if self.wants_logprobs { &reply.logprobs } else { &[] };
        self.put(reply.at, &said, tokens, Some(&reply.end), out, Writer::Whole);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        let mut said = Said { first_call: self.calls, ..Said::default() };
        let mut end = None;
        match &event.what {
            Piece::Text(text) => said.text = text,
            Piece::Reasoning(text) => said.thinking = text,
            Piece::ToolCall(call) => {
                said.calls = std::slice::from_ref(call);
                self.calls += 1;
            }
            Piece::End(what) => end = Some(what),
            Piece::Logprobs(tokens) => {
                if self.wants_logprobs {
                    self.logprobs.extend_from_slice(tokens);
                }
                return;
            }
            // Not asked for.
            Piece::Embedding(_) => return,
        }
        let tokens = std::mem::take(&mut self.logprobs);
        self.put(event.at, &said, &tokens, end, out, Writer::Line);
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_line(out, &ErrorLine { error: (self.text_of)(error) });
    }

    /// Ollama's clients parse every line, and an empty one breaks them.
    fn heartbeat(&mut self, _: &mut BytesMut) {}
}

#[derive(Serialize)]
struct ChatLine<'a> {
    model: &'a str,
    created_at: String,
    message: WireMessage<'a>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<WireToken<'a>>,
    #[serde(flatten)]
    metrics: Metrics,
}

#[derive(Serialize)]
struct GeneratedLine<'a> {
    model: &'a str,
    created_at: String,
    response: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<WireToken<'a>>,
}

/// Counts and durations in nanoseconds. In Ollama a zero is absent in all six.
#[derive(Serialize, Default)]
struct Metrics {
    #[serde(skip_serializing_if = "is_zero")]
    total_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    load_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

impl Metrics {
    fn of(End { usage, timings, .. }: &End) -> Self {
        Metrics {
            total_duration: timings.total_ns,
            load_duration: timings.load_ns,
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: timings.prompt_ns,
            eval_count: usage.answer_tokens,
            eval_duration: timings.answer_ns,
        }
    }
}

pub fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct WireToken<'a> {
    token: &'a str,
    logprob: f64,
    #[serde(skip_serializing_if = "<[u8]>::is_empty")]
    bytes: &'a [u8],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top_logprobs: Vec<WireToken<'a>>,
}

impl<'a> WireToken<'a> {
    fn of(token: &'a TokenLogprob) -> Self {
        let top_logprobs = token.top.iter().map(WireToken::of).collect();
        WireToken { token: &token.token, logprob: token.logprob, bytes: &token.bytes, top_logprobs }
    }
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    index: usize,
    name: &'a str,
    arguments: &'a RawValue,
}

impl<'a> WireCall<'a> {
    fn of((index, call): (usize, &'a ToolCall)) -> Self {
        WireCall { id: &call.id, function: WireFunction { index, name: &call.name, arguments: &call.arguments } }
    }
}
