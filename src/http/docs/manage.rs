//! Descriptions of the routes that change models.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A model to be pulled or pushed.
#[derive(Serialize, ToSchema)]
pub struct RegistryModelRequest {
    #[schema(example = "llama3.2:latest")]
    model: String,
    /// Whether each step is reported when it is made.
    #[schema(default = true)]
    stream: Option<bool>,
    /// Only `false`: connections that are not checked are not offered.
    insecure: Option<bool>,
}

/// A model to be made from another one or from uploaded files.
#[derive(Serialize, ToSchema)]
pub struct CreateModelRequest {
    #[schema(example = "terse:latest")]
    model: String,
    #[schema(example = "llama3.2:latest")]
    from: Option<String>,
    /// The digests of uploaded files by their names.
    files: Option<BTreeMap<String, String>>,
    adapters: Option<BTreeMap<String, String>>,
    template: Option<String>,
    #[schema(example = "Answer in one sentence.")]
    system: Option<String>,
    /// A text, or several.
    #[schema(value_type = Option<Object>)]
    license: Option<Value>,
    /// Options with which it answers, such as `temperature` and `num_ctx`.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Messages with which each of its chats begins: `role` and `content`.
    messages: Option<Vec<Value>>,
    quantize: Option<String>,
    /// Whether each step is reported when it is made.
    #[schema(default = true)]
    stream: Option<bool>,
}

/// A model to be copied.
#[derive(Serialize, ToSchema)]
pub struct CopyModelRequest {
    #[schema(example = "llama3.2:latest")]
    source: String,
    #[schema(example = "spare:latest")]
    destination: String,
}

/// A model to be deleted.
#[derive(Serialize, ToSchema)]
pub struct DeleteModelRequest {
    #[schema(example = "spare:latest")]
    model: String,
}

/// A file, as it is.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct ModelFile(Vec<u8>);

/// A step of a change. The last one has the status `success`.
#[derive(Serialize, ToSchema)]
pub struct ModelChangeStep {
    #[schema(example = "success")]
    status: String,
    /// The part of the model that the next two are about.
    digest: Option<String>,
    /// Bytes.
    total: Option<u64>,
    completed: Option<u64>,
}

/// Pulls a model from a registry.
///
/// Needs a token of an admin with the scope `models:manage`, as all routes that change models. With several model servers, the
/// header `x-upstream` names one. A client who leaves ends the change.
#[utoipa::path(post, path = "/api/pull", operation_id = "pull_model", tag = "models",
    params(("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = RegistryModelRequest, example = json!({ "model": "llama3.2:latest", "stream": false })),
    responses((status = 200, description = "The last step; with `stream`, each step in a line of JSON", content(
        (ModelChangeStep = "application/json", example = json!({ "status": "success" })),
        (ModelChangeStep = "application/x-ndjson", example = json!({ "status": "pulling manifest" }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn pull() {}

/// Pushes a model to a registry.
///
/// The model server must be signed in there.
#[utoipa::path(post, path = "/api/push", operation_id = "push_model", tag = "models",
    params(("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = RegistryModelRequest, example = json!({ "model": "ann/terse:latest", "stream": false })),
    responses((status = 200, description = "The last step; with `stream`, each step in a line of JSON", content(
        (ModelChangeStep = "application/json", example = json!({ "status": "success" })),
        (ModelChangeStep = "application/x-ndjson", example = json!({ "status": "retrieving manifest" }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn push() {}

/// Makes a model from another one or from uploaded files.
#[utoipa::path(post, path = "/api/create", operation_id = "create_model", tag = "models",
    params(("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = CreateModelRequest, example = json!({
        "model": "terse:latest", "from": "llama3.2:latest", "system": "Answer in one sentence.",
        "parameters": { "temperature": 0.2 }, "stream": false })),
    responses((status = 200, description = "The last step; with `stream`, each step in a line of JSON", content(
        (ModelChangeStep = "application/json", example = json!({ "status": "success" })),
        (ModelChangeStep = "application/x-ndjson", example = json!({ "status": "writing manifest" }))))))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn create() {}

/// Copies a model to another name.
#[utoipa::path(post, path = "/api/copy", operation_id = "copy_model", tag = "models",
    params(("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = CopyModelRequest, example = json!({
        "source": "llama3.2:latest", "destination": "spare:latest" })),
    responses((status = 200, description = "It is copied")))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn copy() {}

/// Deletes a model.
#[utoipa::path(delete, path = "/api/delete", operation_id = "delete_model", tag = "models",
    params(("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = DeleteModelRequest, example = json!({ "model": "spare:latest" })),
    responses((status = 200, description = "It is deleted")))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn delete() {}

/// Uploads a file for a model to be made from.
///
/// It is passed on as it arrives, up to `models.file_bytes_max`. The model server refuses one whose digest is another.
#[utoipa::path(post, path = "/api/blobs/{id}", operation_id = "upload_blob", tag = "models",
    params(("id" = String, Path, description = "`sha256:` and 64 hexadecimal digits"),
        ("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    request_body(content = ModelFile, content_type = "application/octet-stream"),
    responses((status = 201, description = "It is kept")))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn upload() {}

/// Tells whether the model server has a file.
#[utoipa::path(head, path = "/api/blobs/{id}", operation_id = "has_blob", tag = "models",
    params(("id" = String, Path, description = "`sha256:` and 64 hexadecimal digits"),
        ("x-upstream" = Option<String>, Header, description = "The model server, where there are several")),
    responses((status = 200, description = "It has"), (status = 404, description = "It has not")))]
#[allow(dead_code, reason = "the handler is shared by all dialects; this describes one of its routes")]
pub fn has_blob() {}
