//! Ollama's own API as the OpenAPI document describes it: what `dialect/ollama` reads and writes; see `chat`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::dialect::ollama::models::{OllamaLoadedList, OllamaModelList, OllamaShown, OllamaVersion};
use crate::http::docs::ollama_chat::{
    OllamaChat, OllamaDoneReason, OllamaFormat, OllamaMessage, OllamaOptions, OllamaThink, OllamaTool,
};

/// Ollama's chat request. Fields that concern the model server as a whole (`keep_alive`, `options.num_ctx`, …) are left out and
/// named in the header `x-ignored-parameters` of the answer, as are unknown ones.
#[derive(Serialize, ToSchema)]
pub struct OllamaApiChatRequest {
    /// One of those that `GET /api/tags` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// The conversation so far. Without one, the model is loaded.
    messages: Option<Vec<OllamaMessage>>,
    /// Sends the answer in lines of JSON while it is written.
    #[schema(default = true)]
    stream: Option<bool>,
    format: Option<OllamaFormat>,
    options: Option<OllamaOptions>,
    think: Option<OllamaThink>,
    /// Functions that the model may call.
    tools: Option<Vec<OllamaTool>>,
    /// Returns how likely each token of the answer was.
    logprobs: Option<bool>,
    /// How many alternatives of each token are returned.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u8>,
    /// `false`: refuses a conversation that exceeds the model's context; otherwise its beginning is left out.
    truncate: Option<bool>,
}

/// A request for the answer to one prompt. Other fields: as for chats. `template` and `context` are refused.
#[derive(Serialize, ToSchema)]
pub struct OllamaGenerateRequest {
    /// One of those that `GET /api/tags` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Without one, the model is loaded.
    prompt: Option<String>,
    /// The text after the gap, for models that can fill one; without `system`, `images`, `format` and `think`.
    suffix: Option<String>,
    /// The model reads the prompt as it is; without `suffix`, `system`, `images`, `format` and `think`.
    raw: Option<bool>,
    system: Option<String>,
    /// Images in base64, without `data:`: PNG, JPEG or WebP.
    images: Option<Vec<String>>,
    /// Sends the answer in lines of JSON while it is written.
    #[schema(default = true)]
    stream: Option<bool>,
    format: Option<OllamaFormat>,
    options: Option<OllamaOptions>,
    think: Option<OllamaThink>,
    logprobs: Option<bool>,
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u8>,
    truncate: Option<bool>,
}

/// A whole answer, or one line of a stream. A line with `error` ends a stream that failed.
#[derive(Serialize, ToSchema)]
pub struct OllamaGenerated {
    /// As it was asked for.
    #[schema(example = "llama3.2:latest")]
    model: String,
    #[schema(format = DateTime)]
    created_at: String,
    response: String,
    /// What the model thought; absent: nothing.
    thinking: Option<String>,
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
    logprobs: Option<Vec<OllamaToken>>,
}

/// How likely a token was.
#[derive(Serialize, ToSchema)]
pub struct OllamaToken {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
    /// The likeliest tokens at this place, without such lists of their own.
    #[schema(value_type = Option<Vec<Object>>)]
    top_logprobs: Option<Vec<serde_json::Value>>,
}

/// An embeddings request. `options` and `keep_alive` have no effect.
#[derive(Serialize, ToSchema)]
pub struct OllamaEmbedRequest {
    #[schema(example = "llama3.2:latest")]
    model: String,
    input: OllamaTexts,
    /// Limit of numbers per text, for models that can shorten.
    #[schema(minimum = 1)]
    dimensions: Option<u32>,
    /// `false`: refuses a text that exceeds the model's context; otherwise its end is left out.
    truncate: Option<bool>,
}

/// One text, or up to 2,048.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum OllamaTexts {
    One(String),
    Several(Vec<String>),
}

