//! Background work: loops that run as long as the gateway does.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::warn;

use crate::base::error::chain;
use crate::base::vital::panic_on_purpose;
use crate::http::address_quotas::AddressQuotas;
use crate::http::stranger_lines;
use crate::provider;
use crate::rules::retention::Retention;
use crate::serve::alive::WRITE_TIME_MAX;
use crate::serve::app::App;
use crate::serve::backups;
use crate::serve::chain as chain_of_record;
use crate::serve::disk::Looks;
use crate::serve::notices;
use crate::serve::systemd;
use crate::store::words::Merge;
use crate::upstream::UpstreamClient;

const BEAT: Duration = Duration::from_secs(5);

/// Beats between two saves of the failed sign-ins: a minute.
const LADDER_BEATS: u32 = 12;

/// How often free space is looked at.
const ROOM_LOOK: Duration = Duration::from_secs(1);

/// How often deleted users are looked for.
const ERASING_LOOK: Duration = Duration::from_millis(500);

/// The pause between two batches of erasure, in which other rows are written.
const ERASING_REST: Duration = Duration::from_millis(20);

/// How far usage sums and the search index may be behind the record.
const FOLLOWERS_REST: Duration = Duration::from_millis(500);

/// While there is more to index, the indexer pauses this many times as long as it worked, so that requests get their rows.
const INDEX_REST_SHARE: u32 = 3;

/// Above this rate, more than upstreams can answer, indexing slows down to one step per `INDEX_REST_BUSY`.
const BUSY_WRITES_PER_SECOND: f64 = 1000.0;
const INDEX_REST_BUSY: Duration = Duration::from_secs(1);

/// The background tasks. If one ends, the process ends.
pub struct Background(Vec<JoinHandle<()>>);

/// Starts all tasks; `control` answers the command line.
pub fn start(app: &Arc<App>, quotas: AddressQuotas, control: impl Future<Output = ()> + 'static) -> Background {
    let vitals = app.store.vitals();
    let spawn = |part, task: Pin<Box<dyn Future<Output = ()>>>| {
        tokio::task::spawn_local(vitals.clone().run(part, async move {
            tokio::select! {
                () = task => {}
                () = panic_when_asked(part) => {}
            }
        }))
    };
    Background(vec![
        spawn("the upkeep", Box::pin(run(app.clone(), quotas))),
        spawn("the watch over the disk", Box::pin(watch_disk(app.clone()))),
        spawn("the watch over free space", Box::pin(watch_room(app.clone()))),
        spawn("the tries to write", Box::pin(try_to_write(app.clone()))),
        spawn("the sums of usage", Box::pin(follow(app.clone()))),
        spawn("the index of words", Box::pin(index(app.clone()))),
        spawn("the chain of the record", Box::pin(chain_of_record::keep_up(app.clone()))),
        spawn("the watch over the upstreams", Box::pin(watch_upstreams(app.clone()))),
        spawn("the news for systemd", Box::pin(systemd::attend(app.clone()))),
        spawn("erasing", Box::pin(erase(app.clone()))),
        spawn("the scheduled backups", Box::pin(backups::keep_up(app.clone()))),
        spawn("the notices", Box::pin(notices::attend(app.clone()))),
        spawn("the retention", Box::pin(retain(app.clone()))),
        spawn("the control socket", Box::pin(control)),
    ])
}

impl Background {
    /// Stops the tasks when the gateway stops.
    pub fn stop(self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Panics when a test asks for it; see `panic_on_purpose`.
async fn panic_when_asked(part: &str) {
    if !cfg!(debug_assertions) {
        return std::future::pending().await;
    }
    loop {
        panic_on_purpose(part);
        tokio::time::sleep(FOLLOWERS_REST).await;
    }
}

/// Ends the process when the disk no longer answers.
async fn watch_disk(app: Arc<App>) {
    loop {
        tokio::time::sleep(BEAT).await;
        let writing = app.store.writing_for();
        if writing > WRITE_TIME_MAX {
            app.store.vitals().fail(format!("the disk has not finished a write for {} s", writing.as_secs()));
        }
    }
}

/// Looks at the free space every second and after each write that failed, until it is dropped.
async fn watch_room(app: Arc<App>) {
    let mut looks = Looks::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROOM_LOOK) => {}
            () = app.store.write_failed() => {}
        }
        let was_full = app.disk.is_full();
        looks.look(&app.config, &app.store, &app.disk).await;
        if was_full && !app.disk.is_full() {
            // What waited for room is written now, and shows that rows can be written again.
            app.stages.audit.write_unwritten();
            app.stages.audit.flush_refusals(false);
            if let Err(error) = app.store.advance_closed().await {
                warn!(cause = chain(&error), "the disk has free space again, but nothing can be written");
            }
        }
    }
}

