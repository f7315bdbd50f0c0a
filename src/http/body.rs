//! Reads request bodies: bounded in size and time, never decoded.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::config;
use crate::dialect::wire;
use crate::error::Error;

/// What is known of a body before it is read.
pub fn check_head(request: &HttpRequest, limit: usize) -> Result<(), Error> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING) {
        // Inflating a body before it is counted is how 1.6 kB become 2 GB.
        if encoding.as_bytes() != b"identity" {
            let encoding = encoding.to_str().unwrap_or("unknown").chars().take(32).collect();
            return Err(Error::EncodedBody { encoding });
        }
    }
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > limit as u64 => Err(Error::TooLarge { limit }),
        _ => Ok(()),
    }
}

pub async fn read(payload: &mut web::Payload, limits: &config::Limits) -> Result<BytesMut, Error> {
    let read = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| Error::invalid("body", "the request body was cut short"))?;
            if body.len() + chunk.len() > limits.body_bytes_max {
                return Err(Error::TooLarge { limit: limits.body_bytes_max });
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
    check_head(request, limits.body_bytes_max)?;
    parse(&read(payload, limits).await?)
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    wire::check_json(body)?;
    serde_json::from_slice(body).map_err(|cause| {
        // serde's message names the field; where it stands in the line helps nobody.
        let message = cause.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let field = message.split('`').nth(1).unwrap_or("body").to_owned();
        Error::invalid(field, message.chars().take(200).collect::<String>())
    })
}
