//! One transaction of the writer: what is written in it, and what is left out.
//!
//! Rows of the record share it; one that breaks a rule of the schema is left out alone. A verb has a savepoint of its own, so
//! that breaking a rule undoes only that verb.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tokio::sync::oneshot;
use tracing::error;

use crate::base::clock::Timestamp;
use crate::base::error::chain;
use crate::base::vital::panic_on_purpose;
use crate::model::record::Act;
use crate::store::audit::{self, NewEntry};
use crate::store::undone::{Undone, breaks_a_rule};
use crate::store::writer::{After, Job, Ran, Sent, Tx, lifetimes};

/// The times of one transaction.
#[derive(Clone, Copy)]
pub struct Times {
    pub clock: Timestamp,
    pub now: Timestamp,
    /// By how much the host's clock was set back since the transaction before.
    pub stepped_back: Option<Duration>,
}

/// What a transaction leaves to be done after its commit.
#[derive(Default)]
pub struct Besides {
    pub people_changed: bool,
    pub settings_changed: bool,
    pub truncations: Vec<oneshot::Sender<()>>,
    pub checkpoint: bool,
}

pub fn begin(connection: &mut SqliteConnection) -> Result<(), Undone> {
    connection.batch_execute("BEGIN IMMEDIATE").map_err(|cause| Undone::Later(cause.to_string()))
}

pub fn write_batch(
    connection: &mut SqliteConnection,
    jobs: &mut Vec<Job>,
    times: Times,
    newest: &mut Option<i64>,
    batch: &mut Batch,
    besides: &mut Besides,
) -> Result<(), Undone> {
    panic_on_purpose("writer");
    let Times { clock, now, stepped_back } = times;
    let has_verbs = jobs.iter().any(|job| matches!(job, Job::Verb { .. }));
    if let Some(step) = stepped_back {
        set_back(connection, times, step).map_err(|cause| Undone::of("write", &cause))?;
        besides.people_changed = true;
    }
    // Without anything else in it, the whole transaction can be begun again, which is cheaper than a savepoint each time.
    let undo = if has_verbs || stepped_back.is_some() { Undo::Savepoint } else { Undo::Transaction };
    let mut tx = Tx { connection, now, clock, newest, people_changed: false, settings_changed: false };
    let mut written = 0;
    let mut result = Ok(());
    for job in jobs.drain(..) {
        match job {
            Job::Entry(sent) => batch.entries.push(sent),
            Job::Verb { run, claim } if result.is_ok() => {
                // A verb finds what was handed over before it.
                result = batch.write(&mut tx, written, undo).and_then(|()| {
                    if !claim.take() {
                        // Its caller gave it up.
                        return Ok(());
                    }
                    let ran = verb(&mut tx, run)?;
                    besides.people_changed |= std::mem::take(&mut tx.people_changed) && ran.undo.is_none();
                    besides.settings_changed |= std::mem::take(&mut tx.settings_changed) && ran.undo.is_none();
                    batch.afters.push(ran.after);
                    Ok(())
                });
                written = batch.entries.len();
            }
            Job::Verb { .. } | Job::Close => {}
            Job::Checkpoint => besides.checkpoint = true,
            Job::Truncate { done } => besides.truncations.push(done),
        }
    }
    result?;
    batch.write(&mut tx, written, undo)
}

/// Records that the host's clock was set back, and shortens the lifetimes that would last longer by it.
fn set_back(connection: &mut SqliteConnection, times: Times, step: Duration) -> QueryResult<()> {
    let Times { clock, now, .. } = times;
    let told = lifetimes::told(clock.plus(step), clock);
    audit::insert_act(connection, now, Act::ClockSetBack, None, None, Some(told))?;
    lifetimes::shorten(connection, clock, i64::try_from(step.as_micros()).unwrap_or(i64::MAX))
}

/// What is undone when an entry has to be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undo {
    Transaction,
    Savepoint,
}

/// The jobs of one transaction that wait for its commit.
pub struct Batch {
    pub entries: Vec<Sent>,
    /// What answers the verbs.
    pub afters: Vec<After>,
}

impl Batch {
    pub fn with_capacity(jobs: usize) -> Self {
        Batch { entries: Vec::with_capacity(jobs), afters: Vec::new() }
    }

    pub fn take_entries(&mut self, jobs: &mut Vec<Job>) {
        for job in jobs.drain(..) {
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
            if shorten(tx, &mut sent.letter.entry)?
                && let Err(cause) = apart(tx, |tx| audit::write(tx, std::iter::once(&sent.letter.entry)))?
            {
                error!(cause = chain(&cause), "a result can't be written in any form");
            }
            sent.refused = Some(cause);
        }
    }
    Ok(())
}

/// Reduces a result that can't be written; `false`: it is no result. The commitment is to what is written already.
fn shorten(tx: &mut Tx<'_>, entry: &mut NewEntry) -> Result<bool, Undone> {
    entry.shorten(tx.connection).map_err(|cause| Undone::of("read", &cause))
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
