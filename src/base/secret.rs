//! Values that must never be shown: no `Display`, a hidden `Debug`, memory wiped on drop.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

/// A secret value, reached only by `expose`, so that every use is visible in the code.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

/// Returns bytes from the system's random source. Without one nothing is safe, so the task panics.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source answers");
    bytes
}

/// Returns bytes from a generator of this thread (ChaCha), which the system's source seeds regularly: for what every request
/// needs, since a system call takes as long as much of the rest.
pub fn thread_random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// Letters and digits that can't be confused when read aloud or copied by hand.
const CLEAR_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Returns a random code of `length` letters, 5 bits each.
pub fn random_code(length: usize) -> String {
    (0..length).map(|_| clear_letters(&random_bytes::<1>())).collect()
}

/// Maps the last 5 bits of each byte to a letter.
pub fn clear_letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(CLEAR_LETTERS[usize::from(byte & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let secret = Secret::new(String::from("correct horse"));

        assert_eq!(format!("{secret:?}"), "(secret)");
    }

    #[test]
    fn codes_have_the_asked_length_and_differ() {
        assert_eq!(random_code(12).len(), 12);
        assert_ne!(random_code(12), random_code(12));
    }
}
