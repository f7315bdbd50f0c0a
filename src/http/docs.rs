//! The OpenAPI document, generated from the code, and a Swagger UI that needs no network.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, guard};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Flow, Http, HttpAuthScheme, OAuth2, Password, Scopes, SecurityScheme,
};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

use crate::config::Config;
use crate::dialect::anthropic::AnthropicModels;
use crate::dialect::models::{ModelList, ModelObject};
use crate::dialect::wire;
use crate::http::described;
use crate::http::docs::chat::ChatCompletionRequest;
use crate::http::docs::chat_answer::{ChatCompletion, ChatCompletionChunk, ChatCompletionEvent};
use crate::http::docs::errors::describe_errors;
use crate::http::docs::messages::{
    AnthropicErrorBody, AnthropicMessage, AnthropicStreamData, AnthropicStreamEvent, MessagesCount,
    MessagesCountRequest, MessagesRequest,
};
use crate::http::docs::ollama_chat::{OllamaChat, OllamaChatRequest};
use crate::http::docs::parameters::describe_parameters;
use crate::http::docs::texts::{Completion, CompletionEvent, CompletionRequest, EmbeddingList, EmbeddingsRequest};
use crate::http::errors::{ErrorBody, LegacyError};
use crate::http::usage::UsageFormat;
use crate::model::model_name::ModelName;
use crate::model::people::UserStatus;
use crate::model::record::{Act, Kind, Outcome};
use crate::model::token::TokenStatus;
use crate::rules::accounts::lists::UserSort;
use crate::rules::export::ExportFormat;
use crate::rules::usage::timeline::Span;
use crate::rules::usage::{UsageBy, UsageSort};

pub mod chat;
pub mod chat_answer;
pub mod errors;
pub mod manage;
pub mod messages;
pub mod ollama_api;
pub mod ollama_chat;
pub mod parameters;
pub mod responses;
pub mod texts;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "LAN AI gateway",
        description = "Authenticated, recorded and rate-limited access to the models of this network. Press *Authorize* and \
            sign in with your e-mail address and password, or with a token (`lgw_…`) as `bearer`; then try \
            `POST /v1/chat/completions`. Every prompt and answer is recorded with your name; admins can read them. HEAD is \
            served wherever GET is. Each answer has an `x-request-id`, under which the record and the log have the request."
    ),
    servers((url = "/", description = "This gateway")),
    paths(
        chat, chat_completions, completions, responses::create, responses::get, responses::delete, responses::input_items,
        embeddings, list, messages, count_tokens, one,
        ollama_api::ollama_chat, ollama_api::ollama_generate, ollama_api::ollama_embed, ollama_api::ollama_embeddings,
        ollama_api::ollama_tags, ollama_api::ollama_show, ollama_api::ollama_ps, ollama_api::ollama_version,
        manage::pull, manage::push, manage::create, manage::copy, manage::delete, manage::upload, manage::has_blob
    ),
    components(schemas(
        AnthropicErrorBody, AnthropicModels, AnthropicStreamData, ChatCompletionChunk, ErrorBody, LegacyError, Act, ExportFormat, Kind, Outcome, Span, TokenStatus, UsageBy, UsageFormat, UsageSort,
        UserSort, UserStatus
    )),
    modifiers(&Security),
    security(("password" = []), ("bearer" = []), ("x-api-key" = [])),
    tags(
        (name = "chat", description = "Chats, completions, responses and embeddings"),
        (name = "ollama", description = "Ollama's own API, for its clients"),
        (name = "models", description = "The models that you may use, and changes of them"),
        (name = "account", description = "Your account: register, sign in, your record and your quotas"),
        (name = "tokens", description = "Tokens for machines, for tools and pipelines"),
        (name = "queue", description = "Running and waiting requests"),
        (name = "users", description = "For admins: accounts, their rights and limits"),
        (name = "record", description = "For admins: every request with its prompt and answer, and exports"),
        (name = "usage", description = "For admins: requests, tokens and GPU time of all users"),
        (name = "settings", description = "For admins: what can be changed at run time"),
        (name = "notices", description = "For admins: where notices go, by webhook and mail"),
        (name = "host", description = "Health for everybody; the host and its metrics for admins")
    )
)]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(described());
    describe_errors(&mut document);
    describe_parameters(&mut document);
    document
}

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let Some(components) = &mut document.components else { return };
        let password = Flow::Password(Password::new("/auth/token", Scopes::new()));
        components.add_security_scheme("password", SecurityScheme::OAuth2(OAuth2::new([password])));
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components
            .add_security_scheme("x-api-key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key"))));
    }
}

