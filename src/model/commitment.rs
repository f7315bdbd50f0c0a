//! Commitments to contents: they stand for them in the record's rows, so that the chain (docs/chain.md) holds after the contents
//! are erased.

use ring::hmac;

pub const SALT_BYTES: usize = 32;

/// The salt of acts. Their details are not erased, so nothing has to be hidden from a guess.
pub const SALT_OF_ACTS: [u8; SALT_BYTES] = [0; SALT_BYTES];

pub const COMMITMENT_BYTES: usize = 32;

/// The kinds of contents in a commitment, in the order in which they are covered. Commitments on disk were made with these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Committed {
    Request = 1,
    Answer = 2,
    Reasoning = 3,
    ToolCalls = 4,
    Notes = 5,
    Address = 6,
    Settings = 7,
    Cut = 8,
    Detail = 9,
}

/// Makes a commitment: HMAC-SHA-256(salt, 0x02, then for each kind that is there: its byte, its length as a big-endian u64, its
/// bytes). The salt is the key, so that a short prompt can't be guessed from it once the contents and the salt are erased.
pub struct Commitment {
    mac: hmac::Context,
    is_empty: bool,
}

impl Commitment {
    pub fn begin(salt: &[u8]) -> Commitment {
        Commitment { mac: begun(salt, 0x02), is_empty: true }
    }

    /// Adds the pieces of one kind; without a piece there is none of this kind. Kinds are added in ascending order.
    pub fn add<'a>(&mut self, kind: Committed, pieces: impl Iterator<Item = &'a [u8]> + Clone) {
        if pieces.clone().next().is_some() {
            self.is_empty = false;
            add(&mut self.mac, kind, pieces);
        }
    }

    /// Returns the commitment; `None`: there is nothing to commit to.
    pub fn made(self) -> Option<[u8; COMMITMENT_BYTES]> {
        (!self.is_empty).then(|| made(self.mac))
    }
}

/// Returns a commitment to contents of one kind in one piece.
pub fn commitment_to(salt: &[u8], kind: Committed, bytes: &[u8]) -> [u8; COMMITMENT_BYTES] {
    let mut mac = begun(salt, 0x02);
    add(&mut mac, kind, std::iter::once(bytes));
    made(mac)
}

/// Returns a commitment as it was made before there was a chain: it begins with 0x01 and covers the kinds 1 to 4 alone, of the
/// kinds 2 to 4 also what is empty.
pub fn commitment_before_chain(salt: &[u8], contents: &[(Committed, &[u8])]) -> [u8; COMMITMENT_BYTES] {
    let mut mac = begun(salt, 0x01);
    for (kind, bytes) in contents {
        add(&mut mac, *kind, std::iter::once(*bytes));
    }
    made(mac)
}

fn begun(salt: &[u8], version: u8) -> hmac::Context {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    mac.update(&[version]);
    mac
}

fn add<'a>(mac: &mut hmac::Context, kind: Committed, pieces: impl Iterator<Item = &'a [u8]> + Clone) {
    let length: usize = pieces.clone().map(<[u8]>::len).sum();
    mac.update(&[kind as u8]);
    mac.update(&(length as u64).to_be_bytes());
    pieces.for_each(|piece| mac.update(piece));
}

fn made(mac: hmac::Context) -> [u8; COMMITMENT_BYTES] {
    let mut commitment = [0; COMMITMENT_BYTES];
    commitment.copy_from_slice(mac.sign().as_ref());
    commitment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Commits to kinds with their pieces.
    fn commitment(salt: &[u8], contents: &[(Committed, &[&str])]) -> Option<[u8; COMMITMENT_BYTES]> {
        let mut made = Commitment::begin(salt);
        for (kind, pieces) in contents {
            made.add(*kind, pieces.iter().map(|piece| piece.as_bytes()));
        }
        made.made()
    }

    #[test]
    fn commitments_are_as_another_program_makes_them() {
        let salt: Vec<u8> = (0..32).collect();

        let intent = commitment_to(&salt, Committed::Request, br#"{"model":"m"}"#);
        let said: [(Committed, &[&str]); 5] = [
            (Committed::Answer, &["He", "llo"]),
            (Committed::Reasoning, &[]),
            (Committed::Notes, &["größer"]),
            (Committed::Address, &["192.168.1.7"]),
            (Committed::Cut, &[""]),
        ];
        let result = commitment(&salt, &said).unwrap();
        let act = commitment_to(&SALT_OF_ACTS, Committed::Detail, br#"{"n":1}"#);
        let older = [(Committed::Answer, &b"Hello"[..]), (Committed::Reasoning, b""), (Committed::ToolCalls, b"")];
        let older = commitment_before_chain(&salt, &older);

        assert_eq!(hex(&intent), "e33c23bf88e2b08b5e66b1fe05a4180a81b2083700163cfc5c7e9e205d6b7406");
        assert_eq!(hex(&result), "3e44f457f7cdab5401a05dcdebf3db3d95e21fdbd79226da2810c3ab9ba91114");
        assert_eq!(hex(&act), "03e70badc3c88d592256e0e439f4dd29807afa57e64ed21b132973f40f96adf6");
        assert_eq!(hex(&older), "ed9115c873493cd8fb2bf5ceed52dca66967276e9c45676d6627727c5f8c7eee");
        assert_eq!(commitment(&salt, &[(Committed::Answer, &[])]), None, "there is nothing to commit to");
    }

    #[test]
    fn a_commitment_tells_kinds_and_lengths_apart_but_not_pieces() {
        let salt = [7; SALT_BYTES];
        let of = |contents: &[(Committed, &[&str])]| commitment(&salt, contents).unwrap();

        let one = of(&[(Committed::Answer, &["ab"]), (Committed::Reasoning, &["c"])]);
        let two = of(&[(Committed::Answer, &["a"]), (Committed::Reasoning, &["bc"])]);
        let there = of(&[(Committed::Answer, &["ab"]), (Committed::Reasoning, &["c"]), (Committed::Cut, &[""])]);

        assert!(one != two && one != there);
        assert_eq!(one, of(&[(Committed::Answer, &["a", "", "b"]), (Committed::Reasoning, &["c"])]));
        assert_ne!(
            one,
            commitment(&[8; SALT_BYTES], &[(Committed::Answer, &["ab"]), (Committed::Reasoning, &["c"])]).unwrap()
        );
    }
}
