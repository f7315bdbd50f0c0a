//! Checkpoints of the record: signed notes (C2SP signed-note, Ed25519) about the head of its chain (docs/chain.md).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::base::clock::Timestamp;
use crate::model::chain::Hash;

/// The name of the key in the line of the signature.
const SIGNER: &str = "lan-gateway";

/// What the first and the last line of a note begin with.
pub const FIRST_LINE: &str = "lan-gateway/record/";
pub const LAST_LINE: &str = "— lan-gateway ";

/// No note is longer.
pub const NOTE_BYTES_MAX: usize = 1024;

pub const PUBLIC_KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;

/// What a signed note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The record that it is about: 32 hexadecimal digits.
    pub origin: String,
    /// The last row that the head covers.
    pub log_id: i64,
    pub head: Hash,
    /// Rows up to this one were written before there was a chain.
    pub older_to: i64,
    /// When it was signed, in whole seconds.
    pub time: Timestamp,
    /// The public key that it is signed with.
    pub key: [u8; PUBLIC_KEY_BYTES],
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteFault {
    /// It is not in the form of one.
    Form,
    /// Its signature is not that of its key over its text.
    Signature,
}

impl fmt::Display for NoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoteFault::Form => "it is not in the form of a checkpoint",
            NoteFault::Signature => "its signature is not that of its key over its text",
        })
    }
}

impl std::error::Error for NoteFault {}

impl Checkpoint {
    /// Returns the text that is signed.
    fn text(&self) -> String {
        let (head, key) = (BASE64.encode(self.head), BASE64.encode(self.key));
        let Checkpoint { origin, log_id, older_to, .. } = self;
        let time = Timestamp(self.time.seconds().saturating_mul(1_000_000)).rfc3339();
        format!("{FIRST_LINE}{origin}\n{log_id}\n{head}\nolder-to {older_to}\ntime {time}\nkey {key}\n")
    }

    /// Returns the signed note. Its key is that of the pair.
    pub fn sign(mut self, pair: &Ed25519KeyPair) -> String {
        self.key.copy_from_slice(pair.public_key().as_ref());
        let text = self.text();
        let mut signature = key_id(&self.key).to_vec();
        signature.extend_from_slice(pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{LAST_LINE}{}\n", BASE64.encode(signature))
    }

    /// Reads a note to the last byte, and checks that its own key has signed it. Whose key that is, the caller must know.
    pub fn read(note: &str) -> Result<Checkpoint, NoteFault> {
        let (text, signed) = parts_of(note).ok_or(NoteFault::Form)?;
        let checkpoint = Checkpoint::parse(text).filter(|checkpoint| checkpoint.text() == text);
        let checkpoint = checkpoint.ok_or(NoteFault::Form)?;
        let signature = BASE64.decode(signed).map_err(|_| NoteFault::Form)?;
        let (id, signature) = signature.split_at_checked(KEY_ID_BYTES).ok_or(NoteFault::Form)?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(NoteFault::Form);
        }
        let verified = UnparsedPublicKey::new(&ED25519, &checkpoint.key).verify(text.as_bytes(), signature);
        if id != key_id(&checkpoint.key) || verified.is_err() {
            return Err(NoteFault::Signature);
        }
        Ok(checkpoint)
    }

    fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        let mut line = |prefix: &str| lines.next()?.strip_prefix(prefix);
        let origin = line(FIRST_LINE)?.to_owned();
        let is_origin = origin.len() == 32 && origin.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let checkpoint = Checkpoint {
            origin,
            log_id: line("")?.parse().ok()?,
            head: BASE64.decode(line("")?).ok()?.try_into().ok()?,
            older_to: line("older-to ")?.parse().ok()?,
            time: Timestamp::parse(line("time ")?)?,
            key: BASE64.decode(line("key ")?).ok()?.try_into().ok()?,
        };
        is_origin.then_some(checkpoint)
    }
}

/// Returns the text with its last line end, and the signature in base64.
fn parts_of(note: &str) -> Option<(&str, &str)> {
    if note.len() > NOTE_BYTES_MAX {
        return None;
    }
    let (text, signature) = note.split_once("\n\n")?;
    let signed = signature.strip_prefix(LAST_LINE)?.strip_suffix('\n')?;
    Some((note.get(..text.len() + 1)?, signed))
}

