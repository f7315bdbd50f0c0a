//! The loop of the writer: one transaction per sync.
//!
//! A transaction that fails can either be tried again (the disk was full, another process held the lock), or it is unknown what
//! is on disk, and then the process ends. What is not known to be the first is taken for the second: diesel reports the kind of
//! a broken rule, and of anything else SQLite's text but not its code.

use std::sync::atomic::Ordering;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::base::clock::{RECORD_CLOCK, SteadyClock, Timestamp};
use crate::config::settings::Live;
use crate::model::people::People;
use crate::store::mailbox::Post;
use crate::store::undone::Undone;
use crate::store::writer::batch::{Batch, Besides, Times, begin, write_batch};
use crate::store::writer::{Job, Life};
use crate::store::{checkpoints, people, settings};

/// Jobs in one transaction. More would only make the first of them wait longer.
const BATCH_MAX: usize = 256;

/// How often, and after which pauses, the WAL is emptied at the stop: while another connection moves it, SQLite refuses at once.
/// With `TRUNCATION_WAIT` it is about four seconds, if a backup is reading.
const LAST_TRIES: u32 = 50;
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// How long the writer waits for readers of the WAL to empty it, in milliseconds, and for locks otherwise.
const TRUNCATION_WAIT: &str = "PRAGMA busy_timeout=50";
const LOCK_WAIT: &str = "PRAGMA busy_timeout=5000";

/// The state of the writer's thread.
pub struct Commits {
    /// Dropped first, so that a part that ends later is not taken for the cause.
    pub life: Life,
    pub connection: SqliteConnection,
    pub people: Arc<RwLock<Arc<People>>>,
    pub settings: Live,
    /// The time on the newest rows.
    pub last: Timestamp,
    /// What the host's clock said then, running on; behind `last` after it was set back.
    pub clock: SteadyClock,
    /// The newest row of the record; `None` after a verb or an error, when it has to be read.
    pub newest: Option<i64>,
    /// A transaction failed, and SQLite may not have undone it.
    pub unsure: bool,
    pub wrote: std_mpsc::SyncSender<()>,
    pub post: Post,
}

