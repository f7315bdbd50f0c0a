//! Images as clients write them: base64, bare or in a data URI.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::dialect::json::At;
use crate::error::Error;

/// As lenient as Go's decoder, which is what callers have tested against: bits after the last byte don't matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

pub fn of_base64(text: &str, at: &At<'_>) -> Result<Bytes, Error> {
    if text.starts_with("data:") {
        return Err(at.invalid("must be plain base64; leave out everything up to `base64,`"));
    }
    // Some encoders break their lines, and Go's decoder skips the breaks.
    let bytes = if text.contains(['\r', '\n']) {
        BASE64.decode(text.replace(['\r', '\n'], ""))
    } else {
        BASE64.decode(text.as_bytes())
    };
    match bytes {
        Ok(bytes) if !bytes.is_empty() => Ok(Bytes::from(bytes)),
        Ok(_) => Err(at.invalid("is empty; send an image or leave it out")),
        Err(_) => Err(at.invalid("is not base64; use the standard alphabet, with padding")),
    }
}

/// What stands before the base64 of a data URI. The model server looks at the bytes themselves, so a type may be missing.
const DATA_URIS: &[&str] = &[
    "data:image/jpeg;base64,",
    "data:image/jpg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
    "data:;base64,",
];

/// Only data URIs: fetching an address for a client would let it look around from here.
pub fn of_uri(uri: &str, at: &At<'_>) -> Result<Bytes, Error> {
    for start in DATA_URIS {
        if let Some(base64) = strip_prefix_any_case(uri, start) {
            return of_base64(base64, at);
        }
    }
    if strip_prefix_any_case(uri, "http").is_some() {
        return Err(at.unsupported("is an address, and images are not fetched here; send `data:image/png;base64,…`"));
    }
    Err(at.invalid("must be `data:image/…;base64,…` with an image of type jpeg, png or webp"))
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
