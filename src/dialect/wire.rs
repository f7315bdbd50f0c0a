//! What dialects share in writing to clients: stream frames, the error envelope and its statuses; and the credential of a head.

use bytes::{BufMut, BytesMut};
use memchr::memmem;
use serde::Serialize;

use crate::base::error::{Error, retry_after_millis, retry_after_seconds};
use crate::base::secret::Secret;
use crate::dialect::{Head, Reply};
use crate::model::credential::Credential;

pub use crate::dialect::json::check_json;

// All three are UTF-8 by definition. Clients that go by HTTP alone (Python's `requests`, Windows PowerShell) take Latin-1 for
// a type without a charset.
pub const JSON: &str = "application/json; charset=utf-8";
pub const SSE: &str = "text/event-stream; charset=utf-8";
pub const NDJSON: &str = "application/x-ndjson; charset=utf-8";

/// Appends a value as JSON.
pub fn put_json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let written = serde_json::to_writer(out.writer(), value);
    // Memory takes every write, and what is written here has text for its keys.
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Appends one server-sent event: `data: …` and an empty line. JSON holds no line breaks, so one line is enough.
pub fn put_sse<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    out.put_slice(b"data: ");
    put_json(out, value);
    out.put_slice(b"\n\n");
}

/// Appends one server-sent event with a name: `event: …` before its data.
pub fn put_named_sse<T: Serialize + ?Sized>(out: &mut BytesMut, name: &str, value: &T) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\n");
    put_sse(out, value);
}

/// Appends one line of NDJSON.
pub fn put_line<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let start = out.len();
    put_json(out, value);
    escape_line_breaks(out, start);
    out.put_slice(b"\n");
}

/// Escapes the letters of the JSON from `start` on that some readers take for ends of lines: ollama-python's HTTP client splits
/// at all that Unicode names so. Ollama escapes the first two itself.
fn escape_line_breaks(out: &mut BytesMut, start: usize) {
    const ESCAPES: [(&str, &[u8]); 3] = [("\u{2028}", b"\\u2028"), ("\u{2029}", b"\\u2029"), ("\u{85}", b"\\u0085")];
    let may_hold_one = ESCAPES.iter().any(|(letter, _)| memmem::find(&out[start..], letter.as_bytes()).is_some());
    if !may_hold_one {
        return;
    }
    let line = out.split_off(start);
    let mut rest = &line[..];
    while let Some((first, after)) = rest.split_first() {
        match ESCAPES.iter().find(|(letter, _)| rest.starts_with(letter.as_bytes())) {
            Some((letter, escape)) => {
                out.put_slice(escape);
                rest = &rest[letter.len()..];
            }
            None => {
                out.put_u8(*first);
                rest = after;
            }
        }
    }
}

/// OpenAI's error body, which the gateway's own API uses too.
#[derive(Serialize)]
pub struct Envelope<'a> {
    error: EnvelopeError<'a>,
}

#[derive(Serialize)]
struct EnvelopeError<'a> {
    message: String,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

pub fn envelope(error: &Error) -> Envelope<'_> {
    Envelope {
        error: EnvelopeError {
            message: error.to_string(),
            r#type: error_type(error),
            param: error.field().filter(|field| !field.is_empty()),
            code: error.code(),
        },
    }
}

/// Returns an error in OpenAI's format, which the gateway's own API uses too.
pub fn error_reply(error: &Error) -> Reply {
    let mut headers = retry_headers(error);
    match error {
        Error::Unauthenticated { .. } => headers.push(("WWW-Authenticate", "Bearer".into())),
        Error::MethodNotAllowed { allow, .. } => headers.push(("Allow", allow.clone())),
        // SDKs try 409 and 429 again by themselves; for these that can't help.
        Error::QuotaUsedUp { .. } | Error::Conflict { .. } => headers.push(("x-should-retry", "false".into())),
        _ => {}
    }
    Reply { status: status(error), headers, content_type: JSON, body: json_bytes(&envelope(error)) }
}

/// Returns an error in a body of its own: what the dialects besides OpenAI's have in common.
pub fn plain_error<T: Serialize>(error: &Error, body: &T) -> Reply {
    let mut headers = retry_headers(error);
    if let Error::MethodNotAllowed { allow, .. } = error {
        headers.push(("Allow", allow.clone()));
    }
    Reply { status: status(error), headers, content_type: JSON, body: json_bytes(body) }
}

