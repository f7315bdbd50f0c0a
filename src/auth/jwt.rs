//! JWTs (RFC 7519 and 9068): HS256 with random 256-bit keys named by `kid`.
//!
//! The header and the claims are read strictly: a field that the gateway doesn't write itself makes a JWT invalid, so tricks
//! with `alg`, `jwk`, `crit` and the like find no field to use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header};
use ring::hmac;
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::private;
use crate::base::secret::random_bytes;
use crate::config;

const TYPE: &str = "at+jwt";
const ISSUER: &str = "lan-gateway";

/// The gateway's own JWTs have about 400 bytes.
const TOKEN_BYTES_MAX: usize = 2048;

/// Tolerated difference between clocks.
const LEEWAY_SECONDS: i64 = 30;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    typ: String,
    alg: String,
    kid: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    iss: String,
    /// The gateway instance that the JWT is for.
    aud: String,
    /// The `public_id` of the account.
    pub sub: String,
    /// The version of the account: raising it ends every JWT issued before.
    pub ver: i64,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// The content of `secrets/jwt.json`. The first key signs; the others still verify.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    instance: String,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
struct KeyEntry {
    kid: String,
    secret: String,
}

impl KeyFile {
    fn read(path: &Path) -> anyhow::Result<KeyFile> {
        serde_json::from_slice(&private::read(path)?).with_context(|| format!("{} is damaged", path.display()))
    }

    fn text(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(serde_json::to_vec_pretty(self)?))
    }
}

impl KeyEntry {
    fn random() -> KeyEntry {
        KeyEntry { kid: crate::base::secret::random_code(8), secret: BASE64.encode(random_bytes::<32>()) }
    }
}

impl Drop for KeyEntry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// Keys that sign and verify. A rotation replaces them while requests go on.
pub struct JwtKeys {
    ring: RwLock<Arc<KeyRing>>,
    /// Two rotations at once would write one file.
    rotating: Mutex<()>,
    path: PathBuf,
    lifetime_seconds: i64,
}

struct KeyRing {
    instance: String,
    keys: Vec<(String, EncodingKey, DecodingKey)>,
}

/// What a rotation does with the keys that were used until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKeys {
    /// The newest of them still verifies, so that JWTs stay valid until they expire.
    Keep,
    /// JWTs end at once.
    Drop,
}

impl JwtKeys {
    /// Reads the keys from `secrets_dir`, or creates them. A file that other users may read is refused.
    pub fn load(secrets_dir: &Path, config: &config::AccountsSection) -> anyhow::Result<JwtKeys> {
        // A second call finds the same provider installed.
        let _ = PROVIDER.install_default();
        let path = secrets_dir.join("jwt.json");
        if !path.exists() {
            let file = KeyFile { instance: crate::base::ids::public_id(), keys: vec![KeyEntry::random()] };
            private::create(&path, &file.text()?)?;
        }
        let ring = RwLock::new(Arc::new(KeyRing::of(&KeyFile::read(&path)?, &path)?));
        let lifetime_seconds = config.token_lifetime.as_secs() as i64;
        Ok(JwtKeys { ring, rotating: Mutex::default(), path, lifetime_seconds })
    }

    /// Signs with a new key from now on. The file is on disk before; if it can't be written, nothing changes. Blocks.
    pub fn rotate(&self, old: OldKeys) -> anyhow::Result<()> {
        let _one = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = KeyFile::read(&self.path)?;
        match old {
            OldKeys::Keep => file.keys.truncate(1),
            OldKeys::Drop => file.keys.clear(),
        }
        file.keys.insert(0, KeyEntry::random());
        private::replace(&self.path, &file.text()?)?;
        let ring = Arc::new(KeyRing::of(&file, &self.path)?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    fn ring(&self) -> Arc<KeyRing> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn issue(&self, subject: &str, version: i64, now: Timestamp) -> Result<(String, u64), Error> {
        let ring = self.ring();
        let (kid, key, _) = &ring.keys[0];
        let now = now.seconds();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ring.instance.clone(),
            sub: subject.into(),
            ver: version,
            jti: crate::base::ids::public_id(),
            iat: now,
            nbf: now,
            exp: now + self.lifetime_seconds,
        };
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.into());
        header.kid = Some(kid.clone());
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(Error::internal)?;
        Ok((token, self.lifetime_seconds as u64))
    }

    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        self.check(token, now.seconds()).ok_or_else(|| {
            Error::bad_token("it is not a valid access token, or it has expired; get one from POST /auth/token")
        })
    }

    fn check(&self, token: &str, now: i64) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let claims = self.ring().open(token)?;
        let in_time = claims.nbf <= now + LEEWAY_SECONDS && now < claims.exp && claims.iat <= now + LEEWAY_SECONDS;
        in_time.then_some(claims)
    }
}

