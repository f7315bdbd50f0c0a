//! Keeps the chain over the record up to date, checks its newest part, and writes checkpoints: in the database, in a file beside
//! it, and in the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::serve::app::App;
use crate::serve::catch_up::{CATCH_UP_MAX, follow_to_end, kept};
use crate::store::chain::CheckpointRow;

/// How far the chain may be behind the record, apart from the time that a step takes.
const REST: Duration = Duration::from_millis(300);

/// While there is more to chain, the follower pauses this many times as long as it worked, so that requests get their rows.
const REST_SHARE: u32 = 3;

/// The pause after an error.
const BEAT: Duration = Duration::from_secs(5);

/// How long the end of the chain may take at a stop; what is left then, the next start chains.
pub const FINISH_WAIT_MAX: Duration = Duration::from_secs(5);

/// Checkpoints that the file lacks and gets at once: more are in the database alone.
const LATE_NOTES_MAX: i64 = 100;

/// Chains new rows and writes checkpoints, until it is dropped. The chain does not wait for a checkpoint, since its file may lie on
/// a share that does not answer.
pub async fn keep_up(app: Arc<App>) {
    tokio::join!(follow(&app), write_checkpoints(&app));
}

async fn follow(app: &App) {
    loop {
        let began = Instant::now();
        let rest = match app.store.follow_chain(&app.checkpoint_key).await {
            Ok(true) => began.elapsed() * REST_SHARE,
            Ok(false) => REST,
            Err(error) => {
                warn!(cause = chain(&error), "the chain of the record is not up to date");
                BEAT
            }
        };
        tokio::time::sleep(rest).await;
    }
}

async fn write_checkpoints(app: &App) {
    let time = app.config.audit.checkpoint_time;
    check(app).await;
    // A checkpoint of the last run may be due already.
    let mut rest = match app.store.last_checkpoint().await {
        Ok(Some(last)) => time.saturating_sub(Timestamp::now().since(last.at())),
        _ => Duration::ZERO,
    };
    loop {
        tokio::time::sleep(rest).await;
        check(app).await;
        make(app).await;
        rest = time;
    }
}

/// Chains what is left and writes the last checkpoint, within `FINISH_WAIT_MAX`.
pub async fn finish(app: &App) {
    if app.store.vitals().reason().is_some() {
        return;
    }
    let last = async {
        follow_to_end(&app.store, &app.checkpoint_key).await?;
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
    let chained = follow_to_end(&app.store, &app.checkpoint_key);
    if let Ok(Err(cause)) = tokio::time::timeout(CATCH_UP_MAX, chained).await {
        warn!(cause = format!("{cause:#}"), "the chain of the record is not up to date");
    }
}

/// Checks the newest part of the chain. What does not verify is the store's `chain_fault`.
async fn check(app: &App) {
    let kept = kept(&app.store, &app.checkpoint_key, &app.notes_file).await;
    if let Err(error) = app.store.check_chain(&app.checkpoint_key, kept).await {
        warn!(cause = chain(&error), "the chain of the record can't be checked");
    }
}

/// Writes a checkpoint if the chain has grown since the last one.
async fn make(app: &App) {
    match app.store.make_checkpoint().await {
        Ok(Some(row)) => {
            tell(&row);
            if let Err(cause) = append(app).await {
                warn!(cause = format!("{cause:#}"), "a checkpoint can't be appended to the file of checkpoints");
            }
        }
        Ok(None) => {}
        Err(error) => warn!(cause = chain(&error), "no checkpoint of the record can be written"),
    }
}

/// The log's line has the whole note, so that it can be compared and kept.
fn tell(row: &CheckpointRow) {
    let head = row.signed().map(|note| BASE64.encode(note.head)).unwrap_or_default();
    info!(log_id = row.log_id, head, note = row.note.as_str(), "checkpoint of the record up to row {}", row.log_id);
}

/// Appends the checkpoints that the file does not have yet.
async fn append(app: &App) -> anyhow::Result<()> {
    let key = app.checkpoint_key.public();
    let rows = app.store.checkpoints(None, LATE_NOTES_MAX).await?.into_iter().rev();
    // Those of an older key are about the time before a restore.
    let notes = rows.filter_map(|row| Some((row.signed()?, row.note))).filter(|(signed, _)| signed.key == key);
    let notes = notes.map(|(signed, note)| (signed.log_id, note)).collect();
    app.notes_file.append_missing(app.store.chain_origin().await?, key, notes).await
}
