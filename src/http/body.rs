//! Reads request bodies: bounded in size, time and memory, never decoded.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use anyhow::anyhow;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::base::error::Error;
use crate::config;
use crate::config::settings::{Live, Settings};
use crate::dialect::wire;
use crate::http::head::address;
use crate::rules::limits::bodies::{Bodies, BodyBytes, Sender};

/// Memory that is allocated at once for an announced body; a longer one gets more as it arrives.
const FIRST_BYTES: usize = 16 << 10;

/// A body in memory, and its reserved bytes.
pub struct Body {
    bytes: Vec<u8>,
    held: BodyBytes,
}

impl Body {
    /// Frees the bytes. Their reservation is kept for what was made from them.
    pub fn into_held(self) -> BodyBytes {
        self.held
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Checks the head of a request to a model before its body is read: whether it is compressed or too long.
pub fn check_head(request: &HttpRequest) -> Result<(), Error> {
    check_length(request, settings(request)?.body_bytes_max)
}

/// Checks the head of a request whose body is a file that is passed on.
pub fn check_file(request: &HttpRequest, bytes_max: u64) -> Result<(), Error> {
    check_length(request, usize::try_from(bytes_max).unwrap_or(usize::MAX))
}

/// Returns the error of a file that turned out longer than announced.
pub fn file_too_large(bytes_max: u64) -> Error {
    too_large(usize::try_from(bytes_max).unwrap_or(usize::MAX))
}

fn check_length(request: &HttpRequest, bytes_max: usize) -> Result<(), Error> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING) {
        // Compressed bodies could unpack 1.6 kB to 2 GB before they are counted.
        if !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            let encoding = encoding.to_str().unwrap_or("unknown").chars().take(32).collect();
            return Err(Error::EncodedBody { encoding });
        }
    }
    if request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        // actix would read everything up to the end of the connection as the body.
        return Err(Error::invalid(
            "body",
            "no upgrade to a WebSocket is offered here; send the request without `Upgrade`",
        ));
    }
    match declared(request) {
        Some(length) if length > bytes_max => Err(too_large(bytes_max)),
        _ => Ok(()),
    }
}

fn declared(request: &HttpRequest) -> Option<usize> {
    let length = request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    Some(usize::try_from(length).unwrap_or(usize::MAX))
}

fn settings(request: &HttpRequest) -> Result<Settings, Error> {
    let live = request.app_data::<web::Data<Live>>().ok_or_else(|| Error::internal(anyhow!("no settings")))?;
    Ok(live.now())
}

fn bodies(request: &HttpRequest) -> Result<&Bodies, Error> {
    let bodies =
        request.app_data::<web::Data<Bodies>>().ok_or_else(|| Error::internal(anyhow!("no bound for bodies")))?;
    Ok(bodies)
}

fn too_large(limit: usize) -> Error {
    Error::TooLarge { field: None, limit }
}

/// Returns the sender of a body before authentication.
pub fn stranger(request: &HttpRequest) -> Sender {
    Sender::Address(address(request).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// Reads the body of a request to a model.
pub async fn read(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::LimitsSection,
    sender: Sender,
) -> Result<Body, Error> {
    let bytes_max = settings(request)?.body_bytes_max.min(bodies(request)?.longest(sender));
    check_length(request, bytes_max)?;
    read_within(request, payload, limits, sender, bytes_max).await
}

/// Reads the body of a request to the gateway's own routes, which is short.
pub async fn read_own(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::LimitsSection,
) -> Result<Body, Error> {
    let sender = stranger(request);
    let bytes_max = settings(request)?.own_body_bytes_max.min(bodies(request)?.longest(sender));
    check_length(request, bytes_max)?;
    read_within(request, payload, limits, sender, bytes_max).await
}

async fn read_within(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::LimitsSection,
    sender: Sender,
    bytes_max: usize,
) -> Result<Body, Error> {
    let length_max = declared(request).unwrap_or(bytes_max).min(bytes_max);
    let bodies = bodies(request)?;
    bodies.check(sender, declared(request).unwrap_or(0))?;
    let mut body = Body { bytes: Vec::new(), held: bodies.begin(sender) };
    let read = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Error::invalid("body", "the request body was cut short"))?;
            let length = body.bytes.len() + chunk.len();
            if length > bytes_max {
                return Err(too_large(bytes_max));
            }
            if length > body.bytes.capacity() {
                // An announced body that never arrives holds nothing; one that arrives is copied a few times at most.
                let capacity = (2 * body.bytes.capacity()).max(FIRST_BYTES).min(length_max).max(length);
                body.held.grow(capacity)?;
                body.bytes.reserve_exact(capacity - body.bytes.len());
            }
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let seconds = limits.body_timeout.max(Duration::from_secs(1));
    match tokio::time::timeout(seconds, read).await {
        Ok(result) => result.map(|()| body),
        Err(_) => {
            Err(Error::invalid("body", format!("the request body did not arrive within {} s", seconds.as_secs())))
        }
    }
}

/// Reads a JSON body of the gateway's own API, whatever its content type.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::LimitsSection,
) -> Result<T, Error> {
    parse(&read_own(request, payload, limits).await?)
}

/// Deserializes a nullable field, so that null (`Some(None)`) differs from absent (`None`).
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    wire::check_json(body)?;
    // serde would accept a list of the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid("body", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|cause| wrong_field(cause.path(), &cause.inner().to_string()))
}

/// Returns serde's message without the value, which may be a password.
fn wrong_field(path: &serde_path_to_error::Path, said: &str) -> Error {
    let said = said.split(" at line ").next().unwrap_or(said);
    if let Some(field) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Error::invalid(field, format!("`{field}` is missing"));
    }
    let field = path.to_string();
    match said.rsplit_once("expected ") {
        Some((_, expected)) => Error::invalid(&field, format!("`{field}` must be {expected}")),
        None => Error::invalid(&field, format!("`{field}` can't be used")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only its errors are looked at")]
    struct Form {
        password: String,
    }

    #[test]
    fn an_error_names_the_field_and_never_shows_the_value() {
        let error = |body: &str| {
            let error = parse::<Form>(body.as_bytes()).unwrap_err();
            (error.field().unwrap().to_owned(), error.to_string())
        };

        assert_eq!(error("{\"password\":12345}"), ("password".into(), "`password` must be a string".into()));
        assert_eq!(error("{}"), ("password".into(), "`password` is missing".into()));
        assert!(!error("{\"password\":[\"hunter2\"]}").1.contains("hunter2"));
    }
}