impl KeyRing {
    fn of(file: &KeyFile, path: &Path) -> anyhow::Result<KeyRing> {
        ensure!(!file.keys.is_empty(), "{} holds no key", path.display());
        let mut keys = Vec::new();
        for entry in &file.keys {
            let secret = Zeroizing::new(BASE64.decode(&entry.secret).context("a key in jwt.json is damaged")?);
            ensure!(secret.len() == 32, "a key in {} is not 256 bits long", path.display());
            keys.push((entry.kid.clone(), EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret)));
        }
        Ok(KeyRing { instance: file.instance.clone(), keys })
    }

    /// Returns the claims of a JWT that one of the keys has signed, without checking its times.
    fn open(&self, token: &str) -> Option<Claims> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: StrictHeader = object(header)?;
        if header.typ != TYPE || header.alg != "HS256" {
            return None;
        }
        let (.., key) = self.keys.iter().find(|(kid, ..)| *kid == header.kid)?;
        if !jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, Algorithm::HS256).ok()? {
            return None;
        }
        let claims: Claims = object(claims)?;
        (claims.iss == ISSUER && claims.aud == self.instance).then_some(claims)
    }
}

/// Parses an object. serde would also accept a list of the values in order, which the gateway never writes.
fn object<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    let text = BASE64.decode(part).ok().filter(|text| text.starts_with(b"{"))?;
    serde_json::from_slice(&text).ok()
}

