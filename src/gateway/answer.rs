//! The answer of an admitted request, which a client waits for.

use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::base::error::Error;
use crate::gateway::Stood;
use crate::gateway::shared::{News, Shared};
use crate::model::chat::ChatEvent;
use crate::rules::audit::{Ending, Record};

/// An answer below the bar. Dropping it ends the generation and leaves a row `abandoned`.
pub struct Answer {
    /// Fields of the request that had no effect, for its client.
    pub ignored: Vec<String>,
    /// Places in its schemas where something was left out.
    pub simplified: Vec<String>,
    shared: Rc<Shared>,
    pump: JoinHandle<()>,
}

impl Answer {
    pub fn new(ignored: Vec<String>, simplified: Vec<String>, shared: Rc<Shared>, pump: JoinHandle<()>) -> Self {
        Answer { ignored, simplified, shared, pump }
    }

    pub fn stood(&self) -> Stood {
        self.shared.stood()
    }

    /// Returns when its turn came, if it has.
    pub fn began(&self) -> Option<Instant> {
        self.shared.began()
    }

    /// Waits for the end and returns all events.
    pub async fn whole(&self) -> Result<Vec<ChatEvent>, Error> {
        self.shared.whole().await
    }

    /// Waits for something new. Cancel-safe: what is not returned stays.
    pub async fn news(&self) -> News {
        self.shared.news().await
    }

    /// Records an error on the gateway's side, whatever the model has done.
    pub fn fails(&self, error: Error) {
        self.shared.fail(error);
    }

    /// Adds a note for readers of the result.
    pub fn note(&self, note: &str) {
        self.shared.with_record(|record| record.note(note.to_owned()));
    }

    /// Returns how it ended if it did not complete.
    pub fn failure(&self) -> Option<Ending> {
        self.shared.failure()
    }

    /// Ends it as another answer to the same request, unless it has failed itself.
    pub fn ends_as(&self, ending: Ending) {
        self.shared.end_as(ending);
    }

    /// Ends the generation and returns its record, to be closed.
    pub fn into_record(self) -> Option<Record> {
        self.shared.close().0
    }

    /// Writes the result. The answer's last byte may leave only after this has succeeded.
    pub async fn close(self, status: u16) -> Result<(), Error> {
        match self.shared.close() {
            (Some(record), ending) => record.close(ending, status).await,
            (None, _) => Ok(()),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pump.abort();
        self.shared.abandon();
    }
}
