//! Reads a chat back from the bytes that were forwarded, as the record has them. It mirrors `request`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};
use crate::model::kept::{Conversation, KeptTool};
use crate::provider::ollama::request::ORDER;

/// The field of images for error messages: they came with an earlier request.
const IMAGE_FIELD: &str = "previous_response_id";

#[derive(Deserialize)]
struct SentBody {
    messages: Vec<SentMessage>,
    #[serde(default)]
    tools: Vec<SentTool>,
    format: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SentRole {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize)]
struct SentMessage {
    role: SentRole,
    content: String,
    thinking: Option<String>,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    tool_calls: Vec<SentCall>,
    tool_name: Option<String>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct SentCall {
    #[serde(default)]
    id: String,
    function: SentFunction,
}

#[derive(Deserialize)]
struct SentFunction {
    name: String,
    arguments: Box<RawValue>,
}

#[derive(Deserialize)]
struct SentTool {
    function: OfferedFunction,
}

#[derive(Deserialize)]
struct OfferedFunction {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
}

impl From<OfferedFunction> for KeptTool {
    fn from(function: OfferedFunction) -> Self {
        KeptTool { name: function.name, description: function.description, parameters: function.parameters }
    }
}

pub fn conversation(body: &[u8]) -> Result<Conversation, Error> {
    let SentBody { mut messages, tools, format } = serde_json::from_slice(body).map_err(Error::internal)?;
    let mut tools: Vec<KeptTool> = tools.into_iter().map(|tool| tool.function.into()).collect();
    let mut schema = format.filter(|format| format.get().starts_with('{'));
    if tools.is_empty()
        && schema.is_some()
        && let Some(ordered) = take_order(&mut messages)
    {
        // The schema was that of the calls.
        (tools, schema) = (ordered, None);
    }
    Ok(Conversation { messages: messages.into_iter().map(read).collect::<Result<_, _>>()?, tools, schema })
}

/// Takes the order to call a function out of the system message, where `request` wrote it, and returns the functions.
fn take_order(messages: &mut Vec<SentMessage>) -> Option<Vec<KeptTool>> {
    let first = messages.first_mut().filter(|first| matches!(first.role, SentRole::System))?;
    let at = first.content.rfind(ORDER)?;
    let functions: Vec<OfferedFunction> = serde_json::from_str(&first.content[at + ORDER.len()..]).ok()?;
    let own = &first.content[..at];
    let own = own.strip_suffix("\n\n").unwrap_or(own).len();
    first.content.truncate(own);
    if first.content.is_empty() {
        messages.remove(0);
    }
    Some(functions.into_iter().map(KeptTool::from).collect())
}

fn read(message: SentMessage) -> Result<Message, Error> {
    let mut parts = Vec::new();
    parts.extend(message.thinking.map(Part::Reasoning));
    let role = match message.role {
        SentRole::System => Role::System,
        SentRole::User => Role::User,
        SentRole::Assistant => Role::Assistant,
        SentRole::Tool => Role::Tool,
    };
    let SentMessage { content: text, tool_call_id: call_id, tool_name: name, .. } = message;
    if role == Role::Tool {
        parts.push(Part::ToolResult(ToolResult { call_id, name, text }));
    } else {
        parts.push(Part::Text(text));
    }
    for image in message.images {
        let bytes = STANDARD.decode(image).map_err(Error::internal)?.into();
        parts.push(Part::Image(Image { bytes, field: IMAGE_FIELD.into() }));
    }
    for SentCall { id, function } in message.tool_calls {
        parts.push(Part::ToolCall(ToolCall { id, name: function.name, arguments: function.arguments }));
    }
    Ok(Message { role, parts })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::model::chat::{ChatRequest, Tool};
    use crate::model::model_name::ModelName;
    use crate::model::work::Work;
    use crate::provider::Provider;
    use crate::provider::ollama::OllamaProvider;

    fn sent(request: &ChatRequest) -> Bytes {
        OllamaProvider.call(&Work::Chat(request.clone())).unwrap().body
    }

    fn everything() -> ChatRequest {
        let arguments = RawValue::from_string(r#"{"b": 1e5, "a":[]}"#.into()).unwrap();
        let call = ToolCall { id: "call_1".into(), name: "f".into(), arguments };
        let image = Image { bytes: Bytes::from_static(b"\x00\xff"), field: "x".into() };
        let result = ToolResult { call_id: Some("call_1".into()), name: Some("f".into()), text: "20 \"°\"".into() };
        let messages = vec![
            Message::new(Role::System, "Be brief."),
            Message {
                role: Role::User,
                parts: vec![Part::Text("a".into()), Part::Image(image.clone()), Part::Text("b".into())],
            },
            Message {
                role: Role::Assistant,
                parts: vec![Part::Reasoning("hm".into()), Part::Text("c".into()), Part::ToolCall(call)],
            },
            Message { role: Role::Tool, parts: vec![Part::ToolResult(result), Part::Image(image)] },
            Message { role: Role::Assistant, parts: Vec::new() },
            Message::new(Role::User, "again"),
        ];
        let tool = Tool {
            name: "f".into(),
            description: Some("does".into()),
            parameters: Some(json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}})),
        };
        ChatRequest { tools: vec![tool], ..ChatRequest::new(ModelName::parse("m").unwrap(), messages) }
    }

    #[test]
    fn what_is_read_back_is_forwarded_byte_for_byte_as_before() {
        let request = everything();
        let body = sent(&request);

        let read = conversation(&body).unwrap();

        assert_eq!((read.tools.len(), read.tools[0].name.as_str()), (1, "f"));
        assert_eq!(sent(&ChatRequest { messages: read.messages, ..request }), body);
    }

    #[test]
    fn the_order_to_call_is_no_part_of_the_conversation() {
        for with_system in [true, false] {
            let mut plain = everything();
            if !with_system {
                plain.messages.remove(0);
            }
            let bound = sent(&ChatRequest { must_call: true, ..plain.clone() });

            let read = conversation(&bound).unwrap();

            assert_eq!(read.tools[0].name, "f");
            assert!(read.schema.is_none());
            assert_eq!(sent(&ChatRequest { messages: read.messages, ..plain.clone() }), sent(&plain), "{with_system}");
        }
    }

    #[test]
    fn what_is_no_chat_is_an_error() {
        for body in ["", "{}", r#"{"prompt":"x"}"#, r#"{"messages":[{"role":"oracle","content":""}]}"#] {
            assert!(conversation(body.as_bytes()).is_err(), "{body}");
        }
    }
}
