//! What can go wrong, in the words of the gateway.
//!
//! One variant for each way in which a caller would act differently. There is no HTTP here: status, headers and body
//! belong to the dialect that the caller speaks. `Display` is what the client may read; the cause is for the log.

use std::time::Duration;

/// How the message of every refusal begins that is about a prompt's length. Frameworks choose their exception by such words
/// and not by the status: litellm looks for "prompt is too long", LangChain for "exceeds the context window".
const PROMPT_TOO_LONG: &str = "the prompt is too long, it exceeds the context window";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request has a value that can't be used. `field` is a path, as in `messages[2].content`.
    #[error("{message}")]
    Invalid { field: String, message: String },
    /// A field that is understood, changes the meaning, and can't be honoured.
    #[error("{message}")]
    Unsupported { field: String, message: String },
    /// The prompt has more tokens than the model or the caller's quotas allow.
    #[error("{PROMPT_TOO_LONG}: {message}")]
    ContextTooLong { field: &'static str, message: String },
    /// The same request ended a model server a while ago.
    #[error("{message}")]
    Quarantined { message: String },
    #[error("{message}")]
    Unauthenticated { message: String },
    #[error("{message}")]
    Forbidden { message: String },
    /// A machine's token that ran away, held until somebody has looked at it.
    #[error("{message}")]
    TokenPaused { message: String },
    #[error("model `{model}` is not served here; `GET /v1/models` lists those that are")]
    ModelNotFound { model: String },
    #[error("there is no {what} here")]
    NotFound { what: String },
    #[error("{message}")]
    UnknownRoute { message: String },
    #[error("`{method}` is not offered on `{path}`; use {allow}")]
    MethodNotAllowed { method: String, path: String, allow: String },
    #[error("{message}")]
    Conflict { message: String },
    /// The text of a field, or the whole body, exceeds its size limit.
    #[error("{} is larger than {limit} bytes", field.map_or("the request body".into(), |field| format!("{PROMPT_TOO_LONG}: the text of `{field}`")))]
    TooLarge { field: Option<&'static str>, limit: usize },
    #[error("a body encoded as `{encoding}` is not accepted; send it as it is, without `Content-Encoding`")]
    EncodedBody { encoding: String },
    #[error("this gateway does not answer for host `{host}`; an admin can add it to `allowed_hosts`")]
    Misdirected { host: String },
    /// The caller's own limit.
    #[error("{message}")]
    RateLimited { message: String, retry_after: Duration },
    /// A machine's token that seems to run away.
    #[error("{message}")]
    TokenSlowed { message: String, retry_after: Duration },
    #[error("{message}")]
    QuotaUsedUp { message: String, retry_after: Duration },
    /// The caller's own waiting room is full.
    #[error("{message}")]
    QueueFull { message: String, retry_after: Duration },
    /// Everybody's waiting room is full, or the wait was too long.
    #[error("{message}")]
    HostBusy { message: String, retry_after: Duration },
    /// No audit, no service.
    #[error("the record can't be written now, so nothing is answered; try again later")]
    AuditUnavailable {
        #[source]
        cause: anyhow::Error,
    },
    #[error("{message}")]
    Unavailable { message: String, retry_after: Duration },
    #[error("the model server can't be reached; try again later, or ask an admin to start it")]
    UpstreamDown {
        #[source]
        cause: anyhow::Error,
    },
    #[error("{message}")]
    UpstreamRefused { message: String },
    /// The model server, or its process that runs the model, ended in the middle of the request.
    #[error("{message}")]
    UpstreamDied { message: String },
    #[error("{message}")]
    Timeout { message: String },
    #[error("an error inside the gateway; the log knows more under this request's id")]
    Internal {
        #[source]
        cause: anyhow::Error,
    },
}

/// The retry hint for a state that nobody can date: a full disk, a stopping gateway.
const RETRY_SOON: Duration = Duration::from_secs(5);

impl Error {
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Invalid { field: field.into(), message: message.into() }
    }

    pub fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Unsupported { field: field.into(), message: message.into() }
    }

    /// The one answer to an unknown name, a wrong password, a pending and a disabled account.
    pub fn bad_credentials() -> Self {
        Error::Unauthenticated { message: "wrong user name or password".into() }
    }

    /// SDKs and frameworks look for these first words.
    pub fn bad_token(why: &str) -> Self {
        Error::Unauthenticated { message: format!("Incorrect API key provided: {why}") }
    }

    pub fn password_change_required() -> Self {
        Error::Forbidden {
            message: "this password must be changed before anything else: \
                      POST /api/v1/password with `username`, `current_password` and `new_password`"
                .into(),
        }
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Error::Forbidden { message: message.into() }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Error::Conflict { message: message.into() }
    }

    pub fn audit(cause: impl Into<anyhow::Error>) -> Self {
        Error::AuditUnavailable { cause: cause.into() }
    }

    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Error::Internal { cause: cause.into() }
    }

    /// The stable name of the error: `code` in an error body, `reason` in the record and in metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid { .. } => "invalid_request",
            Error::Unsupported { .. } => "unsupported_parameter",
            Error::ContextTooLong { .. } => "context_length_exceeded",
            Error::Quarantined { .. } => "request_quarantined",
            Error::Unauthenticated { .. } => "invalid_api_key",
            Error::Forbidden { .. } => "permission_denied",
            Error::TokenPaused { .. } => "token_paused",
            Error::ModelNotFound { .. } => "model_not_found",
            Error::NotFound { .. } => "not_found",
            Error::UnknownRoute { .. } => "unknown_url",
            Error::MethodNotAllowed { .. } => "method_not_allowed",
            Error::Conflict { .. } => "conflict",
            Error::TooLarge { .. } => "request_too_large",
            Error::EncodedBody { .. } => "unsupported_encoding",
            Error::Misdirected { .. } => "misdirected_request",
            Error::RateLimited { .. } => "rate_limit_exceeded",
            Error::TokenSlowed { .. } => "token_slowed",
            Error::QuotaUsedUp { .. } => "insufficient_quota",
            Error::QueueFull { .. } => "queue_full",
            Error::HostBusy { .. } => "host_busy",
            Error::AuditUnavailable { .. } => "audit_unavailable",
            Error::Unavailable { .. } => "unavailable",
            Error::UpstreamDown { .. } => "upstream_unreachable",
            Error::UpstreamRefused { .. } => "upstream_error",
            Error::UpstreamDied { .. } => "upstream_died",
            Error::Timeout { .. } => "upstream_timeout",
            Error::Internal { .. } => "internal_error",
        }
    }

    /// The field of the request that is at fault, as a path.
    pub fn field(&self) -> Option<&str> {
        match self {
            Error::Invalid { field, .. } | Error::Unsupported { field, .. } => Some(field),
            Error::ContextTooLong { field, .. } => Some(field),
            Error::TooLarge { field, .. } => *field,
            Error::ModelNotFound { .. } => Some("model"),
            _ => None,
        }
    }

    /// The same, where it is about the length of a request: `field` is what was too long.
    pub fn about(self, field: &'static str) -> Error {
        match self {
            Error::ContextTooLong { message, .. } => Error::ContextTooLong { field, message },
            other => other,
        }
    }

    /// The same under the caller's own name of a field, where it is about the upstream's field `theirs`.
    pub fn renamed(self, theirs: &str, ours: &str) -> Error {
        match self {
            Error::Invalid { field, message } if field == theirs => Error::invalid(ours, message),
            other => other,
        }
    }

    /// When it makes sense to try again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::RateLimited { retry_after, .. }
            | Error::TokenSlowed { retry_after, .. }
            | Error::QuotaUsedUp { retry_after, .. }
            | Error::QueueFull { retry_after, .. }
            | Error::HostBusy { retry_after, .. }
            | Error::Unavailable { retry_after, .. } => Some(*retry_after),
            Error::AuditUnavailable { .. } => Some(RETRY_SOON),
            _ => None,
        }
    }
}