fn key_id(key: &[u8; PUBLIC_KEY_BYTES]) -> [u8; KEY_ID_BYTES] {
    let mut id = Context::new(&SHA256);
    for bytes in [SIGNER.as_bytes(), &[0x0a, 0x01], key] {
        id.update(bytes);
    }
    let mut first = [0; KEY_ID_BYTES];
    first.copy_from_slice(&id.finish().as_ref()[..KEY_ID_BYTES]);
    first
}

/// Cuts a file of notes that follow one another into single ones. What is no note is returned as it is, for its reader to refuse.
pub fn notes_in(file: &str) -> impl Iterator<Item = &str> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let next = rest.match_indices(FIRST_LINE).map(|(at, _)| at).find(|at| *at > 0 && rest[..*at].ends_with('\n'));
        let (note, after) = rest.split_at(next.unwrap_or(rest.len()));
        rest = after;
        (!note.is_empty()).then_some(note)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Ed25519KeyPair {
        let seed: Vec<u8> = (0..32).collect();
        Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(pair().public_key().as_ref());
        Checkpoint {
            origin: "00112233445566778899aabbccddeeff".into(),
            log_id: 4711,
            head: [7; 32],
            older_to: 12,
            time: Timestamp::parse("2026-01-31T12:00:00Z").unwrap(),
            key,
        }
    }

    /// What OpenSSL signs with the same key.
    const NOTE: &str = "\
    lan-gateway/record/00112233445566778899aabbccddeeff\n\
    4711\n\
    BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\
    older-to 12\n\
    time 2026-01-31T12:00:00Z\n\
    key A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n\
    \n\
    — lan-gateway eX/r1z7qY3gOuKERL3oAgOMNcdulehhYKuWVnB2+x62jXsYUSgAczVqAZD9jotf0IpFKtB2bizaqPdcFdC15zA75VAM=\n";

    #[test]
    fn a_note_is_as_another_program_makes_it_and_is_read_again() {
        let note = checkpoint().sign(&pair());

        assert_eq!(note, NOTE);
        assert_eq!(Checkpoint::read(NOTE), Ok(checkpoint()));
        let longest = Checkpoint { log_id: i64::MAX, older_to: i64::MAX, ..checkpoint() }.sign(&pair());
        assert!(longest.len() <= NOTE_BYTES_MAX);
        Checkpoint::read(&longest).unwrap();
    }

    #[test]
    fn a_note_in_which_a_single_character_differs_is_refused() {
        let note: Vec<char> = NOTE.chars().collect();
        for at in 0..note.len() {
            for other in ['0', '1', 'A', 'b', ' ', '\n', 'é'] {
                let mut changed = note.clone();
                changed[at] = other;
                let text: String = changed.iter().collect();
                assert!(changed == note || Checkpoint::read(&text).is_err(), "{text}");
            }
            let cut: String = note[..at].iter().collect();
            assert!(Checkpoint::read(&cut).is_err());
        }
        for (from, to) in [("4711", "+4711"), ("4711", "04711"), ("\n", "\r\n"), (" 12\n", " 12\n\n"), ("00Z", "00.0Z")]
        {
            assert!(Checkpoint::read(&NOTE.replacen(from, to, 1)).is_err(), "{from}");
        }
        assert!(Checkpoint::read(&format!("{NOTE}\n")).is_err() && Checkpoint::read("").is_err());
    }

    #[test]
    fn notes_of_a_file_are_told_apart_and_a_torn_one_is_refused() {
        let file = format!("{NOTE}{NOTE}{}", &NOTE[..100]);

        let notes: Vec<_> = notes_in(&file).map(Checkpoint::read).collect();

        assert_eq!(notes, [Ok(checkpoint()), Ok(checkpoint()), Err(NoteFault::Form)]);
        assert_eq!(notes_in("").count(), 0);
        assert_eq!(notes_in("no note").count(), 1);
    }
}
