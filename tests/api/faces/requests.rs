//! What a request can say, in the words of each face.

use serde_json::{Value, json};

use super::PIXEL;

pub struct RequestRow {
    pub what: &'static str,
    pub cells: [RequestCell; 5],
    /// It can't be said together with the others.
    pub is_alone: bool,
    /// The gateway does it itself, so the upstream is not told.
    pub is_silent: bool,
}

#[derive(Clone)]
pub struct RequestCell {
    pub words: &'static str,
    /// What says it; `None`: this face has no words for it, or it needs more than one request.
    pub fields: Option<Value>,
    /// What a client may try to say it with, in vain.
    pub tried: Option<Value>,
}

impl RequestRow {
    pub fn words(&self) -> [&str; 5] {
        self.cells.each_ref().map(|cell| cell.words)
    }

    fn alone(self) -> Self {
        RequestRow { is_alone: true, ..self }
    }

    fn silent(self) -> Self {
        RequestRow { is_silent: true, ..self }
    }
}

fn row(what: &'static str, [chat, responses, messages, api]: [RequestCell; 4]) -> RequestRow {
    row_with(what, [chat, responses, messages, api.clone(), api])
}

/// A row in which `/chat` differs from Ollama's own route.
fn row_with(what: &'static str, cells: [RequestCell; 5]) -> RequestRow {
    RequestRow { what, cells, is_alone: false, is_silent: false }
}

fn says(words: &'static str, fields: Value) -> RequestCell {
    RequestCell { words, fields: Some(fields), tried: None }
}

/// It can't be said. A field that asks for it is named in `x-ignored-parameters`.
fn no(tried: Value) -> RequestCell {
    RequestCell { words: NO, fields: None, tried: Some(tried) }
}

/// It can't be said, and a field that asks for it is refused.
fn refused(tried: Value) -> RequestCell {
    RequestCell { words: REFUSED, fields: None, tried: Some(tried) }
}

fn told(words: &'static str) -> RequestCell {
    RequestCell { words, fields: None, tried: None }
}

const NO: &str = "no";
pub const REFUSED: &str = "no (400)";

pub fn request_rows() -> Vec<RequestRow> {
    let mut rows = conversation();
    rows.extend(wishes());
    rows
}

