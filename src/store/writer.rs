//! The one thread that writes: it drains its queue into one transaction per sync.
//!
//! Rows of the record share a transaction and its fate; a verb on accounts has a savepoint of its own, so that a rule it
//! breaks undoes it alone. Everybody is told after the commit, which with `synchronous=FULL` is after the sync.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::error;

use crate::clock::{RECORD_CLOCK, Timestamp};
use crate::config::settings::Live;
use crate::error::Error;
use crate::store::mailbox::{Letter, Mailbox, Post};
use crate::store::users::People;
use crate::store::{audit, checkpoints, settings};

/// Why a verb came to nothing.
#[derive(Debug)]
pub enum Failure {
    Rule(Error),
    Database(diesel::result::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Rule(error)
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Failure::Database(error)
    }
}

/// What a verb works on: the connection inside the transaction, and the time that its rows bear.
pub struct Tx<'a> {
    pub connection: &'a mut SqliteConnection,
    /// Never smaller than in the transaction before: for the record's rows and for what is compared with them.
    pub now: Timestamp,
    /// What the host's clock says: for lifetimes, which must end when people were told, also after it was set back.
    pub clock: Timestamp,
    /// The newest row of the record, as far as it is known.
    newest: &'a mut Option<i64>,
    people_changed: bool,
    settings_changed: bool,
}

impl Tx<'_> {
    /// To be called by every verb that writes a row which the snapshot of people holds.
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

/// Told whether the transaction came to disk; the error's text is for the log.
type After = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// An entry, and the mailbox of who waits for it.
type Sent = (Letter, Option<Arc<Mailbox>>);

enum Job {
    /// Of the record: an error undoes the whole transaction.
    Entry(Sent),
    Verb {
        run: Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>,
    },
    /// Moves the last few pages out of the WAL, between transactions, so that it begins anew.
    Checkpoint,
    /// Empties the WAL, between transactions.
    Truncate {
        done: oneshot::Sender<()>,
    },
    Close,
}

/// A verb that has run and waits for the commit. `undo` says that its savepoint must be undone.
struct Ran {
    undo: bool,
    after: After,
}

pub struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    state: Arc<State>,
    post: Post,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    healthy: AtomicBool,
    sync_failed: AtomicBool,
    failed: Notify,
    /// Jobs of the record that came to disk.
    written: AtomicU64,
}

/// Jobs in one transaction. More would only make the first of them wait longer.
const BATCH_MAX: usize = 256;

/// A clock that was set back by more than this leaves a row.
const CLOCK_STEP_US: i64 = 1_000_000;

impl Writer {
    pub fn start(
        mut connection: SqliteConnection,
        for_checkpoints: SqliteConnection,
        people: Arc<RwLock<Arc<People>>>,
        settings: Live,
    ) -> anyhow::Result<Writer> {
        let last = audit::last_at(&mut connection)?;
        RECORD_CLOCK.at_least(last);
        let (jobs, queue) = mpsc::unbounded_channel();
        let (wrote, wake) = std_mpsc::sync_channel(1);
        let state = Arc::new(State {
            healthy: AtomicBool::new(true),
            sync_failed: AtomicBool::new(false),
            failed: Notify::new(),
            written: AtomicU64::new(0),
        });
        let shared = state.clone();
        let post = Post::default();
        let mailboxes = post.clone();
        let weak = jobs.downgrade();
        let thread = std::thread::Builder::new()
            .name("record-writer".into())
            .spawn(move || {
                Loop {
                    connection,
                    people,
                    settings,
                    state: shared,
                    last,
                    clock: last,
                    newest: None,
                    wrote,
                    post: mailboxes,
                }
                .run(queue)
            })
            .context("can't start the writer")?;
        std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || {
                checkpoints::run(for_checkpoints, wake, || {
                    // The writer may have ended.
                    let _ = weak.upgrade().map(|jobs| jobs.send(Job::Checkpoint));
                })
            })
            .context("can't start the checkpoints")?;
        Ok(Writer { jobs, state, post, thread: Mutex::new(Some(thread)) })
    }

    pub fn mailbox(&self) -> Arc<Mailbox> {
        self.post.open()
    }

    pub fn healthy(&self) -> bool {
        self.state.healthy.load(Ordering::Relaxed)
    }

    /// How many times something of the record was written, since the start.
    pub fn written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    pub async fn sync_failed(&self) {
        loop {
            let told = self.state.failed.notified();
            if self.state.sync_failed.load(Ordering::Acquire) {
                return;
            }
            told.await;
        }
    }

    pub fn entry(&self, letter: Letter, mailbox: Option<Arc<Mailbox>>) {
        self.send(Job::Entry((letter, mailbox)));
    }

    pub fn verb<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
        answer: oneshot::Sender<Result<T, Error>>,
    ) {
        let run = move |tx: &mut Tx<'_>| {
            let result = verb(tx);
            let undo = result.is_err();
            let after = move |committed: Result<(), &str>| {
                let result = match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(Failure::Rule(error)), _) => Err(error),
                    (Err(Failure::Database(cause)), _) => Err(Error::audit(cause)),
                    (Ok(_), Err(cause)) => Err(Error::audit(anyhow!("{cause}"))),
                };
                // Whoever asked may have gone; the verb is done all the same.
                let _ = answer.send(result);
            };
            Ran { undo, after: Box::new(after) }
        };
        self.send(Job::Verb { run: Box::new(run) });
    }

    /// `done` is dropped when readers held the WAL: try again later.
    pub fn truncate(&self, done: oneshot::Sender<()>) {
        self.send(Job::Truncate { done });
    }

    fn send(&self, job: Job) {
        if let Err(mpsc::error::SendError(Job::Entry(sent))) = self.jobs.send(job) {
            tell(sent, Err("the writer has ended"));
            self.post.deliver();
        }
    }

    pub fn close(&self) {
        self.send(Job::Close);
        let thread = self.thread.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(thread) = thread {
            // A panic of the writer was logged by the panic hook; there is nothing left to save here.
            let _ = thread.join();
        }
    }
}

