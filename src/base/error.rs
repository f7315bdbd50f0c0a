//! The gateway's errors.
//!
//! There is one variant for each way in which a caller would act differently. HTTP is not known here: status, headers and body
//! belong to the dialect that the caller speaks. `Display` is what the client may read; the cause is for the log.

use std::time::Duration;

/// How the message of every refusal begins that is about a prompt's length. Frameworks choose their exception by such words
/// and not by the status: litellm looks for "prompt is too long", LangChain for "exceeds the context window".
const PROMPT_TOO_LONG: &str = "the prompt is too long, it exceeds the context window";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request has a value that can't be used. `field` is a path, such as `messages[2].content`.
    #[error("{message}")]
    Invalid { field: String, message: String },
    /// A field that is known and changes the answer, but is not supported.
    #[error("{message}")]
    Unsupported { field: String, message: String },
    /// The prompt has more tokens than the model or the caller's quotas allow.
    #[error("{PROMPT_TOO_LONG}: {message}")]
    ContextTooLong { field: &'static str, message: String },
    /// The same request crashed an upstream a while ago.
    #[error("{message}")]
    Quarantined { message: String },
    #[error("{message}")]
    Unauthenticated { message: String },
    #[error("{message}")]
    Forbidden { message: String },
    /// An API token that ran away, paused until it is resumed.
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
    /// The caller's own limit is reached.
    #[error("{message}")]
    RateLimited { message: String, retry_after: Duration },
    /// An API token that is slowed because it seems to run away.
    #[error("{message}")]
    TokenSlowed { message: String, retry_after: Duration },
    #[error("{message}")]
    QuotaUsedUp { message: String, retry_after: Duration },
    /// The caller's own share of the queue is full.
    #[error("{message}")]
    QueueFull { message: String, retry_after: Duration },
    /// The whole queue is full, or the wait was too long.
    #[error("{message}")]
    HostBusy { message: String, retry_after: Duration },
    /// The record can't be written, so nothing is served.
    #[error("the record can't be written now, so nothing is answered; try again later")]
    AuditUnavailable {
        #[source]
        cause: anyhow::Error,
    },
    /// Fewer bytes are free on the data disk than those that run may need for their record.
    #[error("the gateway's data disk is nearly full, so nothing is answered; try again later, or tell an admin")]
    DiskFull,
    #[error("{message}")]
    Unavailable { message: String, retry_after: Duration },
    #[error("the model server can't be reached; try again later, or ask an admin to start it")]
    UpstreamDown {
        #[source]
        cause: anyhow::Error,
    },
    #[error("{message}")]
    UpstreamRefused { message: String },
    /// The upstream, or its process that runs the model, crashed in the middle of the request.
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

/// Retry hint for states of unknown length: a full disk, a stopping gateway.
const RETRY_SOON: Duration = Duration::from_secs(5);

impl Error {
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Invalid { field: field.into(), message: message.into() }
    }

    pub fn unsupported(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Unsupported { field: field.into(), message: message.into() }
    }

    /// The one error for an unknown name, a wrong password, a pending and a disabled account.
    pub fn bad_credentials() -> Self {
        Error::Unauthenticated { message: "wrong user name or password".into() }
    }

    /// An invalid bearer. SDKs and frameworks look for these first words.
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

    /// Returns the path of the field that is wrong.
    pub fn field(&self) -> Option<&str> {
        match self {
            Error::Invalid { field, .. } | Error::Unsupported { field, .. } => Some(field),
            Error::ContextTooLong { field, .. } => Some(field),
            Error::TooLarge { field, .. } => *field,
            Error::ModelNotFound { .. } => Some("model"),
            _ => None,
        }
    }

    /// Sets the field of an error about the length of a request.
    pub fn about(self, field: &'static str) -> Error {
        match self {
            Error::ContextTooLong { message, .. } => Error::ContextTooLong { field, message },
            other => other,
        }
    }

    /// Replaces the upstream's field name `theirs` by the caller's name for it.
    pub fn renamed(self, theirs: &str, ours: &str) -> Error {
        match self {
            Error::Invalid { field, message } if field == theirs => Error::invalid(ours, message),
            other => other,
        }
    }

    /// Returns when to retry, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::RateLimited { retry_after, .. }
            | Error::TokenSlowed { retry_after, .. }
            | Error::QuotaUsedUp { retry_after, .. }
            | Error::QueueFull { retry_after, .. }
            | Error::HostBusy { retry_after, .. }
            | Error::Unavailable { retry_after, .. } => Some(*retry_after),
            Error::AuditUnavailable { .. } | Error::DiskFull => Some(RETRY_SOON),
            _ => None,
        }
    }
}

