//! The items of a response's output: what the model thought, said and called.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::base::ids::RequestId;
use crate::dialect::openai::answer::WireToken;
use crate::dialect::openai::responses::ids::{ItemKind, of_item};
use crate::model::chat::{TokenLogprob, ToolCall};

/// What stands for the encrypted reasoning that a client asks for. Nothing is encrypted here: the summary holds all of it. A
/// client that keeps no conversations on the server sends back only items that have this.
const NOT_ENCRYPTED: &str = "not encrypted: see summary";

#[derive(Debug)]
pub struct OutputItem {
    pub id: String,
    pub what: ItemContent,
    pub status: ResponsesStatus,
}

#[derive(Debug)]
pub enum ItemContent {
    Reasoning { text: String, encrypted: bool },
    Message { text: String, logprobs: Vec<TokenLogprob> },
    Call { call_id: String, namespace: Option<String>, name: String, arguments: Box<RawValue> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponsesStatus {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

impl OutputItem {
    /// Creates the item at this place of the output.
    pub fn new(request: &RequestId, index: usize, what: ItemContent) -> Self {
        let kind = match &what {
            ItemContent::Reasoning { .. } => ItemKind::Reasoning,
            ItemContent::Message { .. } => ItemKind::Message,
            ItemContent::Call { .. } => ItemKind::Call,
        };
        OutputItem { id: of_item(request, kind, index), what, status: ResponsesStatus::InProgress }
    }

    /// Returns the item without what comes in deltas, as it is announced.
    pub fn announced(&self) -> WireOutputItem<'_> {
        match &self.what {
            ItemContent::Reasoning { .. } => WireOutputItem::Reasoning {
                id: &self.id,
                summary: Vec::new(),
                encrypted_content: None,
                status: self.status,
            },
            ItemContent::Message { .. } => {
                WireOutputItem::Message { id: &self.id, status: self.status, role: "assistant", content: Vec::new() }
            }
            ItemContent::Call { .. } => self.call(""),
        }
    }

    pub fn wire(&self) -> WireOutputItem<'_> {
        match &self.what {
            ItemContent::Reasoning { text, encrypted } => WireOutputItem::Reasoning {
                id: &self.id,
                summary: vec![SummaryPart::of(text)],
                encrypted_content: encrypted.then_some(NOT_ENCRYPTED),
                status: self.status,
            },
            ItemContent::Message { text, logprobs } => WireOutputItem::Message {
                id: &self.id,
                status: self.status,
                role: "assistant",
                content: vec![TextPart::of(text, logprobs)],
            },
            ItemContent::Call { arguments, .. } => self.call(arguments.get()),
        }
    }

    fn call<'a>(&'a self, arguments: &'a str) -> WireOutputItem<'a> {
        let (call_id, namespace, name) = match &self.what {
            ItemContent::Call { call_id, namespace, name, .. } => {
                (call_id.as_str(), namespace.as_deref(), name.as_str())
            }
            ItemContent::Reasoning { .. } | ItemContent::Message { .. } => ("", None, ""),
        };
        WireOutputItem::FunctionCall { id: &self.id, call_id, namespace, name, arguments, status: self.status }
    }
}

impl ItemContent {
    /// Returns a call as the client knows its function.
    pub fn call(call: &ToolCall, (namespace, name): (Option<&str>, &str)) -> Self {
        ItemContent::Call {
            call_id: call.id.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            arguments: call.arguments.clone(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WireOutputItem<'a> {
    Reasoning {
        id: &'a str,
        summary: Vec<SummaryPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
        status: ResponsesStatus,
    },
    Message {
        id: &'a str,
        status: ResponsesStatus,
        role: &'static str,
        content: Vec<TextPart<'a>>,
    },
    FunctionCall {
        id: &'a str,
        call_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        name: &'a str,
        /// JSON inside a string.
        arguments: &'a str,
        status: ResponsesStatus,
    },
}

#[derive(Serialize)]
pub struct SummaryPart<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl<'a> SummaryPart<'a> {
    pub fn of(text: &'a str) -> Self {
        SummaryPart { r#type: "summary_text", text }
    }
}

#[derive(Serialize)]
pub struct TextPart<'a> {
    r#type: &'static str,
    text: &'a str,
    annotations: [(); 0],
    logprobs: Vec<WireToken<'a>>,
}

impl<'a> TextPart<'a> {
    pub fn of(text: &'a str, logprobs: &'a [TokenLogprob]) -> Self {
        TextPart { r#type: "output_text", text, annotations: [], logprobs: WireToken::all(logprobs) }
    }
}
