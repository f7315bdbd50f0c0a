//! Reads request bodies: bounded in size and time, never decoded.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::config;
use crate::config::settings::Live;
use crate::dialect::wire;
use crate::error::Error;

/// What is known of a body before it is read.
pub fn check_head(request: &HttpRequest) -> Result<(), Error> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING) {
        // Inflating a body before it is counted is how 1.6 kB become 2 GB.
        if !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") {
            let encoding = encoding.to_str().unwrap_or("unknown").chars().take(32).collect();
            return Err(Error::EncodedBody { encoding });
        }
    }
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > bytes_max(request) as u64 => Err(too_large(bytes_max(request))),
        _ => Ok(()),
    }
}

/// How large a body may be now.
fn bytes_max(request: &HttpRequest) -> usize {
    request.app_data::<web::Data<Live>>().map_or(0, |settings| settings.now().body_bytes_max)
}

fn too_large(limit: usize) -> Error {
    Error::TooLarge { field: None, limit }
}

pub async fn read(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::Limits,
) -> Result<BytesMut, Error> {
    let bytes_max = bytes_max(request);
    let read = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Error::invalid("body", "the request body was cut short"))?;
            if body.len() + chunk.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let seconds = limits.body_timeout.max(Duration::from_secs(1));
    match tokio::time::timeout(seconds, read).await {
        Ok(result) => result,
        Err(_) => {
            Err(Error::invalid("body", format!("the request body did not arrive within {} s", seconds.as_secs())))
        }
    }
}

/// A body of the gateway's own API: JSON, whatever its content type says.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut web::Payload,
    limits: &config::Limits,
) -> Result<T, Error> {
    check_head(request)?;
    parse(&read(request, payload, limits).await?)
}

/// Reads a field that may be null as `Some`, and so tells it from one that is not there.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    wire::check_json(body)?;
    // serde would read a list as the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid("body", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|cause| wrong_field(cause.path(), &cause.inner().to_string()))
}

/// serde's words without the value, which may be a password.
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
