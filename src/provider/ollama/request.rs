//! A chat as a request to Ollama's `/api/chat`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::model::chat::{ChatRequest, Format, Message, Part, Role, Sampling, Think, Tool, ToolCall};
use crate::model::too_long::TooLong;
use crate::provider::ollama::grammar::{Care, Finished, Grammar};
use crate::provider::ollama::schema;
use crate::provider::{Call, ImageAt, Reading, SCHEMA_FIELD};

pub fn call(request: &ChatRequest, prompt_field: &'static str) -> Result<Call, Error> {
    let mut simplified = Vec::new();
    let tools = request.tools.iter().enumerate().map(|tool| WireTool::of(tool, &mut simplified)).collect::<Vec<_>>();
    let mut notes = Vec::new();
    let mut must_call = Vec::new();
    let mut images = Vec::new();
    let mut schema_field = SCHEMA_FIELD;
    let body = if request.must_call {
        notes.push("asked for a function call in the system message, and bound the answer to its schema".into());
        must_call = request.tools.iter().map(|tool| tool.name.clone()).collect();
        let bound = schema_of_calls(&request.tools)?;
        schema_field = "tools";
        let body = body(&bound_to_call(request, &tools), &[], Some(&bound.schema), &mut images, &mut notes);
        simplified.extend(bound.simplified);
        body
    } else if let Some(Format::Schema { schema, field }) = &request.format {
        let bound = schema_of_answer(schema, field)?;
        schema_field = field;
        let body = body(request, &tools, Some(&bound.schema), &mut images, &mut notes);
        simplified.extend(bound.simplified);
        body
    } else {
        body(request, &tools, None, &mut images, &mut notes)
    };
    notes.extend(simplified.iter().map(|place| format!("simplified {place}")));
    let reading = Reading::Chat { must_call, one_call: request.one_call, stops: request.told_stops.clone() };
    Ok(Call { images, notes, simplified, schema_field, ..Call::post("/api/chat", body, reading, prompt_field) })
}

fn schema_of_answer(schema: &Value, field: &str) -> Result<Finished, Error> {
    let mut grammar = Grammar::default();
    let written = grammar.write(schema, field, Care::Strict)?;
    grammar.finish(written, field)
}

/// Returns a schema that allows a call of one of the functions and nothing else.
fn schema_of_calls(tools: &[Tool]) -> Result<Finished, Error> {
    let mut grammar = Grammar::default();
    let mut calls = Vec::with_capacity(tools.len());
    for (number, tool) in tools.iter().enumerate() {
        let field = format!("tools[{number}].function.parameters");
        let arguments = grammar.write_object(tool.parameters.as_ref(), &field, Care::Lenient)?;
        calls.push(json!({
            "type": "object",
            "properties": {"name": {"enum": [tool.name]}, "arguments": arguments},
            "required": ["name", "arguments"],
        }));
    }
    grammar.finish(json!({ "anyOf": calls }), "tools")
}

/// The words before the functions in the order to call one. `read_back` looks for them.
pub const ORDER: &str = "Answer with one function call, written as a JSON object: \
                         {\"name\": \"…\", \"arguments\": {…}}. The functions are:\n";

