//! The calls that results answer, where a client names them by their id alone.

use crate::model::chat::{Message, Part, ToolResult};

/// Gives each result in `message` the name of the function that an earlier message called under its id.
pub fn name_results(message: &mut Message, earlier: &[Message]) {
    for part in &mut message.parts {
        if let Part::ToolResult(ToolResult { call_id: Some(id), name, .. }) = part
            && let Some(called) = name_of_call(earlier, id)
        {
            *name = Some(called);
        }
    }
}

/// Returns the function that an earlier message called under this id. Ids may come again: the last one is meant.
fn name_of_call(messages: &[Message], id: &str) -> Option<String> {
    let mut calls = messages.iter().rev().flat_map(|message| message.tool_calls().rev());
    calls.find(|call| call.id == id).map(|call| call.name.clone())
}
