//! Requests of OpenAI's chat completions as the OpenAPI document describes them: what `dialect/openai` reads.
//!
//! The wire structs of the dialect borrow from the body and refuse by name, so what clients need to know is written down here.
//! Each example is sent to a gateway, and each answer is held against its schema, by `tests/openapi`.

use serde::Serialize;
use utoipa::ToSchema;

/// A chat completion's request. Other parameters are accepted: those without effect here are named in the header
/// `x-ignored-parameters` of the answer, and those that would change the answer and are not supported are refused with 400.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletionRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// Sends the answer as server-sent events while it is written.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Only with `stream`.
    stream_options: Option<ChatStreamOptions>,
    /// Limit of the answer's length, in model tokens. -1: the gateway's own limit.
    #[schema(minimum = -1, example = 200)]
    max_tokens: Option<i64>,
    /// Another name of `max_tokens`. If both are sent, they must be equal.
    #[schema(minimum = -1)]
    max_completion_tokens: Option<i64>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f64>,
    /// With the same seed and parameters, a model tends to give the same answer.
    seed: Option<i64>,
    stop: Option<StopTexts>,
    /// Functions that the model may call.
    #[schema(max_items = 128)]
    tools: Option<Vec<ChatTool>>,
    tool_choice: Option<ToolChoice>,
    /// `false`: at most one call in an answer.
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    reasoning_effort: Option<ReasoningEffort>,
    /// Another place for the effort. If both are sent, they must be equal.
    reasoning: Option<ReasoningOptions>,
    /// Returns how likely each token of the answer was.
    logprobs: Option<bool>,
    /// How many alternatives of each token are returned. Needs `logprobs`.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u8>,
    /// How many answers are wanted, up to the gateway's setting `choices_max`. Each is generated separately and counts as a
    /// request; a `seed` is moved on by one for each.
    #[schema(minimum = 1, maximum = 16, default = 1)]
    n: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct ChatStreamOptions {
    /// Ends the stream with an event that has `usage` and no choices.
    include_usage: Option<bool>,
}

/// Texts that end the answer: one, or a list of up to 4.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum StopTexts {
    One(String),
    Several(Vec<String>),
}

/// A message of the conversation. The role says which fields count.
#[derive(Serialize, ToSchema)]
pub struct ChatMessage {
    role: ChatRole,
    /// May be null or absent beside `tool_calls`.
    content: Option<MessageContent>,
    /// Of the assistant: what it thought.
    reasoning: Option<String>,
    /// Of the assistant: its calls, as they were returned.
    tool_calls: Option<Vec<ChatToolCall>>,
    /// Of a tool: the `id` of the call that it answers. Required there.
    tool_call_id: Option<String>,
    /// Of a tool: the name of the function.
    name: Option<String>,
}

/// `developer` is read as `system`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// A text, or a list of texts and images.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum MessageContent {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Serialize, ToSchema)]
pub struct ContentPart {
    r#type: ContentPartType,
    /// With type `text`.
    text: Option<String>,
    /// With type `image_url`: only a `user` may send it.
    image_url: Option<ImageSource>,
    /// With type `refusal`.
    refusal: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentPartType {
    Text,
    ImageUrl,
    Refusal,
}

/// An image as a data URI, alone or in an object. Addresses are not fetched.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ImageSource {
    Object(ImageObject),
    Uri(String),
}

#[derive(Serialize, ToSchema)]
pub struct ImageObject {
    /// `data:image/png;base64,…`: PNG, JPEG or WebP.
    #[schema(example = "data:image/png;base64,iVBORw0KGgo=")]
    url: String,
    /// Has no effect.
    detail: Option<String>,
}

/// A call of a function.
#[derive(Serialize, ToSchema)]
pub struct ChatToolCall {
    #[schema(example = "call_k3x9z2ab")]
    id: String,
    #[schema(example = "function")]
    r#type: Option<String>,
    function: CalledFunction,
}

#[derive(Serialize, ToSchema)]
pub struct CalledFunction {
    #[schema(example = "get_weather")]
    name: String,
    /// A JSON object, as text.
    #[schema(example = "{\"city\":\"Graz\"}")]
    arguments: String,
}

/// A function that the model may call.
#[derive(Serialize, ToSchema)]
pub struct ChatTool {
    /// Nothing else is offered.
    #[schema(example = "function")]
    r#type: Option<String>,
    function: ToolFunction,
}

#[derive(Serialize, ToSchema)]
pub struct ToolFunction {
    #[schema(example = "get_weather")]
    name: String,
    description: Option<String>,
    /// A JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Value>,
}

/// Whether the model may or must call a function.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ToolChoice {
    Word(ToolChoiceWord),
    Named(NamedToolChoice),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoiceWord {
    None,
    Auto,
    Required,
}

/// The function that must be called, or the functions that may be called.
#[derive(Serialize, ToSchema)]
pub struct NamedToolChoice {
    #[schema(example = "function")]
    r#type: Option<String>,
    function: Option<FunctionName>,
    /// With type `allowed_tools`.
    allowed_tools: Option<AllowedTools>,
}

#[derive(Serialize, ToSchema)]
pub struct FunctionName {
    #[schema(example = "get_weather")]
    name: String,
}

#[derive(Serialize, ToSchema)]
pub struct AllowedTools {
    mode: Option<AllowedToolsMode>,
    tools: Vec<AllowedTool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AllowedToolsMode {
    Auto,
    Required,
}

#[derive(Serialize, ToSchema)]
pub struct AllowedTool {
    #[schema(example = "function")]
    r#type: Option<String>,
    function: FunctionName,
}

/// The form of the answer.
#[derive(Serialize, ToSchema)]
pub struct ResponseFormat {
    r#type: ResponseFormatType,
    /// With type `json_schema`.
    json_schema: Option<NamedSchema>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormatType {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(Serialize, ToSchema)]
pub struct NamedSchema {
    #[schema(example = "animal")]
    name: Option<String>,
    description: Option<String>,
    /// The model is always held to it.
    strict: Option<bool>,
    /// The JSON schema that the answer has to match.
    #[schema(value_type = Object)]
    schema: serde_json::Value,
}

/// How much the model thinks before it answers, if it can. `minimal` is `low`; `xhigh` and `ultra` are `max`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
    Ultra,
}

#[derive(Serialize, ToSchema)]
pub struct ReasoningOptions {
    effort: Option<ReasoningEffort>,
}
