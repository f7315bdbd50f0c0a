//! OpenAI's Responses as the OpenAPI document describes them: what `dialect/openai/responses` reads and writes; see `chat`.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::docs::chat::ReasoningEffort;

/// Creates a response in OpenAI's format.
///
/// Point an SDK's base URL at `/v1`. Tools that run elsewhere (`web_search`, `mcp`, `custom`, …) and other fields without effect
/// are left out and named in `x-ignored-parameters`; a parameter that would change the answer and is not supported is refused by
/// name, such as `background` and `conversation`. A function `search` of a namespace `docs` is `docs.search` for the model.
///
/// What the model thinks is the summary of a reasoning item. An answer that its token limit cut has the status `incomplete`. A
/// failure after the stream has begun is an event `response.failed`.
#[utoipa::path(post, path = "/v1/responses", operation_id = "create_response", tag = "chat",
    request_body(content = ResponseRequest, examples(
        ("a question" = (summary = "A question", value = json!({
            "model": "llama3.2:latest", "input": "Say hello in one sentence.", "max_output_tokens": 50 }))),
        ("b stream" = (summary = "An answer while it is written", value = json!({
            "model": "llama3.2:latest", "instructions": "You are brief.",
            "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "Why is the sea salty?" }] }],
            "stream": true, "temperature": 0.2, "max_output_tokens": 60 }))),
        ("c json" = (summary = "An answer that matches a JSON schema", value = json!({
            "model": "llama3.2:latest", "input": "Name an animal.",
            "text": { "format": { "type": "json_schema", "name": "animal", "schema": {
                "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] } } },
            "max_output_tokens": 50 }))),
        ("d tool" = (summary = "A function that the model may call", value = json!({
            "model": "llama3.2:latest",
            "input": [
                { "role": "user", "content": "How warm is it in Graz?" },
                { "type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{\"city\":\"Graz\"}" },
                { "type": "function_call_output", "call_id": "call_1", "output": "21 degrees" }],
            "tools": [{ "type": "function", "name": "get_weather", "description": "The weather of a city",
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } }],
            "tool_choice": "auto", "max_output_tokens": 50 }))))),
    responses(
        (status = 200, description = "The response; with `stream`, in server-sent events", content(
            (ResponseObject = "application/json", example = json!({
                "id": "resp_01994f4ac1d270718c3a0e5b6c7d8e9f", "object": "response", "created_at": 1_767_225_600,
                "status": "completed", "background": false, "completed_at": 1_767_225_601, "error": null,
                "incomplete_details": null, "instructions": null, "max_output_tokens": 50, "model": "llama3.2:latest",
                "output": [{ "type": "message", "id": "msg_01994f4ac1d270718c3a0e5b6c7d8e9f_0", "status": "completed",
                    "role": "assistant", "content": [{ "type": "output_text", "text": "Hello! How can I help?",
                        "annotations": [], "logprobs": [] }] }],
                "parallel_tool_calls": true, "previous_response_id": null, "reasoning": { "effort": null }, "store": true, "temperature": null,
                "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": null,
                "truncation": "disabled", "metadata": {},
                "usage": { "input_tokens": 31, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 }, "output_tokens": 8,
                    "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 39 } })),
            (ResponseEvent = "text/event-stream", example = json!({
                "event": "response.output_text.delta",
                "data": concat!("{\"type\":\"response.output_text.delta\",\"sequence_number\":4,",
                    "\"item_id\":\"msg_01994f4ac1d270718c3a0e5b6c7d8e9f_0\",\"output_index\":0,\"content_index\":0,",
                    "\"delta\":\"Hello\",\"logprobs\":[]}") }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn create() {}

/// Returns one of your responses.
///
/// A token finds the responses that it made, a user all of theirs, for as long as the record keeps their contents. Anything else
/// is the same 404: an unknown id, one that was deleted, one with `store: false`, and somebody else's.
#[utoipa::path(get, path = "/v1/responses/{id}", operation_id = "get_response", tag = "chat", params(("id" = String, Path)),
    responses((status = 200, body = ResponseObject), (status = 400)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn get() {}

/// Deletes one of your responses.
///
/// It can't be fetched or followed any more. The record keeps the request.
#[utoipa::path(delete, path = "/v1/responses/{id}", operation_id = "delete_response", tag = "chat", params(("id" = String, Path)),
    responses((status = 200, body = DeletedResponse), (status = 429), (status = 503)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn delete() {}

/// Lists what one of your responses was made from.
///
/// These are the items of the whole conversation, without instructions.
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", operation_id = "list_response_input", tag = "chat",
    params(("id" = String, Path), InputItemsQuery),
    responses((status = 200, body = InputItems), (status = 400)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn input_items() {}

#[derive(Serialize, ToSchema)]
pub struct DeletedResponse {
    id: String,
    #[schema(example = "response")]
    object: String,
    deleted: bool,
}

#[derive(Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InputItemsQuery {
    /// The id of an item: only those behind it.
    after: Option<String>,
    /// `asc`: the oldest first. Default: `desc`.
    order: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct InputItems {
    #[schema(example = "list")]
    object: String,
    #[schema(value_type = Vec<Object>)]
    data: Vec<serde_json::Value>,
    #[schema(required = true)]
    first_id: Option<String>,
    #[schema(required = true)]
    last_id: Option<String>,
    has_more: bool,
}

/// A response's request. Other parameters are accepted: those without effect here are named in the header
/// `x-ignored-parameters` of the answer, and those that would change the answer and are not supported are refused with 400.
#[derive(Serialize, ToSchema)]
pub struct ResponseRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    input: ResponseInput,
    /// A response that this one goes on from: its conversation and answer come before `input`, without its instructions.
    previous_response_id: Option<String>,
    /// What the model is told before the conversation.
    instructions: Option<String>,
    /// Sends the answer as server-sent events while it is written.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Limit of the answer's length, in model tokens. -1: the gateway's own limit.
    #[schema(minimum = -1, example = 200)]
    max_output_tokens: Option<i64>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Functions that the model may call. Tools of other types are left out.
    tools: Option<Vec<ResponseTool>>,
    tool_choice: Option<ResponseToolChoice>,
    /// `false`: at most one call in an answer.
    parallel_tool_calls: Option<bool>,
    text: Option<ResponseText>,
    reasoning: Option<ResponseReasoning>,
    /// `auto`: the oldest messages of a conversation that is too long are dropped; else it is refused.
    truncation: Option<ResponseTruncation>,
    /// `false`: the response can't be fetched or followed later. It is in the record in any case.
    #[schema(default = true)]
    store: Option<bool>,
    /// Repeated in the response.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// `message.output_text.logprobs` and `reasoning.encrypted_content` have an effect.
    include: Option<Vec<String>>,
    /// How many alternatives of each token are returned.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u8>,
}

/// What the user says, or the items of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ResponseInput {
    Text(String),
    Items(Vec<ResponseItem>),
}

/// An item of a conversation. Its type says which fields count.
#[derive(Serialize, ToSchema)]
pub struct ResponseItem {
    /// May be absent beside `role`: a message.
    r#type: Option<ResponseItemType>,
    /// Of a message.
    role: Option<ResponseRole>,
    /// Of a message: a text, or a list of `input_text`, `input_image` (a data URI as `image_url`) and `output_text`.
    content: Option<ResponseContent>,
    /// Of a call and its output.
    call_id: Option<String>,
    /// Of a call: the function.
    name: Option<String>,
    /// Of a call: a JSON object, as text.
    arguments: Option<String>,
    /// Of a call's output.
    output: Option<ResponseContent>,
    /// Of reasoning: texts of the type `summary_text`.
    summary: Option<Vec<ResponsePart>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseItemType {
    Message,
    Reasoning,
    FunctionCall,
    FunctionCallOutput,
    CustomToolCall,
    CustomToolCallOutput,
}

/// `developer` is read as `system`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseRole {
    System,
    Developer,
    User,
    Assistant,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ResponseContent {
    Text(String),
    Parts(Vec<ResponsePart>),
}

#[derive(Serialize, ToSchema)]
pub struct ResponsePart {
    #[schema(example = "input_text")]
    r#type: String,
    text: Option<String>,
    /// With type `input_image`: a data URI. Addresses are not fetched.
    image_url: Option<String>,
}

/// A function, or a namespace of functions.
#[derive(Serialize, ToSchema)]
pub struct ResponseTool {
    #[schema(example = "function")]
    r#type: String,
    #[schema(example = "get_weather")]
    name: Option<String>,
    description: Option<String>,
    /// A JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Value>,
    /// Of a namespace: its functions.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<serde_json::Value>>,
}

/// Whether the model may or must call a function.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ResponseToolChoice {
    Word(ResponseToolChoiceWord),
    Named(ResponseNamedChoice),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseToolChoiceWord {
    None,
    Auto,
    Required,
}

/// The function that must be called, or the functions that may be called.
#[derive(Serialize, ToSchema)]
pub struct ResponseNamedChoice {
    r#type: ResponseChoiceType,
    /// With type `function`.
    name: Option<String>,
    /// With type `allowed_tools`: `auto` or `required`.
    mode: Option<String>,
    /// With type `allowed_tools`: functions by type and name.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<serde_json::Value>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseChoiceType {
    Function,
    AllowedTools,
}

#[derive(Serialize, ToSchema)]
pub struct ResponseText {
    format: Option<ResponseTextFormat>,
}

/// The form of the answer.
#[derive(Serialize, ToSchema)]
pub struct ResponseTextFormat {
    r#type: ResponseTextFormatType,
    /// With type `json_schema`.
    name: Option<String>,
    /// With type `json_schema`: the schema that the answer has to match.
    #[schema(value_type = Option<Object>)]
    schema: Option<serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseTextFormatType {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(Serialize, ToSchema)]
pub struct ResponseReasoning {
    effort: Option<ReasoningEffort>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseTruncation {
    Auto,
    Disabled,
}

/// A response. It repeats the settings of its request.
#[derive(Serialize, ToSchema)]
pub struct ResponseObject {
    #[schema(example = "resp_01994f4ac1d270718c3a0e5b6c7d8e9f")]
    id: String,
    #[schema(example = "response")]
    object: String,
    /// Seconds since the epoch.
    created_at: i64,
    status: ResponseStatus,
    background: bool,
    completed_at: Option<i64>,
    /// Of a response that failed.
    #[schema(value_type = Option<Object>)]
    error: Option<serde_json::Value>,
    /// Why an answer is incomplete: `{"reason": "max_output_tokens"}`.
    #[schema(value_type = Option<Object>)]
    incomplete_details: Option<serde_json::Value>,
    instructions: Option<String>,
    max_output_tokens: Option<u32>,
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// What the model thought (`reasoning`), said (`message`) and called (`function_call`).
    #[schema(value_type = Vec<Object>)]
    output: Vec<serde_json::Value>,
    parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    reasoning: ResponseReasoning,
    store: bool,
    temperature: Option<f64>,
    #[schema(value_type = Object)]
    text: serde_json::Value,
    /// A word, or an object.
    tool_choice: serde_json::Value,
    top_logprobs: u8,
    top_p: Option<f64>,
    truncation: ResponseTruncation,
    #[schema(value_type = Vec<Object>)]
    tools: Vec<serde_json::Value>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// Null until the end.
    usage: Option<ResponseTokens>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

/// Model tokens.
#[derive(Serialize, ToSchema)]
pub struct ResponseTokens {
    input_tokens: u64,
    input_tokens_details: InputTokensDetails,
    output_tokens: u64,
    output_tokens_details: OutputTokensDetails,
    total_tokens: u64,
}

#[derive(Serialize, ToSchema)]
pub struct InputTokensDetails {
    /// Not known here: always 0, as the next one.
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize, ToSchema)]
pub struct OutputTokensDetails {
    /// Not known here: always 0.
    reasoning_tokens: u64,
}

/// One server-sent event of a stream.
#[derive(Serialize, ToSchema)]
pub struct ResponseEvent {
    /// The type of `data`.
    #[schema(example = "response.output_text.delta")]
    event: String,
    /// An object with its `type` and a `sequence_number`, from 0 without gaps. The last event is `response.completed`,
    /// `response.incomplete` or `response.failed`, and has the whole response.
    #[schema(content_media_type = "application/json")]
    data: String,
}