/// Creates a chat completion in OpenAI's format.
///
/// Point an SDK's base URL at `/v1`. Fields without effect here are named in `x-ignored-parameters`; a parameter that would
/// change the answer and is not supported is refused by name.
///
/// A `tool_choice` that requires a call (`required`, or a function's name) tells the model so in the system message, constrains
/// its answer to a schema and returns it as one call; if the upstream doesn't enforce the schema, the answer is 502. Tool calls
/// in the conversation are accepted as they were returned. `arguments` that are not a JSON object, for example cut off by the
/// token limit, reach the model as `{"INVALID_ARGUMENTS": "…"}` and are named in `x-ignored-parameters`.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "create_chat_completion", tag = "chat",
    request_body(content = ChatCompletionRequest, examples(
        ("a question" = (summary = "A question", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Say hello in one sentence." }],
            "max_tokens": 50 }))),
        ("b stream" = (summary = "An answer while it is written", value = json!({
            "model": "llama3.2:latest",
            "messages": [
                { "role": "system", "content": "You are brief." },
                { "role": "user", "content": "Why is the sea salty?" }],
            "stream": true, "stream_options": { "include_usage": true },
            "temperature": 0.2, "seed": 7, "stop": ["\n\n"], "max_completion_tokens": 60 }))),
        ("c json" = (summary = "An answer that matches a JSON schema", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Name an animal." }],
            "response_format": { "type": "json_schema", "json_schema": { "name": "animal", "schema": {
                "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] } } },
            "max_tokens": 50 }))),
        ("d tool" = (summary = "A function that the model may call", value = json!({
            "model": "llama3.2:latest",
            "messages": [
                { "role": "user", "content": "How warm is it in Graz?" },
                { "role": "assistant", "content": null, "tool_calls": [{ "id": "call_1", "type": "function",
                    "function": { "name": "get_weather", "arguments": "{\"city\":\"Graz\"}" } }] },
                { "role": "tool", "tool_call_id": "call_1", "content": "21 degrees" }],
            "tools": [{ "type": "function", "function": { "name": "get_weather", "description": "The weather of a city",
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } },
                    "required": ["city"] } } }],
            "tool_choice": "auto", "max_tokens": 50 }))),
        ("e thought" = (summary = "More thought, for models that can think", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "What is 17 times 23?" }],
            "reasoning_effort": "low", "max_tokens": 200 }))))),
    responses(
        (status = 200, description = "The answer; with `stream`, in server-sent events", content(
            (ChatCompletion = "application/json", example = json!({
                "id": "chatcmpl-01994f4ac1d270718c3a0e5b6c7d8e9f", "object": "chat.completion", "created": 1_767_225_600,
                "model": "llama3.2:latest",
                "choices": [{ "index": 0,
                    "message": { "role": "assistant", "content": "Hello! How can I help?", "refusal": null },
                    "logprobs": null, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 31, "completion_tokens": 8, "total_tokens": 39 } })),
            (ChatCompletionEvent = "text/event-stream", example = json!({
                "data": concat!("{\"id\":\"chatcmpl-01994f4ac1d270718c3a0e5b6c7d8e9f\",\"object\":\"chat.completion.chunk\",",
                    "\"created\":1767225600,\"model\":\"llama3.2:latest\",",
                    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"logprobs\":null,\"finish_reason\":null}]}") }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn chat_completions() {}

/// Completes a text in OpenAI's format.
///
/// `echo`, `logit_bias` and prompts of token numbers are refused by name.
#[utoipa::path(post, path = "/v1/completions", operation_id = "create_completion", tag = "chat",
    request_body(content = CompletionRequest, example = json!({
        "model": "llama3.2:latest", "prompt": "The sea is", "max_tokens": 20 })),
    responses(
        (status = 200, description = "The rest of the text; with `stream`, in server-sent events", content(
            (Completion = "application/json", example = json!({
                "id": "cmpl-01994f4ac1d270718c3a0e5b6c7d8e9f", "object": "text_completion", "created": 1_767_225_600,
                "model": "llama3.2:latest",
                "choices": [{ "text": " calm today.", "index": 0, "logprobs": null, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8 } })),
            (CompletionEvent = "text/event-stream", example = json!({
                "data": concat!("{\"id\":\"cmpl-01994f4ac1d270718c3a0e5b6c7d8e9f\",\"object\":\"text_completion\",",
                    "\"created\":1767225600,\"model\":\"llama3.2:latest\",",
                    "\"choices\":[{\"text\":\" calm\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}") }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn completions() {}

/// Creates embeddings of texts in OpenAI's format.
///
/// A token needs the scope `embeddings`. A text that exceeds the model's context is refused, not cut.
#[utoipa::path(post, path = "/v1/embeddings", operation_id = "create_embeddings", tag = "chat",
    request_body(content = EmbeddingsRequest, example = json!({
        "model": "llama3.2:latest", "input": ["the sea", "the mountains"] })),
    responses((status = 200, description = "An embedding of each text", body = EmbeddingList, example = json!({
        "object": "list",
        "data": [{ "object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789] }],
        "model": "llama3.2:latest", "usage": { "prompt_tokens": 2, "total_tokens": 2 } }))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn embeddings() {}

/// Creates a message in Anthropic's format.
///
/// Point an SDK's base URL, or `ANTHROPIC_BASE_URL`, at this gateway, without `/v1`. Fields without effect here are named in
/// `x-ignored-parameters`, as is the header `anthropic-beta`; a parameter that would change the answer and is not supported is
/// refused by name. Any `anthropic-version` is accepted.
///
/// A `tool_choice` that requires a call (`any`, or a tool's name) tells the model so in the system message, constrains its answer
/// to a schema and returns it as one call. The first event of a stream has an estimate of `input_tokens`; the last but one has
/// what the model counted.
#[utoipa::path(post, path = "/v1/messages", operation_id = "create_message", tag = "chat",
    request_body(content = MessagesRequest, examples(
        ("a question" = (summary = "A question", value = json!({
            "model": "llama3.2:latest", "max_tokens": 50,
            "messages": [{ "role": "user", "content": "Say hello in one sentence." }] }))),
        ("b stream" = (summary = "An answer while it is written", value = json!({
            "model": "llama3.2:latest", "max_tokens": 60, "system": "You are brief.",
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Why is the sea salty?" }] }],
            "stream": true, "temperature": 0.2, "stop_sequences": ["\n\n"] }))),
        ("c json" = (summary = "An answer that matches a JSON schema", value = json!({
            "model": "llama3.2:latest", "max_tokens": 50,
            "messages": [{ "role": "user", "content": "Name an animal." }],
            "output_config": { "format": { "type": "json_schema", "schema": {
                "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] } } } }))),
        ("d tool" = (summary = "A tool that the model may call", value = json!({
            "model": "llama3.2:latest", "max_tokens": 50,
            "messages": [
                { "role": "user", "content": "How warm is it in Graz?" },
                { "role": "assistant", "content": [
                    { "type": "tool_use", "id": "call_1", "name": "get_weather", "input": { "city": "Graz" } }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "call_1", "content": "21 degrees" }] }],
            "tools": [{ "name": "get_weather", "description": "The weather of a city", "input_schema": {
                "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } }],
            "tool_choice": { "type": "auto" } }))),
        ("e thought" = (summary = "More thought, for models that can think", value = json!({
            "model": "llama3.2:latest", "max_tokens": 200,
            "messages": [{ "role": "user", "content": "What is 17 times 23?" }],
            "thinking": { "type": "adaptive" }, "output_config": { "effort": "low" } }))))),
    responses(
        (status = 200, description = "The answer; with `stream`, in server-sent events", content(
            (AnthropicMessage = "application/json", example = json!({
                "id": "msg_01994f4ac1d270718c3a0e5b6c7d8e9f", "type": "message", "role": "assistant",
                "model": "llama3.2:latest", "content": [{ "type": "text", "text": "Hello! How can I help?" }],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": { "input_tokens": 31, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                    "output_tokens": 8 } })),
            (AnthropicStreamEvent = "text/event-stream", example = json!({
                "event": "content_block_delta",
                "data": concat!("{\"type\":\"content_block_delta\",\"index\":0,",
                    "\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}") }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn messages() {}

/// Counts the tokens of a prompt in Anthropic's format.
///
/// The model counts them: the prompt is queued, read and recorded like any other, with an answer of one token. If the model does
/// not report a number, or its turn does not come within three seconds, the answer is an estimate of four bytes a token, and has
/// the header `x-token-count: estimated`.
#[utoipa::path(post, path = "/v1/messages/count_tokens", operation_id = "count_tokens", tag = "chat",
    request_body(content = MessagesCountRequest, example = json!({
        "model": "llama3.2:latest", "messages": [{ "role": "user", "content": "Say hello in one sentence." }] })),
    responses((status = 200, description = "The number of tokens", body = MessagesCount, example = json!({ "input_tokens": 31 }))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn count_tokens() {}

/// Chats in Ollama's format.
///
/// Credentials come in the `Authorization` header or in the body; the answer is Ollama's chat object. Without `model`, the
/// gateway's `default_model` answers.
#[utoipa::path(post, path = "/chat", operation_id = "chat", tag = "chat",
    security((), ("bearer" = []), ("password" = []), ("x-api-key" = [])),
    request_body(content = OllamaChatRequest, examples(
        ("a question" = (summary = "A question, after Authorize", value = json!({
            "messages": [{ "role": "user", "content": "Explain MQTT in one sentence." }],
            "options": { "num_predict": 60 } }))),
        ("b credentials" = (summary = "With name and password in the body", value = json!({
            "auth": { "username": "your e-mail address", "password": "your password" },
            "messages": [{ "role": "user", "content": "Explain MQTT in one sentence." }] }))),
        ("c json" = (summary = "An answer that matches a JSON schema", value = json!({
            "model": "llama3.2:latest",
            "messages": [{ "role": "user", "content": "Name an animal." }],
            "format": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] },
            "options": { "temperature": 0.2, "seed": 7, "stop": ["\n\n"], "num_predict": 60 } }))),
        ("d tool" = (summary = "A function that the model may call", value = json!({
            "messages": [
                { "role": "user", "content": "How warm is it in Graz?" },
                { "role": "assistant", "content": "", "tool_calls": [
                    { "function": { "name": "get_weather", "arguments": { "city": "Graz" } } }] },
                { "role": "tool", "tool_name": "get_weather", "content": "21 degrees" }],
            "tools": [{ "type": "function", "function": { "name": "get_weather", "description": "The weather of a city",
                "parameters": { "type": "object", "properties": { "city": { "type": "string" } },
                    "required": ["city"] } } }],
            "stream": true }))),
        ("e thought" = (summary = "More thought, for models that can think", value = json!({
            "messages": [{ "role": "user", "content": "What is 17 times 23?" }], "think": "low" }))),
        ("f image" = (summary = "A question about an image, for models that see", value = json!({
            "messages": [{ "role": "user", "content": "What is this?", "images": [
                "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="] }] }))))),
    responses(
        (status = 200, description = "The answer; with `stream`, in lines of JSON", content(
            (OllamaChat = "application/json", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "message": { "role": "assistant", "content": "MQTT is a small protocol for messages between devices." },
                "done": true, "done_reason": "stop", "total_duration": 900_000_000, "load_duration": 10_000_000,
                "prompt_eval_count": 31, "prompt_eval_duration": 90_000_000, "eval_count": 12,
                "eval_duration": 800_000_000 })),
            (OllamaChat = "application/x-ndjson", example = json!({
                "model": "llama3.2:latest", "created_at": "2026-01-01T00:00:00.123456789Z",
                "message": { "role": "assistant", "content": "MQTT" }, "done": false }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn chat() {}

/// Lists the models that you may use.
///
/// With the header `anthropic-version`, the answer is an `AnthropicModels`, and `limit`, `after_id` and `before_id` choose a page.
#[utoipa::path(get, path = "/v1/models", operation_id = "list_models", tag = "models", responses((status = 200, body = ModelList)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn list() {}

/// Returns one model.
///
/// Its id may contain `/` and `:`, encoded or not. With the header `anthropic-version`, the answer is an `AnthropicModel`.
#[utoipa::path(get, path = "/v1/models/{id}", operation_id = "get_model", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = ModelObject)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn one() {}

/// The served document; a test checks that it is what the code generates. Generating it at each start would keep 8 MiB and take
/// a sixth of the start-up time.
pub const DOCUMENT: &str = include_str!("../../openapi/openapi.json");

/// Generates the document from the code.
pub fn document_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The model in the examples of the document.
const EXAMPLE_MODEL: &str = "llama3.2:latest";

/// Returns the document with this gateway's default model in its examples, so that they work as they are. A name of a model needs
/// no escapes in JSON.
pub fn served_document(default_model: &ModelName) -> String {
    DOCUMENT.replace(EXAMPLE_MODEL, default_model.as_str())
}

pub async fn openapi_json(config: web::Data<Config>) -> HttpResponse {
    let document = served_document(&config.default_model);
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, wire::JSON)).body(document)
}

pub async fn to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// Mounts the pages under `/docs/`.
pub fn mount_swagger_ui(services: &mut ServiceConfig) {
    let path = "/docs/{_:.*}";
    let config = utoipa_swagger_ui::Config::from("/openapi.json")
        .persist_authorization(false)
        .display_request_duration(true)
        .try_it_out_enabled(true)
        // The schemas below the routes would be a page of their own.
        .default_models_expand_depth(0);
    services.service(SwaggerUi::new(path).config(config.clone()));
    // Swagger UI's service handles only GET.
    let config = Arc::new(config);
    let head = web::resource(path).guard(guard::Head()).to(move |page: web::Path<String>| {
        let file = utoipa_swagger_ui::serve(&page, config.clone()).ok().flatten();
        async move {
            match file {
                Some(file) => {
                    let mut response = HttpResponse::Ok();
                    if file.gzpipped {
                        response.insert_header((header::CONTENT_ENCODING, header::ContentEncoding::Gzip));
                    }
                    response.content_type(file.content_type).body(file.bytes.into_owned())
                }
                None => HttpResponse::NotFound().finish(),
            }
        }
    });
    services.service(head);
}
