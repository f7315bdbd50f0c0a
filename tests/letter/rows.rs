//! Each row of the table that maps a chat completion's request onto the model server, with what becomes of it.

use lan_gateway::dialect::{Dialect, openai::OpenAi};
use lan_gateway::provider::{Provider, ollama::Ollama};
use serde_json::{Value, json};

use crate::CHAT;
use crate::events::Post;

enum Fate {
    /// It stands in what is forwarded, there.
    Sent(&'static str, Value),
    /// It changes nothing in what is forwarded, and this is no loss.
    Same,
    /// It changes nothing in what is forwarded, and the client is told.
    Ignored,
    /// It shapes the answer or the request in a way that other tests show.
    Taken,
    /// A 400 that names this field.
    Refused(&'static str),
}
use Fate::{Ignored, Refused, Same, Sent, Taken};

fn tool() -> Value {
    json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object", "properties": {} } } }])
}

/// A field and a value; more fields where it needs them.
fn rows() -> Vec<(&'static str, Value, Value, Fate)> {
    let tools = || json!({ "tools": tool() });
    let none = || json!({});
    let schema = json!({ "type": "object" });
    vec![
        ("model", json!("other"), none(), Sent("/model", json!("other"))),
        ("model", json!(null), none(), Refused("model")),
        ("messages", json!([]), none(), Refused("messages")),
        ("max_tokens", json!(5), none(), Sent("/options/num_predict", json!(5))),
        ("max_completion_tokens", json!(5), none(), Sent("/options/num_predict", json!(5))),
        ("max_completion_tokens", json!(5), json!({ "max_tokens": 6 }), Refused("max_completion_tokens")),
        ("max_tokens", json!(0), none(), Refused("max_tokens")),
        ("stop", json!("a"), none(), Sent("/options/stop", json!(["a"]))),
        ("stop", json!(["a", "b", "c", "d", "e"]), none(), Refused("stop")),
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
        ("tool_choice", json!("none"), tools(), Taken),
        ("tool_choice", json!("auto"), tools(), Sent("/tools", tool())),
        ("tool_choice", json!("required"), tools(), Taken),
        ("tool_choice", json!({ "type": "function", "function": { "name": "f" } }), tools(), Taken),
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
        ("reasoning_effort", json!("most"), none(), Refused("reasoning_effort")),
        ("reasoning", json!({ "effort": "low" }), none(), Sent("/think", json!("low"))),
        ("logprobs", json!(true), none(), Sent("/logprobs", json!(true))),
        ("top_logprobs", json!(3), json!({ "logprobs": true }), Sent("/top_logprobs", json!(3))),
        ("top_logprobs", json!(3), none(), Refused("top_logprobs")),
        ("n", json!(1), none(), Same),
        ("n", json!(2), none(), Refused("n")),
        ("logit_bias", json!({}), none(), Same),
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
        ("modalities", json!(["text"]), none(), Same),
        ("modalities", json!(["text", "audio"]), none(), Refused("modalities")),
        ("audio", json!({ "voice": "a" }), none(), Refused("audio")),
        ("functions", json!([{ "name": "f" }]), none(), Refused("functions")),
        ("function_call", json!("auto"), none(), Refused("function_call")),
        ("web_search_options", json!({ "search_context_size": "low" }), none(), Refused("web_search_options")),
        ("unheard_of", json!(1), none(), Ignored),
        ("keep_alive", json!(-1), none(), Ignored),
        ("options", json!({ "num_ctx": 9 }), none(), Ignored),
        ("think", json!(true), none(), Ignored),
        ("num_ctx", json!(9), none(), Ignored),
    ]
}

/// What is forwarded, and what the client is told to be without effect.
fn translate(body: &Value) -> Result<(Value, Vec<String>), String> {
    let decoded = OpenAi.decode(&Post { path: CHAT }, body.to_string().as_bytes());
    let decoded = decoded.map_err(|error| error.field().unwrap_or_default().to_owned())?;
    let call = Ollama.call(&decoded.work).unwrap();
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
