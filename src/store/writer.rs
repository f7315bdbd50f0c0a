//! The one thread that writes: it drains its queue into one transaction per sync.
//!
//! Rows of the record share a transaction; one that breaks a rule of the schema is left out of it, alone. A verb on accounts
//! has a savepoint of its own, so that a rule it breaks undoes it alone. Everybody is told after the commit, which with
//! `synchronous=FULL` is after the sync.
//!
//! A transaction that fails either can be tried again (the disk was full, another process held the lock) or leaves nobody
//! knowing what is on disk, and then the process ends. What is not known to be the first is the second: diesel tells the kind
//! of a broken rule and SQLite's text for a code, and not the code.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::base::clock::{RECORD_CLOCK, Timestamp};
use crate::base::error::Error;
use crate::base::vital::{Vitals, Watched, panic_on_purpose};
use crate::config::settings::Live;
use crate::model::people::People;
use crate::store::mailbox::{Letter, Mailbox, Post};
use crate::store::undone::{Undone, breaks_a_rule};
use crate::store::{audit, checkpoints, people, settings};

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
struct Sent {
    letter: Letter,
    mailbox: Option<Arc<Mailbox>>,
    /// Why it was left out of its transaction, if it was.
    refused: Option<String>,
}

enum Job {
    Entry(Sent),
    Verb {
        run: Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>,
        claim: Claim,
    },
    /// Moves the last few pages out of the WAL, between transactions, so that it begins anew.
    Checkpoint,
    /// Empties the WAL, between transactions.
    Truncate {
        done: oneshot::Sender<()>,
    },
    Close,
}

/// Who has a verb: the writer that runs it, or the caller who gave it up before. It goes to the first one.
#[derive(Clone, Default)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
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

pub struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    state: Arc<State>,
    post: Post,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    vitals: Vitals,
    /// The last transaction came to disk.
    healthy: AtomicBool,
    /// The thread runs and can be trusted.
    alive: AtomicBool,
    /// When the transaction that runs began; nothing between transactions.
    began: Mutex<Option<Instant>>,
    /// Jobs of the record that came to disk.
    written: AtomicU64,
}

impl State {
    fn began(&self, began: Option<Instant>) {
        *self.began.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = began;
    }

    /// What is on disk is unknown: nothing more is written.
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
        vitals: Vitals,
    ) -> anyhow::Result<Writer> {
        let last = audit::last_at(&mut connection)?;
        RECORD_CLOCK.at_least(last);
        let (jobs, queue) = mpsc::unbounded_channel();
        let (wrote, wake) = std_mpsc::sync_channel(1);
        let state = Arc::new(State {
            vitals: vitals.clone(),
            healthy: AtomicBool::new(true),
            alive: AtomicBool::new(true),
            began: Mutex::default(),
            written: AtomicU64::new(0),
        });
        let post = Post::default();
        let mailboxes = post.clone();
        let weak = jobs.downgrade();
        let life = Life { state: state.clone(), _watched: vitals.watch("the record's writer") };
        let thread = std::thread::Builder::new()
            .name("record-writer".into())
            .spawn(move || {
                Loop {
                    life,
                    connection,
                    people,
                    settings,
                    last,
                    clock: last,
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
                    |cause| checkpoint_failed(&of_checkpoints, &cause),
                )
            })
            .context("can't start the checkpoints")?;
        Ok(Writer { jobs, state, post, thread: Mutex::new(Some(thread)) })
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

    /// How many times something of the record was written, since the start.
    pub fn written(&self) -> u64 {
        self.state.written.load(Ordering::Relaxed)
    }

    /// Takes an entry, which is answered on the calling thread if a mailbox is served there, or else on the writer's.
    pub fn entry(&self, letter: Letter) {
        self.send(Job::Entry(Sent { letter, mailbox: self.post.here(), refused: None }));
    }

    pub fn verb<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
        claim: Claim,
        answer: oneshot::Sender<Result<T, Error>>,
    ) {
        let run = move |tx: &mut Tx<'_>| {
            let result = verb(tx);
            let undo = match &result {
                Ok(_) => None,
                Err(Failure::Rule(_)) => Some(Undone::Lost("the disk refused to undo a change".into())),
                Err(Failure::Database(cause)) => Some(Undone::of("write", cause)),
            };
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
        self.send(Job::Verb { run: Box::new(run), claim });
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
        if thread.is_some_and(|thread| thread.join().is_err()) {
            // Its guard has told why, unless the gateway was stopping already.
            self.state.vitals.fail("the record's writer panicked");
        }
    }
}