/// `Retry-After` in whole seconds: rounded up, at least 1, so that a client that obeys is not refused again.
pub fn retry_after_seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    whole.max(1)
}

/// The longest wait that SDKs obey: older versions of `openai-node` and the AI SDK take 60 s or more for nonsense, try again
/// at once, and have given up after 1.4 s.
const RETRY_MILLIS_MAX: u64 = 59_999;

/// `retry-after-ms`: rounded up, at least 1, and never more than SDKs obey. Of a longer wait they come back too early, and
/// are told the rest.
pub fn retry_after_millis(wait: Duration) -> u64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX).clamp(1, RETRY_MILLIS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_never_zero() {
        assert_eq!(retry_after_seconds(Duration::ZERO), 1);
        assert_eq!(retry_after_seconds(Duration::from_millis(999)), 1);
        assert_eq!(retry_after_seconds(Duration::from_secs(5)), 5);
        assert_eq!(retry_after_seconds(Duration::from_millis(5001)), 6);
        assert_eq!(retry_after_millis(Duration::ZERO), 1);
        assert_eq!(retry_after_millis(Duration::from_micros(1_500_001)), 1501);
    }

    #[test]
    fn a_wait_in_milliseconds_is_one_that_sdks_obey() {
        assert_eq!(retry_after_millis(Duration::from_millis(59_998)), 59_998);
        for longer in [Duration::from_secs(60), Duration::from_secs(86_400), Duration::MAX] {
            assert_eq!(retry_after_millis(longer), 59_999, "{longer:?}");
        }
    }
}