#[derive(Serialize, ToSchema)]
pub struct OllamaEmbeddings {
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// A list of numbers for each text.
    embeddings: Vec<Vec<f32>>,
    /// Nanoseconds.
    total_duration: Option<u64>,
    load_duration: Option<u64>,
    prompt_eval_count: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaEmbeddingsRequest {
    #[schema(example = "llama3.2:latest")]
    model: String,
    #[schema(min_length = 1)]
    prompt: String,
}

#[derive(Serialize, ToSchema)]
pub struct OllamaEmbedding {
    embedding: Vec<f32>,
}

/// Chats, as Ollama's own route does.
///
/// Nothing is passed through: the request is checked, queued and recorded like any other. `shift: false` is refused.
#[utoipa::path(post, path = "/api/chat", operation_id = "ollama_chat", tag = "ollama",
    request_body(content = OllamaApiChatRequest, examples(
        ("a question" = (summary = "A question", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Say hello in one sentence." }],
            "stream": false, "options": { "num_predict": 50 } }))),
        ("b stream" = (summary = "An answer while it is written", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Why is the sea salty?" }],
            "options": { "num_predict": 60, "temperature": 0.2, "seed": 7 } }))),
        ("c json" = (summary = "An answer that matches a JSON schema", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Name an animal." }],
            "format": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] },
            "stream": false, "options": { "num_predict": 60 } }))))),
    responses(
        (status = 200, description = "The answer: in lines of JSON, or whole with `stream: false`", content(
            (OllamaChat = "application/json", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "message": { "role": "assistant", "content": "Hello! How can I help?" },
                "done": true, "done_reason": "stop", "total_duration": 900_000_000, "load_duration": 10_000_000,
                "prompt_eval_count": 31, "prompt_eval_duration": 90_000_000, "eval_count": 8,
                "eval_duration": 800_000_000 })),
            (OllamaChat = "application/x-ndjson", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "message": { "role": "assistant", "content": "Hello" }, "done": false }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_chat() {}

/// Answers one prompt, as Ollama's own route does.
///
/// A prompt is a chat of one message, with `system` before it, and is recorded as that; with `raw` or `suffix` it is a completion.
#[utoipa::path(post, path = "/api/generate", operation_id = "ollama_generate", tag = "ollama",
    request_body(content = OllamaGenerateRequest, examples(
        ("a prompt" = (summary = "A prompt", value = json!({
            "model": "llama3.2:latest", "prompt": "Why is the sea salty?", "system": "You are brief.",
            "stream": false, "options": { "num_predict": 60 } }))),
        ("b raw" = (summary = "A text that the model goes on with", value = json!({
            "model": "llama3.2:latest", "prompt": "The sea is", "raw": true, "options": { "num_predict": 20 } }))))),
    responses(
        (status = 200, description = "The answer: in lines of JSON, or whole with `stream: false`", content(
            (OllamaGenerated = "application/json", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "response": "Rivers carry salt from rocks into it.", "done": true, "done_reason": "stop",
                "total_duration": 900_000_000, "load_duration": 10_000_000, "prompt_eval_count": 31,
                "prompt_eval_duration": 90_000_000, "eval_count": 9, "eval_duration": 800_000_000 })),
            (OllamaGenerated = "application/x-ndjson", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "response": "Rivers", "done": false }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_generate() {}

/// Creates embeddings of texts, as Ollama's own route does.
///
/// A token needs the scope `embeddings`.
#[utoipa::path(post, path = "/api/embed", operation_id = "ollama_embed", tag = "ollama",
    request_body(content = OllamaEmbedRequest, example = json!({
        "model": "llama3.2:latest", "input": ["the sea", "the mountains"] })),
    responses((status = 200, description = "An embedding of each text", body = OllamaEmbeddings, example = json!({
        "model": "llama3.2:latest", "embeddings": [[0.0123, -0.0456, 0.0789]], "total_duration": 25_000_000,
        "load_duration": 10_000_000, "prompt_eval_count": 4 }))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_embed() {}

/// Creates the embedding of one text, in Ollama's older form.
///
/// Its numbers are those of `/api/embed`, whose length is 1: Ollama doesn't scale them on this route.
#[utoipa::path(post, path = "/api/embeddings", operation_id = "ollama_embeddings", tag = "ollama",
    request_body(content = OllamaEmbeddingsRequest, example = json!({
        "model": "llama3.2:latest", "prompt": "the sea" })),
    responses((status = 200, description = "The embedding", body = OllamaEmbedding, example = json!({
        "embedding": [0.0123, -0.0456, 0.0789] }))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_embeddings() {}

/// Lists the models that you may use, as Ollama does.
#[utoipa::path(get, path = "/api/tags", operation_id = "ollama_tags", tag = "ollama",
    responses((status = 200, body = OllamaModelList)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_tags() {}

/// A request about one model. Other fields have no effect.
#[derive(Serialize, ToSchema)]
pub struct OllamaShowRequest {
    /// One of those that `GET /api/tags` lists.
    #[schema(example = "llama3.2:latest")]
    model: String,
}

/// Shows one model, as Ollama does.
///
/// Without Ollama's `modelfile`, `system`, `messages` and `license`, which may hold paths of the host and private prompts.
#[utoipa::path(post, path = "/api/show", operation_id = "ollama_show", tag = "ollama",
    request_body(content = OllamaShowRequest, example = json!({ "model": "llama3.2:latest" })),
    responses((status = 200, body = OllamaShown)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_show() {}

/// Lists the models in memory that you may use, as Ollama does.
#[utoipa::path(get, path = "/api/ps", operation_id = "ollama_ps", tag = "ollama",
    responses((status = 200, body = OllamaLoadedList)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_ps() {}

/// Returns the version of the Ollama behind the gateway.
#[utoipa::path(get, path = "/api/version", operation_id = "ollama_version", tag = "ollama",
    responses((status = 200, body = OllamaVersion)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn ollama_version() {}
