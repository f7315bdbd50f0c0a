//! The key that checkpoints are signed with, in the folder of secrets.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::base::private;
use crate::base::secret::random_bytes;
use crate::model::checkpoint::{Checkpoint, PUBLIC_KEY_BYTES};
use crate::model::record::Act;
use crate::store::chain::chained_to;
use crate::store::{Store, audit};

const FILE: &str = "checkpoint.key";

const SEED_BYTES: usize = 32;

/// A key that signs checkpoints.
#[derive(Clone)]
pub struct CheckpointKey {
    pub(super) pair: Arc<Ed25519KeyPair>,
    /// The chain went up to this row when the key was made: later notes of this record are signed with it and no other.
    pub made_after: i64,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// In base64.
    seed: String,
    made_after_log_id: i64,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl CheckpointKey {
    /// Reads the key from the folder of secrets, or makes it. A row of the record tells of a new key first, so that a restored
    /// folder explains it. A file that other users may read is refused.
    pub async fn load(secrets: &Path, store: &Store) -> anyhow::Result<CheckpointKey> {
        let path = secrets.join(FILE);
        if !path.exists() {
            let seed = Zeroizing::new(random_bytes::<SEED_BYTES>());
            let public = BASE64.encode(pair_of(&*seed)?.public_key());
            let made_after_log_id = store.note_checkpoint_key(public).await?;
            let file = KeyFile { seed: BASE64.encode(*seed), made_after_log_id };
            private::create(&path, &Zeroizing::new(serde_json::to_vec_pretty(&file)?))?;
        }
        let file = KeyFile::read(&path)?;
        let seed = Zeroizing::new(BASE64.decode(&file.seed).with_context(|| format!("{} is damaged", path.display()))?);
        let pair = pair_of(&seed).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(CheckpointKey { pair: Arc::new(pair), made_after: file.made_after_log_id })
    }

    /// Returns a key without a file and a row of the record.
    #[cfg(test)]
    pub fn for_tests() -> CheckpointKey {
        CheckpointKey { pair: Arc::new(pair_of(&[7; SEED_BYTES]).unwrap()), made_after: 0 }
    }

    /// Returns the key that checkpoints are verified with.
    pub fn public(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let mut key = [0; PUBLIC_KEY_BYTES];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }
}

fn pair_of(seed: &[u8]) -> anyhow::Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| anyhow!("this is no key"))
}

impl KeyFile {
    fn read(path: &Path) -> anyhow::Result<KeyFile> {
        serde_json::from_slice(&private::read(path)?).with_context(|| format!("{} is damaged", path.display()))
    }
}

impl Store {
    /// Writes the row that tells of a new key; returns up to which row the chain went before.
    async fn note_checkpoint_key(&self, public: String) -> anyhow::Result<i64> {
        let noted = self.write(move |tx| {
            let made_after = chained_to(tx.connection)?;
            let detail = serde_json::json!({ "public_key": public, "made_after_log_id": made_after }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::CheckpointKeyMade, None, None, Some(detail))?;
            Ok(made_after)
        });
        Ok(noted.await?)
    }
}

/// The key that a folder of secrets signs with.
#[derive(Debug, Clone, Copy)]
pub struct OwnKey {
    public: [u8; PUBLIC_KEY_BYTES],
    made_after: i64,
}

impl OwnKey {
    /// Reads the key of a folder. `None`: there is none, or it can't be read.
    pub fn read(secrets: &Path) -> Option<OwnKey> {
        let file = KeyFile::read(&secrets.join(FILE)).ok()?;
        let seed = Zeroizing::new(BASE64.decode(&file.seed).ok()?);
        let public = pair_of(&seed).ok()?.public_key().as_ref().try_into().ok()?;
        Some(OwnKey { public, made_after: file.made_after_log_id })
    }

    /// Whether a note can be one of this folder. Those from before this key was made have another.
    pub fn may_have_signed(&self, note: &Checkpoint) -> bool {
        note.key == self.public || note.log_id <= self.made_after
    }
}
