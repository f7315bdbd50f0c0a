//! Replaces halves of surrogate pairs, which clients send that cut a text in the middle of a pair.
//!
//! JSON's grammar allows `"\ud83d"` (RFC 8259, section 8.2), and clients that cut texts at a number of UTF-16 units send it,
//! in each later turn of a conversation again. Ollama reads U+FFFD for it, so the same is read here.

use std::borrow::Cow;

use memchr::memchr;

/// Bytes of an escape such as `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// Returns the JSON text with `\ufffd` for each lone half of a surrogate pair. A text that is not JSON may be changed too, and is
/// still not JSON.
pub fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let start = at + found;
        let Some(unit) = unit_at(json, start) else {
            // Another escape, of two bytes: the second may be a backslash, which begins nothing.
            at = start + 2;
            continue;
        };
        at = start + ESCAPE_BYTES;
        match unit {
            0xd800..=0xdbff if unit_at(json, at).is_some_and(|next| (0xdc00..=0xdfff).contains(&next)) => {
                at += ESCAPE_BYTES;
            }
            0xd800..=0xdfff => mended.to_mut()[start..at].copy_from_slice(br"\ufffd"),
            _ => {}
        }
    }
    mended
}

/// Returns the UTF-16 unit of the escape that begins at `at`.
fn unit_at(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(json: &str, expected: &str) {
        let mended = mended(json.as_bytes());

        assert_eq!(std::str::from_utf8(&mended).unwrap(), expected);
        serde_json::from_slice::<serde_json::Value>(&mended).unwrap();
    }

    #[test]
    fn a_half_of_a_pair_is_read_as_ollama_reads_it() {
        becomes(r#""\ud83d tail""#, r#""\ufffd tail""#);
        becomes(r#""\uDE00""#, r#""\ufffd""#);
        becomes(r#""\ud83d\u0041""#, r#""\ufffd\u0041""#);
        becomes(r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#);
        becomes(r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#);
        becomes(r#"{"\udfff":1}"#, r#"{"\ufffd":1}"#);
    }

    #[test]
    fn whole_pairs_and_what_only_looks_like_an_escape_stay_as_they_are() {
        for whole in
            [r#""\ud83d\ude00""#, r#""\ud7ff\ue000""#, r#""\\ud83d""#, r#""\\\\ud83d \" \u00e4""#, r#""ud83d""#]
        {
            becomes(whole, whole);
            assert!(matches!(mended(whole.as_bytes()), Cow::Borrowed(_)), "{whole}");
        }
    }

    #[test]
    fn a_text_that_ends_in_an_escape_is_left_alone() {
        for cut in [r"\", r"\u", r"\ud8", r"\ud83d", r"\ud83d\", r"\ud83d\ud", r"\u+83d", r"\uüüü"] {
            let _never_panics = mended(cut.as_bytes());
        }
    }
}
