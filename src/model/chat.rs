//! A conversation with a model, as it is asked and answered: a union of meanings, not of wire fields.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::clock::UpstreamTime;
use crate::model::embed::Embedding;
use crate::model::model_name::ModelName;
use crate::model::too_long::TooLong;

#[derive(Debug, Clone)]
pub struct ChatRequest {
    pub model: ModelName,
    /// Never empty.
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    /// The answer must be a call of one of `tools`, which must not be empty; `format` does not apply to it.
    pub must_call: bool,
    /// Only the first of several calls in the answer is returned.
    pub one_call: bool,
    pub format: Option<Format>,
    pub sampling: Sampling,
    /// Texts that end the answer, as those of `sampling` do, but which the caller is told. None of them is empty.
    pub told_stops: Vec<String>,
    /// Limit of the answer in model tokens. The policy sets it when the caller doesn't.
    pub max_tokens: Option<u32>,
    pub think: Option<Thinking>,
    /// Asks for the probabilities of the answer's tokens, and of this many alternatives for each.
    pub logprobs: Option<u8>,
    /// `None`: the upstream decides.
    pub too_long: Option<TooLong>,
    /// Name of the request field that carries the prompt, for error messages.
    pub prompt_field: &'static str,
    pub extra: Extra,
}

impl ChatRequest {
    /// Creates a request that asks for nothing but an answer to `messages`.
    pub fn new(model: ModelName, messages: Vec<Message>) -> Self {
        ChatRequest {
            model,
            messages,
            tools: Vec::new(),
            must_call: false,
            one_call: false,
            format: None,
            sampling: Sampling::default(),
            told_stops: Vec::new(),
            max_tokens: None,
            think: None,
            logprobs: None,
            too_long: None,
            prompt_field: "messages",
            extra: Extra::default(),
        }
    }

    /// Returns the length of the text that the model has to read, without images: messages, earlier calls, tools.
    pub fn prompt_bytes(&self) -> usize {
        let messages: usize = self.messages.iter().map(Message::text_bytes).sum();
        let tools: usize = self.tools.iter().map(Tool::text_bytes).sum();
        messages + tools
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub role: Role,
    /// In reading order. Consecutive texts belong together, with nothing in between.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Image(Image),
    /// What the model thought before it answered.
    Reasoning(String),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
}

/// The result of a function call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The call that it answers, if the caller names it.
    pub call_id: Option<String>,
    /// The function, if the caller names it.
    pub name: Option<String>,
    pub text: String,
}

impl Message {
    /// Creates a message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Message { role, parts: vec![Part::Text(text.into())] }
    }

    /// Returns its text, results of functions included.
    pub fn text(&self) -> Cow<'_, str> {
        joined(self.parts.iter().filter_map(|part| match part {
            Part::Text(text) | Part::ToolResult(ToolResult { text, .. }) => Some(text.as_str()),
            Part::Image(_) | Part::Reasoning(_) | Part::ToolCall(_) => None,
        }))
    }

    pub fn reasoning(&self) -> Cow<'_, str> {
        joined(self.parts.iter().filter_map(|part| match part {
            Part::Reasoning(text) => Some(text.as_str()),
            _ => None,
        }))
    }

    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.parts.iter().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            _ => None,
        })
    }

    pub fn tool_calls(&self) -> impl DoubleEndedIterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    pub fn tool_result(&self) -> Option<&ToolResult> {
        self.parts.iter().find_map(|part| match part {
            Part::ToolResult(result) => Some(result),
            _ => None,
        })
    }

    fn text_bytes(&self) -> usize {
        self.parts.iter().map(Part::text_bytes).sum()
    }
}

/// Copies only if there are several texts.
fn joined<'a>(mut texts: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let first = texts.next().unwrap_or_default();
    match texts.next() {
        None => Cow::Borrowed(first),
        Some(second) => Cow::Owned([first, second].into_iter().chain(texts).collect()),
    }
}

impl Part {
    fn text_bytes(&self) -> usize {
        match self {
            Part::Text(text) | Part::Reasoning(text) => text.len(),
            Part::ToolResult(result) => result.text.len(),
            Part::ToolCall(call) => call.name.len() + call.arguments.get().len(),
            Part::Image(_) => 0,
        }
    }
}

/// An image, decoded; dialects and providers know its forms on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    pub bytes: bytes::Bytes,
    /// Its field in the caller's request, for error messages, such as `messages[0].content[1].image_url`.
    pub field: String,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes)", self.bytes.len())
    }
}

/// A function that the model may call. `parameters` is a JSON schema, passed on unchanged.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    pub parameters: Option<Value>,
}

impl Tool {
    fn text_bytes(&self) -> usize {
        let parameters = self.parameters.as_ref().map_or(0, |schema| schema.to_string().len());
        self.name.len() + self.description.as_ref().map_or(0, String::len) + parameters
    }
}

/// One complete call; `arguments` is always a JSON object, its keys in the model's order.
#[derive(Debug, Clone)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: Box<RawValue>,
}

impl PartialEq for ToolCall {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.name == other.name && self.arguments.get() == other.arguments.get()
    }
}

