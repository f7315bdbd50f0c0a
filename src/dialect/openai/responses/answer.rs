//! A response's answer, whole and as a stream of events.
//!
//! Events of an upstream become items: a run of thought, a run of text, and each call. An item is open until another kind of
//! piece comes.

use bytes::{BufMut, BytesMut};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::openai::answer::WireToken;
use crate::dialect::openai::responses::events::{
    ArgumentsDelta, ArgumentsDone, Numbered, OfContentPart, OfItem, OfResponse, OfSummaryPart, SummaryDelta,
    SummaryDone, TextDelta, TextDone,
};
use crate::dialect::openai::responses::ids;
use crate::dialect::openai::responses::object::{ResponseError, ResponseState, WireResponse};
use crate::dialect::openai::responses::output::{ItemContent, OutputItem, ResponsesStatus, SummaryPart, TextPart};
use crate::dialect::openai::responses::request::ResponsesEcho;
use crate::dialect::{Encoder, Head, wire};
use crate::model::chat::{ChatEvent, ChatReply, End, Finish, Piece, TokenLogprob, ToolCall, Usage};

/// The encoder of one answer.
pub struct ResponsesAnswer {
    request: RequestId,
    id: String,
    created_at: i64,
    echo: ResponsesEcho,
    numbered: Numbered,
    has_begun: bool,
    output: Vec<OutputItem>,
    /// The last item of the output may go on.
    is_open: bool,
    /// How likely the tokens of the next text were.
    logprobs: Vec<TokenLogprob>,
    heartbeats: u32,
}

/// Every so many heartbeats is an event: Codex counts nothing else as life, and gives up after five minutes.
const HEARTBEATS_PER_EVENT: u32 = 4;

/// How a response ended.
struct Ended {
    status: ResponsesStatus,
    completed_at: Option<i64>,
    usage: Option<Usage>,
    error: Option<ResponseError>,
}

impl Ended {
    fn not_yet() -> Self {
        Ended { status: ResponsesStatus::InProgress, completed_at: None, usage: None, error: None }
    }
}

impl ResponsesAnswer {
    pub fn new(head: &dyn Head, echo: ResponsesEcho) -> Self {
        ResponsesAnswer::of(head.request_id(), echo)
    }

    /// Returns the encoder of the response to this request.
    pub fn of(request: RequestId, echo: ResponsesEcho) -> Self {
        ResponsesAnswer {
            id: ids::of_response(&request),
            request,
            created_at: echo.settings.created_at,
            echo,
            numbered: Numbered::default(),
            has_begun: false,
            output: Vec::new(),
            is_open: false,
            logprobs: Vec::new(),
            heartbeats: 0,
        }
    }