struct Loop {
    connection: SqliteConnection,
    people: Arc<RwLock<Arc<People>>>,
    settings: Live,
    state: Arc<State>,
    /// The time on the newest rows.
    last: Timestamp,
    /// What the clock said then; behind `last` after it was set back.
    clock: Timestamp,
    /// The newest row of the record; `None` when somebody else may have written one.
    newest: Option<i64>,
    wrote: std_mpsc::SyncSender<()>,
    post: Post,
}

impl Loop {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut closing = false;
        while !closing {
            let Some(first) = queue.blocking_recv() else { return };
            batch.push(first);
            // On a busy machine others are about to hand over theirs and only wait for a core: one sync more for each of them
            // would cost more than letting them go first. On an idle one this takes no time.
            std::thread::yield_now();
            while take_waiting(&mut queue, &mut batch) {
                std::thread::yield_now();
            }
            closing = batch.iter().any(|job| matches!(job, Job::Close));
            self.commit(&mut batch);
        }
    }

    fn commit(&mut self, batch: &mut Vec<Job>) {
        let mut told = Told::with_capacity(batch.len());
        if self.state.sync_failed.load(Ordering::Acquire) {
            for job in batch.drain(..) {
                match job {
                    Job::Entry(sent) => told.entries.push(sent),
                    // Dropping a verb drops its answer's sender, which its caller sees.
                    Job::Verb { .. } | Job::Checkpoint | Job::Truncate { .. } | Job::Close => {}
                }
            }
            self.tell(told, Err("an earlier sync failed"));
            return;
        }
        let clock = Timestamp::now();
        let stepped_back = clock.0 + CLOCK_STEP_US < self.clock.0;
        let now = RECORD_CLOCK.now().max(self.last);
        let (mut people_changed, mut settings_changed) = (false, false);
        let mut truncations = Vec::new();
        let mut checkpoint = false;
        let mut newest = self.newest.take().filter(|_| !stepped_back);
        let result = self.connection.immediate_transaction(|connection| {
            if stepped_back {
                audit::insert_act(connection, now, "clock_set_back", None, None, None)?;
            }
            let mut tx =
                Tx { connection, now, clock, newest: &mut newest, people_changed: false, settings_changed: false };
            let mut written = 0;
            let mut result = Ok(());
            for job in batch.drain(..) {
                match job {
                    Job::Entry(sent) => told.entries.push(sent),
                    Job::Verb { run } if result.is_ok() => {
                        // A verb finds what was handed over before it.
                        result = told.write(&mut tx, written).and_then(|()| verb(&mut tx, run)).map(|ran| {
                            people_changed |= std::mem::take(&mut tx.people_changed) && !ran.undo;
                            settings_changed |= std::mem::take(&mut tx.settings_changed) && !ran.undo;
                            told.afters.push(ran.after);
                        });
                        written = told.entries.len();
                    }
                    Job::Verb { .. } | Job::Close => {}
                    Job::Checkpoint => checkpoint = true,
                    Job::Truncate { done } => truncations.push(done),
                }
            }
            result?;
            told.write(&mut tx, written)
        });
        let result = result.and_then(|()| {
            self.newest = newest;
            self.last = now;
            self.clock = clock;
            if settings_changed {
                settings::load(&mut self.connection, &self.settings)?;
            }
            if people_changed { People::load(&mut self.connection).map(Some) } else { Ok(None) }
        });
        match result {
            Ok(people) => {
                if let Some(people) = people {
                    *self.people.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(people);
                }
                self.state.healthy.store(true, Ordering::Relaxed);
                self.state.written.fetch_add((told.entries.len() + told.afters.len()) as u64, Ordering::Relaxed);
                self.tell(told, Ok(()));
                if !truncations.is_empty() && self.truncate_wal() {
                    for done in truncations {
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                }
                if checkpoint && let Err(cause) = checkpoints::passive(&mut self.connection) {
                    error!(%cause, "the WAL can't begin anew");
                }
                // A full channel means that a checkpoint is due already.
                let _ = self.wrote.try_send(());
            }
            Err(cause) => {
                // Jobs that are left were never run: the transaction could not begin. A verb's caller sees its answer go.
                for job in batch.drain(..) {
                    if let Job::Entry(sent) = job {
                        told.entries.push(sent);
                    }
                }
                self.failed(&cause, told);
            }
        }
    }

    fn truncate_wal(&mut self) -> bool {
        #[derive(QueryableByName)]
        struct Busy {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            busy: i64,
        }
        let result = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Busy>(&mut self.connection);
        result.is_ok_and(|row| row.busy == 0)
    }

    fn failed(&self, cause: &diesel::result::Error, told: Told) {
        let cause = cause.to_string();
        error!(cause, "nothing can be recorded");
        self.state.healthy.store(false, Ordering::Relaxed);
        // After a failed sync the kernel may have dropped the pages: trying again could report success for lost rows.
        if cause.contains("disk I/O error") {
            self.state.sync_failed.store(true, Ordering::Release);
            self.state.failed.notify_waiters();
        }
        self.tell(told, Err(&cause));
    }

    /// Tells everybody first, and wakes those who wait after that.
    fn tell(&self, told: Told, committed: Result<(), &str>) {
        told.entries.into_iter().for_each(|sent| tell(sent, committed));
        told.afters.into_iter().for_each(|after| after(committed));
        self.post.deliver();
    }
}

