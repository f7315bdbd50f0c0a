//! A message of the model, whole and as a stream.

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::anthropic::errors::AnthropicError;
use crate::dialect::anthropic::request::AnthropicRequest;
use crate::dialect::{Encoder, Head, wire};
use crate::model::chat::{ChatEvent, ChatReply, End, Finish, Piece, ToolCall, Usage};
use crate::model::work::guess_prompt_tokens;

/// The encoder of one answer.
pub struct AnthropicAnswer {
    request_id: RequestId,
    id: String,
    model: String,
    stops: Vec<String>,
    /// What a stream begins with, before the model has counted the prompt.
    prompt_guess: u64,
    started: bool,
    /// The kind of the block that is open. Only one is at a time.
    open: Option<Kind>,
    /// The number of blocks that are closed, which is the index of the one that is open.
    closed: usize,
    has_calls: bool,
}

/// A kind of blocks that grow piece by piece.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Thinking,
}

impl AnthropicAnswer {
    pub fn new(head: &dyn Head, asked: &AnthropicRequest) -> Self {
        let request_id = head.request_id();
        AnthropicAnswer {
            request_id,
            id: request_id.with_prefix("msg_"),
            model: asked.chat.model.as_str().to_owned(),
            stops: asked.chat.told_stops.clone(),
            prompt_guess: if asked.stream { guess_prompt_tokens(&asked.chat) } else { 0 },
            started: false,
            open: None,
            closed: 0,
            has_calls: false,
        }
    }

    fn message<'a>(&'a self, content: Vec<WireBlock<'a>>, delta: MessageDelta<'a>, usage: Usage) -> WireMessage<'a> {
        WireMessage {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: &self.model,
            content,
            delta,
            usage: WireUsage::of(usage),
        }
    }

    /// Returns how the answer ended.
    fn delta(&self, finish: Finish, has_calls: bool) -> MessageDelta<'_> {
        let stop_sequence = match finish {
            Finish::StopSequence(number) => self.stops.get(number).map(String::as_str),
            Finish::Stop | Finish::Length | Finish::ToolCalls => None,
        };
        MessageDelta { stop_reason: Some(stop_reason(finish, has_calls)), stop_sequence }
    }

    fn start(&mut self, out: &mut BytesMut) {
        if !self.started {
            self.started = true;
            let usage = Usage { prompt_tokens: self.prompt_guess, answer_tokens: 0 };
            put(out, &WireEvent::MessageStart { message: self.message(Vec::new(), MessageDelta::default(), usage) });
        }
    }

    /// Appends a piece of text or thought to the block that is open, or to a new one.
    fn piece(&mut self, kind: Kind, text: &str, out: &mut BytesMut) {
        self.start(out);
        if self.open != Some(kind) {
            self.close(out);
            self.open = Some(kind);
            let content_block = match kind {
                Kind::Text => WireBlock::Text { text: "" },
                Kind::Thinking => WireBlock::Thinking { thinking: "", signature: "" },
            };
            put(out, &WireEvent::ContentBlockStart { index: self.closed, content_block });
        }
        let delta = match kind {
            Kind::Text => WireDelta::Text { text },
            Kind::Thinking => WireDelta::Thinking { thinking: text },
        };
        put(out, &WireEvent::ContentBlockDelta { index: self.closed, delta });
    }

    fn close(&mut self, out: &mut BytesMut) {
        let Some(kind) = self.open.take() else { return };
        if kind == Kind::Thinking {
            // Models here sign nothing. Some clients send a thought back only if it came with a signature.
            let delta = WireDelta::Signature { signature: "" };
            put(out, &WireEvent::ContentBlockDelta { index: self.closed, delta });
        }
        put(out, &WireEvent::ContentBlockStop { index: self.closed });
        self.closed += 1;
    }

    /// Appends a call as a block of its own. It is always whole.
    fn call(&mut self, call: &ToolCall, out: &mut BytesMut) {
        self.start(out);
        self.close(out);
        self.has_calls = true;
        let index = self.closed;
        put(out, &WireEvent::ContentBlockStart { index, content_block: WireBlock::of_call(call, Input::Later {}) });
        let delta = WireDelta::InputJson { partial_json: call.arguments.get() };
        put(out, &WireEvent::ContentBlockDelta { index, delta });
        put(out, &WireEvent::ContentBlockStop { index });
        self.closed += 1;
    }

    fn end(&mut self, end: &End, out: &mut BytesMut) {
        self.start(out);
        self.close(out);
        let delta = self.delta(end.finish, self.has_calls);
        put(out, &WireEvent::MessageDelta { delta, usage: WireUsage::of(end.usage) });
        put(out, &WireEvent::MessageStop);
    }
}

