//! Anthropic's messages as the OpenAPI document describes them: what `dialect/anthropic` reads and writes; see `chat`.

use serde::Serialize;
use utoipa::ToSchema;

/// A request for a message. Other parameters are accepted: those without effect here are named in the header
/// `x-ignored-parameters` of the answer, and those that would change the answer and are not supported are refused with 400.
#[derive(Serialize, ToSchema)]
pub struct MessagesRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Limit of the answer's length, in model tokens. The gateway's own limit holds beside it.
    #[schema(minimum = 1, example = 200)]
    max_tokens: i64,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<MessageParam>,
    system: Option<SystemPrompt>,
    /// Sends the answer as server-sent events while it is written.
    #[schema(default = false)]
    stream: Option<bool>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(minimum = 0)]
    top_k: Option<i64>,
    /// Texts that end the answer.
    #[schema(max_items = 64)]
    stop_sequences: Option<Vec<String>>,
    /// Tools that the model may call. Those that run on Anthropic's servers are left out.
    #[schema(max_items = 1024)]
    tools: Option<Vec<MessagesTool>>,
    tool_choice: Option<MessagesToolChoice>,
    thinking: Option<ThinkingSettings>,
    output_config: Option<OutputSettings>,
}

/// A request for the number of tokens of a prompt: as for a message, without a limit.
#[derive(Serialize, ToSchema)]
pub struct MessagesCountRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<MessageParam>,
    system: Option<SystemPrompt>,
    /// Tools that the model may call. Those that run on Anthropic's servers are left out.
    #[schema(max_items = 1024)]
    tools: Option<Vec<MessagesTool>>,
    tool_choice: Option<MessagesToolChoice>,
    thinking: Option<ThinkingSettings>,
    output_config: Option<OutputSettings>,
}

#[derive(Serialize, ToSchema)]
pub struct MessagesCount {
    input_tokens: u64,
}

/// A text, or a list of text blocks, each of which begins on a line of its own.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum SystemPrompt {
    Text(String),
    Blocks(Vec<SystemTextBlock>),
}

#[derive(Serialize, ToSchema)]
pub struct SystemTextBlock {
    #[schema(example = "text")]
    r#type: String,
    text: String,
}

/// A message of the conversation.
#[derive(Serialize, ToSchema)]
pub struct MessageParam {
    role: MessageParamRole,
    content: BlockContent,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageParamRole {
    User,
    Assistant,
    System,
}

/// A text, or a list of blocks.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum BlockContent {
    Text(String),
    Blocks(Vec<BlockParam>),
}

/// A block of a message. Its type says which fields count.
#[derive(Serialize, ToSchema)]
pub struct BlockParam {
    r#type: BlockParamType,
    /// With type `text`.
    text: Option<String>,
    /// With type `image`: only a `user` may send it.
    source: Option<ImageBytes>,
    /// With type `tool_use`, from the assistant: the id of the call.
    id: Option<String>,
    /// With type `tool_use`: the tool.
    name: Option<String>,
    /// With type `tool_use`: its arguments.
    #[schema(value_type = Option<Object>)]
    input: Option<serde_json::Value>,
    /// With type `tool_result`, from a `user`: the `id` of the call that it answers.
    tool_use_id: Option<String>,
    /// With type `tool_result`: what the tool returned.
    content: Option<ResultContent>,
    /// With type `tool_result`: has no effect; the text says what went wrong.
    is_error: Option<bool>,
    /// With type `thinking`, from the assistant: what it thought.
    thinking: Option<String>,
    /// With type `thinking`: as it was returned.
    signature: Option<String>,
}

/// `redacted_thinking` has no effect.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockParamType {
    Text,
    Image,
    ToolUse,
    ToolResult,
    Thinking,
    RedactedThinking,
}

/// A text, or a list of texts and images.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ResultContent {
    Text(String),
    Blocks(Vec<ResultBlockParam>),
}

#[derive(Serialize, ToSchema)]
pub struct ResultBlockParam {
    /// `text` or `image`.
    #[schema(example = "text")]
    r#type: String,
    text: Option<String>,
    source: Option<ImageBytes>,
}

/// An image in base64. Addresses are not fetched.
#[derive(Serialize, ToSchema)]
pub struct ImageBytes {
    #[schema(example = "base64")]
    r#type: String,
    /// PNG, JPEG or WebP.
    #[schema(example = "image/png")]
    media_type: Option<String>,
    #[schema(example = "iVBORw0KGgo=")]
    data: String,
}

