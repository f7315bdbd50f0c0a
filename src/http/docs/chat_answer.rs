//! Answers of OpenAI's chat completions as the OpenAPI document describes them: what `dialect/openai` writes; see `chat`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::docs::chat::{CalledFunction, ChatToolCall};

/// A whole answer.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletion {
    #[schema(example = "chatcmpl-01994f4ac1d270718c3a0e5b6c7d8e9f")]
    id: String,
    #[schema(example = "chat.completion")]
    object: String,
    /// Seconds since the epoch.
    created: i64,
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    #[schema(min_items = 1, max_items = 16)]
    choices: Vec<ChatChoice>,
    usage: TokenUsage,
}

#[derive(Serialize, ToSchema)]
pub struct ChatChoice {
    index: u32,
    message: AnswerMessage,
    #[schema(required = true)]
    logprobs: Option<ChatLogprobs>,
    finish_reason: FinishReason,
}

#[derive(Serialize, ToSchema)]
pub struct AnswerMessage {
    #[schema(example = "assistant")]
    role: String,
    /// Null where the answer is calls alone.
    #[schema(required = true)]
    content: Option<String>,
    /// Always null.
    #[schema(required = true)]
    refusal: Option<String>,
    /// What the model thought; absent: nothing.
    reasoning: Option<String>,
    /// Absent: no calls.
    tool_calls: Option<Vec<ChatToolCall>>,
}

/// Why the answer ended: by itself, at the limit of tokens, or with calls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
}

/// Model tokens.
#[derive(Serialize, ToSchema)]
pub struct TokenUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// How likely the tokens were, with `logprobs`.
#[derive(Serialize, ToSchema)]
pub struct ChatLogprobs {
    content: Vec<ChatTokenLogprob>,
    /// Always null.
    #[schema(required = true)]
    refusal: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ChatTokenLogprob {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    top_logprobs: Vec<ChatTokenAlternative>,
}

#[derive(Serialize, ToSchema)]
pub struct ChatTokenAlternative {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

/// One server-sent event of a stream.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletionEvent {
    /// A `ChatCompletionChunk` as JSON; the last one is `[DONE]`. After an error it is an `ErrorBody`, and the stream ends.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The `data` of one server-sent event of a stream.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "chatcmpl-01994f4ac1d270718c3a0e5b6c7d8e9f", "object": "chat.completion.chunk", "created": 1_767_225_600,
    "model": "llama3.2:latest",
    "choices": [{ "index": 0, "delta": { "content": "Hello" }, "logprobs": null, "finish_reason": null }],
    "usage": null }))]
pub struct ChatCompletionChunk {
    id: String,
    #[schema(example = "chat.completion.chunk")]
    object: String,
    /// Seconds since the epoch.
    created: i64,
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Empty in the event that has the usage.
    #[schema(max_items = 1)]
    choices: Vec<ChunkChoice>,
    /// With `include_usage`: null in all events but the last.
    usage: Option<TokenUsage>,
}

#[derive(Serialize, ToSchema)]
pub struct ChunkChoice {
    index: u32,
    delta: ChatDelta,
    #[schema(required = true)]
    logprobs: Option<ChatLogprobs>,
    /// Null until the end.
    #[schema(required = true)]
    finish_reason: Option<FinishReason>,
}

/// What the event adds to the message.
#[derive(Serialize, ToSchema)]
pub struct ChatDelta {
    /// Only in the first event.
    #[schema(example = "assistant")]
    role: Option<String>,
    content: Option<String>,
    reasoning: Option<String>,
    tool_calls: Option<Vec<ToolCallDelta>>,
}

/// A whole call: its arguments are never cut into pieces.
#[derive(Serialize, ToSchema)]
pub struct ToolCallDelta {
    index: u32,
    id: String,
    #[schema(example = "function")]
    r#type: String,
    function: CalledFunction,
}
