//! Ollama's chat object, in the order of its own fields.

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::clock::UpstreamTime;
use crate::base::error::Error;
use crate::dialect::legacy::WireError;
use crate::dialect::{Encoder, wire};
use crate::model::chat::{ChatEvent, ChatReply, End, Finish, Piece, ToolCall};

/// The encoder of one answer.
pub struct LegacyAnswer {
    model: String,
    /// Number of tool calls sent so far.
    calls: usize,
}

impl LegacyAnswer {
    /// `model` is the name as requested.
    pub fn of(model: String) -> Self {
        LegacyAnswer { model, calls: 0 }
    }
}

impl Encoder for LegacyAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        let tool_calls = reply.tool_calls.iter().enumerate().map(WireCall::of).collect();
        let message =
            WireMessage { content: &reply.text, thinking: &reply.reasoning, tool_calls, ..WireMessage::EMPTY };
        wire::put_json(out, &self.object(reply.at, message, Some(&reply.end)));
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        let mut message = WireMessage::EMPTY;
        let mut end = None;
        let first_call = self.calls;
        match &event.what {
            Piece::Text(text) => message.content = text,
            Piece::Reasoning(text) => message.thinking = text,
            Piece::ToolCall(call) => {
                message.tool_calls = vec![WireCall::of((first_call, call))];
                self.calls += 1;
            }
            Piece::End(what) => end = Some(what),
            // `/chat` asks for neither.
            Piece::Logprobs(_) | Piece::Embedding(_) => return,
        }
        wire::put_line(out, &self.object(event.at, message, end));
    }

    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        wire::put_line(out, &WireError::of(error));
    }

    /// Ollama's clients parse every line, and an empty one breaks them.
    fn heartbeat(&mut self, _: &mut BytesMut) {}
}

impl LegacyAnswer {
    fn object<'a>(&'a self, at: UpstreamTime, message: WireMessage<'a>, end: Option<&End>) -> WireObject<'a> {
        let usage = end.map(|end| end.usage).unwrap_or_default();
        let timings = end.map(|end| end.timings).unwrap_or_default();
        WireObject {
            model: &self.model,
            created_at: at.to_string(),
            message,
            done: end.is_some(),
            done_reason: end.map(|end| match end.finish {
                Finish::Length => "length",
                // Ollama has no reason of its own for tool calls.
                Finish::Stop | Finish::ToolCalls => "stop",
            }),
            total_duration: timings.total_ns,
            load_duration: timings.load_ns,
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: timings.prompt_ns,
            eval_count: usage.answer_tokens,
            eval_duration: timings.answer_ns,
        }
    }
}

#[derive(Serialize)]
struct WireObject<'a> {
    model: &'a str,
    created_at: String,
    message: WireMessage<'a>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    // In Ollama a zero is absent in all six.
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

fn is_zero(count: &u64) -> bool {
    *count == 0
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

impl WireMessage<'_> {
    const EMPTY: Self = WireMessage { role: "assistant", content: "", thinking: "", tool_calls: Vec::new() };
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