/// A batch, as it is told what became of it.
struct Told {
    entries: Vec<Sent>,
    /// Of verbs.
    afters: Vec<After>,
}

impl Told {
    fn with_capacity(jobs: usize) -> Self {
        Told { entries: Vec::with_capacity(jobs), afters: Vec::new() }
    }

    /// Writes the entries from that one on.
    fn write(&self, tx: &mut Tx<'_>, from: usize) -> QueryResult<()> {
        audit::write(tx, self.entries[from..].iter().map(|(letter, _)| &letter.entry))
    }
}

fn tell((letter, mailbox): Sent, committed: Result<(), &str>) {
    letter.entry.settle(committed.is_ok());
    match mailbox {
        Some(mailbox) => mailbox.put(letter, committed),
        None => letter.answer(committed),
    }
}

/// Runs a verb in a savepoint of its own.
fn verb(tx: &mut Tx<'_>, run: Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>) -> QueryResult<Ran> {
    tx.connection.batch_execute("SAVEPOINT verb")?;
    let ran = run(tx);
    // It may have written acts.
    *tx.newest = None;
    tx.connection.batch_execute(if ran.undo { "ROLLBACK TO verb; RELEASE verb" } else { "RELEASE verb" })?;
    Ok(ran)
}

/// Moves jobs that wait into the batch, as long as it has room. `true`: there were some, and there may be more.
fn take_waiting(queue: &mut mpsc::UnboundedReceiver<Job>, batch: &mut Vec<Job>) -> bool {
    let before = batch.len();
    while batch.len() < BATCH_MAX
        && let Ok(job) = queue.try_recv()
    {
        batch.push(job);
    }
    batch.len() > before && batch.len() < BATCH_MAX
}
