//! A chat completion's answer, whole and as a stream.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use crate::base::error::Error;
use crate::dialect::openai::request::OpenAiChat;
use crate::dialect::{Encoder, Head, wire};
use crate::model::chat::{ChatEvent, ChatReply, End, Finish, Piece, TokenLogprob, ToolCall, Usage};

/// The encoder of one answer.
pub struct OpenAiAnswer {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    /// What all chunks of a stream have in common, up to the value of `choices`.
    chunk_start: Vec<u8>,
    choices: Vec<ChoiceState>,
    /// What the answers that have ended used.
    used: Vec<Usage>,
    wants_logprobs: bool,
}

/// The state of the stream of one answer.
#[derive(Default)]
struct ChoiceState {
    started: bool,
    calls: usize,
    /// How likely the tokens of the next chunk were.
    logprobs: Vec<TokenLogprob>,
}

impl OpenAiAnswer {
    pub fn new(head: &dyn Head, asked: &OpenAiChat) -> Self {
        let mut answer = OpenAiAnswer {
            id: head.request_id().with_prefix("chatcmpl-"),
            created: head.received_at().seconds(),
            model: asked.chat.model.as_str().to_owned(),
            include_usage: asked.include_usage,
            chunk_start: Vec::new(),
            choices: (0..asked.choices).map(|_| ChoiceState::default()).collect(),
            used: Vec::new(),
            wants_logprobs: asked.chat.logprobs.is_some(),
        };
        if asked.stream {
            answer.chunk_start = answer.chunk_start();
        }
        answer
    }

    fn chunk_start(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Start<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        let start = Start { id: &self.id, object: "chat.completion.chunk", created: self.created, model: &self.model };
        let mut bytes = b"data: ".to_vec();
        bytes.extend(wire::json_bytes(&start));
        bytes.pop();
        bytes.extend(b",\"choices\":");
        bytes
    }

    fn chunk_end(&self) -> &'static [u8] {
        if self.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" }
    }

    /// The first half of all chunks was made once.
    fn chunk(&mut self, index: usize, delta: &Delta<'_>, finish: Option<&'static str>, out: &mut BytesMut) {
        let Some(choice) = self.choices.get_mut(index) else { return };
        if !std::mem::replace(&mut choice.started, true) {
            // Clients keep what a stream begins with: an empty text beside calls would come back with them, where a whole
            // answer has null.
            let content = if delta.tool_calls.is_some() { None } else { Some("") };
            let first = Delta { role: Some("assistant"), content: Some(content), ..Delta::default() };
            self.put_chunk(ChunkChoice { index, delta: &first, logprobs: None, finish_reason: None }, out);
        }
        // Those of the first chunk, which only says whose turn it is, belong to the next.
        let tokens = self.choices.get_mut(index).map(|choice| std::mem::take(&mut choice.logprobs)).unwrap_or_default();
        let logprobs = WireLogprobs::of(&tokens);
        self.put_chunk(ChunkChoice { index, delta, logprobs, finish_reason: finish }, out);
    }

    fn put_chunk(&self, choice: ChunkChoice<'_>, out: &mut BytesMut) {
        out.put_slice(&self.chunk_start);
        wire::put_json(out, &[choice]);
        out.put_slice(self.chunk_end());
    }

    /// Ends one answer, and with the last one the stream.
    fn end(&mut self, index: usize, end: &End, out: &mut BytesMut) {
        let has_calls = self.choices.get(index).is_some_and(|choice| choice.calls > 0);
        self.chunk(index, &Delta::default(), Some(finish_reason(end.finish, has_calls)), out);
        self.used.push(end.usage);
        if self.used.len() < self.choices.len() {
            return;
        }
        if self.include_usage {
            out.put_slice(&self.chunk_start);
            out.put_slice(b"[],\"usage\":");
            wire::put_json(out, &WireUsage::of(Usage::of_choices(self.used.drain(..))));
            out.put_slice(b"}\n\n");
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn choice<'a>(&self, index: usize, reply: &'a ChatReply) -> Choice<'a> {
        let calls: Vec<_> = reply.tool_calls.iter().map(|call| WireCall::of(call, None)).collect();
        Choice {
            index,
            message: AnswerMessage {
                role: "assistant",
                content: (calls.is_empty() || !reply.text.is_empty()).then_some(&reply.text),
                refusal: None,
                reasoning: Some(reply.reasoning.as_str()).filter(|text| !text.is_empty()),
                tool_calls: calls,
            },
            logprobs: if self.wants_logprobs { WireLogprobs::of(&reply.logprobs) } else { None },
            finish_reason: finish_reason(reply.end.finish, !reply.tool_calls.is_empty()),
        }
    }
}