fn conversation() -> Vec<RequestRow> {
    let system = json!({ "^messages": [{ "role": "system", "content": "Be brief." }] });
    let uri = format!("data:image/png;base64,{PIXEL}");
    let base64 = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": PIXEL } });
    let question = json!({ "type": "text", "text": "What is this?" });
    let arguments = json!({ "city": "Paris" });
    let call = |arguments: Value| json!({ "id": "call_1", "type": "function", "function": { "name": "get_weather", "arguments": arguments } });
    let call_item = json!({ "type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": arguments.to_string() });
    let call_block = json!({ "type": "tool_use", "id": "call_1", "name": "get_weather", "input": arguments });
    let chart = json!([{ "type": "input_text", "text": "a chart" }, { "type": "input_image", "image_url": uri }]);
    let chart_block = json!([{ "type": "text", "text": "a chart" }, base64]);
    let result = |more: Value| {
        let mut message = json!({ "role": "tool", "tool_call_id": "call_1", "content": "sunny" });
        super::add(&mut message, &more);
        message
    };
    let called = json!({ "role": "assistant", "content": "I look.", "tool_calls": [call(arguments.clone())] });
    let said = json!({ "role": "assistant", "content": "I look." });

    vec![
        row(
            "what the system says",
            [
                says("a message of the role `system` or `developer`", system.clone()),
                says("`instructions`, or a message as before", json!({ "instructions": "Be brief." })),
                says("`system`, or a message of that role", json!({ "system": "Be brief." })),
                says("a message of the role `system`", system),
            ],
        ),
        row(
            "an image (PNG, JPEG and others, never an address)",
            [
                says(
                    "part `image_url` with a data URI",
                    json!({ "+messages": [{ "role": "user", "content": [question, { "type": "image_url", "image_url": { "url": uri } }] }] }),
                ),
                says(
                    "part `input_image` with a data URI",
                    json!({ "+input": [{ "role": "user", "content": [
                        { "type": "input_text", "text": "What is this?" }, { "type": "input_image", "image_url": uri }] }] }),
                ),
                says(
                    "block `image` with `base64`",
                    json!({ "+messages": [{ "role": "user", "content": [question, base64] }] }),
                ),
                says(
                    "`images`",
                    json!({ "+messages": [{ "role": "user", "content": "What is this?", "images": [PIXEL] }] }),
                ),
            ],
        ),
        row(
            "an earlier call and its result",
            [
                says(
                    "`tool_calls`; role `tool` with `tool_call_id`",
                    json!({ "+messages": [
                        { "role": "assistant", "content": "I look.", "tool_calls": [call(arguments.to_string().into())] },
                        result(json!({}))] }),
                ),
                says(
                    "items `function_call`, `function_call_output`",
                    json!({ "+input": [
                        said, call_item, { "type": "function_call_output", "call_id": "call_1", "output": "sunny" }] }),
                ),
                says(
                    "blocks `tool_use`, `tool_result`",
                    json!({ "+messages": [
                        { "role": "assistant", "content": [{ "type": "text", "text": "I look." }, call_block] },
                        { "role": "user", "content": [
                            { "type": "tool_result", "tool_use_id": "call_1", "content": "sunny" }] }] }),
                ),
                says(
                    "`tool_calls`; role `tool` with `tool_name`, `tool_call_id`",
                    json!({ "+messages": [called, result(json!({ "tool_name": "get_weather" }))] }),
                ),
            ],
        ),
        row(
            "an image in a result",
            [
                refused(json!({ "+messages": [
                    { "role": "assistant", "tool_calls": [call(arguments.to_string().into())] },
                    result(json!({ "content": [{ "type": "image_url", "image_url": { "url": uri } }] }))] })),
                says(
                    "part `input_image` of `output`",
                    json!({ "+input": [
                        call_item, { "type": "function_call_output", "call_id": "call_1", "output": chart }] }),
                ),
                says(
                    "block `image` in `tool_result`",
                    json!({ "+messages": [
                        { "role": "assistant", "content": [call_block] },
                        { "role": "user", "content": [
                            { "type": "tool_result", "tool_use_id": "call_1", "content": chart_block }] }] }),
                ),
                says(
                    "`images` of the result",
                    json!({ "+messages": [
                        { "role": "assistant", "tool_calls": [call(arguments.clone())] },
                        result(json!({ "tool_name": "get_weather", "content": "a chart", "images": [PIXEL] }))] }),
                ),
            ],
        )
        .alone(),
        row(
            "what the model thought earlier",
            [
                says(
                    "`reasoning` or `reasoning_content`",
                    json!({ "+messages": [{ "role": "assistant", "content": "Yes.", "reasoning": "hm" }] }),
                ),
                says(
                    "item `reasoning`",
                    json!({ "+input": [
                        { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }] },
                        { "role": "assistant", "content": [{ "type": "output_text", "text": "Yes." }] }] }),
                ),
                says(
                    "block `thinking`",
                    json!({ "+messages": [{ "role": "assistant", "content": [
                        { "type": "thinking", "thinking": "hm", "signature": "s" }, { "type": "text", "text": "Yes." }] }] }),
                ),
                says(
                    "`thinking`",
                    json!({ "+messages": [{ "role": "assistant", "content": "Yes.", "thinking": "hm" }] }),
                ),
            ],
        ),
        row(
            "an answer that the request goes on from",
            [
                no(json!({ "previous_response_id": "resp_1" })),
                told("`previous_response_id`"),
                no(json!({ "previous_response_id": "resp_1" })),
                no(json!({ "previous_response_id": "resp_1" })),
            ],
        )
        .alone(),
    ]
}

