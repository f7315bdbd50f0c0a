//! Ollama's errors: what they mean, by status and text.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::base::error::Error;
use crate::provider::{PROMPT_FIELD, SCHEMA_FIELD};

/// The longest upstream text in an error.
const ECHO_CHARS_MAX: usize = 300;

/// `Retry-After` when Ollama's queue is full; Ollama doesn't say how long.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// An error of Ollama, or the one of llama-server that it wraps.
struct OllamaError {
    text: String,
    kind: String,
}

impl OllamaError {
    fn of(error: &Value) -> Self {
        // The JSON of llama-server arrives as a string inside the string.
        let inner = error.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object);
        let error = inner.as_ref().map_or(error, |inner| inner.get("error").unwrap_or(inner));
        let field = |name| error.get(name).and_then(Value::as_str);
        let text = field("message").or(error.as_str()).unwrap_or_default();
        OllamaError { text: bounded(text), kind: bounded(field("type").unwrap_or_default()) }
    }

    fn is_context_too_long(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        self.kind == "exceed_context_size_error"
            || text.contains("exceeds the context length")
            || text.contains("longer than the context length")
            || text.contains("exceeds the available context size")
    }

    /// Returns whether the process that runs the model has ended, by the messages of several versions. Ollama talks to that
    /// process over HTTP, and some versions pass on Go's message about the broken connection.
    fn is_runner_dead(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        let words = [
            "model runner has unexpectedly stopped",
            "runner process has terminated",
            "server process has terminated",
            "runner process no longer running",
            "an error was encountered while running the model",
        ];
        let broken = [": eof", "unexpected eof", "connection reset by peer", "connection refused", "broken pipe"];
        words.iter().any(|words| text.contains(words))
            || (text.contains("\"http://127.0.0.1:") && broken.iter().any(|end| text.ends_with(end)))
    }

    /// Returns whether the grammar compiler or the sampler refused a schema: Ollama answers 500, but the request is at fault.
    fn is_about_the_schema(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        text.contains("invalid json schema in format")
            || text.starts_with("invalid format:")
            || text.contains("failed to initialize grammar")
            || text.contains("unable to create sampling context")
    }

    /// Returns the error that the text alone shows, whatever the status is.
    fn by_text(&self) -> Option<Error> {
        if self.is_about_the_schema() {
            let message = format!("the model server can't use this schema: {}", self.text);
            return Some(Error::invalid(SCHEMA_FIELD, message));
        }
        // A text without any token in the model's vocabulary, such as an empty one.
        if self.text.to_ascii_lowercase().contains("no input provided") {
            return Some(Error::invalid(PROMPT_FIELD, "the model server found no text to read; send some"));
        }
        if self.is_context_too_long() {
            return Some(Error::ContextTooLong { field: PROMPT_FIELD, message: self.text.clone() });
        }
        self.is_runner_dead().then(|| Error::UpstreamDied {
            message: format!("the model ended while it worked on this request: {}", self.text),
        })
    }

    fn refused(self, before: &str) -> Error {
        if self.text.is_empty() { refused(before) } else { refused(format!("{before}: {}", self.text)) }
    }
}

