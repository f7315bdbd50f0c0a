//! Seals secrets that must be readable again, such as the password of a mail server, with XChaCha20-Poly1305 and the key in
//! `secrets/master.key`. The database and its backups hold sealed values; the key is in neither.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::base::private;
use crate::base::secret::{Secret, random_bytes};

const FILE: &str = "master.key";
const NONCE_BYTES: usize = 24;

/// The key that seals.
pub struct MasterKey(XChaCha20Poly1305);

impl MasterKey {
    /// Reads the key from `secrets_dir`, or creates it. A file that other users may read is refused.
    pub fn load(secrets_dir: &Path) -> anyhow::Result<MasterKey> {
        let path = secrets_dir.join(FILE);
        if !path.exists() {
            let text = Zeroizing::new(format!("{}\n", BASE64.encode(Zeroizing::new(random_bytes::<32>()).as_slice())));
            private::create(&path, text.as_bytes())?;
        }
        let damaged = || format!("{} is damaged: it must hold 32 bytes in base64", path.display());
        let key = Zeroizing::new(BASE64.decode(private::read(&path)?.trim_ascii()).with_context(damaged)?);
        Ok(MasterKey(XChaCha20Poly1305::new_from_slice(&key).ok().with_context(damaged)?))
    }

    /// Seals a secret for the use that `purpose` names: under another name it can't be opened.
    pub fn seal(&self, purpose: &str, plain: &Secret<String>) -> Vec<u8> {
        let nonce = random_bytes::<NONCE_BYTES>();
        let payload = Payload { msg: plain.expose().as_bytes(), aad: purpose.as_bytes() };
        // It fails for messages of 256 GiB alone; then nothing can be opened, and the secret has to be set again.
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed for `purpose`. `None`: it was sealed with another key or for another use, or is damaged.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Secret<String>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        let plain = self.0.decrypt(&XNonce::from(*nonce), payload).ok()?;
        match String::from_utf8(plain) {
            Ok(plain) => Some(Secret::new(plain)),
            Err(cause) => {
                drop(Zeroizing::new(cause.into_bytes()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_for_the_same_use_alone() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [key, other] = folders.each_ref().map(|folder| MasterKey::load(folder.path()).unwrap());
        let sealed = key.seal("channel 1: password", &secret("correct horse"));

        let again = MasterKey::load(folders[0].path()).unwrap();
        assert_eq!(again.open("channel 1: password", &sealed).unwrap().expose(), "correct horse");

        assert!(key.open("channel 2: password", &sealed).is_none());
        assert!(other.open("channel 1: password", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open("channel 1: password", &damaged).is_none(), "byte {at}");
            assert!(key.open("channel 1: password", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert_ne!(key.seal("a", &secret("x")), key.seal("a", &secret("x")), "each has a nonce of its own");
        assert!(!String::from_utf8_lossy(&sealed).contains("horse"));
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "c2hvcnQ=", "no base64!"] {
            private::replace(&folder.path().join(FILE), text.as_bytes()).unwrap();
            let refusal = MasterKey::load(folder.path()).err().unwrap().to_string();
            assert!(refusal.contains("is damaged"), "{text:?}: {refusal}");
        }
    }
}
