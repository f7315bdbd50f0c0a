//! Chains what is left: at a start what the last run wrote, at the end of a command what it wrote.

use std::time::Duration;

use tracing::warn;

use crate::model::checkpoint::Checkpoint;
use crate::serve::notes_file::NotesFile;
use crate::store::Store;
use crate::store::chain::CheckpointKey;

/// How long a start waits for the chain of what the last run left, and a command for that of what it wrote.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Chains what the last run left, before this one writes rows. So the rows that are in no link were always written within some
/// seconds, and verifiers see when the newest links were cut off. Only the notes are checked before, which takes no time.
pub async fn at_start(store: &Store, key: &CheckpointKey, file: &NotesFile) {
    let begun = async {
        store.check_notes(key, kept(store, key, file).await).await?;
        follow_to_end(store, key).await
    };
    if let Ok(Err(cause)) = tokio::time::timeout(CATCH_UP_MAX, begun).await {
        warn!(cause = format!("{cause:#}"), "the chain of the record is not up to date");
    }
}

/// Chains all rows that are there.
pub async fn follow_to_end(store: &Store, key: &CheckpointKey) -> anyhow::Result<()> {
    while store.follow_chain(key).await? {}
    Ok(())
}

/// Returns the newest checkpoint in the file that this gateway's key has signed.
pub async fn kept(store: &Store, key: &CheckpointKey, file: &NotesFile) -> Option<Checkpoint> {
    let newest = match store.chain_origin().await {
        Ok(origin) => file.newest(origin, key.public()).await,
        Err(error) => Err(error.into()),
    };
    newest.unwrap_or_else(|cause| {
        warn!(cause = format!("{cause:#}"), "the file of checkpoints can't be read");
        None
    })
}
