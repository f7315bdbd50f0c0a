//! Bodies for the readers: good ones with some bytes changed, and any fields with any values.
#![allow(dead_code, reason = "each test binary uses its own part")]

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// A change of one byte: where, how, and the byte.
pub type ByteChange = (Index, u8, u8);

pub fn byte_changes() -> impl Strategy<Value = Vec<ByteChange>> {
    prop::collection::vec((any::<Index>(), 0..4_u8, any::<u8>()), 0..6)
}

/// Returns bytes that are almost right: some are changed, taken out or put in.
pub fn damage(mut bytes: Vec<u8>, changes: &[ByteChange]) -> Vec<u8> {
    for (place, what, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match what {
            0 => bytes[at] = *byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, *byte),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

pub fn damaged(good: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(good), byte_changes()).prop_map(|(bytes, changes)| damage(bytes, &changes))
}

/// A request of known and unknown fields with values of any type.
pub fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let value = || {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z:]{0,6}".prop_map(Value::from),
            prop::sample::select(
                &[
                    "user",
                    "text",
                    "function",
                    "json_schema",
                    "aGk=",
                    "none",
                    "required",
                    "{}",
                    "#/x",
                    "system",
                    "assistant",
                    "tool",
                    "input_text",
                    "input_image",
                    "message",
                    "reasoning",
                    "function_call",
                    "function_call_output",
                    "tool_use",
                    "tool_result",
                    "thinking",
                    "image",
                    "base64",
                    "enabled",
                    "auto",
                    "any",
                    "low"
                ][..]
            )
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let names = prop::sample::select(
                &[
                    "role",
                    "content",
                    "type",
                    "text",
                    "images",
                    "tool_calls",
                    "tool_call_id",
                    "parameters",
                    "allowed_tools",
                    "mode",
                    "tools",
                    "image_url",
                    "$ref",
                    "properties",
                    "oneOf",
                    "function",
                    "name",
                    "arguments",
                    "schema",
                    "username",
                    "password",
                    "json_schema",
                    "effort",
                    "include_usage",
                    "num_predict",
                    "stop",
                    "input",
                    "output",
                    "call_id",
                    "summary",
                    "namespace",
                    "encrypted_content",
                    "source",
                    "data",
                    "media_type",
                    "tool_use_id",
                    "is_error",
                    "thinking",
                    "signature",
                    "cache_control",
                    "tool_name",
                    "input_schema",
                    "format",
                    "x",
                ][..],
            );
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..4).prop_map(|fields| Value::Object(
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                )),
            ]
        })
    };
    let names = prop::sample::select(
        &[
            "temperature",
            "stop",
            "stream",
            "stream_options",
            "n",
            "seed",
            "format",
            "response_format",
            "options",
            "tools",
            "think",
            "auth",
            "max_tokens",
            "reasoning",
            "tool_choice",
            "parallel_tool_calls",
            "logprobs",
            "top_logprobs",
            "keep_alive",
            "raw",
            "system",
            "template",
            "context",
            "images",
            "truncate",
            "messages",
            "prompt",
            "suffix",
            "echo",
            "input",
            "encoding_format",
            "dimensions",
            "instructions",
            "previous_response_id",
            "include",
            "text",
            "truncation",
            "metadata",
            "background",
            "conversation",
            "max_output_tokens",
            "stop_sequences",
            "top_k",
            "thinking",
            "output_config",
            "output_format",
            "context_management",
            "shift",
            "model",
            "Model",
            "unknown",
        ][..],
    );
    (prop::collection::vec((names, value()), 0..5), any::<bool>()).prop_map(|(fields, has_prompt)| {
        let mut request =
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "input": ["hi"], "max_tokens": 9});
        // Where there is an input, it may be refused.
        if has_prompt {
            request["prompt"] = "hi".into();
        } else {
            request["input"] = json!([{"role": "user", "content": "hi"}]);
        }
        for (name, value) in fields {
            request[name] = value;
        }
        request.to_string().into_bytes()
    })
}
