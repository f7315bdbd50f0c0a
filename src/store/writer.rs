//! The one thread that writes: its queue, and what others see of it.
//!
//! It drains the queue into one transaction per sync (`writer/commits.rs`). Rows of the record share a transaction, and each verb
//! on accounts has a savepoint of its own (`writer/batch.rs`). Every job is answered after the commit, which with
//! `synchronous=FULL` is after the sync.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use diesel::prelude::*;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::error;

use crate::base::clock::{RECORD_CLOCK, Timestamp};
use crate::base::error::Error;
use crate::base::vital::{Vitals, Watched};
use crate::config::settings::Live;
use crate::metrics::Histogram;
use crate::model::people::People;
use crate::store::mailbox::{Letter, Mailbox, Post};
use crate::store::undone::Undone;
use crate::store::{audit, checkpoints};

mod batch;
mod commits;
mod lifetimes;

use commits::Commits;
pub use lifetimes::RECEIPT_US;

/// Why a verb changed nothing.
#[derive(Debug)]
pub enum WriteFailure {
    Rule(Error),
    Database(diesel::result::Error),
}

impl From<Error> for WriteFailure {
    fn from(error: Error) -> Self {
        WriteFailure::Rule(error)
    }
}

impl From<diesel::result::Error> for WriteFailure {
    fn from(error: diesel::result::Error) -> Self {
        WriteFailure::Database(error)
    }
}

/// What a verb works on: the connection inside the transaction, and the time of its rows.
pub struct Tx<'a> {
    pub connection: &'a mut SqliteConnection,
    /// Never smaller than in the transaction before: for the record's rows and for what is compared with them.
    pub now: Timestamp,
    /// The host's clock, for lifetimes; `lifetimes` has those that were begun before it was set back.
    pub clock: Timestamp,
    /// The newest row of the record, as far as it is known.
    newest: &'a mut Option<i64>,
    people_changed: bool,
    settings_changed: bool,
}

impl Tx<'_> {
    /// Marks the snapshot of people as stale. Every verb that writes a row of it calls this.
    pub fn people_changed(&mut self) {
        self.people_changed = true;
    }

    /// The same for rows of the settings.
    pub fn settings_changed(&mut self) {
        self.settings_changed = true;
    }

    /// The log_id of the next row. To ask SQLite which one it gave (`RETURNING`) costs as much as the row.
    pub fn next_log_id(&mut self) -> QueryResult<i64> {
        let newest = match *self.newest {
            Some(newest) => newest,
            None => audit::newest_log_id(self.connection)?,
        };
        *self.newest = Some(newest + 1);
        Ok(newest + 1)
    }
}

/// Called with whether the transaction was written; the error's text is for the log.
type After = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// An entry, and the mailbox of the worker that waits for it.
struct Sent {
    letter: Letter,
    mailbox: Option<Arc<Mailbox>>,
    /// Why it was left out of its transaction, if it was.
    refused: Option<String>,
}

impl Sent {
    /// Answers the entry, by its mailbox if it has one.
    fn answer(self, committed: Result<(), &str>) {
        let Sent { mut letter, mailbox, refused } = self;
        let written = committed.and(refused.as_deref().map_or(Ok(()), Err));
        letter.entry.settle(written.is_ok());
        letter.entry.stands_short(committed.is_ok() && refused.is_some());
        match mailbox {
            Some(mailbox) => mailbox.put(letter, written),
            None => letter.answer(written),
        }
    }
}

enum Job {
    Entry(Sent),
    Verb {
        run: Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>,
        claim: JobClaim,
    },
    /// Moves the last few pages out of the WAL, between transactions, so that the WAL starts from its beginning.
    Checkpoint,
    /// Empties the WAL, between transactions.
    Truncate {
        done: oneshot::Sender<()>,
    },
    Close,
}

/// Decides between the writer that runs a verb and the caller who gives it up: the first to take it wins.
#[derive(Clone, Default)]
pub struct JobClaim(Arc<AtomicBool>);

impl JobClaim {
    pub fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A verb that has run and waits for the commit.
struct Ran {
    /// Why its savepoint must be undone, if it must.
    undo: Option<Undone>,
    after: After,
}

pub struct RecordWriter {
    jobs: mpsc::UnboundedSender<Job>,
    state: Arc<State>,
    post: Post,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    vitals: Vitals,
    /// The last transaction that had something to write came to disk.
    healthy: AtomicBool,
    /// The thread runs and can be trusted.
    alive: AtomicBool,
    /// When the transaction that runs began; nothing between transactions.
    began: Mutex<Option<Instant>>,
    /// Jobs of the record that came to disk.
    written: AtomicU64,
    /// How long transactions take, if it is measured.
    commits: OnceLock<Histogram>,
    /// Told of each transaction that failed.
    failed: Notify,
}

impl State {
    fn began(&self, began: Option<Instant>) {
        *self.began.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = began;
    }

    /// Notes that a checkpoint failed. It writes and syncs, so what is on disk may be unknown afterwards.
    fn checkpoint_failed(&self, cause: &diesel::result::Error) {
        match Undone::of("sync or write of a checkpoint", cause) {
            Undone::Later(cause) => error!(cause, "a checkpoint failed; the WAL grows until one succeeds"),
            Undone::Lost(cause) => self.lost(&cause),
        }
    }