struct Loop {
    /// The first to go, so that whatever ends after it is not taken for the cause.
    life: Life,
    connection: SqliteConnection,
    people: Arc<RwLock<Arc<People>>>,
    settings: Live,
    /// The time on the newest rows.
    last: Timestamp,
    /// What the clock said then; behind `last` after it was set back.
    clock: Timestamp,
    /// The newest row of the record; `None` when somebody else may have written one.
    newest: Option<i64>,
    /// A transaction failed, and SQLite may not have undone it.
    unsure: bool,
    wrote: std_mpsc::SyncSender<()>,
    post: Post,
}

impl Loop {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut closing = false;
        while !closing {
            let Some(first) = queue.blocking_recv() else { break };
            batch.push(first);
            // On a busy machine others are about to hand over theirs and only wait for a core: one sync more for each of them
            // would cost more than letting them go first. On an idle one this takes no time.
            std::thread::yield_now();
            while take_waiting(&mut queue, &mut batch) {
                std::thread::yield_now();
            }
            closing = batch.iter().any(|job| matches!(job, Job::Close));
            self.life.state.began(Some(Instant::now()));
            self.commit(&mut batch);
            self.life.state.began(None);
        }
        // Whoever copies the file of a stopped gateway may not think of the WAL beside it.
        if self.life.state.alive.load(Ordering::Acquire) && !self.truncate_wal() {
            warn!("the WAL could not be emptied at the stop; keep lan-gateway.db-wal together with lan-gateway.db");
        }
        self.life.state.vitals.may_end();
    }

    fn commit(&mut self, batch: &mut Vec<Job>) {
        let mut told = Told::with_capacity(batch.len());
        if !self.life.state.alive.load(Ordering::Acquire) {
            // Dropping a verb drops its answer's sender, which its caller sees.
            told.take_entries(batch);
            self.tell(told, Err("an earlier sync failed"));
            return;
        }
        let clock = Timestamp::now();
        let stepped_back = clock.0 + CLOCK_STEP_US < self.clock.0;
        let times = Times { clock, now: RECORD_CLOCK.now().max(self.last), stepped_back };
        let mut besides = Besides::default();
        let mut newest = self.newest.take().filter(|_| !stepped_back);
        let result = self.transaction(batch, times, &mut newest, &mut told, &mut besides).and_then(|()| {
            self.newest = newest;
            self.last = times.now;
            self.clock = clock;
            // It is committed, so its callers can't be told that it failed.
            self.load(&besides).map_err(|cause| Undone::Lost(format!("the disk refused a read ({cause})")))
        });
        match result {
            Ok(()) => {
                self.life.state.healthy.store(true, Ordering::Relaxed);
                self.life.state.written.fetch_add((told.entries.len() + told.afters.len()) as u64, Ordering::Relaxed);
                self.tell(told, Ok(()));
                self.checkpoint(besides);
                // A full channel means that a checkpoint is due already.
                let _ = self.wrote.try_send(());
            }
            Err(undone) => {
                // Jobs that are left were never run: the transaction could not begin. A verb's caller sees its answer go.
                told.take_entries(batch);
                self.failed(undone, told);
            }
        }
    }

    /// Writes a batch and syncs it, or leaves the file as it was.
    fn transaction(
        &mut self,
        batch: &mut Vec<Job>,
        times: Times,
        newest: &mut Option<i64>,
        told: &mut Told,
        besides: &mut Besides,
    ) -> Result<(), Undone> {
        if std::mem::take(&mut self.unsure) {
            // SQLite has mostly done it already, and then says so.
            let _ = self.connection.batch_execute("ROLLBACK");
        }
        // Nothing is written before it has begun.
        begin(&mut self.connection)?;
        let written = write_batch(&mut self.connection, batch, times, newest, told, besides);
        let result =
            written.and_then(|()| self.connection.batch_execute("COMMIT").map_err(|cause| Undone::of("sync", &cause)));
        self.unsure = result.is_err();
        result
    }

    /// Reads what a commit has changed for everybody.
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
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
        if besides.checkpoint
            && let Err(cause) = checkpoints::passive(&mut self.connection)
        {
            checkpoint_failed(&self.life.state, &cause);
        }
    }

    fn truncate_wal(&mut self) -> bool {
        #[derive(QueryableByName)]
        struct Busy {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            busy: i64,
        }
        let result = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Busy>(&mut self.connection);
        match result {
            Ok(row) => row.busy == 0,
            Err(cause) => {
                checkpoint_failed(&self.life.state, &cause);
                false
            }
        }
    }

    fn failed(&self, undone: Undone, told: Told) {
        let cause = match undone {
            Undone::Later(cause) => {
                error!(cause, "nothing can be recorded");
                self.life.state.healthy.store(false, Ordering::Relaxed);
                cause
            }
            // After a failed sync the kernel may have dropped the pages: trying again could report success for lost rows.
            Undone::Lost(cause) => {
                self.life.state.lost(&cause);
                cause
            }
        };
        self.tell(told, Err(&cause));
    }

    /// Tells everybody first, and wakes those who wait after that.
    fn tell(&self, told: Told, committed: Result<(), &str>) {
        told.entries.into_iter().for_each(|sent| tell(sent, committed));
        told.afters.into_iter().for_each(|after| after(committed));
        self.post.deliver();
    }
}

