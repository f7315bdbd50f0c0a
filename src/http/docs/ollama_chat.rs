//! `POST /chat` as the OpenAPI document describes it: what `dialect/legacy` reads and writes; see `chat`.

use serde::Serialize;
use utoipa::ToSchema;

/// Ollama's chat request, with credentials. Other fields are accepted: those without effect are named in the header
/// `x-ignored-parameters` of the answer; `keep_alive` and options that would reload the model for everybody are refused with 400.
#[derive(Serialize, ToSchema)]
pub struct OllamaChatRequest {
    /// Not needed with an `Authorization` header.
    auth: Option<ChatCredentials>,
    /// Default: the gateway's `default_model`.
    #[schema(example = "llama3.2:latest")]
    model: Option<String>,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<OllamaMessage>,
    /// Sends the answer in lines of JSON while it is written.
    #[schema(default = false)]
    stream: Option<bool>,
    format: Option<OllamaFormat>,
    options: Option<OllamaOptions>,
    think: Option<OllamaThink>,
    /// Functions that the model may call.
    tools: Option<Vec<OllamaTool>>,
    /// `false`: refuses a conversation that exceeds the model's context; otherwise its beginning is left out.
    truncate: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub struct ChatCredentials {
    #[schema(example = "ann@example.org", max_length = 1024)]
    username: String,
    #[schema(format = Password, max_length = 1024)]
    password: String,
}

/// A message of the conversation.
#[derive(Serialize, ToSchema)]
pub struct OllamaMessage {
    role: OllamaRole,
    content: Option<String>,
    /// Of the assistant: what it thought.
    thinking: Option<String>,
    /// Images in base64, without `data:`: PNG, JPEG or WebP.
    images: Option<Vec<String>>,
    /// Of the assistant: its calls, as they were returned.
    tool_calls: Option<Vec<OllamaToolCall>>,
    /// Of a tool: the name of the function.
    tool_name: Option<String>,
    /// Of a tool: the `id` of the call that it answers.
    tool_call_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OllamaRole {
    System,
    User,
    Assistant,
    Tool,
}

/// A call of a function.
#[derive(Serialize, ToSchema)]
pub struct OllamaToolCall {
    #[schema(example = "call_k3x9z2ab")]
    id: Option<String>,
    function: OllamaCalledFunction,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaCalledFunction {
    index: Option<u32>,
    #[schema(example = "get_weather")]
    name: String,
    #[schema(value_type = Option<Object>, example = json!({ "city": "Graz" }))]
    arguments: Option<serde_json::Value>,
}

/// `json`, or a JSON schema that the answer has to match.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaFormat {
    Word(OllamaFormatWord),
    #[schema(value_type = Object)]
    Schema(serde_json::Map<String, serde_json::Value>),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OllamaFormatWord {
    Json,
}

/// How the answer is chosen. An option that is left out has the model's own value.
#[derive(Serialize, ToSchema)]
pub struct OllamaOptions {
    /// Limit of the answer's length, in model tokens. Negative: the gateway's own limit.
    #[schema(example = 200)]
    num_predict: Option<i64>,
    #[schema(minimum = 0, maximum = 100)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 0, maximum = 1_000_000)]
    top_k: Option<i64>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    typical_p: Option<f64>,
    seed: Option<i64>,
    stop: Option<OllamaStopTexts>,
    #[schema(minimum = 0.01, maximum = 100)]
    repeat_penalty: Option<f64>,
    /// -1: the whole context, here and in `num_keep`.
    #[schema(minimum = -1, maximum = 1_000_000)]
    repeat_last_n: Option<i64>,
    #[schema(minimum = -1, maximum = 1_000_000)]
    num_keep: Option<i64>,
    #[schema(minimum = -100, maximum = 100)]
    presence_penalty: Option<f64>,
    #[schema(minimum = -100, maximum = 100)]
    frequency_penalty: Option<f64>,
}

/// Texts that end the answer: one, or a list of up to 16.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaStopTexts {
    One(String),
    Several(Vec<String>),
}

/// Whether, or how much, a model thinks before it answers. Default: as the model does.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaThink {
    Switch(bool),
    Level(OllamaThinkLevel),
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OllamaThinkLevel {
    Low,
    Medium,
    High,
    Max,
}

/// A function that the model may call.
#[derive(Serialize, ToSchema)]
pub struct OllamaTool {
    /// Nothing else is offered.
    #[schema(example = "function")]
    r#type: Option<String>,
    function: OllamaToolFunction,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaToolFunction {
    #[schema(example = "get_weather")]
    name: String,
    description: Option<String>,
    /// A JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Value>,
}

/// A whole answer, or one line of a stream. A line with `error` ends a stream that failed.
#[derive(Serialize, ToSchema)]
pub struct OllamaChat {
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    #[schema(format = DateTime)]
    created_at: String,
    message: OllamaAnswerMessage,
    /// Whether the answer has ended: the fields below are there then, except for those that are zero.
    done: bool,
    done_reason: Option<OllamaDoneReason>,
    /// Nanoseconds, here and in the other durations.
    total_duration: Option<u64>,
    load_duration: Option<u64>,
    /// Model tokens of the prompt.
    prompt_eval_count: Option<u64>,
    prompt_eval_duration: Option<u64>,
    /// Model tokens of the answer.
    eval_count: Option<u64>,
    eval_duration: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaAnswerMessage {
    #[schema(example = "assistant")]
    role: String,
    content: String,
    /// What the model thought; absent: nothing.
    thinking: Option<String>,
    /// Absent: no calls.
    tool_calls: Option<Vec<OllamaToolCall>>,
}

/// Why the answer ended: by itself or with calls, or at the limit of tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OllamaDoneReason {
    Stop,
    Length,
}