/// Returns upstream text on one line and short: it goes into logs, headers and records.
fn bounded(text: &str) -> String {
    let mut short: String =
        text.trim().chars().take(ECHO_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(ECHO_CHARS_MAX).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// Translates the answer to a call that failed.
pub fn failure(status: u16, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Body {
        error: Value,
    }
    // Ollama answers unknown routes and methods in plain text, and a wrong `Host` header with an empty body.
    let json = serde_json::from_slice::<Body>(body).ok();
    let is_json = json.is_some();
    let failure = OllamaError::of(&json.map_or_else(|| Value::from(String::from_utf8_lossy(body)), |body| body.error));
    if let Some(error) = failure.by_text() {
        return error;
    }
    match status {
        400 => {
            let message = match failure.text.as_str() {
                "" => "the model server refused the request".to_owned(),
                text => format!("the model server refused the request: {text}"),
            };
            Error::invalid("", message)
        }
        404 if is_json && failure.text.to_ascii_lowercase().contains("not found") => {
            Error::ModelNotFound { model: quoted(&failure.text).unwrap_or("unknown").to_owned() }
        }
        404 | 405 => failure.refused("the model server does not know this call (is it an Ollama?)"),
        401 => failure.refused("the model server wants somebody to sign in on its host"),
        403 => failure.refused("the model server does not let this gateway in"),
        503 => Error::HostBusy { message: "the model server is busy; try again later".into(), retry_after: BUSY_RETRY },
        _ => failure.refused(&format!("the model server failed with status {status}")),
    }
}

/// Translates an error in the stream of an answer.
pub fn mid_stream_error(error: &Value) -> Error {
    let failure = OllamaError::of(error);
    failure.by_text().unwrap_or_else(|| failure.refused("the model server failed"))
}

/// Returns the error of an upstream that failed or sent what is not understood.
pub fn refused(message: impl Into<String>) -> Error {
    Error::UpstreamRefused { message: message.into() }
}

/// Returns the name in `model 'm' not found` or `model "m" not found, try pulling it first`.
fn quoted(text: &str) -> Option<&str> {
    let start = text.find(['\'', '"'])?;
    let quote = &text[start..=start];
    let name = text[start + 1..].split_once(quote)?.0;
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_text_is_cut_to_300_letters() {
        let long = |length| format!(r#"{{"error":"{}"}}"#, "ü".repeat(length));
        let said = |length| failure(500, long(length).as_bytes()).to_string().split_once(": ").unwrap().1.to_owned();

        assert_eq!(said(300), "ü".repeat(300));
        assert_eq!(said(301), format!("{}…", "ü".repeat(299)));
    }

    #[test]
    fn any_error_body_is_borne() {
        for body in [
            &b""[..],
            b"\xff\xfe",
            b"404 page not found",
            b"{\"error\":null}",
            b"{\"error\":{\"message\":7}}",
            b"{\"error\":\"{}\"}",
        ] {
            for status in [100, 301, 400, 401, 403, 404, 405, 418, 429, 499, 500, 502, 503, 504, 999] {
                let error = failure(status, body);
                assert!(
                    ["invalid_request", "upstream_error", "host_busy"].contains(&error.code()),
                    "{status} {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_runner_that_ended_is_told_from_other_failures() {
        let died = [
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details",
            "llama runner process has terminated: exit status 2",
            "llama-server process has terminated: signal: segmentation fault",
            "llama runner process no longer running: 2 ",
            "an error was encountered while running the model: unexpected EOF",
            "do embedding request: Post \"http://127.0.0.1:40123/embedding\": EOF",
        ];
        let others = [
            "",
            "an error was encountered",
            "timed out waiting for llama runner to start - progress 0.50 - ",
            "model requires more system memory (9 GiB) than is available (2 GiB)",
            "unexpected EOF",
            "the prompt says \"http://127.0.0.1:1/\"",
        ];

        for (texts, code) in [(&died[..], "upstream_died"), (&others[..], "upstream_error")] {
            for text in texts {
                let body = serde_json::json!({ "error": text });
                assert_eq!(failure(500, body.to_string().as_bytes()).code(), code, "{text}");
                assert_eq!(mid_stream_error(&body["error"]).code(), code, "{text}");
            }
        }
    }

    #[test]
    fn a_missing_model_is_told_from_a_missing_route() {
        let model = |body: &str| match failure(404, body.as_bytes()) {
            Error::ModelNotFound { model } => model,
            other => panic!("{other:?}"),
        };

        assert_eq!(model(r#"{"error":"model 'llama9' not found"}"#), "llama9");
        assert_eq!(model(r#"{"error":"model \"x:1\" Not Found, try pulling it first"}"#), "x:1");
        assert_eq!(failure(404, b"404 page not found").code(), "upstream_error");
    }
}