/// A tool that the model may call.
#[derive(Serialize, ToSchema)]
pub struct MessagesTool {
    /// `custom`. Tools of other types run elsewhere and are left out.
    #[schema(example = "custom")]
    r#type: Option<String>,
    #[schema(example = "get_weather")]
    name: String,
    description: Option<String>,
    /// A JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    input_schema: Option<serde_json::Value>,
}

/// Whether the model may or must call a tool.
#[derive(Serialize, ToSchema)]
pub struct MessagesToolChoice {
    r#type: MessagesToolChoiceType,
    /// With type `tool`: the one that must be called.
    name: Option<String>,
    /// At most one call in an answer.
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessagesToolChoiceType {
    Auto,
    Any,
    Tool,
    None,
}

/// Whether the model thinks before it answers, if it can.
#[derive(Serialize, ToSchema)]
pub struct ThinkingSettings {
    r#type: ThinkingWord,
    /// Has no effect: only `max_tokens` limits the thinking.
    budget_tokens: Option<i64>,
}

/// `adaptive` is read as `enabled`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThinkingWord {
    Enabled,
    Adaptive,
    Disabled,
}

#[derive(Serialize, ToSchema)]
pub struct OutputSettings {
    /// How much the model thinks, if it can.
    effort: Option<OutputEffort>,
    format: Option<OutputFormat>,
}

/// `xhigh` is `max`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputEffort {
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// The form of the answer's text.
#[derive(Serialize, ToSchema)]
pub struct OutputFormat {
    #[schema(example = "json_schema")]
    r#type: String,
    /// The JSON schema that the text has to match.
    #[schema(value_type = Object)]
    schema: serde_json::Value,
}

/// A message of the model.
#[derive(Serialize, ToSchema)]
pub struct AnthropicMessage {
    #[schema(example = "msg_01994f4ac1d270718c3a0e5b6c7d8e9f")]
    id: String,
    #[schema(example = "message")]
    r#type: String,
    #[schema(example = "assistant")]
    role: String,
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    content: Vec<AnswerBlock>,
    /// Null in the first event of a stream.
    #[schema(required = true)]
    stop_reason: Option<StopReason>,
    /// The stop sequence that ended the answer.
    #[schema(required = true)]
    stop_sequence: Option<String>,
    usage: MessageUsage,
}

/// A block of the answer. Its type says which fields it has.
#[derive(Serialize, ToSchema)]
pub struct AnswerBlock {
    /// `text`, `thinking` or `tool_use`.
    #[schema(example = "text")]
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    /// Of a thought; always empty.
    signature: Option<String>,
    id: Option<String>,
    name: Option<String>,
    #[schema(value_type = Option<Object>)]
    input: Option<serde_json::Value>,
}

/// Why the answer ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
}

/// Model tokens. The first event of a stream has an estimate.
#[derive(Serialize, ToSchema)]
pub struct MessageUsage {
    input_tokens: u64,
    /// Always 0, as the next one.
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

/// One server-sent event of a stream.
#[derive(Serialize, ToSchema)]
pub struct AnthropicStreamEvent {
    /// The same word as `type` in the data.
    event: String,
    /// An `AnthropicStreamData` as JSON; the last one is of type `message_stop`. After an error it is an `AnthropicErrorBody`,
    /// and the stream ends.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The `data` of one server-sent event of a stream. Its type says which fields it has.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hello" } }))]
pub struct AnthropicStreamData {
    r#type: AnthropicStreamType,
    message: Option<AnthropicMessage>,
    index: Option<u64>,
    content_block: Option<AnswerBlock>,
    #[schema(value_type = Option<Object>)]
    delta: Option<serde_json::Value>,
    usage: Option<MessageUsage>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnthropicStreamType {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    Ping,
}

/// An error, in the form that Anthropic's clients read.
#[derive(Serialize, ToSchema)]
pub struct AnthropicErrorBody {
    #[schema(example = "error")]
    r#type: String,
    error: AnthropicErrorDetail,
    /// The same as in the headers `request-id` and `x-request-id`.
    request_id: String,
}

#[derive(Serialize, ToSchema)]
pub struct AnthropicErrorDetail {
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    kind: String,
    message: String,
}