/// HS256 over ring: jsonwebtoken's own back ends bring RSA with a known flaw, or a slow build.
struct Hs256(hmac::Key);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // ring compares in constant time.
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    if *algorithm != Algorithm::HS256 || key.family() != AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    if *algorithm != Algorithm::HS256 || key.family() != AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?))))
}

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    #[test]
    fn after_a_rotation_the_last_key_still_verifies_and_no_older_one() {
        let (folder, keys) = keys();
        let issue = || keys.issue("subject", 1, NOW).unwrap().0;
        let first = issue();
        keys.rotate(OldKeys::Keep).unwrap();
        let second = issue();
        assert!(keys.verify(&first, NOW).is_ok() && keys.verify(&second, NOW).is_ok());

        keys.rotate(OldKeys::Keep).unwrap();

        assert!(keys.verify(&first, NOW).is_err(), "two keys at most");
        assert!(keys.verify(&second, NOW).is_ok());
        let again = JwtKeys::load(folder.path(), &Config::resolve("", []).unwrap().accounts).unwrap();
        assert!(again.verify(&second, NOW).is_ok() && again.verify(&issue(), NOW).is_ok(), "the file says the same");
    }

    #[test]
    fn a_rotation_can_end_every_jwt_and_one_that_fails_ends_none() {
        let (folder, keys) = keys();
        let old = keys.issue("subject", 1, NOW).unwrap().0;
        keys.rotate(OldKeys::Drop).unwrap();
        assert!(keys.verify(&old, NOW).is_err());
        let new = keys.issue("subject", 1, NOW).unwrap().0;

        fs::write(folder.path().join("jwt.json"), "damaged").unwrap();

        assert!(keys.rotate(OldKeys::Drop).is_err());
        assert!(keys.verify(&new, NOW).is_ok());
    }

    fn keys() -> (tempfile::TempDir, JwtKeys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = JwtKeys::load(folder.path(), &Config::resolve("", []).unwrap().accounts).unwrap();
        (folder, keys)
    }

    fn signed(keys: &JwtKeys, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &keys.ring().keys[0].1, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let (_folder, keys) = keys();
        let (token, seconds) = keys.issue("subject", 3, NOW).unwrap();

        let claims = keys.verify(&token, NOW).unwrap();
        assert_eq!((claims.sub.as_str(), claims.ver, seconds), ("subject", 3, 3600));
        assert!(keys.verify(&token, NOW.plus_seconds(3599)).is_ok());
        assert!(keys.verify(&token, NOW.plus_seconds(3600)).is_err());
        assert!(keys.verify(&token, NOW.plus_seconds(-30)).is_ok());
        assert!(keys.verify(&token, NOW.plus_seconds(-31)).is_err());
    }

    #[test]
    fn keys_survive_a_restart_and_belong_to_one_instance() {
        let (folder, keys) = keys();
        let (token, _) = keys.issue("subject", 1, NOW).unwrap();

        let config = Config::resolve("", []).unwrap().accounts;
        assert!(JwtKeys::load(folder.path(), &config).unwrap().verify(&token, NOW).is_ok());
        let (_other_folder, other) = self::keys();
        assert!(other.verify(&token, NOW).is_err());
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let (folder, _keys) = keys();
        let path = folder.path().join("jwt.json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

        assert!(JwtKeys::load(folder.path(), &Config::resolve("", []).unwrap().accounts).is_err());
    }

    #[test]
    fn whatever_we_do_not_write_ourselves_is_refused() {
        let (_folder, keys) = keys();
        let ring = keys.ring();
        let kid = &ring.keys[0].0;
        let now = NOW.seconds();
        let aud = &ring.instance;
        let header = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#);
        let claims = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut claims = serde_json::json!({ "iss": "lan-gateway", "aud": aud, "sub": "s", "ver": 1, "jti": "j",
                "iat": now, "nbf": now, "exp": now + 60 });
            change(&mut claims);
            claims.to_string()
        };
        let good = claims(&|_| {});
        assert!(keys.verify(&signed(&keys, &header, &good), NOW).is_ok());

        let mut vectors = 0;
        let mut refuse = |token: &str, what: &str| {
            vectors += 1;
            let refused = keys.verify(token, NOW).err().map(|error| error.code());
            assert_eq!(refused, Some("invalid_api_key"), "{what}");
        };
        for alg in [
            "none", "None", "NONE", "nOnE", "nonE", "NoNe", " none", "none ", "", "HS384", "HS512", "RS256", "PS256",
            "ES256", "EdDSA", "hs256", "HS256 ",
        ] {
            let header = header.replace("HS256", alg);
            let token = signed(&keys, &header, &good);
            refuse(&token, alg);
            refuse(&token[..=token.rfind('.').unwrap()], &format!("{alg}, without a signature"));
        }
        for alg in ["null", "256", "[\"HS256\"]", "{}"] {
            let header = header.replace("\"HS256\"", alg);
            refuse(&signed(&keys, &header, &good), alg);
        }
        for extra in [
            "\"jwk\":{}",
            "\"jku\":\"http://127.0.0.1/\"",
            "\"x5u\":\"x\"",
            "\"crit\":[\"exp\"]",
            "\"x5c\":[\"x\"]",
            "\"zip\":\"DEF\"",
            "\"cty\":\"JWT\"",
            "\"kid\":\"x\"",
            "\"b64\":false",
        ] {
            let header = header.replace('}', &format!(",{extra}}}"));
            refuse(&signed(&keys, &header, &good), extra);
        }
        for other in ["../../etc/passwd", "' OR 1=1 --", "", &"k".repeat(1000)] {
            let header = header.replace(kid.as_str(), other);
            refuse(&signed(&keys, &header, &good), other);
        }
        let typ = header.replace("at+jwt", "JWT");
        refuse(&signed(&keys, &typ, &good), "typ");
        for (field, value) in [
            ("exp", serde_json::json!(format!("{}", now + 60))),
            ("exp", serde_json::json!(now as f64 + 60.5)),
            ("exp", serde_json::json!(-1)),
            ("exp", serde_json::json!(null)),
            ("exp", serde_json::json!(1e300)),
            ("nbf", serde_json::json!(now + 3600)),
            ("exp", serde_json::json!(now)),
            ("exp", serde_json::json!(true)),
            ("nbf", serde_json::json!("0")),
            ("iat", serde_json::json!(now + 3600)),
            ("aud", serde_json::json!("other")),
            ("aud", serde_json::json!([aud])),
            ("iss", serde_json::json!("other")),
            ("ver", serde_json::json!("1")),
            ("ver", serde_json::json!(1.0)),
            ("sub", serde_json::json!(["s"])),
            ("admin", serde_json::json!(true)),
        ] {
            let bad = claims(&|claims| claims[field] = value.clone());
            refuse(&signed(&keys, &header, &bad), &format!("{field}: {value}"));
        }
        for missing in ["iss", "aud", "sub", "ver", "jti", "iat", "nbf", "exp"] {
            let bad = claims(&|claims| {
                claims.as_object_mut().unwrap().remove(missing);
            });
            refuse(&signed(&keys, &header, &bad), missing);
        }
        for (once, twice) in [
            ("\"ver\":1", "\"ver\":1,\"ver\":2"),
            ("\"sub\":\"s\"", "\"sub\":\"s\",\"sub\":\"admin\""),
            ("\"jti\":\"j\"", "\"jti\":\"j\",\"exp\":9999999999"),
        ] {
            refuse(&signed(&keys, &header, &good.replace(once, twice)), twice);
        }
        let other_key = JwtKeys::load(tempfile::tempdir().unwrap().path(), &Config::resolve("", []).unwrap().accounts);
        refuse(&signed(&other_key.unwrap(), &header, &good), "signed with another key under our name of it");
        refuse(&signed(&keys, &header, &format!("[{good}]")), "claims in a list");
        refuse(&signed(&keys, &header, "null"), "no claims");
        let in_order = serde_json::json!(["lan-gateway", aud, "s", 1, "j", now, now, now + 60]);
        refuse(&signed(&keys, &header, &in_order.to_string()), "claims in their order");
        let in_order = serde_json::json!(["at+jwt", "HS256", kid]);
        refuse(&signed(&keys, &in_order.to_string(), &good), "a header in its order");

        let token = signed(&keys, &header, &good);
        let (message, signature) = token.rsplit_once('.').unwrap();
        for bad in [
            format!("{message}."),
            message.to_owned(),
            format!(
                "{message}.{}",
                signature.replace(&signature[..1], if signature.starts_with('A') { "B" } else { "A" })
            ),
            format!("{token}="),
            format!(" {token}"),
            format!("{token}.x"),
            "..".into(),
            String::new(),
            "é".repeat(40),
            "x".repeat(1 << 20),
        ] {
            refuse(&bad, &bad.chars().take(80).collect::<String>());
        }
        assert!(vectors >= 80, "{vectors}");
    }
}
