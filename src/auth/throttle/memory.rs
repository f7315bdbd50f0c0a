//! Stores the counts between two processes: a file of its own, replaced as a whole, without names and addresses. It is not in
//! the database, so that guessing passwords can't slow down the record.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use tracing::warn;
use zeroize::Zeroizing;

use crate::auth::throttle::ladder::Ladder;
use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::base::private;
use crate::base::secret::random_bytes;

const KEY_BYTES: usize = 32;

pub struct Memory {
    key: PathBuf,
    counts: PathBuf,
}

impl Memory {
    pub fn of(data_dir: &Path) -> Self {
        Memory { key: data_dir.join("secrets/throttle.key"), counts: data_dir.join("sign-in-tries.json") }
    }

    /// Returns the key of the digests, created at the first start. With another key, all stored counts match nothing and lapse.
    pub fn key(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        if !self.key.exists() {
            if let Some(folder) = self.key.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            private::create(&self.key, &random_bytes::<KEY_BYTES>())?;
        }
        let key = private::read(&self.key)?;
        ensure!(
            key.len() == KEY_BYTES,
            "{} is damaged; delete it, and the counts of wrong passwords start at zero",
            self.key.display()
        );
        Ok(key)
    }

    /// Reads the stored counts. A file that can't be read doesn't stop the start: counting begins at zero.
    pub fn recall(&self, now: Timestamp) -> Ladder {
        let read = fs::read(&self.counts);
        if read.as_ref().is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) {
            return Ladder::default();
        }
        let ladder = read.map_err(anyhow::Error::from).and_then(|text| Ok(serde_json::from_slice::<Ladder>(&text)?));
        match ladder {
            Ok(mut ladder) => {
                ladder.not_after(now);
                ladder.forget_the_past(now);
                ladder
            }
            Err(cause) => {
                warn!(
                    cause = chain(cause.as_ref()),
                    "{} can't be read; the counts of wrong passwords start at zero",
                    self.counts.display()
                );
                Ladder::default()
            }
        }
    }

    pub fn keep(&self, text: &[u8]) -> anyhow::Result<()> {
        private::replace(&self.counts, text)
    }
}

pub fn text(ladder: &Ladder) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(ladder)?)
}