    /// Notes that it is unknown what is on disk. Nothing more is written.
    fn lost(&self, reason: &str) {
        self.alive.store(false, Ordering::Release);
        self.vitals.fail(format!("{reason}, so what the disk holds is unknown; look at it, then start again"));
    }
}

/// Kept on the writer's thread: however that ends, nothing is taken for recorded afterwards.
struct Life {
    state: Arc<State>,
    _watched: Watched,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.state.alive.store(false, Ordering::Release);
    }
}

/// A transaction that takes longer shows in `/health`.
const SLOW: Duration = Duration::from_secs(5);

impl RecordWriter {
    pub fn start(
        mut connection: SqliteConnection,
        for_checkpoints: SqliteConnection,
        people: Arc<RwLock<Arc<People>>>,
        settings: Live,
        vitals: Vitals,
    ) -> anyhow::Result<RecordWriter> {
        let last = audit::last_at(&mut connection)?;
        RECORD_CLOCK.at_least(last);
        let clock = lifetimes::last_known(&mut connection, last)?;
        #[allow(clippy::disallowed_methods, reason = "its bytes are bounded by `audit.queue_bytes_max`")]
        let (jobs, queue) = mpsc::unbounded_channel();
        let (wrote, wake) = std_mpsc::sync_channel(1);
        let state = Arc::new(State {
            vitals: vitals.clone(),
            healthy: AtomicBool::new(true),
            alive: AtomicBool::new(true),
            began: Mutex::default(),
            written: AtomicU64::new(0),
            commits: OnceLock::new(),
            failed: Notify::new(),
        });
        let post = Post::default();
        let mailboxes = post.clone();
        let weak = jobs.downgrade();
        let life = Life { state: state.clone(), _watched: vitals.watch("the record's writer") };
        let thread = std::thread::Builder::new()
            .name("record-writer".into())
            .spawn(move || {
                Commits {
                    life,
                    connection,
                    people,
                    settings,
                    last,
                    clock,
                    newest: None,
                    unsure: false,
                    wrote,
                    post: mailboxes,
                }
                .run(queue)
            })
            .context("can't start the writer")?;
        let of_checkpoints = state.clone();
        let watched = vitals.watch("the checkpoints");
        std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || {
                let _watched = watched;
                checkpoints::run(
                    for_checkpoints,
                    wake,
                    || {
                        if let Some(jobs) = weak.upgrade() {
                            // The writer may have ended.
                            let _ = jobs.send(Job::Checkpoint);
                        }
                    },
                    |cause| of_checkpoints.checkpoint_failed(&cause),
                )
            })
            .context("can't start the checkpoints")?;
        Ok(RecordWriter { jobs, state, post, thread: Mutex::new(Some(thread)) })
    }

    /// Opens a mailbox for the calling thread, and returns what serves it.
    pub fn serve_here(&self) -> impl Future<Output = ()> + use<> {
        self.post.serve_here()
    }

    pub fn healthy(&self) -> bool {
        self.state.alive.load(Ordering::Acquire)
            && self.state.healthy.load(Ordering::Relaxed)
            && self.writing_for() < SLOW
    }

    /// For how long the transaction that runs has been running.
    pub fn writing_for(&self) -> Duration {
        let began = *self.state.began.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// Measures from now on how long transactions take. Only the first call counts.
    pub fn measure_commits(&self, commits: Histogram) {
        let _ = self.state.commits.set(commits);
    }

    /// How many times something of the record was written, since the start.
    pub fn written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Returns after a transaction has failed, once for all that failed since the last call.
    pub async fn failed(&self) {
        self.state.failed.notified().await;
    }

    /// Takes an entry, which is answered on the calling thread if a mailbox is served there, or else on the writer's.
    pub fn entry(&self, letter: Letter) {
        self.send(Job::Entry(Sent { letter, mailbox: self.post.here(), refused: None }));
    }

    pub fn verb<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, WriteFailure> + Send + 'static,
        claim: JobClaim,
        answer: oneshot::Sender<Result<T, Error>>,
    ) {
        let run = move |tx: &mut Tx<'_>| {
            let result = verb(tx);
            let undo = match &result {
                Ok(_) => None,
                Err(WriteFailure::Rule(_)) => Some(Undone::Lost("the disk refused to undo a change".into())),
                Err(WriteFailure::Database(cause)) => Some(Undone::of("write", cause)),
            };
            let after = move |committed: Result<(), &str>| {
                let result = match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(WriteFailure::Rule(error)), _) => Err(error),
                    (Err(WriteFailure::Database(cause)), _) => Err(Error::audit(cause)),
                    (Ok(_), Err(cause)) => Err(Error::audit(anyhow!("{cause}"))),
                };
                // Whoever asked may have gone; the verb is done all the same.
                let _ = answer.send(result);
            };
            Ran { undo, after: Box::new(after) }
        };
        self.send(Job::Verb { run: Box::new(run), claim });
    }

    /// `done` is dropped when readers held the WAL: try again later.
    pub fn truncate(&self, done: oneshot::Sender<()>) {
        self.send(Job::Truncate { done });
    }

    fn send(&self, job: Job) {
        if let Err(mpsc::error::SendError(Job::Entry(sent))) = self.jobs.send(job) {
            sent.answer(Err("the writer has ended"));
            self.post.deliver();
        }
    }

    pub fn close(&self) {
        self.send(Job::Close);
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            // Its guard has told why, unless the gateway was stopping already.
            self.state.vitals.fail("the record's writer panicked");
        }
    }
}
