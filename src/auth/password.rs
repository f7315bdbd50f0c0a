//! Password hashing with argon2id, off the worker threads and bounded, and the rules for new passwords.
//!
//! A password is hashed in Unicode's composed form (NFC), because keyboards encode the same letter differently. Older hashes
//! were made from the text as typed, so a text that is not composed is compared in both forms. The number of hashes depends on
//! the text alone, never on the account.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::digest;
use tokio::sync::Semaphore;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use zeroize::Zeroizing;

use crate::auth::guessable;
use crate::base::error::Error;
use crate::base::secret::{Secret, clear_letters, random_bytes, random_code};
use crate::config;
use crate::model::credential::Username;

/// The documented initial password of the first admin, which a plain reset sets, too. It only allows its own change.
pub const INITIAL_PASSWORD: &str = "admin123";

/// Longer passwords would only make hashing slow.
const PASSWORD_BYTES_MAX: usize = 1024;

/// 12 letters of 5 bits: 60 bits for an hour. Two more letters mark the text as a code.
const CODE_LETTERS: usize = 12;
const CODE_MARK_LETTERS: usize = 2;

const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

pub struct Passwords {
    running: Arc<Semaphore>,
    /// Limits how many hashes run and wait together.
    places: Arc<Semaphore>,
    length_min: usize,
    /// A hash that matches no password and costs as much as a real one, for names without an account.
    dummy: String,
    /// Counts the hashes that were computed.
    #[cfg(test)]
    pub hashed: std::sync::atomic::AtomicUsize,
}

/// The result of comparing a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Wrong,
    Right,
    /// The password matches, but the stored hash is of the text as typed instead of its composed form.
    RightAsTyped,
}

impl Passwords {
    pub fn new(config: &config::AccountsSection) -> anyhow::Result<Self> {
        Ok(Passwords {
            running: Arc::new(Semaphore::new(config.hashing_threads)),
            places: Arc::new(Semaphore::new(config.hashing_threads + config.hashing_waiting_max)),
            length_min: config.password_length_min,
            dummy: dummy()?,
            #[cfg(test)]
            hashed: Default::default(),
        })
    }

    /// Compares a password with its stored hash. Costs one hash, or two for a text that is not in its composed form, also when
    /// there is no stored hash.
    pub async fn verify(&self, password: Secret<String>, stored: Option<String>) -> Result<Match, Error> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        let forms = if is_nfc(password.expose()) { 1 } else { 2 };
        let found = self
            .pool(forms, move || {
                let right = verify(composed(password.expose()).as_bytes(), &stored);
                // Both are always computed, so that the timing tells nothing.
                let as_typed = forms == 2 && verify(password.expose().as_bytes(), &stored);
                Ok(match (right, as_typed) {
                    (true, _) => Match::Right,
                    (false, true) => Match::RightAsTyped,
                    (false, false) => Match::Wrong,
                })
            })
            .await?;
        Ok(if known { found } else { Match::Wrong })
    }

    pub async fn hash(&self, password: Secret<String>) -> Result<String, Error> {
        self.pool(1, move || hash(composed(password.expose()).as_bytes())).await
    }

    /// Runs `work`, which computes `hashes` hashes, when a place is free.
    async fn pool<T: Send + 'static>(
        &self,
        hashes: usize,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Error::Unavailable {
                message: "too many sign-ins at once; try again in a moment".into(),
                retry_after: Duration::from_secs(1),
            });
        };
        #[cfg(test)]
        self.hashed.fetch_add(hashes, std::sync::atomic::Ordering::Relaxed);
        #[cfg(not(test))]
        let _ = hashes;
        let turn = self.running.clone().acquire_owned().await.map_err(Error::internal)?;
        // The permit moves into the work: if the client leaves, the hash still runs to its end and still counts.
        let work = move || {
            let result = work();
            drop(turn);
            result
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|panicked| Error::internal(anyhow!(panicked)))?.map_err(Error::internal)
    }

    /// Checks a new password: its length, and how hard it is to guess. There are no composition rules and no expiry.
    pub fn check_new(&self, field: &str, password: &str, username: &Username) -> Result<(), Error> {
        let password = composed(password);
        let password = password.as_str();
        let bad = |why: String| Err(Error::invalid(field, format!("`{field}` {why}")));
        if password.chars().count() < self.length_min {
            return bad(format!("must have at least {} characters", self.length_min));
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return bad(format!("must have at most {PASSWORD_BYTES_MAX} bytes"));
        }
        if is_one_time_code(password) {
            return bad("was made for a reset and seen by others; think of another one".into());
        }
        let few_letters = password.chars().collect::<HashSet<_>>().len() < 4;
        if few_letters || guessable::cost(password, &names_of(username)) < guessable::COST_MIN {
            let why = "is easy to guess: besides common words, names, years, rows of keys or digits and repetitions \
                       there is too little in it; a few random words make a good one";
            return bad(why.into());
        }
        Ok(())
    }
}