/// Forces a call, since Ollama has no `tool_choice`: the model is told to call and is bound to the schema of a call, and the
/// answer's text is read back into one. `tools` is then not sent; with it, Ollama would look for calls as well.
fn bound_to_call(request: &ChatRequest, tools: &[WireTool<'_>]) -> ChatRequest {
    let functions: Vec<_> = tools.iter().map(|tool| &tool.function).collect();
    let functions = serde_json::to_string(&functions).unwrap_or_default();
    let order = format!("{ORDER}{functions}");
    let mut request = request.clone();
    match request.messages.first_mut() {
        Some(first) if first.role == Role::System => {
            first.parts.push(Part::Text(format!("\n\n{order}")));
        }
        _ => request.messages.insert(0, Message::new(Role::System, order)),
    }
    request.tools = Vec::new();
    request
}

/// Writes the body by hand, because the record needs the place of each image in it. `bound` is a schema that the grammar
/// compiler accepts.
fn body(
    request: &ChatRequest,
    tools: &[WireTool<'_>],
    bound: Option<&str>,
    images: &mut Vec<ImageAt>,
    notes: &mut Vec<String>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(expected_length(request));
    out.extend_from_slice(b"{\"model\":");
    put(&mut out, request.model.as_str());
    out.extend_from_slice(b",\"messages\":[");
    for (number, message) in request.messages.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        put_message(&mut out, message, images);
    }
    // Every answer is streamed; a whole answer is a folded stream.
    out.extend_from_slice(b"],\"stream\":true");
    if !tools.is_empty() {
        put_field(&mut out, "tools", tools);
    }
    match (bound, &request.format) {
        (Some(schema), _) => {
            out.extend_from_slice(b",\"format\":");
            out.extend_from_slice(schema.as_bytes());
        }
        (None, Some(Format::Json)) => put_field(&mut out, "format", "json"),
        (None, _) => {}
    }
    let options = options(request.extra.ollama.clone(), &request.sampling, request.max_tokens, notes);
    if !options.is_empty() {
        put_field(&mut out, "options", &options);
    }
    match request.think.map(|think| think.level) {
        Some(Think::Off) => put_field(&mut out, "think", &false),
        Some(Think::On) => put_field(&mut out, "think", &true),
        Some(Think::Low) => put_field(&mut out, "think", "low"),
        Some(Think::Medium) => put_field(&mut out, "think", "medium"),
        Some(Think::High) => put_field(&mut out, "think", "high"),
        Some(Think::Max) => put_field(&mut out, "think", "max"),
        None => {}
    }
    put_end(&mut out, request.logprobs, request.too_long);
    out
}

/// Writes the end that chats and completions share.
pub fn put_end(out: &mut Vec<u8>, logprobs: Option<u8>, too_long: Option<TooLong>) {
    if let Some(top) = logprobs {
        put_field(out, "logprobs", &true);
        put_field(out, "top_logprobs", &top);
    }
    put_truncate(out, too_long);
    out.push(b'}');
}

pub fn put_truncate(out: &mut Vec<u8>, too_long: Option<TooLong>) {
    if let Some(too_long) = too_long {
        put_field(out, "truncate", &(too_long == TooLong::Cut));
    }
}

fn expected_length(request: &ChatRequest) -> usize {
    let of_part = |part: &Part| match part {
        Part::Image(image) => image.bytes.len().div_ceil(3) * 4 + 4,
        Part::Text(text) | Part::Reasoning(text) => text.len() + text.len() / 8,
        Part::ToolCall(call) => call.arguments.get().len() + 128,
        Part::ToolResult(result) => result.text.len() + result.text.len() / 8 + 64,
    };
    let of_message = |message: &Message| 64 + message.parts.iter().map(of_part).sum::<usize>();
    256 + request.messages.iter().map(of_message).sum::<usize>()
}

pub fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    // Memory takes every write, and what is written here has text for its keys.
    debug_assert!(written.is_ok(), "{written:?}");
}

pub fn put_field<T: Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, value: &T) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    put(out, value);
}

/// Folds the parts of a message into Ollama's fields: texts are joined, and images have a field of their own.
fn put_message(out: &mut Vec<u8>, message: &Message, images: &mut Vec<ImageAt>) {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    out.extend_from_slice(b"{\"role\":");
    put(out, role);
    put_field(out, "content", &message.text());
    let reasoning = message.reasoning();
    if !reasoning.is_empty() {
        put_field(out, "thinking", &reasoning);
    }
    let mut number_of_images = 0;
    for image in message.images() {
        out.extend_from_slice(if number_of_images == 0 { b",\"images\":[\"" } else { b",\"" });
        images.push(put_base64(out, &image.bytes));
        out.push(b'"');
        number_of_images += 1;
    }
    if number_of_images > 0 {
        out.push(b']');
    }
    let calls: Vec<_> = message.tool_calls().enumerate().map(WireSentCall::of).collect();
    if !calls.is_empty() {
        put_field(out, "tool_calls", &calls);
    }
    if let Some(result) = message.tool_result() {
        if let Some(name) = &result.name {
            put_field(out, "tool_name", name);
        }
        if let Some(id) = &result.call_id {
            put_field(out, "tool_call_id", id);
        }
    }
    out.push(b'}');
}

fn put_base64(out: &mut Vec<u8>, bytes: &Bytes) -> ImageAt {
    let offset = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(offset + length, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[offset..]);
    debug_assert_eq!(written, Ok(length));
    ImageAt { offset, length, bytes: bytes.clone() }
}

