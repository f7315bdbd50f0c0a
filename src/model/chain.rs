//! The hashes of the chain over the record (docs/chain.md). It knows no database: its columns are values.

use ring::digest::{Context, SHA256, digest};

pub const HASH_BYTES: usize = 32;

pub type Hash = [u8; HASH_BYTES];

/// The leaf of a number that no row has, and the head before the first link.
pub const NO_HASH: Hash = [0; HASH_BYTES];

/// The columns of `record` in the order in which they are hashed. Hashes on disk were made in this order.
pub const HASHED_COLUMNS: [&str; 32] = [
    "log_id",
    "kind",
    "at_us",
    "request_id",
    "intent_id",
    "user_id",
    "via_user_id",
    "token_id",
    "act",
    "subject_id",
    "credential",
    "api",
    "provider",
    "host",
    "attempt",
    "model_asked",
    "model_served",
    "outcome",
    "reason",
    "status",
    "prompt_tokens",
    "answer_tokens",
    "queued_us",
    "first_token_us",
    "total_us",
    "gpu_us",
    "until_us",
    "repeat",
    "load_us",
    "prompt_us",
    "answer_us",
    "commitment",
];

/// The value of a column, as SQLite keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashedValue<'a> {
    Null,
    Integer(i64),
    /// UTF-8.
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// Most rows fit into it without growing.
const ROW_BYTES: usize = 512;

/// The bytes of one row, which get its columns in the order of `HASHED_COLUMNS`.
pub struct RowBytes(Vec<u8>);

impl RowBytes {
    pub fn begin() -> RowBytes {
        let mut bytes = Vec::with_capacity(ROW_BYTES);
        bytes.extend_from_slice(&[0x00, 0x01]);
        RowBytes(bytes)
    }

    pub fn add(&mut self, value: HashedValue<'_>) {
        match value {
            HashedValue::Null => self.0.push(0x00),
            HashedValue::Integer(number) => {
                self.0.push(0x01);
                self.0.extend_from_slice(&number.to_be_bytes());
            }
            HashedValue::Text(text) => self.add_long(0x02, text),
            HashedValue::Blob(bytes) => self.add_long(0x03, bytes),
        }
    }

    fn add_long(&mut self, kind: u8, bytes: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    /// Returns the hash of the row, a leaf of its link.
    pub fn hash(self) -> Hash {
        of(&digest(&SHA256, &self.0))
    }
}

/// Returns the head of a link: it covers the head of the link before and the leaves of the numbers from `first` to `last`.
pub fn head_of(before: &Hash, first: i64, last: i64, leaves: &[u8]) -> Hash {
    let mut head = Context::new(&SHA256);
    head.update(&[0x01]);
    head.update(before);
    head.update(&first.to_be_bytes());
    head.update(&last.to_be_bytes());
    head.update(leaves);
    of(&head.finish())
}

fn of(digest: &ring::digest::Digest) -> Hash {
    let mut hash = NO_HASH;
    hash.copy_from_slice(digest.as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hashes_are_as_another_program_makes_them() {
        let mut row = RowBytes::begin();
        row.add(HashedValue::Integer(7));
        row.add(HashedValue::Text("größer".as_bytes()));
        row.add(HashedValue::Null);
        row.add(HashedValue::Blob(&[0, 255]));
        row.add(HashedValue::Integer(-1));
        let leaf = row.hash();

        let first = head_of(&NO_HASH, 7, 8, &[leaf, NO_HASH].concat());
        let second = head_of(&first, 9, 9, &leaf);

        assert_eq!(
            [leaf, first, second].map(|hash| hex(&hash)),
            [
                "4e2639398b92af9caadcda50e8aa52f26a1a98a08fb6688627fa916f73a56186",
                "636064e3b4f38e028620747301afea45f9390d7fbc66d8b9417eab05e0716f04",
                "35762d22af4e31baa96b84109e876a2d1c0d159a218702faac5ecbe5c6b3c256"
            ]
        );
    }

    #[test]
    fn no_two_rows_have_the_same_bytes() {
        let hash = |values: &[HashedValue<'_>]| {
            let mut row = RowBytes::begin();
            values.iter().for_each(|value| row.add(*value));
            row.hash()
        };
        use HashedValue::{Blob, Null, Text};

        assert_ne!(hash(&[Text(b"ab"), Text(b"c")]), hash(&[Text(b"a"), Text(b"bc")]));
        assert_ne!(hash(&[Text(b"")]), hash(&[Null]));
        assert_ne!(hash(&[Text(b"a")]), hash(&[Blob(b"a")]));
        assert_ne!(hash(&[Null]), hash(&[Null, Null]));
    }

    #[test]
    fn each_column_is_hashed_once() {
        let columns: std::collections::BTreeSet<_> = HASHED_COLUMNS.iter().collect();

        assert_eq!(columns.len(), HASHED_COLUMNS.len());
    }
}