/// Gives each variant its stable name.
macro_rules! codes {
    ($($variant:ident = $code:literal,)+) => {
        impl Error {
            /// Every code that an error can have.
            pub const CODES: &[&str] = &[$($code,)+];

            /// Returns the stable name of the error: `code` in an error body, `reason` in the record and in metrics.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Error::$variant { .. } => $code,)+
                }
            }
        }
    };
}

codes! {
    Invalid = "invalid_request",
    Unsupported = "unsupported_parameter",
    ContextTooLong = "context_length_exceeded",
    Quarantined = "request_quarantined",
    Unauthenticated = "invalid_api_key",
    Forbidden = "permission_denied",
    TokenPaused = "token_paused",
    ModelNotFound = "model_not_found",
    NotFound = "not_found",
    UnknownRoute = "unknown_url",
    MethodNotAllowed = "method_not_allowed",
    Conflict = "conflict",
    TooLarge = "request_too_large",
    EncodedBody = "unsupported_encoding",
    Misdirected = "misdirected_request",
    RateLimited = "rate_limit_exceeded",
    TokenSlowed = "token_slowed",
    QuotaUsedUp = "insufficient_quota",
    QueueFull = "queue_full",
    HostBusy = "host_busy",
    AuditUnavailable = "audit_unavailable",
    DiskFull = "audit_unavailable",
    Unavailable = "unavailable",
    UpstreamDown = "upstream_unreachable",
    UpstreamRefused = "upstream_error",
    UpstreamDied = "upstream_died",
    Timeout = "upstream_timeout",
    Internal = "internal_error",
}

/// Writes an error with all its sources, for the log and for admins: `it can't be saved: permission denied (os error 13)`. What a
/// client may read is `Display` alone. An error that repeats its source's words is written once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = error.source();
    }
    text
}

/// Returns `Retry-After` in whole seconds: rounded up, at least 1, so that a client that obeys is not refused again.
pub fn retry_after_seconds(wait: Duration) -> u64 {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    whole.max(1)
}

/// The longest wait that SDKs obey: older versions of `openai-node` and the AI SDK ignore 60 s or more, retry at once, and give
/// up after 1.4 s.
const RETRY_MILLIS_MAX: u64 = 59_999;

/// Returns `retry-after-ms`: rounded up, at least 1, and never more than SDKs obey. After a longer wait they come back too
/// early, and are told the rest.
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
    fn a_chain_has_each_source_once() {
        let refused = || std::io::Error::from_raw_os_error(111);
        let deep = anyhow::Error::new(refused()).context("connecting to the upstream");

        assert_eq!(
            chain(&Error::internal(deep)),
            "an error inside the gateway; the log knows more under this request's id: connecting to the upstream: \
             Connection refused (os error 111)"
        );
        assert_eq!(chain(&refused()), "Connection refused (os error 111)");
        let same = anyhow::Error::new(refused()).context("it failed: Connection refused (os error 111)");
        assert_eq!(chain(same.as_ref()), "it failed: Connection refused (os error 111)");
    }

    #[test]
    fn a_wait_in_milliseconds_is_one_that_sdks_obey() {
        assert_eq!(retry_after_millis(Duration::from_millis(59_998)), 59_998);
        for longer in [Duration::from_secs(60), Duration::from_secs(86_400), Duration::MAX] {
            assert_eq!(retry_after_millis(longer), 59_999, "{longer:?}");
        }
    }
}