/// The times of one transaction.
#[derive(Clone, Copy)]
struct Times {
    clock: Timestamp,
    now: Timestamp,
    stepped_back: bool,
}

/// What a transaction leaves to be done after its commit.
#[derive(Default)]
struct Besides {
    people_changed: bool,
    settings_changed: bool,
    truncations: Vec<oneshot::Sender<()>>,
    checkpoint: bool,
}

fn begin(connection: &mut SqliteConnection) -> Result<(), Undone> {
    connection.batch_execute("BEGIN IMMEDIATE").map_err(|cause| Undone::Later(cause.to_string()))
}

fn write_batch(
    connection: &mut SqliteConnection,
    batch: &mut Vec<Job>,
    times: Times,
    newest: &mut Option<i64>,
    told: &mut Told,
    besides: &mut Besides,
) -> Result<(), Undone> {
    panic_on_purpose("writer");
    let Times { clock, now, stepped_back } = times;
    let has_verbs = batch.iter().any(|job| matches!(job, Job::Verb { .. }));
    if stepped_back {
        let act = audit::insert_act(connection, now, "clock_set_back", None, None, None);
        act.map_err(|cause| Undone::of("write", &cause))?;
    }
    // Without anything else in it, the whole transaction can be begun again, which is cheaper than a savepoint each time.
    let undo = if has_verbs || stepped_back { Undo::Savepoint } else { Undo::Transaction };
    let mut tx = Tx { connection, now, clock, newest, people_changed: false, settings_changed: false };
    let mut written = 0;
    let mut result = Ok(());
    for job in batch.drain(..) {
        match job {
            Job::Entry(sent) => told.entries.push(sent),
            Job::Verb { run, claim } if result.is_ok() => {
                // A verb finds what was handed over before it.
                result = told.write(&mut tx, written, undo).and_then(|()| {
                    if !claim.take() {
                        // Its caller was told that it was not done.
                        return Ok(());
                    }
                    let ran = verb(&mut tx, run)?;
                    besides.people_changed |= std::mem::take(&mut tx.people_changed) && ran.undo.is_none();
                    besides.settings_changed |= std::mem::take(&mut tx.settings_changed) && ran.undo.is_none();
                    told.afters.push(ran.after);
                    Ok(())
                });
                written = told.entries.len();
            }
            Job::Verb { .. } | Job::Close => {}
            Job::Checkpoint => besides.checkpoint = true,
            Job::Truncate { done } => besides.truncations.push(done),
        }
    }
    result?;
    told.write(&mut tx, written, undo)
}

/// A checkpoint writes and syncs, too.
fn checkpoint_failed(state: &State, cause: &diesel::result::Error) {
    match Undone::of("sync or write of a checkpoint", cause) {
        Undone::Later(cause) => error!(cause, "a checkpoint failed; the WAL grows until one succeeds"),
        Undone::Lost(cause) => state.lost(&cause),
    }
}