    fn object(&self, ended: Ended) -> WireResponse<'_> {
        let Ended { status, completed_at, usage, error } = ended;
        // While it runs, a response has no output: items come in events of their own.
        let output = if status == ResponsesStatus::InProgress { &[][..] } else { &self.output };
        let standing =
            ResponseState { id: &self.id, created_at: self.created_at, completed_at, status, error, output, usage };
        WireResponse::of(&self.echo, standing)
    }

    fn put_response(&mut self, kind: &'static str, ended: Ended, out: &mut BytesMut) {
        let mut numbered = std::mem::take(&mut self.numbered);
        numbered.put(kind, &OfResponse { response: self.object(ended) }, out);
        self.numbered = numbered;
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if self.has_begun {
            return;
        }
        self.has_begun = true;
        self.put_response("response.created", Ended::not_yet(), out);
        self.put_response("response.in_progress", Ended::not_yet(), out);
    }

    /// Adds an item to the output and announces it.
    fn open(&mut self, what: ItemContent, out: &mut BytesMut) {
        let output_index = self.output.len();
        let item = OutputItem::new(&self.request, output_index, what);
        self.numbered.put("response.output_item.added", &OfItem { output_index, item: item.announced() }, out);
        let item_id = item.id.as_str();
        match &item.what {
            ItemContent::Reasoning { .. } => {
                let part = SummaryPart::of("");
                let part = OfSummaryPart { item_id, output_index, summary_index: 0, part };
                self.numbered.put("response.reasoning_summary_part.added", &part, out);
            }
            ItemContent::Message { .. } => {
                let part = OfContentPart { item_id, output_index, content_index: 0, part: TextPart::of("", &[]) };
                self.numbered.put("response.content_part.added", &part, out);
            }
            ItemContent::Call { .. } => {}
        }
        self.output.push(item);
        self.is_open = true;
    }

    /// Ends the open item.
    fn close(&mut self, status: ResponsesStatus, out: &mut BytesMut) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let Some(output_index) = self.output.len().checked_sub(1) else { return };
        let item = &mut self.output[output_index];
        item.status = status;
        let item_id = item.id.as_str();
        match &item.what {
            ItemContent::Reasoning { text, .. } => {
                let done = SummaryDone { item_id, output_index, summary_index: 0, text };
                self.numbered.put("response.reasoning_summary_text.done", &done, out);
                let part = OfSummaryPart { item_id, output_index, summary_index: 0, part: SummaryPart::of(text) };
                self.numbered.put("response.reasoning_summary_part.done", &part, out);
            }
            ItemContent::Message { text, logprobs } => {
                let done =
                    TextDone { item_id, output_index, content_index: 0, text, logprobs: WireToken::all(logprobs) };
                self.numbered.put("response.output_text.done", &done, out);
                let part =
                    OfContentPart { item_id, output_index, content_index: 0, part: TextPart::of(text, logprobs) };
                self.numbered.put("response.content_part.done", &part, out);
            }
            ItemContent::Call { name, arguments, .. } => {
                let arguments = arguments.get();
                let delta = ArgumentsDelta { item_id, output_index, delta: arguments };
                self.numbered.put("response.function_call_arguments.delta", &delta, out);
                let done = ArgumentsDone { item_id, output_index, name, arguments };
                self.numbered.put("response.function_call_arguments.done", &done, out);
            }
        }
        self.numbered.put("response.output_item.done", &OfItem { output_index, item: item.wire() }, out);
    }

    /// Returns the open item if it `goes_on`; else ends what is open and begins `another`.
    fn going_on(
        &mut self,
        goes_on: impl Fn(&ItemContent) -> bool,
        another: ItemContent,
        out: &mut BytesMut,
    ) -> Option<(usize, &mut OutputItem, &mut Numbered)> {
        if !(self.is_open && self.output.last().is_some_and(|item| goes_on(&item.what))) {
            self.close(ResponsesStatus::Completed, out);
            self.open(another, out);
        }
        let output_index = self.output.len().checked_sub(1)?;
        Some((output_index, &mut self.output[output_index], &mut self.numbered))
    }

    fn said(&mut self, said: &str, out: &mut BytesMut) {
        let tokens = std::mem::take(&mut self.logprobs);
        let another = ItemContent::Message { text: String::new(), logprobs: Vec::new() };
        let open = self.going_on(|what| matches!(what, ItemContent::Message { .. }), another, out);
        if let Some((output_index, OutputItem { id, what: ItemContent::Message { text, logprobs }, .. }, numbered)) =
            open
        {
            text.push_str(said);
            let tokens_of_delta = WireToken::all(&tokens);
            let delta =
                TextDelta { item_id: id, output_index, content_index: 0, delta: said, logprobs: tokens_of_delta };
            numbered.put("response.output_text.delta", &delta, out);
            logprobs.extend(tokens);
        }
    }

    fn thought(&mut self, thought: &str, out: &mut BytesMut) {
        let another = ItemContent::Reasoning { text: String::new(), encrypted: self.echo.encrypted_reasoning };
        let open = self.going_on(|what| matches!(what, ItemContent::Reasoning { .. }), another, out);
        if let Some((output_index, OutputItem { id, what: ItemContent::Reasoning { text, .. }, .. }, numbered)) = open {
            text.push_str(thought);
            let delta = SummaryDelta { item_id: id, output_index, summary_index: 0, delta: thought };
            numbered.put("response.reasoning_summary_text.delta", &delta, out);
        }
    }

    fn called(&mut self, call: &ToolCall, out: &mut BytesMut) {
        let call = ItemContent::call(call, self.echo.settings.name_of(&call.name));
        self.close(ResponsesStatus::Completed, out);
        self.open(call, out);
        self.close(ResponsesStatus::Completed, out);
    }

    fn end(&mut self, ended: Ended, out: &mut BytesMut) {
        if self.output.is_empty() {
            self.open(ItemContent::Message { text: String::new(), logprobs: Vec::new() }, out);
        }
        self.close(ended.status, out);
        let kind =
            if ended.status == ResponsesStatus::Incomplete { "response.incomplete" } else { "response.completed" };
        self.put_response(kind, ended, out);
    }

    fn ended(&self, end: &End, at_ns: i128) -> Ended {
        // The clock of an upstream may be behind.
        let at = i64::try_from(at_ns / 1_000_000_000).unwrap_or(self.created_at).max(self.created_at);
        let (status, completed_at) = match end.finish {
            Finish::Length => (ResponsesStatus::Incomplete, None),
            Finish::Stop | Finish::ToolCalls | Finish::StopSequence(_) => (ResponsesStatus::Completed, Some(at)),
        };
        Ended { status, completed_at, usage: Some(end.usage), error: None }
    }

    /// Adds the items of a whole answer.
    fn take_in(&mut self, reply: &ChatReply) {
        let mut add = |what| {
            let mut item = OutputItem::new(&self.request, self.output.len(), what);
            item.status = ResponsesStatus::Completed;
            self.output.push(item);
        };
        if !reply.reasoning.is_empty() {
            add(ItemContent::Reasoning { text: reply.reasoning.clone(), encrypted: self.echo.encrypted_reasoning });
        }
        if !reply.text.is_empty() || reply.reasoning.is_empty() && reply.tool_calls.is_empty() {
            let logprobs = if self.echo.settings.logprobs { reply.logprobs.clone() } else { Vec::new() };
            add(ItemContent::Message { text: reply.text.clone(), logprobs });
        }
        for call in &reply.tool_calls {
            add(ItemContent::call(call, self.echo.settings.name_of(&call.name)));
        }
    }
}

