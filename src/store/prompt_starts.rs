//! How prompts begin, for a person's list of their own requests.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Deserialize;
use serde_json::Value;

use crate::base::error::Error;
use crate::store::Store;
use crate::store::audit::PART_REQUEST;
use crate::store::schema::record_part;

/// Characters of a prompt that are shown.
pub const PROMPT_START_CHARS: usize = 120;

/// A longer request has no beginning shown: it would have to be read whole for a line of a list.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Requests that are read for one page. Those after them have no beginning shown.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Store {
    /// Returns how the last user message of each request begins, by the log_id under which its contents are kept. Requests without
    /// one, erased ones and very long ones are left out.
    pub async fn prompt_starts(&self, requests: Vec<i64>) -> Result<HashMap<i64, String>, Error> {
        if requests.is_empty() {
            return Ok(HashMap::new());
        }
        self.read(move |connection| starts(connection, requests)).await
    }
}

fn starts(connection: &mut SqliteConnection, requests: Vec<i64>) -> QueryResult<HashMap<i64, String>> {
    let (mut found, mut read) = (HashMap::new(), 0);
    for log_id in requests {
        if read >= PAGE_BYTES_MAX {
            break;
        }
        let body: Option<Vec<u8>> = record_part::table
            .filter(record_part::log_id.eq(log_id))
            .filter(record_part::kind.eq(PART_REQUEST))
            .filter(diesel::dsl::sql::<Bool>(&format!("length(body) <= {REQUEST_BYTES_MAX}")))
            .select(record_part::body)
            .first(connection)
            .optional()?;
        let Some(body) = body else { continue };
        read += body.len();
        found.extend(start_of(&body).map(|start| (log_id, start)));
    }
    Ok(found)
}

/// What is read of a request as it was forwarded: a chat, a completion or an embedding.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(alias = "input")]
    prompt: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

/// Returns the first characters of the last user message, or of the prompt or the first text of a request that has no messages.
/// White space is one blank.
fn start_of(body: &[u8]) -> Option<String> {
    let asked: Asked = serde_json::from_slice(body).ok()?;
    let last = asked.messages.into_iter().rev().find(|message| message.role == "user");
    let said = match last {
        Some(message) => message.content,
        None => asked.prompt?,
    };
    let text = first_text(&said)?;
    let mut start = String::new();
    for word in text.split_whitespace() {
        if !start.is_empty() {
            start.push(' ');
        }
        // A text without blanks may be long, so no more of a word is taken than can be shown.
        start.extend(word.chars().take(PROMPT_START_CHARS));
        if start.chars().count() >= PROMPT_START_CHARS {
            break;
        }
    }
    let start: String = start.chars().take(PROMPT_START_CHARS).collect();
    (!start.is_empty()).then_some(start)
}

fn first_text(said: &Value) -> Option<&str> {
    match said {
        Value::String(text) => Some(text),
        Value::Array(items) => items.iter().find_map(first_text),
        Value::Object(part) => part.get("text").and_then(Value::as_str),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_begins_with_what_the_user_said_last() {
        for (body, expected) in [
            (
                r#"{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"x"},{"role":"user","content":" two\n  lines "},
                    {"role":"assistant","content":"","tool_calls":[]}]}"#,
                Some("two lines"),
            ),
            (r#"{"messages":[{"role":"user","content":[{"type":"text","text":"part"}]}]}"#, Some("part")),
            (r#"{"prompt":"The sea is"}"#, Some("The sea is")),
            (r#"{"input":["the sea","the land"]}"#, Some("the sea")),
            (r#"{"messages":[{"role":"system","content":"be kind"}]}"#, None),
            (r#"{"messages":[{"role":"user","content":""}]}"#, None),
            (r#"{"messages":[{"role":"user"}]}"#, None),
            ("no JSON", None),
        ] {
            assert_eq!(start_of(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_beginning_has_so_many_characters_and_no_more() {
        let of = |text: &str| start_of(serde_json::json!({ "prompt": text }).to_string().as_bytes()).unwrap();
        let exact = "ß".repeat(PROMPT_START_CHARS);

        assert_eq!(of(&exact), exact);
        assert_eq!(of(&format!("{exact}x")), exact);
        assert_eq!(of(&"ab ".repeat(1000)).chars().count(), PROMPT_START_CHARS);
    }
}