/// Returns a value as JSON with status 200.
pub fn json_reply<T: Serialize>(value: &T) -> Reply {
    Reply { status: 200, headers: Vec::new(), content_type: JSON, body: json_bytes(value) }
}

/// Returns when to try again, in whole seconds and, where trying again can help, in milliseconds: OpenAI's SDKs and the AI
/// SDK look at those first.
pub fn retry_headers(error: &Error) -> Vec<(&'static str, String)> {
    let Some(wait) = error.retry_after() else { return Vec::new() };
    let mut headers = vec![("Retry-After", retry_after_seconds(wait).to_string())];
    if !matches!(error, Error::QuotaUsedUp { .. }) {
        headers.push(("retry-after-ms", retry_after_millis(wait).to_string()));
    }
    headers
}

pub fn json_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_json(&mut out, value);
    out.into()
}

/// Returns the HTTP status of an error in OpenAI's dialect and the gateway's own API.
pub fn status(error: &Error) -> u16 {
    match error {
        Error::Invalid { .. }
        | Error::Unsupported { .. }
        | Error::ContextTooLong { .. }
        | Error::Quarantined { .. } => 400,
        Error::Unauthenticated { .. } => 401,
        Error::Forbidden { .. } | Error::TokenPaused { .. } => 403,
        Error::ModelNotFound { .. } | Error::NotFound { .. } | Error::UnknownRoute { .. } => 404,
        Error::MethodNotAllowed { .. } => 405,
        Error::Conflict { .. } => 409,
        Error::TooLarge { .. } => 413,
        Error::EncodedBody { .. } => 415,
        Error::Misdirected { .. } => 421,
        Error::RateLimited { .. } | Error::TokenSlowed { .. } | Error::QuotaUsedUp { .. } | Error::QueueFull { .. } => {
            429
        }
        Error::HostBusy { .. } | Error::AuditUnavailable { .. } | Error::DiskFull | Error::Unavailable { .. } => 503,
        Error::UpstreamDown { .. } | Error::UpstreamRefused { .. } | Error::UpstreamDied { .. } => 502,
        Error::Timeout { .. } => 504,
        Error::Internal { .. } => 500,
    }
}

/// Returns OpenAI's coarse `type`. Some frameworks choose their exception by it, so 401 and 403 have their own.
fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Invalid { .. }
        | Error::Unsupported { .. }
        | Error::ContextTooLong { .. }
        | Error::ModelNotFound { .. }
        | Error::NotFound { .. }
        | Error::UnknownRoute { .. }
        | Error::MethodNotAllowed { .. }
        | Error::Conflict { .. }
        | Error::TooLarge { .. }
        | Error::EncodedBody { .. }
        | Error::Misdirected { .. }
        | Error::Quarantined { .. } => "invalid_request_error",
        Error::Unauthenticated { .. } => "authentication_error",
        Error::Forbidden { .. } | Error::TokenPaused { .. } => "permission_error",
        Error::RateLimited { .. } | Error::TokenSlowed { .. } | Error::QueueFull { .. } => "requests",
        Error::QuotaUsedUp { .. } => "insufficient_quota",
        Error::HostBusy { .. }
        | Error::AuditUnavailable { .. }
        | Error::DiskFull
        | Error::Unavailable { .. }
        | Error::UpstreamDown { .. }
        | Error::UpstreamRefused { .. }
        | Error::UpstreamDied { .. }
        | Error::Timeout { .. }
        | Error::Internal { .. } => "server_error",
    }
}

/// Maximum length of a JWT or token. The gateway's JWTs have a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 4096;

/// Returns the credential of the head: `Authorization: Bearer …` or `x-api-key`, or none.
pub fn bearer(head: &dyn Head) -> Result<Option<Credential>, Error> {
    let authorization = match head.header("authorization").map(str::trim) {
        None | Some("") => None,
        Some(value) => Some(bearer_token(value)?),
    };
    // Some clients send the header that they don't use with nothing in it.
    let api_key = head.header("x-api-key").map(str::trim).filter(|key| !key.is_empty());
    let token = match (authorization, api_key) {
        (Some(one), Some(other)) if one != other => {
            return Err(Error::bad_token("`Authorization` and `x-api-key` differ; send one of them"));
        }
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Ok(None),
    };
    if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::bad_token("it can't be a token of this gateway"));
    }
    Ok(Some(Credential::Bearer(Secret::new(token.to_owned()))))
}