/// Approximate size of an answer without its text.
const ENVELOPE_BYTES: usize = 1536;

impl Encoder for ResponsesAnswer {
    fn whole(&mut self, reply: &ChatReply, out: &mut BytesMut) {
        self.take_in(reply);
        let ended = self.ended(&reply.end, reply.at.nanoseconds());
        if ended.status == ResponsesStatus::Incomplete
            && let Some(last) = self.output.last_mut()
        {
            last.status = ResponsesStatus::Incomplete;
        }
        out.reserve(ENVELOPE_BYTES + reply.text.len() + reply.text.len() / 8);
        wire::put_json(out, &self.object(ended));
    }

    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match &event.what {
            Piece::Logprobs(tokens) => {
                if self.echo.settings.logprobs {
                    self.logprobs.extend_from_slice(tokens);
                }
                return;
            }
            // Not asked for.
            Piece::Embedding(_) => return,
            Piece::Text(_) | Piece::Reasoning(_) | Piece::ToolCall(_) | Piece::End(_) => self.begin(out),
        }
        match &event.what {
            Piece::Text(text) => self.said(text, out),
            Piece::Reasoning(text) => self.thought(text, out),
            Piece::ToolCall(call) => self.called(call, out),
            Piece::End(end) => self.end(self.ended(end, event.at.nanoseconds()), out),
            Piece::Logprobs(_) | Piece::Embedding(_) => {}
        }
    }

    /// Appends `response.failed` with what came so far. Clients take the code from there.
    fn error(&mut self, error: &Error, out: &mut BytesMut) {
        self.begin(out);
        if let Some(item) = self.output.last_mut().filter(|_| self.is_open) {
            item.status = ResponsesStatus::Incomplete;
        }
        let error = Some(ResponseError::of(error));
        self.put_response("response.failed", Ended { status: ResponsesStatus::Failed, error, ..Ended::not_yet() }, out);
    }

    /// Appends a comment, or an event now and then. The first tells the client that its response is being made.
    fn heartbeat(&mut self, out: &mut BytesMut) {
        if !self.has_begun {
            return self.begin(out);
        }
        self.heartbeats = self.heartbeats.wrapping_add(1);
        if self.heartbeats.is_multiple_of(HEARTBEATS_PER_EVENT) {
            self.put_response("response.in_progress", Ended::not_yet(), out);
        } else {
            out.put_slice(b": \n\n");
        }
    }
}