fn wishes() -> Vec<RequestRow> {
    let schema = json!({ "type": "object", "properties": { "answer": { "type": "string" } }, "required": ["answer"] });
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let function = json!({ "name": "get_weather", "description": "The weather", "parameters": parameters });
    let tool = json!({ "type": "function", "function": function });
    let mut flat = function.clone();
    flat["type"] = json!("function");
    let tool_block = json!({ "name": "get_weather", "description": "The weather", "input_schema": parameters });
    let with = |tools: &Value, more: Value| {
        let mut fields = json!({ "tools": [tools] });
        super::add(&mut fields, &more);
        fields
    };
    let options = |options: Value| json!({ "options": options });
    let thinks = |more: Value| {
        let mut fields = json!({ "model": "user/other:1b" });
        super::add(&mut fields, &more);
        fields
    };

    vec![
        row(
            "functions",
            [
                says("`tools`", with(&tool, json!({}))),
                says("`tools`, in `namespace`s, too", with(&flat, json!({}))),
                says("`tools`", with(&tool_block, json!({}))),
                says("`tools`", with(&tool, json!({}))),
            ],
        ),
        row(
            "a call is a must (or one of these functions is)",
            [
                says("`tool_choice`", with(&tool, json!({ "tool_choice": "required" }))),
                says("`tool_choice`", with(&flat, json!({ "tool_choice": "required" }))),
                says("`tool_choice`", with(&tool_block, json!({ "tool_choice": { "type": "any" } }))),
                no(json!({ "tool_choice": "required" })),
            ],
        )
        .alone(),
        row(
            "one call at most",
            [
                says("`parallel_tool_calls: false`", json!({ "parallel_tool_calls": false })),
                says("`parallel_tool_calls: false`", json!({ "parallel_tool_calls": false })),
                says(
                    "`tool_choice.disable_parallel_tool_use`",
                    json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } }),
                ),
                no(json!({ "parallel_tool_calls": false })),
            ],
        )
        .silent(),
        row(
            "an answer that matches a JSON schema",
            [
                says(
                    "`response_format`",
                    json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": schema } } }),
                ),
                says(
                    "`text.format`",
                    json!({ "text": { "format": { "type": "json_schema", "name": "a", "schema": schema } } }),
                ),
                says(
                    "`output_config.format`",
                    json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } }),
                ),
                says("`format`", json!({ "format": schema })),
            ],
        ),
        row(
            "any JSON",
            [
                says("`response_format: json_object`", json!({ "response_format": { "type": "json_object" } })),
                says("`text.format: json_object`", json!({ "text": { "format": { "type": "json_object" } } })),
                refused(json!({ "output_config": { "format": { "type": "json_object" } } })),
                says("`format: \"json\"`", json!({ "format": "json" })),
            ],
        )
        .alone(),
        row(
            "the longest answer, in tokens",
            [
                says("`max_completion_tokens` or `max_tokens`", json!({ "max_completion_tokens": 40 })),
                says("`max_output_tokens`", json!({ "max_output_tokens": 40 })),
                says("`max_tokens`, a must", json!({ "max_tokens": 40 })),
                says("`options.num_predict`", options(json!({ "num_predict": 40 }))),
            ],
        ),
        row(
            "temperature",
            [
                says("`temperature`", json!({ "temperature": 0.5 })),
                says("`temperature`", json!({ "temperature": 0.5 })),
                says("`temperature`", json!({ "temperature": 0.5 })),
                says("`options.temperature`", options(json!({ "temperature": 0.5 }))),
            ],
        ),
        row(
            "top p",
            [
                says("`top_p`", json!({ "top_p": 0.9 })),
                says("`top_p`", json!({ "top_p": 0.9 })),
                says("`top_p`", json!({ "top_p": 0.9 })),
                says("`options.top_p`", options(json!({ "top_p": 0.9 }))),
            ],
        ),
        row(
            "top k",
            [
                no(json!({ "top_k": 20 })),
                no(json!({ "top_k": 20 })),
                says("`top_k`", json!({ "top_k": 20 })),
                says("`options.top_k`", options(json!({ "top_k": 20 }))),
            ],
        ),
        row(
            "seed",
            [
                says("`seed`", json!({ "seed": 7 })),
                no(json!({ "seed": 7 })),
                no(json!({ "seed": 7 })),
                says("`options.seed`", options(json!({ "seed": 7 }))),
            ],
        ),
        row(
            "penalties for repetition",
            [
                says(
                    "`presence_penalty`, `frequency_penalty`",
                    json!({ "presence_penalty": 1, "frequency_penalty": 0.5 }),
                ),
                no(json!({ "presence_penalty": 1 })),
                no(json!({ "presence_penalty": 1 })),
                says(
                    "`options.presence_penalty` and others",
                    options(json!({ "presence_penalty": 1, "frequency_penalty": 0.5 })),
                ),
            ],
        ),
        row(
            "texts that end the answer",
            [
                says("`stop`, up to 4", json!({ "stop": ["END"] })),
                no(json!({ "stop": ["END"] })),
                // The gateway looks for them itself, since an upstream does not report which one came.
                told("`stop_sequences`, up to 64"),
                says("`options.stop`", options(json!({ "stop": ["END"] }))),
            ],
        ),
        row(
            "how hard to think",
            [
                says("`reasoning_effort`", thinks(json!({ "reasoning_effort": "low" }))),
                says("`reasoning.effort`", thinks(json!({ "reasoning": { "effort": "low" } }))),
                says("`output_config.effort`, `thinking`", thinks(json!({ "output_config": { "effort": "low" } }))),
                says("`think`", thinks(json!({ "think": "low" }))),
            ],
        )
        .alone(),
        row(
            "not to think",
            [
                says("`reasoning_effort: \"none\"`", json!({ "reasoning_effort": "none" })),
                says("`reasoning.effort: \"none\"`", json!({ "reasoning": { "effort": "none" } })),
                says("`thinking: disabled`", json!({ "thinking": { "type": "disabled" } })),
                says("`think: false`", json!({ "think": false })),
            ],
        ),
        row_with(
            "how likely each token was",
            [
                says("`logprobs`, `top_logprobs`", json!({ "logprobs": true, "top_logprobs": 2 })),
                says("`top_logprobs`, `include`", json!({ "top_logprobs": 2 })),
                no(json!({ "logprobs": true })),
                says("`logprobs`, `top_logprobs`", json!({ "logprobs": true, "top_logprobs": 2 })),
                refused(json!({ "logprobs": true })),
            ],
        ),
        row(
            "several answers",
            [says("`n`", json!({ "n": 2 })), no(json!({ "n": 2 })), no(json!({ "n": 2 })), no(json!({ "n": 2 }))],
        )
        .alone()
        .silent(),
        row(
            "a conversation that is too long may lose its beginning",
            [
                no(json!({ "truncation": "auto" })),
                says("`truncation: \"auto\"`", json!({ "truncation": "auto" })),
                no(json!({ "truncation": "auto" })),
                says("`truncate`; Ollama's own default", json!({ "truncate": true })),
            ],
        )
        .alone(),
    ]
}