/// Finds out when the record can be written again after it could not, until it is dropped.
async fn try_to_write(app: Arc<App>) {
    loop {
        tokio::time::sleep(ROOM_LOOK).await;
        // Whether it can shows in the health of the gateway, and the writer's log says why not.
        let _ = app.store.try_to_write().await;
    }
}

/// Keeps the sums of usage up to date, until it is dropped.
pub async fn follow(app: Arc<App>) {
    loop {
        match app.store.follow_usage(provider::canonical).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(FOLLOWERS_REST).await,
            Err(error) => {
                warn!(cause = chain(&error), "the sums of usage are not up to date");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Adds new rows to the search index, until it is dropped.
pub async fn index(app: Arc<App>) {
    loop {
        let (began, written) = (Instant::now(), app.store.written());
        match app.store.follow_words().await {
            Ok(true) => {
                tokio::time::sleep(began.elapsed() * INDEX_REST_SHARE).await;
                let writes = (app.store.written() - written) as f64;
                if writes / began.elapsed().as_secs_f64() > BUSY_WRITES_PER_SECOND {
                    tokio::time::sleep(INDEX_REST_BUSY).await;
                }
            }
            Ok(false) => tokio::time::sleep(FOLLOWERS_REST).await,
            Err(error) => {
                warn!(cause = chain(&error), "the search index is not up to date");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Erases the contents of deleted users, batch by batch, until it is dropped.
pub async fn erase(app: Arc<App>) {
    let mut merge = Merge::Begin;
    loop {
        match app.store.erase_some(&mut merge).await {
            Ok(true) => tokio::time::sleep(ERASING_REST).await,
            Ok(false) => tokio::time::sleep(ERASING_LOOK).await,
            Err(error) => {
                warn!(cause = chain(&error), "erasing contents failed; it is retried later");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Erases what is older than the settings allow, batch by batch, until it is dropped.
pub async fn retain(app: Arc<App>) {
    let mut retention = Retention::new(app.store.clone());
    loop {
        match retention.step().await {
            Ok(true) => tokio::time::sleep(ERASING_REST).await,
            Ok(false) => tokio::time::sleep(ERASING_LOOK).await,
            Err(error) => {
                warn!(cause = chain(&error), "erasing what is too old failed; it is retried later");
                tokio::time::sleep(BEAT).await;
            }
        }
    }
}

/// Keeps the models and the health of the upstreams up to date, until it is dropped.
pub async fn watch_upstreams(app: Arc<App>) {
    app.stages.routing.watch(&UpstreamClient::new(&app.config)).await;
}

/// Warns of lines of the log that were dropped since `told`. The warning may be dropped, too, and is then repeated with the next.
fn tell_dropped_lines(app: &App, told: &mut u64) {
    let dropped = app.metrics.dropped_lines();
    if dropped > *told {
        warn!(lines = dropped - *told, "lines of the log were dropped, since its reader is too slow");
        *told = dropped;
    }
}

/// Saves, flushes and sweeps at regular intervals, until it is dropped.
pub async fn run(app: Arc<App>, quotas: AddressQuotas) {
    // The first look at a person reads back far; the list of people should not wait for it.
    let everybody = app.store.people().all().map(|user| user.id).collect();
    if let Err(error) = app.store.last_requests(everybody).await {
        warn!(cause = chain(&error), "when people last asked for something can't be read");
    }
    let mut dropped = 0;
    for beat in 1u32.. {
        tokio::time::sleep(BEAT).await;
        tell_dropped_lines(&app, &mut dropped);
        stranger_lines::tell_left_out();
        if beat % LADDER_BEATS == 0 {
            let auth = app.auth.clone();
            // A failed save is logged there, and retried at a later beat.
            if let Err(panicked) = tokio::task::spawn_blocking(move || auth.throttle.save()).await {
                app.store.vitals().fail(format!("saving the tries at signing in: {panicked}"));
            }
        }
        app.stages.audit.flush_refusals(false);
        app.stages.audit.write_unwritten();
        quotas.sweep();
        if beat % LADDER_BEATS == 0
            && let Err(error) = app.auth.sessions.sweep().await
        {
            warn!(cause = chain(&error), "sessions that have ended can't be removed");
        }
        if let Err(error) = app.store.advance_closed().await {
            warn!(cause = chain(&error), "the watermark of closed requests can't be moved");
        }
    }
}
