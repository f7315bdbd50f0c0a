//! Each row of the table that maps a chat completion's request onto the model server, with what becomes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lan_gateway::dialect::{Dialect, openai::OpenAi};
use lan_gateway::provider::{Provider, ollama::OllamaProvider};
use serde_json::{Value, json};

use crate::CHAT;
use crate::events::Post;

enum Fate {
    /// It stands in what is forwarded, there.
    Sent(&'static str, Value),
    /// It takes something out of what is forwarded.
    Without(&'static str),
    /// It changes nothing in what is forwarded, and this is no loss.
    Same,
    /// It changes nothing in what is forwarded, and the client is told.
    Ignored,
    /// It shapes the answer or the request in a way that other tests show.
    Taken,
    /// A 400 that names this field.
    Refused(&'static str),
}
use Fate::{Ignored, Refused, Same, Sent, Taken, Without};

fn tool() -> Value {
    json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object", "properties": {} } } }])
}

/// A field and a value; more fields where it needs them.
fn rows() -> Vec<(&'static str, Value, Value, Fate)> {
    let tools = || json!({ "tools": tool() });
    let none = || json!({});
    let schema = json!({ "type": "object" });
    let allowed = |mode: &str, name: &str| {
        let tools = json!([{ "type": "function", "function": { "name": name } }]);
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
    };
    const CALLED: &str = "/format/anyOf/0/properties/name/enum/0";
    vec![
        ("model", json!("other"), none(), Sent("/model", json!("other"))),
        ("model", json!(null), none(), Refused("model")),
        ("messages", json!([]), none(), Refused("messages")),
        ("max_tokens", json!(5), none(), Sent("/options/num_predict", json!(5))),
        ("max_completion_tokens", json!(5), none(), Sent("/options/num_predict", json!(5))),
        ("max_completion_tokens", json!(5), json!({ "max_tokens": 6 }), Refused("max_completion_tokens")),
        ("max_completion_tokens", json!(5), json!({ "max_tokens": 5 }), Same),
        ("max_tokens", json!(0), none(), Refused("max_tokens")),
        ("max_tokens", json!(-1), none(), Ignored),
        ("max_completion_tokens", json!(-1), none(), Ignored),
        ("max_tokens", json!(-2), none(), Refused("max_tokens")),
        ("max_completion_tokens", json!(0), none(), Refused("max_completion_tokens")),
        ("stop", json!("a"), none(), Sent("/options/stop", json!(["a"]))),
        ("stop", json!(["a", "b", "c", "d"]), none(), Sent("/options/stop", json!(["a", "b", "c", "d"]))),
        ("stop", json!(["a", "b", "c", "d", "e"]), none(), Refused("stop")),
        ("stop", json!(null), none(), Same),
        ("seed", json!(7), none(), Sent("/options/seed", json!(7))),
        ("temperature", json!(0.5), none(), Sent("/options/temperature", json!(0.5))),
        ("top_p", json!(0.5), none(), Sent("/options/top_p", json!(0.5))),
        ("frequency_penalty", json!(1.5), none(), Sent("/options/frequency_penalty", json!(1.5))),
        ("presence_penalty", json!(-1.5), none(), Sent("/options/presence_penalty", json!(-1.5))),
        ("response_format", json!({ "type": "text" }), none(), Same),
        ("response_format", json!({ "type": "json_object" }), none(), Sent("/format", json!("json"))),
        (
            "response_format",
            json!({ "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": schema } }),
            none(),
            Sent("/format", schema.clone()),
        ),
        (
            "response_format",
            json!({ "type": "json_schema", "json_schema": { "name": "n" } }),
            none(),
            Refused("response_format.json_schema.schema"),
        ),
        ("tools", tool(), none(), Sent("/tools", tool())),
        ("tools", json!([{ "type": "custom", "custom": { "name": "c" } }]), none(), Refused("tools[0].type")),
        ("tool_choice", json!("none"), tools(), Without("/tools")),
        ("tool_choice", json!("auto"), tools(), Sent("/tools", tool())),
        ("tool_choice", json!("required"), tools(), Sent(CALLED, json!("f"))),
        ("tool_choice", json!({ "type": "function", "function": { "name": "f" } }), tools(), Sent(CALLED, json!("f"))),
        ("tool_choice", allowed("auto", "f"), tools(), Sent("/tools", tool())),
        ("tool_choice", allowed("required", "f"), tools(), Sent(CALLED, json!("f"))),
        ("tool_choice", allowed("auto", "g"), tools(), Refused("tool_choice.allowed_tools.tools[0].function.name")),
        ("tool_choice", json!({ "type": "custom", "custom": { "name": "f" } }), tools(), Refused("tool_choice.type")),
        (
            "tool_choice",
            json!({ "type": "function", "function": { "name": "g" } }),
            tools(),
            Refused("tool_choice.function.name"),
        ),
        ("tool_choice", json!("required"), none(), Refused("tool_choice")),
        ("parallel_tool_calls", json!(false), tools(), Taken),
        ("parallel_tool_calls", json!(true), tools(), Sent("/tools", tool())),
        ("stream", json!(true), none(), Taken),
        ("stream_options", json!({ "include_usage": true }), json!({ "stream": true }), Taken),
        ("stream_options", json!({ "include_usage": true }), none(), Refused("stream_options")),
        ("reasoning_effort", json!("none"), none(), Sent("/think", json!(false))),
        ("reasoning_effort", json!("minimal"), none(), Sent("/think", json!("low"))),
        ("reasoning_effort", json!("low"), none(), Sent("/think", json!("low"))),
        ("reasoning_effort", json!("medium"), none(), Sent("/think", json!("medium"))),
        ("reasoning_effort", json!("high"), none(), Sent("/think", json!("high"))),
        ("reasoning_effort", json!("xhigh"), none(), Sent("/think", json!("max"))),
        ("reasoning_effort", json!("max"), none(), Sent("/think", json!("max"))),
        ("reasoning_effort", json!("ultra"), none(), Sent("/think", json!("max"))),
        ("reasoning_effort", json!("most"), none(), Refused("reasoning_effort")),
        ("reasoning", json!({ "effort": "low" }), none(), Sent("/think", json!("low"))),
        ("logprobs", json!(true), none(), Sent("/logprobs", json!(true))),
        ("top_logprobs", json!(3), json!({ "logprobs": true }), Sent("/top_logprobs", json!(3))),
        ("top_logprobs", json!(3), none(), Refused("top_logprobs")),
        ("top_logprobs", json!(21), json!({ "logprobs": true }), Refused("top_logprobs")),
        ("n", json!(1), none(), Same),
        ("n", json!(null), none(), Same),
        ("n", json!(2), none(), Same),
        ("n", json!(129), none(), Refused("n")),
        ("logit_bias", json!({}), none(), Same),
        ("logit_bias", json!(null), none(), Same),
        ("logit_bias", json!({ "1": 5 }), none(), Refused("logit_bias")),
        ("user", json!("u"), none(), Ignored),
        ("safety_identifier", json!("u"), none(), Ignored),
        ("metadata", json!({ "a": "b" }), none(), Ignored),
        ("store", json!(true), none(), Ignored),
        ("service_tier", json!("auto"), none(), Ignored),
        ("prompt_cache_key", json!("k"), none(), Ignored),
        ("prompt_cache_retention", json!("24h"), none(), Ignored),
        ("prompt_cache_options", json!({ "mode": "auto" }), none(), Ignored),
        ("verbosity", json!("low"), none(), Ignored),
        ("moderation", json!({ "model": "m" }), none(), Ignored),
        ("prediction", json!(null), none(), Same),
        ("prediction", json!({ "type": "content", "content": "a" }), none(), Refused("prediction")),
        ("prediction", json!({}), none(), Refused("prediction")),
        ("modalities", json!(["text"]), none(), Same),
        ("modalities", json!(["text", "audio"]), none(), Refused("modalities")),
        ("audio", json!({ "voice": "a" }), none(), Refused("audio")),
        ("functions", json!([{ "name": "f" }]), none(), Refused("functions")),
        ("function_call", json!("auto"), none(), Refused("function_call")),
        ("web_search_options", json!({ "search_context_size": "low" }), none(), Refused("web_search_options")),
        ("web_search_options", json!({}), none(), Refused("web_search_options")),
        ("web_search_options", json!(null), none(), Same),
        ("unheard_of", json!(1), none(), Ignored),
        ("keep_alive", json!(-1), none(), Ignored),
        ("options", json!({ "num_ctx": 9 }), none(), Ignored),
        ("think", json!(true), none(), Ignored),
        ("num_ctx", json!(9), none(), Ignored),
    ]
}

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A message, the fields that stand for it in what is forwarded or the one that is refused, and what is told to be
/// without effect. It follows a question and a call of `f` with the id `c`.
fn message_rows() -> Vec<(Value, Result<Value, &'static str>, &'static [&'static str])> {
    let user = |content: Value| json!({ "role": "user", "content": content });
    let image = |url: &str| user(json!([{ "type": "image_url", "image_url": { "url": url, "detail": "low" } }]));
    let pixel = |start: &str| image(&format!("{start}{PIXEL}"));
    let seen = || json!({ "role": "user", "content": "", "images": [PIXEL] });
    let text = |role: &str, text: &str| json!({ "role": role, "content": text });
    let call = |id: Value, arguments: &str| {
        json!({ "role": "assistant", "content": null,
            "tool_calls": [{ "id": id, "type": "function", "function": { "name": "g", "arguments": arguments } }] })
    };
    let called = |arguments: Value| {
        json!({ "role": "assistant", "content": "",
            "tool_calls": [{ "id": "d", "function": { "index": 0, "name": "g", "arguments": arguments } }] })
    };
    let with_content = |mut message: Value, content: Value| {
        message["content"] = content;
        message
    };
    const DETAIL: &[&str] = &["messages[].content[].image_url.detail"];
    const IMAGE: &str = "messages[2].content[0].image_url.url";
    const ARGUMENTS: &[&str] = &["messages[].tool_calls[].function.arguments"];
    vec![
        (text("system", "a"), Ok(text("system", "a")), &[]),
        (text("developer", "a"), Ok(text("system", "a")), &[]),
        (text("function", "a"), Err("messages[2].role"), &[]),
        (text("wizard", "a"), Err("messages[2].role"), &[]),
        (user(json!("a")), Ok(text("user", "a")), &[]),
        (user(json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }])), Ok(text("user", "ab")), &[]),
        (pixel("data:image/png;base64,"), Ok(seen()), DETAIL),
        (pixel("data:image/jpg;base64,"), Ok(seen()), DETAIL),
        (pixel("data:image/jpeg;base64,"), Ok(seen()), DETAIL),
        (pixel("data:image/webp;base64,"), Ok(seen()), DETAIL),
        (pixel("data:;base64,"), Ok(seen()), DETAIL),
        (pixel("DATA:Image/PNG;charset=utf-8;BASE64,"), Ok(seen()), DETAIL),
        (
            pixel("data:image/png,"),
            Ok(json!({ "role": "user", "content": "", "images": [STANDARD.encode(PIXEL)] })),
            DETAIL,
        ),
        (user(json!([{ "type": "image_url", "image_url": format!("data:;base64,{PIXEL}") }])), Ok(seen()), &[]),
        (pixel("data:image/gif;base64,"), Err(IMAGE), &[]),
        (image("data:image/png;base64,?"), Err(IMAGE), &[]),
        (image("https://example.org/a.png"), Err(IMAGE), &[]),
        (
            user(json!([{ "type": "input_audio", "input_audio": { "data": "YQ==", "format": "wav" } }])),
            Err("messages[2].content[0]"),
            &[],
        ),
        (user(json!([{ "type": "file", "file": { "file_id": "f" } }])), Err("messages[2].content[0]"), &[]),
        (
            json!({ "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] }),
            Ok(text("assistant", "no")),
            &[],
        ),
        (json!({ "role": "assistant", "content": null, "refusal": "no" }), Ok(text("assistant", "no")), &[]),
        (json!({ "role": "assistant", "content": null }), Err("messages[2].content"), &[]),
        (json!({ "role": "assistant", "content": [], "refusal": "no" }), Ok(text("assistant", "no")), &[]),
        (json!({ "role": "assistant", "content": [] }), Ok(text("assistant", "")), &[]),
        (with_content(call(json!("d"), "{}"), json!([])), Ok(called(json!({}))), &[]),
        (with_content(call(json!("d"), "{}"), json!("")), Ok(called(json!({}))), &[]),
        (
            json!({ "role": "tool", "tool_call_id": "x", "content": [] }),
            Ok(json!({ "role": "tool", "content": "", "tool_call_id": "x" })),
            &[],
        ),
        (user(json!([])), Err("messages[2].content"), &[]),
        (json!({ "role": "system", "content": [] }), Err("messages[2].content"), &[]),
        (call(json!("d"), r#"{"a":1}"#), Ok(called(json!({ "a": 1 }))), &[]),
        (call(json!("d"), ""), Ok(called(json!({}))), &[]),
        (call(json!("d"), "[]"), Ok(called(json!({ "INVALID_ARGUMENTS": "[]" }))), ARGUMENTS),
        (call(json!("d"), r#"{"a":"#), Ok(called(json!({ "INVALID_ARGUMENTS": "{\"a\":" }))), ARGUMENTS),
        (call(json!(null), "{}"), Err("messages[2].tool_calls[0].id"), &[]),
        (
            json!({ "role": "assistant", "content": "a", "reasoning": "hm" }),
            Ok(json!({ "role": "assistant", "content": "a", "thinking": "hm" })),
            &[],
        ),
        (
            json!({ "role": "assistant", "content": "a", "reasoning_content": "hm" }),
            Ok(json!({ "role": "assistant", "content": "a", "thinking": "hm" })),
            &[],
        ),
        (
            json!({ "role": "tool", "tool_call_id": "c", "content": "1" }),
            Ok(json!({ "role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c" })),
            &[],
        ),
        (
            json!({ "role": "tool", "tool_call_id": "x", "name": "h", "content": "1" }),
            Ok(json!({ "role": "tool", "content": "1", "tool_name": "h", "tool_call_id": "x" })),
            &[],
        ),
        (
            json!({ "role": "tool", "tool_call_id": "x", "content": "1" }),
            Ok(json!({ "role": "tool", "content": "1", "tool_call_id": "x" })),
            &[],
        ),
        (json!({ "role": "tool", "content": "1" }), Err("messages[2].tool_call_id"), &[]),
        (json!({ "role": "user", "content": "a", "name": "ann" }), Ok(text("user", "a")), &["messages[].name"]),
    ]
}

/// What is forwarded, and what the client is told to be without effect.
fn translate(body: &Value) -> Result<(Value, Vec<String>), String> {
    let decoded = OpenAi.decode(&Post { path: CHAT }, body.to_string().as_bytes());
    let decoded = decoded.map_err(|error| error.field().unwrap_or_default().to_owned())?;
    let call = OllamaProvider.call(&decoded.work).unwrap();
    Ok((serde_json::from_slice(&call.body).unwrap(), decoded.ignored))
}

#[test]
fn each_row_of_the_table_is_handled_or_refused_by_name() {
    let mut problems = Vec::new();
    for (field, value, more, fate) in rows() {
        let mut plain = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        plain.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut body = plain.clone();
        body[field] = value.clone();
        let got = translate(&body);
        let is_as_before = |sent: &Value| translate(&plain).is_ok_and(|(before, _)| before == *sent);
        let right = match (&fate, &got) {
            (Refused(name), Err(refused)) => name == refused,
            (Sent(at, what), Ok((sent, ignored))) => sent.pointer(at) == Some(what) && ignored.is_empty(),
            (Without(at), Ok((sent, ignored))) => sent.pointer(at).is_none() && ignored.is_empty(),
            (Same, Ok((sent, ignored))) => is_as_before(sent) && ignored.is_empty(),
            (Ignored, Ok((sent, ignored))) => is_as_before(sent) && *ignored == [field],
            (Taken, Ok((_, ignored))) => ignored.is_empty(),
            _ => false,
        };
        if !right {
            problems.push(format!("{field}: {value} became {got:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn each_message_of_the_table_is_handled_or_refused_by_name() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let mut problems = Vec::new();
    for (message, fate, told) in message_rows() {
        let messages =
            json!([{ "role": "user", "content": "hi" }, { "role": "assistant", "tool_calls": [call] }, message]);

        let got = translate(&json!({ "model": "m", "messages": messages }));

        let got = got.map(|(sent, ignored)| (sent["messages"][2].clone(), ignored));
        let wanted = fate.map(|sent| (sent, told.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()));
        if got != wanted.map_err(str::to_owned) {
            problems.push(format!("{message} became {got:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
