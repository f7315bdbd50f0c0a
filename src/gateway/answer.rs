//! The answer that a client waits for, from below the bar.

use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::base::error::Error;
use crate::gateway::Stood;
use crate::gateway::shared::{News, Shared};
use crate::model::chat::ChatEvent;

/// An answer below the bar. Dropping it ends the generation and leaves a row `abandoned`.
pub struct Answer {
    /// Fields of the request that had no effect, for its client.
    pub ignored: Vec<String>,
    /// Places in its schemas at which something was left out.
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

    /// When its turn came, if it has.
    pub fn began(&self) -> Option<Instant> {
        self.shared.began()
    }

    /// Waits for the end, and for all that came before it.
    pub async fn whole(&self) -> Result<Vec<ChatEvent>, Error> {
        self.shared.whole().await
    }

    /// Waits for something new. Cancel-safe: what is not returned stays.
    pub async fn news(&self) -> News {
        self.shared.news().await
    }

    /// Notes an error on the gateway's side, whatever the model has done.
    pub fn fails(&self, error: Error) {
        self.shared.fail(error);
    }

    /// Writes the result; the answer's last byte may leave after it, and not if it fails.
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