fn bearer_token(value: &str) -> Result<&str, Error> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Error::bad_token("the header must read `Authorization: Bearer <token>`"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dialect::TestHead;

    fn token(headers: &'static [(&'static str, &'static str)]) -> Result<Option<String>, Error> {
        Ok(match bearer(&TestHead { path: "/v1/chat/completions", headers })? {
            Some(Credential::Bearer(token)) => Some(token.expose().clone()),
            Some(Credential::Password { .. }) => panic!("a head holds no password"),
            None => None,
        })
    }

    #[test]
    fn a_token_comes_as_bearer_or_as_api_key() {
        for headers in [
            &[("authorization", "Bearer abc")][..],
            &[("authorization", "bEARER   abc ")],
            &[("x-api-key", "abc")],
            &[("authorization", "Bearer abc"), ("x-api-key", "abc")],
            &[("authorization", ""), ("x-api-key", "abc")],
            &[("authorization", "Bearer abc"), ("x-api-key", "")],
        ] {
            assert_eq!(token(headers).unwrap().as_deref(), Some("abc"), "{headers:?}");
        }
        assert_eq!(token(&[]).unwrap(), None);
        assert_eq!(token(&[("authorization", ""), ("x-api-key", " ")]).unwrap(), None);
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused() {
        for headers in [
            &[("authorization", "Bearer abc"), ("x-api-key", "def")][..],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "abc")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Bearer a, Bearer b")],
        ] {
            let error = token(headers).unwrap_err();
            assert_eq!(error.code(), "invalid_api_key", "{headers:?}");
            assert!(error.to_string().starts_with("Incorrect API key provided"));
        }
    }

    #[test]
    fn a_token_has_a_longest_length() {
        static LONGEST: [u8; TOKEN_BYTES_MAX] = [b'x'; TOKEN_BYTES_MAX];
        static TOO_LONG: [u8; TOKEN_BYTES_MAX + 1] = [b'x'; TOKEN_BYTES_MAX + 1];
        let api_key = |bytes: &'static [u8]| {
            let headers: &'static [(&'static str, &'static str)] =
                Box::leak(Box::new([("x-api-key", std::str::from_utf8(bytes).unwrap())]));
            token(headers)
        };

        assert!(api_key(&LONGEST).unwrap().is_some());
        assert!(api_key(&TOO_LONG).is_err());
    }

    #[test]
    fn a_line_has_one_end_for_every_reader() {
        let mut out = BytesMut::from(&b"kept \xe2\x80\xa8"[..]);

        put_line(&mut out, "a\u{2028}b\u{2029}\u{85}\n\u{2027}\u{e2}é🙂\\u2028");

        let (before, line) = out.split_at(8);
        assert_eq!(before, b"kept \xe2\x80\xa8");
        let expected = "\"a\\u2028b\\u2029\\u0085\\n\u{2027}\u{e2}é🙂\\\\u2028\"\n";
        assert_eq!(str::from_utf8(line).unwrap(), expected);
        let read: String = serde_json::from_slice(line).unwrap();
        assert_eq!(read, "a\u{2028}b\u{2029}\u{85}\n\u{2027}\u{e2}é🙂\\u2028");
    }

    #[test]
    fn an_error_has_all_four_keys() {
        let body = |error: &Error| String::from_utf8(error_reply(error).body).unwrap();

        assert_eq!(
            body(&Error::invalid("messages", "no \"messages\"")),
            r#"{"error":{"message":"no \"messages\"","type":"invalid_request_error","param":"messages","code":"invalid_request"}}"#
        );
        assert_eq!(
            body(&Error::invalid("", "x")),
            r#"{"error":{"message":"x","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#
        );
    }

    #[test]
    fn errors_carry_what_a_client_should_do_in_their_headers() {
        let headers = |error: Error| error_reply(&error).headers;
        let wait = Duration::from_millis(1200);
        let text = || String::from("x");

        assert_eq!(
            headers(Error::RateLimited { message: text(), retry_after: wait }),
            [("Retry-After", "2".into()), ("retry-after-ms", "1200".into())]
        );
        assert_eq!(
            headers(Error::QuotaUsedUp { message: text(), retry_after: wait }),
            [("Retry-After", "2".into()), ("x-should-retry", "false".into())]
        );
        assert_eq!(headers(Error::bad_token("x")), [("WWW-Authenticate", "Bearer".into())]);
        let wrong_method = Error::MethodNotAllowed { method: "GET".into(), path: "/chat".into(), allow: "POST".into() };
        assert_eq!(headers(wrong_method), [("Allow", "POST".into())]);
        assert_eq!(headers(Error::invalid("a", "b")), []);
    }
}
