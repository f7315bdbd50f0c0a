//! The shape of an API token: `lgw_`, a letter for its kind, `_`, a public id of ten characters, `_`, a secret of 256 bits, and
//! a checksum.
//!
//! The checksum tells a mistyped or truncated token from a wrong one before any lookup, and lets secret scanners recognise a
//! leaked token with certainty.

use ring::{digest, hmac};

use crate::base::secret::{Secret, random_bytes};

/// Prefix of every API token; no JWT begins with it.
pub const PREFIX: &str = "lgw_";

/// The only kind so far: a token for a machine that acts for a person.
const KIND: &str = "m";

const PUBLIC_ID_LETTERS: usize = 10;

/// 43 letters of 5.95 bits each give 256 bits.
const SECRET_LETTERS: usize = 43;

/// 62^6 is more than 2^32, so six letters hold a CRC-32.
const CHECKSUM_LETTERS: usize = 6;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token as a client sent it: well-formed, not yet verified.
pub struct ApiToken<'a> {
    pub public_id: &'a str,
    secret: &'a str,
}

impl<'a> ApiToken<'a> {
    pub fn parse(text: &'a str) -> Option<ApiToken<'a>> {
        let (public_id, rest) = text.strip_prefix(PREFIX)?.strip_prefix(KIND)?.strip_prefix('_')?.split_once('_')?;
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if public_id.len() != PUBLIC_ID_LETTERS
            || rest.len() != SECRET_LETTERS + CHECKSUM_LETTERS
            || !letters(public_id)
            || !letters(rest)
        {
            return None;
        }
        let (secret, checksum) = rest.split_at(SECRET_LETTERS);
        let checked = &text[..text.len() - CHECKSUM_LETTERS];
        (checksum_of(checked) == checksum).then_some(ApiToken { public_id, secret })
    }

    /// Compares this token's secret with a stored digest, in constant time.
    pub fn opens(&self, sha256: &[u8]) -> bool {
        // ring compares in constant time only when it verifies a tag, so both digests are signed with one key.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[]);
        let shown = sha256_of(self.secret);
        hmac::verify(&key, sha256, hmac::sign(&key, &shown).as_ref()).is_ok()
    }
}

/// A new token: its text, which is shown once, and the digest that is stored.
pub struct Minted {
    pub text: Secret<String>,
    pub secret_sha256: Vec<u8>,
}

/// Returns a random public id for a new token.
pub fn new_public_id() -> String {
    random_letters(PUBLIC_ID_LETTERS)
}

/// Generates a new secret for the token with this public id.
pub fn mint(public_id: &str) -> Minted {
    let secret = Secret::new(random_letters(SECRET_LETTERS));
    let secret_sha256 = sha256_of(secret.expose());
    let mut text = String::with_capacity(70);
    text.extend([&prefix_of(public_id), "_", secret.expose()]);
    let checksum = checksum_of(&text);
    text.push_str(&checksum);
    Minted { text: Secret::new(text), secret_sha256 }
}

/// Returns the part of a token that may be shown again.
pub fn prefix_of(public_id: &str) -> String {
    format!("{PREFIX}{KIND}_{public_id}")
}

fn sha256_of(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

fn random_letters(length: usize) -> String {
    let mut letters = String::with_capacity(length);
    while letters.len() < length {
        let [byte] = random_bytes::<1>();
        // 248 is the last multiple of 62. Bytes above it are skipped, or some letters would be more likely than others.
        if byte < 248 {
            letters.push(char::from(BASE62[usize::from(byte % 62)]));
        }
    }
    letters
}

fn checksum_of(text: &str) -> String {
    let mut rest = crc32(text.as_bytes());
    let mut letters = [b'0'; CHECKSUM_LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    letters.iter().map(|letter| char::from(*letter)).collect()
}

/// CRC-32 (ISO 3309), bit by bit: 60 bytes need no table.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_opens_its_own_digest_only() {
        let (one, other) = (mint("abcdefghij"), mint("abcdefghij"));
        let text = one.text.expose().clone();

        let key = ApiToken::parse(&text).unwrap();

        assert_eq!((text.len(), key.public_id), (6 + 10 + 1 + 43 + 6, "abcdefghij"));
        assert!(key.opens(&one.secret_sha256));
        assert!(!key.opens(&other.secret_sha256) && !key.opens(&[]));
    }

    #[test]
    fn a_letter_that_is_changed_cut_or_added_is_seen_by_the_shape() {
        let text = mint(&new_public_id()).text.expose().clone();

        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(ApiToken::parse(std::str::from_utf8(&changed).unwrap()).is_none(), "{at}");
            assert!(ApiToken::parse(&text[..at]).is_none(), "{at}");
        }
        for wrong in [format!("{text}0"), text.to_uppercase(), text.replace("lgw_m", "lgw_é"), "lgw_m__".into()] {
            assert!(ApiToken::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum_of("").len(), CHECKSUM_LETTERS);
    }
}