/// The lowest temperature that is sent; below it the likeliest token is always taken anyway. Dividing by less than a 32-bit
/// float can express gives the sampler NaN, and ends the model's runner.
const TEMPERATURE_MIN: f64 = 1e-5;

pub fn options(
    mut options: Map<String, Value>,
    sampling: &Sampling,
    max_tokens: Option<u32>,
    notes: &mut Vec<String>,
) -> Map<String, Value> {
    let too_low = sampling.temperature.filter(|temperature| *temperature > 0.0 && *temperature < TEMPERATURE_MIN);
    if let Some(temperature) = too_low {
        notes.push(format!("clamped temperature from {temperature} to 0"));
    }
    let temperature = if too_low.is_some() { Some(0.0) } else { sampling.temperature };
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    set("num_predict", max_tokens.map(Value::from));
    set("temperature", temperature.map(Value::from));
    set("top_p", sampling.top_p.map(Value::from));
    set("top_k", sampling.top_k.map(Value::from));
    set("seed", sampling.seed.map(Value::from));
    set("presence_penalty", sampling.presence_penalty.map(Value::from));
    set("frequency_penalty", sampling.frequency_penalty.map(Value::from));
    // Ollama accepts only a list, and answers 500 to a string.
    set("stop", (!sampling.stop.is_empty()).then(|| Value::from(sampling.stop.as_slice())));
    options
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireToolFunction<'a>,
}

#[derive(Serialize)]
struct WireToolFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Value,
}

impl<'a> WireTool<'a> {
    fn of((number, tool): (usize, &'a Tool), simplified: &mut Vec<String>) -> Self {
        let (parameters, is_exact) = schema::plain(tool.parameters.as_ref());
        if !is_exact {
            simplified.push(format!("tools[{number}].function.parameters"));
        }
        let function = WireToolFunction { name: &tool.name, description: tool.description.as_deref(), parameters };
        WireTool { r#type: "function", function }
    }
}

#[derive(Serialize)]
struct WireSentCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    function: WireSentFunction<'a>,
}

#[derive(Serialize)]
struct WireSentFunction<'a> {
    index: usize,
    name: &'a str,
    arguments: &'a RawValue,
}

impl<'a> WireSentCall<'a> {
    fn of((index, call): (usize, &'a ToolCall)) -> Self {
        WireSentCall {
            id: &call.id,
            function: WireSentFunction { index, name: &call.name, arguments: &call.arguments },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chat::Image;
    use crate::model::model_name::ModelName;
    use crate::model::work::Work;
    use crate::provider::Provider;
    use crate::provider::ollama::OllamaProvider;

    fn request() -> ChatRequest {
        ChatRequest::new(ModelName::parse("m:1").unwrap(), vec![Message::new(Role::User, "hi")])
    }

    fn sent(request: &ChatRequest) -> String {
        String::from_utf8(OllamaProvider.call(&Work::Chat(request.clone())).unwrap().body.to_vec()).unwrap()
    }

    #[test]
    fn a_plain_request_always_streams() {
        let body = sent(&request());

        assert_eq!(body, r#"{"model":"m:1","messages":[{"role":"user","content":"hi"}],"stream":true}"#);
    }

    #[test]
    fn the_limit_of_tokens_and_the_stops_are_options() {
        let mut request = request();
        request.max_tokens = Some(8192);
        request.sampling.stop = vec!["\n".into()];

        assert!(sent(&request).ends_with(r#""options":{"num_predict":8192,"stop":["\n"]}}"#));
    }

    #[test]
    fn the_place_of_each_image_is_told() {
        let mut request = request();
        for bytes in [&b"a"[..], b"ab", b"abc"] {
            let image = Image { bytes: Bytes::copy_from_slice(bytes), field: String::new() };
            request.messages[0].parts.push(Part::Image(image));
        }
        request.messages.push(Message::new(Role::User, "YQ=="));

        let call = OllamaProvider.call(&Work::Chat(request)).unwrap();

        let found: Vec<_> = call.images.iter().map(|at| &call.body[at.offset..at.offset + at.length]).collect();
        assert_eq!(found, [&b"YQ=="[..], b"YWI=", b"YWJj"]);
        assert_eq!(call.images[2].bytes, "abc");
        serde_json::from_slice::<Value>(&call.body).unwrap();
    }
}