impl Commits {
    /// Writes what the queue brings, until `Close` comes.
    pub fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        let mut closing = false;
        while !closing {
            let Some(first) = queue.blocking_recv() else { break };
            jobs.push(first);
            // On a busy machine workers are about to send theirs and only wait for a core. Letting them go first costs less than
            // one more sync for each of them. On an idle machine this takes no time.
            std::thread::yield_now();
            while take_waiting(&mut queue, &mut jobs) {
                std::thread::yield_now();
            }
            closing = jobs.iter().any(|job| matches!(job, Job::Close));
            let began = Instant::now();
            self.life.state.began(Some(began));
            self.commit(&mut jobs);
            self.life.state.began(None);
            if let Some(commits) = self.life.state.commits.get() {
                commits.observe(began.elapsed().as_secs_f64());
            }
        }
        // An operator who copies the file of a stopped gateway may not think of the WAL beside it.
        if self.life.state.alive.load(Ordering::Acquire) && !self.empty_wal() {
            warn!("the WAL could not be emptied at the stop; keep lan-gateway.db-wal together with lan-gateway.db");
        }
        self.life.state.vitals.may_end();
    }

    fn commit(&mut self, jobs: &mut Vec<Job>) {
        let mut batch = Batch::with_capacity(jobs.len());
        if !self.life.state.alive.load(Ordering::Acquire) {
            // Dropping a verb drops the sender of its answer, so its caller gets an error.
            batch.take_entries(jobs);
            self.answer(batch, Err("an earlier sync failed"));
            return;
        }
        // While nothing can be written, a transaction that has nothing to write succeeds, and shows nothing.
        let failed_at = (!self.life.state.healthy.load(Ordering::Relaxed)).then(|| self.changes());
        let (clock, stepped_back) = self.clock.read_again();
        let now = RECORD_CLOCK.now().max(self.last);
        let times = Times { clock: clock.started_with(), now, stepped_back };
        let mut besides = Besides::default();
        let mut newest = self.newest.take().filter(|_| stepped_back.is_none());
        let result = self.transaction(jobs, times, &mut newest, &mut batch, &mut besides).and_then(|()| {
            self.newest = newest;
            self.last = times.now;
            self.clock = clock;
            // It is committed, so its callers must not hear that it failed.
            self.load(&besides).map_err(|cause| Undone::Lost(format!("the disk refused a read ({cause})")))
        });
        match result {
            Ok(()) => {
                if failed_at.is_some_and(|before| self.changes() != before) {
                    info!("the record can be written again");
                    self.life.state.healthy.store(true, Ordering::Relaxed);
                }
                self.life.state.written.fetch_add((batch.entries.len() + batch.afters.len()) as u64, Ordering::Relaxed);
                self.answer(batch, Ok(()));
                self.checkpoint(besides);
                // A full channel means that a checkpoint is due already.
                let _ = self.wrote.try_send(());
            }
            Err(undone) => {
                // Jobs that are left were never run: the transaction could not begin. Callers of verbs get an error as above.
                batch.take_entries(jobs);
                self.failed(undone, batch);
            }
        }
    }

    /// Writes the jobs and syncs, or leaves the file as it was.
    fn transaction(
        &mut self,
        jobs: &mut Vec<Job>,
        times: Times,
        newest: &mut Option<i64>,
        batch: &mut Batch,
        besides: &mut Besides,
    ) -> Result<(), Undone> {
        if std::mem::take(&mut self.unsure) {
            // Mostly SQLite has already done it, and this fails.
            let _ = self.connection.batch_execute("ROLLBACK");
        }
        // Nothing is written before it has begun.
        begin(&mut self.connection)?;
        let written = write_batch(&mut self.connection, jobs, times, newest, batch, besides);
        let result =
            written.and_then(|()| self.connection.batch_execute("COMMIT").map_err(|cause| Undone::of("sync", &cause)));
        self.unsure = result.is_err();
        result
    }

    /// Returns how many rows this connection has changed so far.
    fn changes(&mut self) -> i64 {
        let changes = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>("total_changes()"));
        changes.get_result(&mut self.connection).unwrap_or_default()
    }

    /// Reads the snapshots that a commit has changed.
    fn load(&mut self, besides: &Besides) -> QueryResult<()> {
        if besides.settings_changed {
            settings::load(&mut self.connection, &self.settings)?;
        }
        if besides.people_changed {
            let people = Arc::new(people::load(&mut self.connection)?);
            *self.people.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = people;
        }
        Ok(())
    }

    fn checkpoint(&mut self, besides: Besides) {
        if !besides.truncations.is_empty() && self.truncate_wal() {
            for done in besides.truncations {
                // The caller may have gone.
                let _ = done.send(());
            }
        }
        if besides.checkpoint
            && let Err(cause) = checkpoints::passive(&mut self.connection)
        {
            self.life.state.checkpoint_failed(&cause);
        }
    }

    /// Empties the WAL, unless it is read or moved by others for too long.
    fn empty_wal(&mut self) -> bool {
        (0..LAST_TRIES).any(|tries| {
            if tries > 0 {
                #[allow(clippy::disallowed_methods, reason = "the thread is its own")]
                std::thread::sleep(LAST_PAUSE);
            }
            self.truncate_wal()
        })
    }

    /// Empties the WAL. A reader who takes long, such as a backup, must not keep requests from their rows: it is tried again later.
    fn truncate_wal(&mut self) -> bool {
        #[derive(QueryableByName)]
        struct Busy {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            busy: i64,
        }
        let result = self.connection.batch_execute(TRUNCATION_WAIT).and_then(|()| {
            diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Busy>(&mut self.connection)
        });
        let waits_again = self.connection.batch_execute(LOCK_WAIT);
        let result = result.and_then(|row| waits_again.map(|()| row));
        match result {
            Ok(row) => row.busy == 0,
            Err(cause) => {
                self.life.state.checkpoint_failed(&cause);
                false
            }
        }
    }

    fn failed(&self, undone: Undone, batch: Batch) {
        let cause = match undone {
            Undone::Later(cause) => {
                if self.life.state.healthy.swap(false, Ordering::Relaxed) {
                    error!(cause, "nothing can be recorded");
                }
                self.life.state.failed.notify_one();
                cause
            }
            // After a failed sync the kernel may have dropped the pages: trying again could report success for lost rows.
            Undone::Lost(cause) => {
                self.life.state.lost(&cause);
                cause
            }
        };
        self.answer(batch, Err(&cause));
    }

    /// Answers all jobs of a batch first, and wakes the workers after that.
    fn answer(&self, batch: Batch, committed: Result<(), &str>) {
        batch.entries.into_iter().for_each(|sent| sent.answer(committed));
        batch.afters.into_iter().for_each(|after| after(committed));
        self.post.deliver();
    }
}

/// Moves jobs that wait into `jobs`, as long as it has room. `true`: there were some, and there may be more.
fn take_waiting(queue: &mut mpsc::UnboundedReceiver<Job>, jobs: &mut Vec<Job>) -> bool {
    let before = jobs.len();
    while jobs.len() < BATCH_MAX
        && let Ok(job) = queue.try_recv()
    {
        jobs.push(job);
    }
    jobs.len() > before && jobs.len() < BATCH_MAX
}