/// Returns a new one-time code for a password reset.
pub fn one_time_code() -> String {
    let letters = random_code(CODE_LETTERS);
    let mark = code_mark(&letters);
    letters + &mark
}

/// Checks whether a text has the shape of a one-time code. An admin has seen such a code, so it must not become a password; its
/// shape shows it without a list of past codes. One of a thousand texts that look like a code is refused by mistake.
fn is_one_time_code(text: &str) -> bool {
    text.len() == CODE_LETTERS + CODE_MARK_LETTERS
        && text.split_at_checked(CODE_LETTERS).is_some_and(|(letters, mark)| code_mark(letters) == mark)
}

fn code_mark(letters: &str) -> String {
    let digest = digest::digest(&digest::SHA256, format!("lan-gateway one-time code {letters}").as_bytes());
    clear_letters(&digest.as_ref()[..CODE_MARK_LETTERS])
}

/// Returns the name of an account and the words in it: people build passwords from their name and their company's.
fn names_of(username: &Username) -> Vec<&str> {
    let (local, domain) = username.as_str().split_once('@').unwrap_or((username.as_str(), ""));
    let words = local.split(['.', '_', '-', '+']).chain(domain.split('.'));
    [username.as_str(), local].into_iter().chain(words).collect()
}

/// Returns the text in Unicode's composed form. It is wiped from memory like the original.
pub fn composed(password: &str) -> Zeroizing<String> {
    Zeroizing::new(if is_nfc(password) { password.to_owned() } else { password.nfc().collect() })
}

/// OWASP's first recommendation: 19 MiB, two passes, one lane.
fn params() -> anyhow::Result<Params> {
    Params::new(19_456, 2, 1, None).map_err(|cause| anyhow!("argon2 parameters: {cause}"))
}

pub(in crate::auth) fn hash(password: &[u8]) -> anyhow::Result<String> {
    let (params, salt) = (params()?, random_bytes::<SALT_BYTES>());
    let digest = argon2_of(password, &salt, &params)?;
    written(&params, &salt, &digest)
}

/// Returns a hash that costs as much as a real one and matches no password: its digest is random.
fn dummy() -> anyhow::Result<String> {
    written(&params()?, &random_bytes::<SALT_BYTES>(), &random_bytes::<DIGEST_BYTES>())
}

fn written(params: &Params, salt: &[u8], digest: &[u8]) -> anyhow::Result<String> {
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(Salt::new(salt)?),
        hash: Some(Output::new(digest)?),
    };
    Ok(hash.to_string())
}

fn verify(password: &[u8], stored: &str) -> bool {
    let right = || {
        let stored = PasswordHash::new(stored).ok()?;
        let ours = stored.algorithm == Algorithm::Argon2id.ident() && stored.version == Some(Version::V0x13.into());
        let digest = argon2_of(password, stored.salt.as_ref()?, &Params::try_from(&stored).ok()?).ok()?;
        // `Output` compares in constant time.
        Some(ours && Output::new(&digest).ok()? == stored.hash?)
    };
    password.len() <= PASSWORD_BYTES_MAX && right().unwrap_or(false)
}