#[derive(Debug, Clone)]
pub enum Format {
    Json,
    Schema {
        schema: Value,
        /// Its field in the caller's request.
        field: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinking {
    pub level: Think,
    /// The caller's name of the field, if a model without this capability may ignore it instead of refusing.
    pub optional: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    Off,
    On,
    Low,
    Medium,
    High,
    Max,
}

/// Sampling parameters that several families of upstreams have. `None`: the model's own default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub stop: Vec<String>,
}

/// Options of a single family of upstreams, checked by the dialect that read them.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    pub ollama: Map<String, Value>,
}

/// One event of an answer, in order. `at` is the upstream's time of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatEvent {
    pub at: UpstreamTime,
    pub what: Piece,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(String),
    Reasoning(String),
    ToolCall(ToolCall),
    /// Probabilities of the tokens in the next delta.
    Logprobs(Vec<TokenLogprob>),
    /// The embedding of one text. They come in the order of the texts.
    Embedding(Embedding),
    /// The upstream's own end mark. An answer without it is not complete.
    End(End),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    pub token: String,
    pub logprob: f64,
    /// Used when a token ends within a character, so that `token` can't hold it.
    pub bytes: Vec<u8>,
    /// The likeliest tokens at this place, without such lists of their own.
    pub top: Vec<TokenLogprob>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub finish: Finish,
    pub usage: Usage,
    pub timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Stop,
    /// The token limit was reached.
    Length,
    ToolCalls,
    /// One of the request's `told_stops` came, by its number.
    StopSequence(usize),
}

/// Model tokens, as the model counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub answer_tokens: u64,
}

impl Usage {
    /// Sums up several answers to one prompt, which counts once.
    pub fn of_choices(choices: impl IntoIterator<Item = Usage>) -> Usage {
        choices.into_iter().fold(Usage::default(), |sum, usage| Usage {
            prompt_tokens: sum.prompt_tokens.max(usage.prompt_tokens),
            answer_tokens: sum.answer_tokens.saturating_add(usage.answer_tokens),
        })
    }
}

/// The cost of an answer, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// `None`: the model has not reported it.
    pub prompt_tokens: Option<u64>,
    pub answer_tokens: u64,
    pub gpu: Duration,
}

/// The upstream's timings, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    pub total_ns: u64,
    pub load_ns: u64,
    pub prompt_ns: u64,
    pub answer_ns: u64,
}

impl Timings {
    /// Returns the time that the upstream worked.
    pub fn worked_ns(&self) -> u64 {
        self.load_ns.saturating_add(self.prompt_ns).saturating_add(self.answer_ns)
    }
}

/// A stream folded into one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatReply {
    pub at: UpstreamTime,
    pub text: String,
    pub reasoning: String,
    pub tool_calls: Vec<ToolCall>,
    pub logprobs: Vec<TokenLogprob>,
    pub embeddings: Vec<Embedding>,
    pub end: End,
}

impl ChatReply {
    /// Returns an answer of nothing, of which nothing is known.
    pub fn empty() -> Self {
        let end = End { finish: Finish::Stop, usage: Usage::default(), timings: Timings::default() };
        ChatReply {
            at: UpstreamTime::EPOCH,
            text: String::new(),
            reasoning: String::new(),
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            embeddings: Vec::new(),
            end,
        }
    }
}

/// Folds events into a `ChatReply`.
#[derive(Debug, Default)]
pub struct Fold {
    text: String,
    reasoning: String,
    tool_calls: Vec<ToolCall>,
    logprobs: Vec<TokenLogprob>,
    embeddings: Vec<Embedding>,
    end: Option<(UpstreamTime, End)>,
}

impl Fold {
    pub fn add(&mut self, event: ChatEvent) {
        match event.what {
            Piece::Text(text) if self.text.is_empty() => self.text = text,
            Piece::Text(text) => self.text.push_str(&text),
            Piece::Reasoning(text) => self.reasoning.push_str(&text),
            Piece::ToolCall(call) => self.tool_calls.push(call),
            Piece::Logprobs(tokens) => self.logprobs.extend(tokens),
            Piece::Embedding(numbers) => self.embeddings.push(numbers),
            Piece::End(end) => self.end = Some((event.at, end)),
        }
    }

    /// Returns the whole answer; `None` without an end mark.
    pub fn finish(self) -> Option<ChatReply> {
        let (at, end) = self.end?;
        let Fold { text, reasoning, tool_calls, logprobs, embeddings, .. } = self;
        Some(ChatReply { at, text, reasoning, tool_calls, logprobs, embeddings, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_results_are_what_a_message_says_and_images_are_no_text() {
        let part = |text: &str| Part::Text(text.into());
        let image = Part::Image(Image { bytes: bytes::Bytes::from_static(b"xyz"), field: String::new() });
        let result = ToolResult { call_id: None, name: None, text: "20".into() };
        let message = |parts| Message { role: Role::User, parts };

        assert_eq!(message(Vec::new()).text(), "");
        assert!(matches!(message(vec![image.clone(), part("a")]).text(), Cow::Borrowed("a")));
        let all = message(vec![
            part("a"),
            image,
            part("b"),
            Part::Reasoning("hm".into()),
            Part::ToolResult(result),
            part("c"),
        ]);
        assert_eq!((all.text(), all.reasoning(), all.images().count()), ("ab20c".into(), "hm".into(), 1));
        assert_eq!(all.text_bytes(), 7);
    }
}
