//! The OpenAPI document, generated from the code, and a Swagger UI that needs no network.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, guard};
use serde::Serialize;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Flow, Http, HttpAuthScheme, OAuth2, Password, Scopes, SecurityScheme,
};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::dialect::models::{ModelList, ModelObject};
use crate::dialect::wire;
use crate::http::described;
use crate::http::docs::errors::describe_errors;
use crate::http::errors::{ErrorBody, LegacyError};

pub mod errors;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "LAN AI gateway",
        description = "Authenticated, audited, rate-limited access to the local Ollama. Press Authorize and sign in with \
            your e-mail address and password, then try `POST /v1/chat/completions`. Every prompt and answer is recorded \
            with your name; admins can read them. HEAD is served wherever GET is."
    ),
    servers((url = "/", description = "This gateway")),
    paths(chat, chat_completions, completions, embeddings, list, one),
    components(schemas(ErrorBody, ChatChunkEvent, LegacyError)),
    modifiers(&Security),
    security(("password" = []), ("bearer" = []), ("x-api-key" = [])),
    tags(
        (name = "chat", description = "Chats, completions and embeddings"),
        (name = "models", description = "The models that you may use"),
        (name = "account", description = "Your account: register, sign in, your record and your quotas"),
        (name = "tokens", description = "Tokens for machines, for tools and pipelines"),
        (name = "queue", description = "Running and waiting requests"),
        (name = "users", description = "For admins: accounts, their rights and limits"),
        (name = "record", description = "For admins: who asked what, and exports of it"),
        (name = "usage", description = "For admins: what was used"),
        (name = "settings", description = "For admins: what can be changed at run time"),
        (name = "host", description = "Health for everybody; the host and its metrics for admins")
    )
)]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(described());
    describe_errors(&mut document);
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

/// One event of a stream. The last `data` is `[DONE]`.
#[derive(Serialize, ToSchema)]
pub struct ChatChunkEvent {
    data: String,
}

/// Creates a chat completion in OpenAI's format.
///
/// `tools`, images as data URIs, `response_format` and `logprobs` are supported. Fields without effect here are named in
/// `x-ignored-parameters`; a parameter that would change the answer and is not supported is refused by name. A `tool_choice`
/// that requires a call (`required`, or a function's name) tells the model so in the system message, constrains its answer to a
/// schema and returns it as one call; if the upstream doesn't enforce the schema, the answer is 502.
///
/// Tool calls in the conversation are accepted as they were returned. `arguments` that are not a JSON object, for example cut
/// off by the token limit, reach the model as `{"INVALID_ARGUMENTS": "…"}` and are named in `x-ignored-parameters`.
/// `max_tokens: -1` counts as absent.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "create_chat_completion", tag = "chat",
    request_body(content = serde_json::Value, example = json!({
        "model": "llama3.2:latest", "messages": [{ "role": "user", "content": "Say hello" }], "max_tokens": 50 })),
    responses(
        (status = 200, content((serde_json::Value = "application/json"), (ChatChunkEvent = "text/event-stream")))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn chat_completions() {}

/// Completes a text in OpenAI's format.
///
/// `prompt` is one text, `suffix` the text after the gap (for models that support it). `max_tokens` defaults to the gateway's
/// limit. `echo`, `best_of`, `n` above 1, `logit_bias` and prompts of token numbers are refused by name.
#[utoipa::path(post, path = "/v1/completions", operation_id = "create_completion", tag = "chat",
    request_body(content = serde_json::Value, example = json!({
        "model": "llama3.2:latest", "prompt": "The sea is", "max_tokens": 20 })),
    responses(
        (status = 200, content((serde_json::Value = "application/json"), (ChatChunkEvent = "text/event-stream")))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn completions() {}

/// Creates embeddings of texts in OpenAI's format.
///
/// `input` is a text or up to 2,048 texts; token numbers are refused. `encoding_format` is `float` or `base64` (little-endian
/// floats of 32 bits). A text that exceeds the model's context is refused, not cut.
#[utoipa::path(post, path = "/v1/embeddings", operation_id = "create_embeddings", tag = "chat",
    request_body(content = serde_json::Value, example = json!({
        "model": "nomic-embed-text:latest", "input": ["the sea", "the mountains"] })),
    responses((status = 200, body = serde_json::Value)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn embeddings() {}

/// Chats in Ollama's format.
#[utoipa::path(post, path = "/chat", operation_id = "chat", tag = "chat", security((), ("bearer" = []), ("password" = [])),
    request_body(content = serde_json::Value, example = json!({
        "auth": { "username": "ann@example.org", "password": "…" },
        "messages": [{ "role": "user", "content": "Explain MQTT" }] })),
    responses(
        (status = 200, content((serde_json::Value = "application/json"), (serde_json::Value = "application/x-ndjson")))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn chat() {}

/// Lists the models that you may use.
#[utoipa::path(get, path = "/v1/models", operation_id = "list_models", tag = "models", responses((status = 200, body = ModelList)))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
fn list() {}

/// Returns one model.
///
/// Its id may contain `/` and `:`, encoded or not.
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

pub async fn openapi_json() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, wire::JSON)).body(DOCUMENT)
}

pub async fn to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// Mounts the pages under `/docs/`.
pub fn mount_swagger_ui(services: &mut ServiceConfig) {
    let path = "/docs/{_:.*}";
    let config = Config::from("/openapi.json").persist_authorization(false).display_request_duration(true);
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
