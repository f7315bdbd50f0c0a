//! Values that must never be shown: no `Display`, a `Debug` that hides, memory wiped on drop.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

/// A value that is reached only by `expose`, so that a reader of the code sees where it goes.
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

/// Bytes from the system's random source. A host without one can't keep any promise, so this ends the task.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source answers");
    bytes
}

/// The same by a generator of this thread (ChaCha), which the system's source seeds now and then: for what every request
/// needs, since asking the system takes as long as much of the rest.
pub fn thread_random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// Letters and digits that can't be mistaken for one another when read aloud or copied by hand.
const CLEAR_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A code of `length` letters, 5 bits each.
pub fn random_code(length: usize) -> String {
    (0..length).map(|_| clear_letters(&random_bytes::<1>())).collect()
}

/// The last 5 bits of each byte, as a letter.
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
