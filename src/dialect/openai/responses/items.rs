//! The input of a response's request: a text, or items, which become the messages of a conversation.
//!
//! What the assistant thought, said and called in one turn are items of their own; together they are one message.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::calls::name_results;
use crate::dialect::data;
use crate::dialect::json::{At, Ignored, Json, NoEffect, Object, Sent, Unread};
use crate::dialect::openai::responses::content::{ItemParts, read_content};
use crate::dialect::openai::responses::references::{KeptItem, References};
use crate::dialect::openai::responses::tools::full_name;
use crate::model::chat::{Image, Message, Part, Role, ToolCall, ToolResult};
use crate::model::kept::KeptReply;

/// Items of tools that run elsewhere, and of OpenAI's own keeping. They come back from conversations with other servers and
/// say nothing that a model here could use; they are left out and named.
const LEFT_OUT: &[&str] = &[
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

#[derive(Default)]
pub struct Input {
    pub messages: Vec<Message>,
    /// The answers of which it has items by their id, each once.
    pub refers: Vec<RequestId>,
}

/// Reads the input. A text is what the user says. Items by their id are put in from `kept`, or left out if that is empty.
pub fn read_input(input: Json<'_>, kept: &[KeptReply], at: &At<'_>, ignored: &mut Ignored) -> Result<Input, Error> {
    let items = match input {
        Json::Text(text) => return Ok(Input { messages: vec![Message::new(Role::User, text)], refers: Vec::new() }),
        Json::Array(items) => items,
        other => return Err(at.invalid(format_args!("must be a string or an array of items, not {}", other.kind()))),
    };
    let mut conversation = Conversation { messages: Vec::with_capacity(items.len()), references: References::to(kept) };
    for (number, item) in items.into_iter().enumerate() {
        let at = at.index(number);
        let fields = item.object(&at)?;
        conversation.read(fields, &at, ignored)?;
    }
    name_results(&mut conversation.messages);
    Ok(Input { messages: conversation.messages, refers: conversation.references.requests })
}

struct Conversation<'k> {
    messages: Vec<Message>,
    references: References<'k>,
}

