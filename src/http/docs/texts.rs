//! OpenAI's completions and embeddings as the OpenAPI document describes them; see `chat`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::docs::chat::{ChatStreamOptions, StopTexts};
use crate::http::docs::chat_answer::TokenUsage;

/// A completion's request. Other parameters are accepted as for chat completions.
#[derive(Serialize, ToSchema)]
pub struct CompletionRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    prompt: PromptText,
    /// The text after the gap, for models that can fill one.
    suffix: Option<String>,
    /// Limit of the answer's length, in model tokens. -1: the gateway's own limit.
    #[schema(minimum = -1, example = 20)]
    max_tokens: Option<i64>,
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
    /// How many alternatives of each token are returned.
    #[schema(minimum = 0, maximum = 5)]
    logprobs: Option<u8>,
    /// Sends the answer as server-sent events while it is written.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Only with `stream`.
    stream_options: Option<ChatStreamOptions>,
    /// How many answers are wanted, up to the gateway's setting `choices_max`. Each is generated separately and counts as a
    /// request; a `seed` is moved on by one for each.
    #[schema(minimum = 1, maximum = 16, default = 1)]
    n: Option<u32>,
    /// The same as `n`, or absent: all answers are returned.
    #[schema(minimum = 1, maximum = 16)]
    best_of: Option<u32>,
}

/// One text, alone or in a list.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum PromptText {
    #[schema(example = "The sea is")]
    One(String),
    List(Vec<String>),
}

/// One server-sent event of a stream.
#[derive(Serialize, ToSchema)]
pub struct CompletionEvent {
    /// A `Completion` as JSON; the last one is `[DONE]`. After an error it is an `ErrorBody`, and the stream ends.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// A whole answer, or the `data` of one server-sent event of a stream.
#[derive(Serialize, ToSchema)]
pub struct Completion {
    #[schema(example = "cmpl-01994f4ac1d270718c3a0e5b6c7d8e9f")]
    id: String,
    #[schema(example = "text_completion")]
    object: String,
    /// Seconds since the epoch.
    created: i64,
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Empty in the event that has the usage.
    #[schema(max_items = 16)]
    choices: Vec<CompletionChoice>,
    /// In streams only with `include_usage`, and null in all events but the last.
    usage: Option<TokenUsage>,
}

#[derive(Serialize, ToSchema)]
pub struct CompletionChoice {
    text: String,
    index: u32,
    #[schema(required = true)]
    logprobs: Option<CompletionLogprobs>,
    /// Null in a stream until its end.
    #[schema(required = true)]
    finish_reason: Option<CompletionFinishReason>,
}

/// Why the text ended: by itself, or at the limit of tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompletionFinishReason {
    Stop,
    Length,
}

/// Parallel lists with an item per token.
#[derive(Serialize, ToSchema)]
pub struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f64>,
    /// The likeliest tokens and the one that was taken, by their text.
    #[schema(value_type = Vec<Object>)]
    top_logprobs: Vec<serde_json::Value>,
    text_offset: Vec<usize>,
}

/// An embeddings request.
#[derive(Serialize, ToSchema)]
pub struct EmbeddingsRequest {
    /// One of those that `GET /v1/models` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    input: EmbeddingInput,
    /// Length of each embedding; by default the model's own.
    #[schema(minimum = 1)]
    dimensions: Option<u32>,
    encoding_format: Option<EncodingFormat>,
}

/// A text, or up to 2,048 of them. Token numbers are refused.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingInput {
    One(String),
    Several(Vec<String>),
}

/// `base64`: little-endian floats of 32 bits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    Float,
    Base64,
}

#[derive(Serialize, ToSchema)]
pub struct EmbeddingList {
    #[schema(example = "list")]
    object: String,
    /// In the order of the texts.
    data: Vec<EmbeddingItem>,
    #[schema(example = "llama3.2:latest")]
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
pub struct EmbeddingItem {
    #[schema(example = "embedding")]
    object: String,
    index: usize,
    embedding: EmbeddingVector,
}

/// Numbers, or text with `base64`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingVector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Model tokens.
#[derive(Serialize, ToSchema)]
pub struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}
