//! Keeps the chain over the record up to date, checks its newest part, and writes checkpoints: in the database, in a file beside
//! it, and in the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::model::checkpoint::Checkpoint;
use crate::serve::app::App;
use crate::serve::notes_file;
use crate::store::chain::CheckpointRow;

/// How far the chain may be behind the record, apart from the time that a step takes.
const REST: Duration = Duration::from_millis(300);

/// While there is more to chain, the follower pauses this many times as long as it worked, so that requests get their rows.
const REST_SHARE: u32 = 3;

/// The pause after an error.
const BEAT: Duration = Duration::from_secs(5);

/// How long the end of the chain may take at a stop; what is left then, the next start chains.
pub const FINISH_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a command waits for the chain at its end.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Checkpoints that the file lacks and gets at once: more are in the database alone.
const LATE_NOTES_MAX: i64 = 100;

/// Chains new rows and writes checkpoints, until it is dropped.
pub async fn keep_up(app: Arc<App>) {
    // A checkpoint of the last run may be due already.
    let mut next = match app.store.last_checkpoint().await {
        Ok(Some(last)) => {
            Instant::now() + app.config.audit.checkpoint_time.saturating_sub(Timestamp::now().since(last.at()))
        }
        _ => Instant::now(),
    };
    check(&app).await;
    loop {
        let began = Instant::now();
        match app.store.follow_chain(&app.checkpoint_key).await {
            Ok(true) => {
                tokio::time::sleep(began.elapsed() * REST_SHARE).await;
                continue;
            }
            Ok(false) => tokio::time::sleep(REST).await,
            Err(error) => {
                warn!(cause = chain(&error), "the chain of the record is not up to date");
                tokio::time::sleep(BEAT).await;
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + app.config.audit.checkpoint_time;
            check(&app).await;
            make(&app).await;
        }
    }
}

/// Chains what is left and writes the last checkpoint, within `FINISH_WAIT_MAX`.
pub async fn finish(app: &App) {
    if app.store.vitals().reason().is_some() {
        return;
    }
    let last = async {
        follow_to_end(app).await?;
        check(app).await;
        make(app).await;
        anyhow::Ok(())
    };
    match tokio::time::timeout(FINISH_WAIT_MAX, last).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => warn!(cause = format!("{cause:#}"), "the chain of the record is not up to date"),
        Err(_) => info!("the chain of the record is not up to date; the next start goes on with it"),
    }
}

/// Chains what a command has written, for a moment at most; the next start goes on with the rest.
pub async fn catch_up(app: &App) {
    if let Ok(Err(cause)) = tokio::time::timeout(CATCH_UP_MAX, follow_to_end(app)).await {
        warn!(cause = format!("{cause:#}"), "the chain of the record is not up to date");
    }
}

/// Chains all rows that are there.
pub async fn follow_to_end(app: &App) -> anyhow::Result<()> {
    while app.store.follow_chain(&app.checkpoint_key).await? {}
    Ok(())
}

/// Checks the newest part of the chain. What does not verify is the store's `chain_fault`.
async fn check(app: &App) {
    let path = app.config.audit.checkpoint_file(&app.config.data_dir);
    let origin = match app.store.chain_origin().await {
        Ok(origin) => origin,
        Err(error) => return warn!(cause = chain(&error), "the chain of the record can't be checked"),
    };
    let kept = tokio::task::spawn_blocking(move || notes_file::newest(&path, &origin)).await;
    let kept = kept.ok().and_then(|newest| newest.unwrap_or_default());
    if let Err(error) = app.store.check_chain(&app.checkpoint_key, kept).await {
        warn!(cause = chain(&error), "the chain of the record can't be checked");
    }
}

/// Writes a checkpoint if the chain has grown since the last one.
async fn make(app: &App) {
    match app.store.make_checkpoint().await {
        Ok(Some(row)) => {
            tell(&row);
            let path = app.config.audit.checkpoint_file(&app.config.data_dir);
            if let Err(cause) = append(app, path.clone()).await {
                warn!(cause = format!("{cause:#}"), "a checkpoint can't be appended to {}", path.display());
            }
        }
        Ok(None) => {}
        Err(error) => warn!(cause = chain(&error), "no checkpoint of the record can be written"),
    }
}

/// The log's line has the whole note, so that it can be compared and kept.
fn tell(row: &CheckpointRow) {
    let head = Checkpoint::read(&row.note).map(|note| BASE64.encode(note.head)).unwrap_or_default();
    info!(log_id = row.log_id, head, note = row.note.as_str(), "checkpoint of the record up to row {}", row.log_id);
}

/// Appends the checkpoints that the file does not have yet.
async fn append(app: &App, path: PathBuf) -> anyhow::Result<()> {
    let rows = app.store.checkpoints(None, LATE_NOTES_MAX).await?;
    let origin = app.store.chain_origin().await?;
    let append = move || {
        let last = notes_file::newest(&path, &origin)?.map_or(0, |last| last.log_id);
        let notes: String = rows.iter().rev().filter(|row| row.log_id > last).map(|row| row.note.as_str()).collect();
        notes_file::append(&path, &notes)
    };
    tokio::task::spawn_blocking(append).await.context("appending panicked")?
}
