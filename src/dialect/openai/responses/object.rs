//! The response object, with all its keys: clients read some of them without asking whether they are there.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::dialect::openai::responses::output::{OutputItem, ResponsesStatus, WireOutputItem};
use crate::dialect::openai::responses::request::ResponsesEcho;
use crate::dialect::openai::responses::settings::FormatSettings;
use crate::model::chat::Usage;

#[derive(Serialize)]
pub struct WireResponse<'a> {
    id: &'a str,
    object: &'static str,
    created_at: i64,
    status: ResponsesStatus,
    background: bool,
    completed_at: Option<i64>,
    error: Option<ResponseError>,
    incomplete_details: Option<IncompleteDetails>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u32>,
    max_tool_calls: Option<()>,
    model: &'a str,
    output: Vec<WireOutputItem<'a>>,
    parallel_tool_calls: bool,
    previous_response_id: Option<&'a str>,
    prompt_cache_key: Option<()>,
    reasoning: ReasoningSettings<'a>,
    safety_identifier: Option<()>,
    service_tier: &'static str,
    store: bool,
    temperature: Option<f64>,
    text: TextSettings<'a>,
    tool_choice: &'a Value,
    tools: &'a RawValue,
    top_logprobs: u8,
    top_p: Option<f64>,
    presence_penalty: f64,
    frequency_penalty: f64,
    truncation: &'static str,
    usage: Option<ResponseUsage>,
    user: Option<()>,
    metadata: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct ReasoningSettings<'a> {
    effort: Option<&'a str>,
    summary: Option<()>,
}

#[derive(Serialize)]
struct TextSettings<'a> {
    format: WireFormat<'a>,
}

#[derive(Serialize)]
struct WireFormat<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct IncompleteDetails {
    reason: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct ResponseError {
    code: &'static str,
    message: String,
}

impl ResponseError {
    /// Returns an error with a code of the few that clients of a stream tell apart.
    pub fn of(error: &Error) -> Self {
        let code = match error {
            Error::ContextTooLong { .. } => "context_length_exceeded",
            Error::QuotaUsedUp { .. } => "insufficient_quota",
            Error::RateLimited { .. }
            | Error::TokenSlowed { .. }
            | Error::QueueFull { .. }
            | Error::HostBusy { .. } => "rate_limit_exceeded",
            Error::Invalid { .. }
            | Error::Unsupported { .. }
            | Error::TooLarge { .. }
            | Error::EncodedBody { .. }
            | Error::Quarantined { .. } => "invalid_prompt",
            Error::Unauthenticated { .. }
            | Error::Forbidden { .. }
            | Error::TokenPaused { .. }
            | Error::ModelNotFound { .. }
            | Error::NotFound { .. }
            | Error::UnknownRoute { .. }
            | Error::MethodNotAllowed { .. }
            | Error::Conflict { .. }
            | Error::Misdirected { .. }
            | Error::AuditUnavailable { .. }
            | Error::DiskFull
            | Error::Unavailable { .. }
            | Error::UpstreamDown { .. }
            | Error::UpstreamRefused { .. }
            | Error::UpstreamDied { .. }
            | Error::Timeout { .. }
            | Error::Internal { .. } => "server_error",
        };
        ResponseError { code, message: error.to_string() }
    }
}

#[derive(Serialize)]
struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

/// Upstreams don't tell what they had cached, nor which tokens were thought; zero is what clients expect then.
#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl ResponseUsage {
    fn of(usage: Usage) -> Self {
        ResponseUsage {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails { cached_tokens: 0, cache_write_tokens: 0 },
            output_tokens: usage.answer_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens: 0 },
            total_tokens: usage.prompt_tokens.saturating_add(usage.answer_tokens),
        }
    }
}

/// A response so far, or at its end.
pub struct ResponseState<'a> {
    pub id: &'a str,
    pub created_at: i64,
    pub completed_at: Option<i64>,
    pub status: ResponsesStatus,
    pub error: Option<ResponseError>,
    pub output: &'a [OutputItem],
    pub usage: Option<Usage>,
}

impl<'a> WireResponse<'a> {
    pub fn of(echo: &'a ResponsesEcho, standing: ResponseState<'a>) -> Self {
        let settings = &echo.settings;
        let is_incomplete = standing.status == ResponsesStatus::Incomplete;
        WireResponse {
            id: standing.id,
            object: "response",
            created_at: standing.created_at,
            status: standing.status,
            background: false,
            completed_at: standing.completed_at,
            error: standing.error,
            incomplete_details: is_incomplete.then_some(IncompleteDetails { reason: "max_output_tokens" }),
            instructions: echo.instructions.as_deref(),
            max_output_tokens: settings.max_output_tokens,
            max_tool_calls: None,
            model: &echo.model,
            output: standing.output.iter().map(OutputItem::wire).collect(),
            parallel_tool_calls: settings.parallel_tool_calls,
            previous_response_id: settings.previous_response_id.as_deref(),
            prompt_cache_key: None,
            reasoning: ReasoningSettings { effort: settings.effort.as_deref(), summary: None },
            safety_identifier: None,
            service_tier: "default",
            store: settings.store,
            temperature: settings.temperature,
            text: TextSettings { format: format_of(echo) },
            tool_choice: &settings.tool_choice,
            tools: &echo.tools,
            top_logprobs: settings.top_logprobs,
            top_p: settings.top_p,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            truncation: if settings.cuts { "auto" } else { "disabled" },
            usage: standing.usage.map(ResponseUsage::of),
            user: None,
            metadata: &settings.metadata,
        }
    }
}

fn format_of(echo: &ResponsesEcho) -> WireFormat<'_> {
    let bare = |kind| WireFormat { r#type: kind, name: None, schema: None, strict: None };
    match &echo.settings.format {
        FormatSettings::Text => bare("text"),
        FormatSettings::JsonObject => bare("json_object"),
        FormatSettings::JsonSchema { name } => WireFormat {
            name: Some(name.as_deref().unwrap_or("answer")),
            schema: echo.schema.as_deref(),
            strict: Some(true),
            ..bare("json_schema")
        },
    }
}