/// Approximate size of an answer without its text.
const ENVELOPE_BYTES: usize = 512;

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
        let completion = Completion {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: replies.iter().enumerate().map(|(index, reply)| self.choice(index, reply)).collect(),
            usage: WireUsage::of(Usage::of_choices(replies.iter().map(|reply| reply.end.usage))),
        };
        let text_bytes: usize = replies.iter().map(|reply| reply.text.len()).sum();
        out.reserve(ENVELOPE_BYTES + text_bytes + text_bytes / 8);
        wire::put_json(out, &completion);
    }

    fn choice_event(&mut self, index: usize, event: &ChatEvent, out: &mut BytesMut) {
        let Some(choice) = self.choices.get_mut(index) else { return };
        match &event.what {
            Piece::Text(text) => self.chunk(index, &Delta { content: Some(Some(text)), ..Delta::default() }, None, out),
            Piece::Reasoning(text) => {
                self.chunk(index, &Delta { reasoning: Some(text), ..Delta::default() }, None, out);
            }
            Piece::ToolCall(call) => {
                let call = WireCall::of(call, Some(choice.calls));
                choice.calls += 1;
                self.chunk(index, &Delta { tool_calls: Some([call]), ..Delta::default() }, None, out);
            }
            Piece::Logprobs(tokens) => {
                if self.wants_logprobs {
                    choice.logprobs.extend_from_slice(tokens);
                }
            }
            // Not asked for.
            Piece::Embedding(_) => {}
            Piece::End(end) => self.end(index, end, out),
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

/// Returns OpenAI's finish reason. Upstreams report `stop` after a tool call, where clients expect `tool_calls`. An answer that was
/// cut stays `length`.
fn finish_reason(finish: Finish, has_calls: bool) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Stop if has_calls => "tool_calls",
        Finish::Stop | Finish::StopSequence(_) => "stop",
    }
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: WireUsage,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: AnswerMessage<'a>,
    logprobs: Option<WireLogprobs<'a>>,
    finish_reason: &'static str,
}

/// `refusal` is always null here, and required by OpenAI's schema, as `logprobs` is.
#[derive(Serialize)]
struct AnswerMessage<'a> {
    role: &'static str,
    content: Option<&'a String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: usize,
    delta: &'a Delta<'a>,
    logprobs: Option<WireLogprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `Some(None)` is written as null.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[WireCall<'a>; 1]>,
}

#[derive(Serialize)]
struct WireCall<'a> {
    /// In streams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    /// JSON inside a string.
    arguments: &'a str,
}

impl<'a> WireCall<'a> {
    fn of(call: &'a ToolCall, index: Option<usize>) -> Self {
        let function = WireFunction { name: &call.name, arguments: call.arguments.get() };
        WireCall { index, id: &call.id, r#type: "function", function }
    }
}

#[derive(Serialize)]
struct WireLogprobs<'a> {
    content: Vec<WireToken<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
pub struct WireToken<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
    /// Alternatives have no such list of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<WireToken<'a>>>,
}

impl<'a> WireLogprobs<'a> {
    fn of(tokens: &'a [TokenLogprob]) -> Option<Self> {
        (!tokens.is_empty()).then(|| WireLogprobs { content: WireToken::all(tokens), refusal: None })
    }
}

impl<'a> WireToken<'a> {
    /// Returns tokens, each with its alternatives.
    pub fn all(tokens: &'a [TokenLogprob]) -> Vec<WireToken<'a>> {
        let with_top = |token: &'a TokenLogprob| {
            let top = token.top.iter().map(|other| WireToken::of(other, None)).collect();
            WireToken::of(token, Some(top))
        };
        tokens.iter().map(with_top).collect()
    }

    fn of(token: &'a TokenLogprob, top_logprobs: Option<Vec<WireToken<'a>>>) -> Self {
        WireToken { token: &token.token, logprob: token.logprob, bytes: &token.bytes, top_logprobs }
    }
}

#[derive(Serialize)]
pub struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl WireUsage {
    pub fn of(usage: Usage) -> Self {
        WireUsage {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.answer_tokens,
            total_tokens: usage.prompt_tokens.saturating_add(usage.answer_tokens),
        }
    }
}
