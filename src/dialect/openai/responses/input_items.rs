//! The items that a response was made from, a page at a time.

use serde::Serialize;
use serde_json::{Value, json};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::dialect::openai::responses::settings::ResponsesSettings;
use crate::model::chat::{Image, Message, Part, Role, ToolResult};

/// OpenAI's own limits.
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;

/// Which items are asked for. The newest come first, unless `order=asc`.
#[derive(Debug, PartialEq)]
pub struct PageAsked {
    limit: usize,
    is_ascending: bool,
    after: Option<String>,
}

impl PageAsked {
    pub fn read(query: &str) -> Result<Self, Error> {
        let mut page = PageAsked { limit: LIMIT, is_ascending: false, after: None };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    let bad = || Error::invalid("limit", format!("`limit` must be from 1 to {LIMIT_MAX}"));
                    page.limit = limit.ok_or_else(bad)?;
                }
                "order" => {
                    page.is_ascending = match value {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(Error::invalid("order", "`order` must be `asc` or `desc`")),
                    }
                }
                "after" => page.after = Some(value.to_owned()),
                // `include` asks for what tools elsewhere found.
                _ => {}
            }
        }
        Ok(page)
    }
}

#[derive(Serialize)]
pub struct InputItemList {
    object: &'static str,
    data: Vec<Value>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

pub fn input_items(
    request: &RequestId,
    messages: Vec<Message>,
    settings: &ResponsesSettings,
    page: &PageAsked,
) -> Result<InputItemList, Error> {
    let mut items = Vec::new();
    for message in messages {
        add_items(message, settings, &mut items);
    }
    let mut items: Vec<(String, Value)> = items
        .into_iter()
        .enumerate()
        .map(|(number, (prefix, mut item))| {
            let id = format!("{}_in_{number}", request.with_prefix(prefix));
            item["id"] = id.as_str().into();
            (id, item)
        })
        .collect();
    if !page.is_ascending {
        items.reverse();
    }
    let begins = match &page.after {
        Some(after) => {
            let found = items.iter().position(|(id, _)| id == after);
            1 + found.ok_or_else(|| Error::invalid("after", "`after` is not the id of one of these items"))?
        }
        None => 0,
    };
    let has_more = items.len() > begins + page.limit;
    let (ids, data): (Vec<_>, Vec<_>) = items.into_iter().skip(begins).take(page.limit).unzip();
    Ok(InputItemList { object: "list", first_id: ids.first().cloned(), last_id: ids.last().cloned(), data, has_more })
}

/// Adds the items of a message, each with the prefix of its id.
fn add_items(message: Message, settings: &ResponsesSettings, items: &mut Vec<(&'static str, Value)>) {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => {
            items.extend(message.tool_result().map(|result| ("fco_", result_item(result, &message))));
            return;
        }
    };
    let reasoning = message.reasoning();
    if !reasoning.is_empty() {
        let summary = [json!({"type": "summary_text", "text": reasoning})];
        items.push(("rs_", json!({"type": "reasoning", "id": null, "summary": summary, "status": "completed"})));
    }
    let calls = message.tool_calls().count();
    let mut content = Vec::new();
    for part in &message.parts {
        match part {
            // Beside calls and thought, the assistant may have said nothing.
            Part::Text(text) if text.is_empty() && (calls > 0 || !reasoning.is_empty()) => {}
            Part::Text(text) if message.role == Role::Assistant => {
                content.push(json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}));
            }
            Part::Text(text) => content.push(json!({"type": "input_text", "text": text})),
            Part::Image(image) => content.push(image_part(image)),
            Part::Reasoning(_) | Part::ToolCall(_) | Part::ToolResult(_) => {}
        }
    }
    if !content.is_empty() {
        let item = json!({"type": "message", "id": null, "status": "completed", "role": role, "content": content});
        items.push(("msg_", item));
    }
    for call in message.tool_calls() {
        let (namespace, name) = settings.name_of(&call.name);
        let mut item = json!({
            "type": "function_call", "id": null, "call_id": call.id, "name": name,
            "arguments": call.arguments.get(), "status": "completed",
        });
        if let Some(namespace) = namespace {
            item["namespace"] = namespace.into();
        }
        items.push(("fc_", item));
    }
}

fn result_item(result: &ToolResult, message: &Message) -> Value {
    let images: Vec<Value> = message.images().map(image_part).collect();
    let output = if images.is_empty() {
        Value::from(result.text.as_str())
    } else {
        let text = json!({"type": "input_text", "text": result.text});
        [text].into_iter().chain(images).collect()
    };
    json!({
        "type": "function_call_output", "id": null, "call_id": result.call_id, "output": output, "status": "completed",
    })
}

fn image_part(image: &Image) -> Value {
    let kind = match &image.bytes[..] {
        [0xff, 0xd8, ..] => "jpeg",
        [b'R', b'I', b'F', b'F', ..] => "webp",
        _ => "png",
    };
    let url = format!("data:image/{kind};base64,{}", STANDARD.encode(&image.bytes));
    json!({"type": "input_image", "detail": "auto", "file_id": null, "image_url": url})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_bounds() {
        let of = |query: &str| PageAsked::read(query);

        assert_eq!(of("").unwrap(), PageAsked { limit: 20, is_ascending: false, after: None });
        assert_eq!(
            of("limit=100&order=asc&after=msg_1&include=x").unwrap(),
            PageAsked { limit: 100, is_ascending: true, after: Some("msg_1".into()) }
        );
        for (query, field) in
            [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order")]
        {
            assert_eq!(of(query).unwrap_err().field(), Some(field), "{query}");
        }
    }
}
