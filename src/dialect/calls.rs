//! The calls that results answer, where a client names them by their id alone.

use std::collections::HashMap;

use crate::model::chat::{Message, Part, ToolResult};

/// Gives each result the name of the function that was called before it under its id. Ids may come again: the last one is meant.
pub fn name_results(messages: &mut [Message]) {
    let mut called: HashMap<String, String> = HashMap::new();
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        match part {
            Part::ToolCall(call) => {
                called.insert(call.id.clone(), call.name.clone());
            }
            Part::ToolResult(ToolResult { call_id: Some(id), name, .. }) => {
                if let Some(function) = called.get(id) {
                    *name = Some(function.clone());
                }
            }
            Part::Text(_) | Part::Image(_) | Part::Reasoning(_) | Part::ToolResult(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::{Role, ToolCall};

    fn call(id: &str, name: &str) -> Message {
        let arguments = serde_json::value::to_raw_value(&serde_json::Map::new()).unwrap();
        let call = ToolCall { id: id.into(), name: name.into(), arguments };
        Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] }
    }

    fn result(id: &str, name: Option<&str>) -> Message {
        let result = ToolResult { call_id: Some(id.into()), name: name.map(str::to_owned), text: String::new() };
        Message { role: Role::Tool, parts: vec![Part::ToolResult(result)] }
    }

    #[test]
    fn a_result_gets_the_name_of_the_last_call_of_its_id_before_it() {
        let mut messages = [
            result("a", None),
            call("a", "first"),
            result("a", Some("else")),
            call("a", "second"),
            result("a", None),
            result("b", Some("own")),
        ];
        name_results(&mut messages);

        let names: Vec<_> =
            messages.iter().filter_map(Message::tool_result).map(|result| result.name.as_deref()).collect();
        assert_eq!(names, [None, Some("first"), Some("second"), Some("own")]);
    }

    #[test]
    fn a_long_conversation_is_read_in_one_pass() {
        // Looking at all earlier messages for each result would take minutes.
        let mut messages: Vec<_> = (0..200_000).map(|_| result("nobody's", None)).collect();
        name_results(&mut messages);

        assert!(messages.iter().all(|message| message.tool_result().is_some_and(|result| result.name.is_none())));
    }
}