/// Approximate size of an answer without its text.
const ENVELOPE_BYTES: usize = 512;

impl Encoder for AnthropicAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let mut content = Vec::new();
        if !reply.reasoning.is_empty() {
            content.push(WireBlock::Thinking { thinking: &reply.reasoning, signature: "" });
        }
        if !reply.text.is_empty() {
            content.push(WireBlock::Text { text: &reply.text });
        }
        content.extend(reply.tool_calls.iter().map(|call| WireBlock::of_call(call, Input::Whole(&call.arguments))));
        let delta = self.delta(reply.end.finish, !reply.tool_calls.is_empty());
        out.reserve(ENVELOPE_BYTES + reply.text.len() + reply.text.len() / 8);
        wire::put_json(out, &self.message(content, delta, reply.end.usage));
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match &event.what {
            Piece::Text(text) => self.piece(Kind::Text, text, out),
            Piece::Reasoning(text) => self.piece(Kind::Thinking, text, out),
            Piece::ToolCall(call) => self.call(call, out),
            // Not asked for.
            Piece::Logprobs(_) | Piece::Embedding(_) => {}
            Piece::End(end) => self.end(end, out),
        }
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_named_sse(out, "error", &AnthropicError::of(error, &self.request_id));
    }

    /// Appends a ping, which clients expect anywhere behind the first event.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        self.start(out);
        put(out, &WireEvent::Ping);
    }
}

/// Returns Anthropic's stop reason. Upstreams report `stop` after a tool call, where clients expect `tool_use`. An answer that was
/// cut stays `max_tokens`.
fn stop_reason(finish: Finish, has_calls: bool) -> &'static str {
    match finish {
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::Stop if has_calls => "tool_use",
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
    }
}

#[derive(Serialize)]
struct WireMessage<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<WireBlock<'a>>,
    #[serde(flatten)]
    delta: MessageDelta<'a>,
    usage: WireUsage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireBlock<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'static str },
    ToolUse { id: &'a str, name: &'a str, input: Input<'a> },
}

impl<'a> WireBlock<'a> {
    fn of_call(call: &'a ToolCall, input: Input<'a>) -> Self {
        WireBlock::ToolUse { id: &call.id, name: &call.name, input }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Whole(&'a RawValue),
    /// In a stream a block begins with an empty object.
    Later {},
}

/// Model tokens. Nothing is charged for a cache here, whether or not the upstream has one.
#[derive(Serialize)]
struct WireUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

impl WireUsage {
    fn of(usage: Usage) -> Self {
        WireUsage {
            input_tokens: usage.prompt_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: usage.answer_tokens,
        }
    }
}

/// An event of a stream. Its name is written twice, since SDKs go by the name and others by `type`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireEvent<'a> {
    MessageStart { message: WireMessage<'a> },
    ContentBlockStart { index: usize, content_block: WireBlock<'a> },
    ContentBlockDelta { index: usize, delta: WireDelta<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: MessageDelta<'a>, usage: WireUsage },
    MessageStop,
    Ping,
}

impl WireEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            WireEvent::MessageStart { .. } => "message_start",
            WireEvent::ContentBlockStart { .. } => "content_block_start",
            WireEvent::ContentBlockDelta { .. } => "content_block_delta",
            WireEvent::ContentBlockStop { .. } => "content_block_stop",
            WireEvent::MessageDelta { .. } => "message_delta",
            WireEvent::MessageStop => "message_stop",
            WireEvent::Ping => "ping",
        }
    }
}

fn put(out: &mut BytesMut, event: &WireEvent<'_>) {
    wire::put_named_sse(out, event.name(), event);
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum WireDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'static str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize, Default)]
struct MessageDelta<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
}