/// What is undone when an entry has to be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undo {
    Transaction,
    Savepoint,
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

    fn take_entries(&mut self, batch: &mut Vec<Job>) {
        for job in batch.drain(..) {
            if let Job::Entry(sent) = job {
                self.entries.push(sent);
            }
        }
    }

    /// Writes the entries from that one on: all together, or one by one when one of them breaks a rule.
    fn write(&mut self, tx: &mut Tx<'_>, from: usize, undo: Undo) -> Result<(), Undone> {
        let entries = &mut self.entries[from..];
        if entries.is_empty() {
            return Ok(());
        }
        if undo == Undo::Savepoint {
            execute(tx, "SAVEPOINT entries")?;
        }
        match audit::write(tx, entries.iter().map(|sent| &sent.letter.entry)) {
            Ok(()) if undo == Undo::Savepoint => execute(tx, "RELEASE entries"),
            Ok(()) => Ok(()),
            Err(cause) if breaks_a_rule(&cause) => {
                *tx.newest = None;
                match undo {
                    Undo::Savepoint => execute(tx, "ROLLBACK TO entries; RELEASE entries")?,
                    Undo::Transaction => {
                        execute(tx, "ROLLBACK")?;
                        begin(tx.connection)?;
                    }
                }
                write_apart(tx, entries)
            }
            Err(cause) => Err(Undone::of("write", &cause)),
        }
    }
}

/// Writes each entry in a savepoint of its own, intents first, and leaves out those that break a rule.
fn write_apart(tx: &mut Tx<'_>, entries: &mut [Sent]) -> Result<(), Undone> {
    for intents in [true, false] {
        for sent in entries.iter_mut().filter(|sent| sent.letter.entry.is_intent() == intents) {
            let Err(cause) = apart(tx, |tx| audit::write(tx, std::iter::once(&sent.letter.entry)))? else { continue };
            let cause = cause.to_string();
            error!(cause, "an entry of the record breaks a rule of its schema and is left out");
            sent.letter.entry.settle(false);
            if sent.letter.entry.shorten()
                && let Err(cause) = apart(tx, |tx| audit::write(tx, std::iter::once(&sent.letter.entry)))?
            {
                error!(%cause, "a result can't be written in any form");
            }
            sent.refused = Some(cause);
        }
    }
    Ok(())
}

/// Runs something in a savepoint. The inner error is a broken rule, after which the transaction goes on.
fn apart(
    tx: &mut Tx<'_>,
    run: impl FnOnce(&mut Tx<'_>) -> QueryResult<()>,
) -> Result<Result<(), diesel::result::Error>, Undone> {
    execute(tx, "SAVEPOINT entry")?;
    match run(tx) {
        Ok(()) => execute(tx, "RELEASE entry").map(Ok),
        Err(cause) if breaks_a_rule(&cause) => {
            *tx.newest = None;
            execute(tx, "ROLLBACK TO entry; RELEASE entry").map(|()| Err(cause))
        }
        Err(cause) => Err(Undone::of("write", &cause)),
    }
}

fn execute(tx: &mut Tx<'_>, statement: &str) -> Result<(), Undone> {
    tx.connection.batch_execute(statement).map_err(|cause| Undone::of("write", &cause))
}

fn tell(sent: Sent, committed: Result<(), &str>) {
    let Sent { mut letter, mailbox, refused } = sent;
    let written = committed.and(refused.as_deref().map_or(Ok(()), Err));
    letter.entry.settle(written.is_ok());
    letter.entry.stands_short(committed.is_ok() && refused.is_some());
    match mailbox {
        Some(mailbox) => mailbox.put(letter, written),
        None => letter.answer(written),
    }
}

/// Runs a verb in a savepoint of its own.
fn verb(tx: &mut Tx<'_>, run: Box<dyn FnOnce(&mut Tx<'_>) -> Ran + Send>) -> Result<Ran, Undone> {
    execute(tx, "SAVEPOINT verb")?;
    let ran = run(tx);
    // It may have written acts.
    *tx.newest = None;
    match &ran.undo {
        None => execute(tx, "RELEASE verb")?,
        // Where the savepoint is gone SQLite has undone the whole transaction, for the reason that the verb has met.
        Some(undone) => execute(tx, "ROLLBACK TO verb; RELEASE verb").map_err(|_| undone.clone())?,
    }
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