impl Conversation<'_> {
    fn read(&mut self, fields: Object<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let kind = match fields.iter().find(|(name, _)| name == "type").map(|(_, value)| value) {
            Some(Json::Text(kind)) => kind.clone().into_owned(),
            None | Some(Json::Null) if fields.iter().any(|(name, _)| name == "role") => "message".to_owned(),
            None | Some(Json::Null) => return Err(at.key("type").invalid("is missing; send `message`")),
            Some(other) => return Err(at.key("type").invalid(format_args!("must be a string, not {}", other.kind()))),
        };
        let item = Json::Object(fields);
        match kind.as_str() {
            "message" => self.message(item.read(at, ignored)?, at, ignored),
            "reasoning" => self.reasoning(item.read(at, ignored)?, at, ignored),
            "function_call" => self.call(item.read(at, ignored)?, at, ignored),
            "function_call_output" | "custom_tool_call_output" => self.result(item.read(at, ignored)?, at, ignored),
            "custom_tool_call" => self.custom_call(item.read(at, ignored)?, at),
            "item_reference" => self.reference(item.read(at, ignored)?, at),
            known if LEFT_OUT.contains(&known) => {
                ignored.add(format_args!("input[].{known}"));
                Ok(())
            }
            _ => Err(at.key("type").invalid(
                "must be one of `message`, `reasoning`, `function_call`, `function_call_output`, `custom_tool_call`, \
                 `custom_tool_call_output`, `item_reference`",
            )),
        }
    }

    fn message(&mut self, item: MessageItem<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let role = read_role(item.role.as_deref(), &at.key("role"))?;
        let at = &at.key("content");
        let content = item.content.0.ok_or_else(|| at.invalid("is missing; send a string"))?;
        let parts = read_content(content, at, ignored)?;
        if parts.is_empty() && role != Role::Assistant {
            return Err(at.invalid("is empty; send a string"));
        }
        let message = Message { role, parts };
        if let Some(Image { field, .. }) = message.images().next().filter(|_| role != Role::User) {
            return Err(Error::invalid(field, format!("`{field}` is an image, which only a `user` may send")));
        }
        if role != Role::Assistant {
            self.messages.push(message);
            return Ok(());
        }
        self.said(message.parts);
        Ok(())
    }

    /// Adds what the assistant said before its calls, whichever came first.
    fn said(&mut self, parts: Vec<Part>) {
        let said = |part: &Part| matches!(part, Part::Text(_));
        let turn = self.turn(|turn| !turn.parts.iter().any(said));
        let place = turn.parts.iter().position(|part| matches!(part, Part::ToolCall(_))).unwrap_or(turn.parts.len());
        turn.parts.splice(place..place, parts);
    }

    fn reasoning(&mut self, item: ReasoningItem, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let texts = |texts: Option<Vec<WireText>>, between: &str| {
            texts.into_iter().flatten().filter_map(|text| text.text).collect::<Vec<_>>().join(between)
        };
        let content = texts(item.content, "");
        let text = if content.is_empty() { texts(item.summary, "\n\n") } else { content };
        if text.is_empty() {
            // What another server encrypted can't be read here.
            if item.encrypted_content.is_some() {
                ignored.add(format_args!("{}", at.key("encrypted_content").without_indices()));
            }
            return Ok(());
        }
        self.thought(text);
        Ok(())
    }

    fn thought(&mut self, text: String) {
        self.turn(|turn| turn.parts.is_empty()).parts.push(Part::Reasoning(text));
    }

    /// Adds an item of an earlier answer, which the client has by its id alone.
    fn reference(&mut self, item: ReferenceItem, at: &At<'_>) -> Result<(), Error> {
        let id = item.id.ok_or_else(|| at.key("id").invalid("is missing; send the `id` of an item"))?;
        match self.references.find(&id, at)? {
            None => {}
            Some(KeptItem::Thought(text)) => self.thought(text.to_owned()),
            Some(KeptItem::Text(text)) => self.said(vec![Part::Text(text.to_owned())]),
            Some(KeptItem::Call(call)) => self.turn(|_| true).parts.push(Part::ToolCall(call.clone())),
        }
        Ok(())
    }

    fn call(&mut self, item: CallItem, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let arguments = item.arguments.0.unwrap_or_default();
        let arguments = match data::arguments_in(&arguments) {
            Some(arguments) => arguments,
            // A model wrote it, and its client keeps it in the conversation: a refusal would make that unusable.
            None => {
                ignored.add("input[].arguments");
                data::unreadable_arguments(&arguments)?
            }
        };
        let name = item.name.0.ok_or_else(|| at.key("name").invalid("is missing"))?;
        self.called(item.call_id, full_name(item.namespace.as_deref(), name), arguments, at)
    }

    /// A call with free text is shown to the model as one with the text as its only argument.
    fn custom_call(&mut self, item: CustomCallItem, at: &At<'_>) -> Result<(), Error> {
        let input = item.input.0.unwrap_or_default();
        let arguments = to_raw_value(&json!({ "input": input })).map_err(Error::internal)?;
        let name = item.name.0.ok_or_else(|| at.key("name").invalid("is missing"))?;
        self.called(item.call_id, full_name(item.namespace.as_deref(), name), arguments, at)
    }

    fn called(&mut self, id: Option<String>, name: String, arguments: Box<RawValue>, at: &At<'_>) -> Result<(), Error> {
        let id =
            id.ok_or_else(|| at.key("call_id").invalid("is missing; send the `call_id` that the call came with"))?;
        self.turn(|_| true).parts.push(Part::ToolCall(ToolCall { id, name, arguments }));
        Ok(())
    }

    fn result(&mut self, item: ResultItem<'_>, at: &At<'_>, ignored: &mut Ignored) -> Result<(), Error> {
        let id = item
            .call_id
            .ok_or_else(|| at.key("call_id").invalid("is missing; send the `call_id` of the call that this answers"))?;
        let output = item.output.0.ok_or_else(|| at.key("output").invalid("is missing; send a string"))?;
        let mut parts = read_content(output, &at.key("output"), ignored)?;
        let text = Message { role: Role::Tool, parts: parts.clone() }.text().into_owned();
        let name = item.name.map(|name| full_name(item.namespace.as_deref(), name));
        parts.retain(|part| matches!(part, Part::Image(_)));
        parts.insert(0, Part::ToolResult(ToolResult { call_id: Some(id), name, text }));
        self.messages.push(Message { role: Role::Tool, parts });
        Ok(())
    }

    /// Returns the assistant's turn, a new one unless the last message is one that `may_go_on`.
    fn turn(&mut self, may_go_on: impl Fn(&Message) -> bool) -> &mut Message {
        let goes_on = self.messages.last().is_some_and(|last| last.role == Role::Assistant && may_go_on(last));
        if !goes_on {
            self.messages.push(Message { role: Role::Assistant, parts: Vec::new() });
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }
}

fn read_role(role: Option<&str>, at: &At<'_>) -> Result<Role, Error> {
    match role {
        // Few chat templates know `developer`.
        Some("system" | "developer") => Ok(Role::System),
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        Some(_) => Err(at.invalid("must be one of `system`, `developer`, `user`, `assistant`")),
        None => Err(at.invalid("is missing; send one of `system`, `developer`, `user`, `assistant`")),
    }
}

/// Items that were an answer come back with their `id` and `status`, which say nothing to a model.
#[derive(Deserialize, Default)]
#[serde(default)]
struct MessageItem<'a> {
    #[serde(borrow)]
    content: Sent<ItemParts<'a>>,
    id: Unread,
    phase: NoEffect,
    role: Option<String>,
    status: Unread,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReasoningItem {
    content: Option<Vec<WireText>>,
    encrypted_content: Option<String>,
    id: Unread,
    status: Unread,
    summary: Option<Vec<WireText>>,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReferenceItem {
    id: Option<String>,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireText {
    text: Option<String>,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CallItem {
    arguments: Sent<String>,
    r#async: NoEffect,
    call_id: Option<String>,
    caller: NoEffect,
    id: Unread,
    name: Sent<String>,
    namespace: Option<String>,
    status: Unread,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CustomCallItem {
    call_id: Option<String>,
    caller: NoEffect,
    id: Unread,
    input: Sent<String>,
    name: Sent<String>,
    namespace: Option<String>,
    status: Unread,
    r#type: Unread,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResultItem<'a> {
    call_id: Option<String>,
    caller: NoEffect,
    id: Unread,
    name: Option<String>,
    namespace: Option<String>,
    #[serde(borrow)]
    output: Sent<ItemParts<'a>>,
    status: Unread,
    r#type: Unread,
}