fn argon2_of(password: &[u8], salt: &[u8], params: &Params) -> anyhow::Result<[u8; DIGEST_BYTES]> {
    let mut digest = [0; DIGEST_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password, salt, &mut digest)
        .map_err(|cause| anyhow!("hashing failed: {cause}"))?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn passwords() -> Passwords {
        Passwords::new(&Config::resolve("", []).unwrap().accounts).unwrap()
    }

    #[test]
    fn a_new_password_has_twelve_characters_and_is_not_a_known_one() {
        let passwords = passwords();
        let check =
            |password: &str| passwords.check_new("new_password", password, &Username::of("annabel@example.org"));

        assert!(check("correct horse").is_ok());
        assert!(check("elevenchars").is_err());
        assert!(check("twelve chars").is_ok());
        assert!(check("annabel and more").is_ok());
        assert!(check(&"ab cd".repeat(205)).is_err());
        for bad in [
            "admin123",
            "admin123admin123",
            "ADMIN1234567",
            "adm1n123",
            "annabel@example.org",
            "annabel12345",
            "aaaaaaaaaaaa",
            "password1234",
            "P@ssw0rd1234",
            "123456789012",
            "Welcome2026!",
            "Example-Annabel-2026",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let refusal = check("Welcome2026!").unwrap_err();
        assert_eq!(refusal.field(), Some("new_password"));
        assert!(refusal.to_string().contains("easy to guess"), "{refusal}");
    }

    #[test]
    fn a_code_that_was_handed_out_never_becomes_a_password() {
        let (one, other) = (one_time_code(), one_time_code());
        let check = |password: &str| passwords().check_new("new_password", password, &Username::of("ann@example.org"));

        assert_eq!((one.len(), one == other), (14, false));
        assert!(check(&one).is_err() && check(&other).is_err());
        assert!(check(&format!("{one}x")).is_ok() && check(&one[1..]).is_ok());
        assert!(check("correcthorsesx").is_ok() && check("größe größer").is_ok());
    }

    #[actix_web::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = passwords();
        let hash = passwords.hash(Secret::new("correct horse".into())).await.unwrap();

        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let compare = async |password: &str, hash: Option<&String>| {
            passwords.verify(Secret::new(password.into()), hash.cloned()).await.unwrap()
        };
        assert_eq!(compare("correct horse", Some(&hash)).await, Match::Right);
        assert_eq!(compare("correct house", Some(&hash)).await, Match::Wrong);
        assert_eq!(compare("correct horse", None).await, Match::Wrong);
    }

    #[actix_web::test]
    async fn the_forms_of_a_letter_are_one_password_and_a_hash_of_before_is_still_right() {
        let passwords = passwords();
        let (nfc, nfd) = ("m\u{f6}wen fliegen", "mo\u{308}wen fliegen");
        let new = passwords.hash(Secret::new(nfd.into())).await.unwrap();
        let old = super::hash(nfd.as_bytes()).unwrap();
        let hashes = || passwords.hashed.swap(0, std::sync::atomic::Ordering::Relaxed);
        let compare = async |password: &str, hash: Option<&String>| {
            passwords.verify(Secret::new(password.into()), hash.cloned()).await.unwrap()
        };
        hashes();

        for (typed, stored, is, costs) in [
            (nfc, Some(&new), Match::Right, 1),
            (nfd, Some(&new), Match::Right, 2),
            (nfd, Some(&old), Match::RightAsTyped, 2),
            (nfc, Some(&old), Match::Wrong, 1),
            (nfd, None, Match::Wrong, 2),
            (nfc, None, Match::Wrong, 1),
        ] {
            assert_eq!((compare(typed, stored).await, hashes()), (is, costs), "{typed:?} {stored:?}");
        }
    }

    #[test]
    fn the_length_of_a_password_is_that_of_its_composed_form() {
        let check = |password: &str| passwords().check_new("password", password, &Username::of("ann@example.org"));

        assert!(check("vo\u{308}gel kxjwq").is_err(), "eleven letters, typed as twelve");
        assert!(check("vo\u{308}gel kxjwqz").is_ok());
    }
}
