//! Embeddings as the record keeps them: how many, and a digest by which the numbers can be verified.

use std::fmt::Write;

use ring::digest::{Context, SHA256};
use serde_json::json;

use crate::model::embed::Embedding;

#[derive(Default)]
pub struct Numbers {
    count: usize,
    dimensions: usize,
    bytes: usize,
    /// Over all numbers, as little-endian floats of 32 bits.
    digest: Option<Context>,
}

impl Numbers {
    pub fn add(&mut self, embedding: &Embedding) {
        let bytes = embedding.bytes();
        self.count += 1;
        self.dimensions = embedding.0.len();
        self.bytes += bytes.len();
        self.digest.get_or_insert_with(|| Context::new(&SHA256)).update(&bytes);
    }

    /// Returns the size of the numbers as the client gets them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the answer as the record keeps it; empty when there were no numbers.
    pub fn summary(&self) -> String {
        let Some(digest) = self.digest.clone() else { return String::new() };
        let mut sha256 = String::new();
        for byte in digest.finish().as_ref() {
            let _ = write!(sha256, "{byte:02x}"); // A `String` takes every write.
        }
        json!({ "embeddings": self.count, "dimensions": self.dimensions, "sha256": sha256 }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_summed_up_by_count_dimensions_and_digest() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.summary(), "");

        numbers.add(&Embedding(vec![1.0, -0.5]));
        numbers.add(&Embedding(vec![0.0, 2.0]));

        // sha256 of 0000803f 000000bf 00000000 00000040.
        assert_eq!(
            numbers.summary(),
            r#"{"embeddings":2,"dimensions":2,"sha256":"696594a0c0e77794d0b30289435442cdb28bef967fef2e33c9560ba86ab255a0"}"#
        );
        assert_eq!(numbers.bytes(), 16);
    }
}
