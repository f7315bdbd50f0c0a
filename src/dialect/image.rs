//! Images as clients write them: base64, bare or in a data URL.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use crate::base::error::Error;
use crate::dialect::json::At;

/// Ignores bits after the last byte, as Go's decoder does, which callers have tested against.
const BASE64: GeneralPurpose = engine(DecodePaddingMode::RequireCanonical);

/// Lenient like browsers with data URLs: the padding may be missing.
const BASE64_IN_URL: GeneralPurpose = engine(DecodePaddingMode::Indifferent);

const fn engine(padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(padding);
    GeneralPurpose::new(&ALPHABET, config)
}

pub fn of_base64(text: &str, at: &At<'_>) -> Result<Bytes, Error> {
    if strip_prefix_any_case(text, "data:").is_some() {
        return Err(at.invalid("must be plain base64; leave out everything up to `base64,`"));
    }
    // Some encoders break their lines, and Go's decoder skips the breaks.
    let bytes = if text.contains(['\r', '\n']) {
        BASE64.decode(text.replace(['\r', '\n'], ""))
    } else {
        BASE64.decode(text.as_bytes())
    };
    not_empty(bytes.map_err(|_| at.invalid("is not base64; use the standard alphabet, with padding"))?, at)
}

/// Types that the model server knows. It looks at the bytes themselves, so a type may be missing.
const TYPES: &[&str] = &["", "image/jpeg", "image/jpg", "image/png", "image/webp"];

/// Decodes a data URL (RFC 2397), `data:[type][;parameter…][;base64],data`, read as browsers read it.
///
/// Other URLs are refused: fetching an address for a client would let it probe this network.
pub fn of_uri(uri: &str, at: &At<'_>) -> Result<Bytes, Error> {
    let uri = uri.trim_matches(|c: char| c <= ' ');
    let Some(rest) = strip_prefix_any_case(uri, "data:") else {
        if strip_prefix_any_case(uri, "http").is_some() {
            return Err(
                at.unsupported("is an address, and images are not fetched here; send `data:image/png;base64,…`")
            );
        }
        return Err(wrong_type(at));
    };
    let (head, data) = rest
        .split_once(',')
        .ok_or_else(|| at.invalid("is a data URL without a comma before its data; send `data:image/png;base64,…`"))?;
    let mut words = head.split(';').map(str::trim);
    let kind = words.next().unwrap_or_default();
    if !TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        return Err(wrong_type(at));
    }
    let is_base64 = words.any(|parameter| parameter.eq_ignore_ascii_case("base64"));
    let bytes: Cow<'_, [u8]> = percent_decode_str(data).into();
    if !is_base64 {
        return not_empty(bytes.into_owned(), at);
    }
    let bytes = if bytes.iter().any(u8::is_ascii_whitespace) {
        bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
    } else {
        bytes
    };
    not_empty(BASE64_IN_URL.decode(&bytes).map_err(|_| at.invalid("is not base64; use the standard alphabet"))?, at)
}

fn wrong_type(at: &At<'_>) -> Error {
    at.invalid("must be `data:image/…;base64,…` with an image of type jpeg, png or webp")
}

fn not_empty(bytes: Vec<u8>, at: &At<'_>) -> Result<Bytes, Error> {
    if bytes.is_empty() { Err(at.invalid("is empty; send an image or leave it out")) } else { Ok(bytes.into()) }
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Bytes, Error> {
        of_uri(uri, &At::Body.key("url"))
    }

    #[test]
    fn a_data_url_is_read_as_rfc_2397_has_it() {
        for uri in [
            "data:image/png;base64,+/8A",
            "DATA:Image/PNG;BASE64,+/8A",
            "data:image/png;charset=utf-8;base64,+/8A",
            "data:image/png;name=a.png;charset=\"utf-8\";base64,+/8A",
            "data:image/png; base64 ,+/8A",
            "data:;base64,+/8A",
            "data:;charset=utf-8;base64,+/8A",
            "data:image/png;base64,%2B%2f8A",
            "data:image/webp;base64,+/\r\n8 A\t",
            " data:image/jpg;base64,+/8A\n",
            "data:image/jpeg,%fb%FF%00",
            "data:,%fb%FF%00",
        ] {
            assert_eq!(read(uri).unwrap(), &b"\xfb\xff\x00"[..], "{uri}");
        }
        // Padding may be missing, or written as an escape.
        for uri in ["data:image/png;base64,aGk=", "data:image/png;base64,aGk", "data:image/png;base64,aGk%3D"] {
            assert_eq!(read(uri).unwrap(), "hi", "{uri}");
        }
    }

    #[test]
    fn what_is_no_image_in_a_data_url_is_refused() {
        for uri in [
            "",
            "aGk=",
            "data:image/png;base64",
            "data:image/png;base64,",
            "data:image/png;base64,a",
            "data:image/png;base64,aG=k",
            "data:image/png;base64,-_8A",
            "data:image/gif;base64,aGk=",
            "data:image/svg+xml,%3Csvg/%3E",
            "data:text/plain;base64,aGk=",
            "data: ;base64,",
            "file:///etc/passwd",
            "data",
        ] {
            assert_eq!(read(uri).unwrap_err().code(), "invalid_request", "{uri}");
        }
        for uri in ["http://example.org/a.png", "HTTPS://example.org/a.png"] {
            let error = read(uri).unwrap_err();
            assert_eq!((error.code(), error.field()), ("unsupported_parameter", Some("url")), "{uri}");
        }
    }
}
