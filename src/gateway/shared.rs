//! State that the pump and the answer share, on one thread. No borrow is held over an await.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::auth::running::Cut;
use crate::base::error::Error;
use crate::gateway::{Stood, stopped};
use crate::model::chat::ChatEvent;
use crate::model::record::GATEWAY_STOPPED;
use crate::rules::audit::{Ending, Record};
use crate::rules::limits::Hold;

pub struct Shared {
    state: RefCell<State>,
    changed: Notify,
}

struct State {
    /// Events that the client has not received yet; bounded by `answer_bytes_max`.
    events: Vec<ChatEvent>,
    /// The reader waits for the whole answer, so waking it before the end would be useless.
    whole: bool,
    ended: Option<Result<(), Ended>>,
    books: Books,
    line: Line,
}

/// What is recorded of a request, and what it is charged.
struct Books {
    record: Option<Record>,
    hold: Option<Hold>,
}

impl Books {
    /// Settles the charge: the model is done with the request, in whatever manner.
    fn settle(&mut self) {
        let spent = self.record.as_mut().map(Record::stops).unwrap_or_default();
        if let Some(hold) = self.hold.take() {
            hold.settle(spent);
        }
    }

    /// Takes the record, to be closed.
    fn close(&mut self) -> Option<Record> {
        self.settle();
        self.record.take()
    }
}

/// A request's time in the queue.
#[derive(Clone, Copy)]
struct Line {
    ahead: Option<usize>,
    entered: Instant,
    waited: Option<Duration>,
}

/// An answer that did not complete, and its outcome for the record.
pub struct Ended {
    pub error: Error,
    pub ending: Ending,
}

impl Ended {
    /// Takes the error for the client.
    fn tell(&mut self) -> Error {
        std::mem::replace(&mut self.error, stopped())
    }
}

impl Ended {
    /// The gateway is stopping.
    pub fn stopped() -> Ended {
        Ended { error: stopped(), ending: Ending::Interrupted(GATEWAY_STOPPED) }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let ending = Ending::Failed(error.code());
        Ended { error, ending }
    }
}

impl From<Cut> for Ended {
    fn from(cut: Cut) -> Self {
        Ended { error: cut.error(), ending: Ending::Refused(cut.reason()) }
    }
}

/// The next thing to tell the client.
pub enum News {
    Events(Vec<ChatEvent>),
    /// The upstream's own end mark was among the events before.
    Complete,
    Failed(Error),
}

impl Shared {
    /// `ahead` is the number of requests before it in the queue, `None` when it did not have to wait.
    pub fn new(record: Record, hold: Option<Hold>, ahead: Option<usize>) -> Self {
        let state = State {
            events: Vec::new(),
            whole: false,
            ended: None,
            books: Books { record: Some(record), hold },
            line: Line { ahead, entered: Instant::now(), waited: None },
        };
        Shared { state: RefCell::new(state), changed: Notify::new() }
    }

    pub fn with_record<T>(&self, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.state.borrow_mut().books.record.as_mut().map(change)
    }

    /// Records that the turn has come.
    pub fn begins(&self, host: &str) {
        self.with_record(|record| record.begins(host));
        let mut state = self.state.borrow_mut();
        state.line.waited = Some(state.line.entered.elapsed());
    }

    /// Returns when its turn came, if it has.
    pub fn began(&self) -> Option<Instant> {
        let line = self.state.borrow().line;
        line.waited.map(|waited| line.entered + waited)
    }

    pub fn stood(&self) -> Stood {
        let line = self.state.borrow().line;
        let position = line.ahead.map_or(0, |ahead| ahead + 1);
        Stood { position, wait: line.waited.unwrap_or_else(|| line.entered.elapsed()) }
    }

    /// Records new events and keeps them for the reader. Returns the length of the answer so far, in bytes.
    pub fn add(&self, events: &mut Vec<ChatEvent>) -> usize {
        let mut state = self.state.borrow_mut();
        let mut bytes = 0;
        if let Some(record) = &mut state.books.record {
            events.iter().for_each(|event| record.saw(event));
            bytes = record.answer_bytes();
        }
        state.events.append(events);
        let awaited = !state.whole;
        drop(state);
        if awaited {
            self.changed.notify_one();
        }
        bytes
    }

    pub fn end(&self, result: Result<(), Ended>) {
        let mut state = self.state.borrow_mut();
        state.ended = Some(result);
        state.books.settle();
        drop(state);
        self.changed.notify_one();
    }

    /// Sets an error that says more than how the upstream has ended.
    pub fn fail(&self, error: Error) {
        self.end(Err(Ended::from(error)));
    }

    /// Returns how the answer ended if it did not complete.
    pub fn failure(&self) -> Option<Ending> {
        match &self.state.borrow().ended {
            Some(Err(ended)) => Some(ended.ending),
            Some(Ok(())) | None => None,
        }
    }

    /// Ends the answer because its client gets an error instead, unless it has failed itself.
    pub fn end_as(&self, ending: Ending) {
        if self.failure().is_none() {
            self.with_record(|record| record.note("ended with another answer to the same request".into()));
            self.end(Err(Ended { error: stopped(), ending }));
        }
    }

    /// Ends the answer because the gateway stops and the reader's time to take the rest is over.
    pub fn stop(&self) {
        let mut state = self.state.borrow_mut();
        if !matches!(state.ended, Some(Err(_))) {
            state.ended = Some(Err(Ended::stopped()));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Cuts the answer off: its reader gets nothing more, not even what is buffered.
    pub fn cut(&self, cut: Cut) {
        let mut state = self.state.borrow_mut();
        state.events.clear();
        if !matches!(state.ended, Some(Err(_))) {
            state.ended = Some(Err(Ended::from(cut)));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the end and returns all events.
    pub async fn whole(&self) -> Result<Vec<ChatEvent>, Error> {
        self.state.borrow_mut().whole = true;
        loop {
            if let Some(whole) = self.state.borrow_mut().take_whole() {
                return whole;
            }
            self.changed.notified().await;
        }
    }

    /// Waits for something new. Cancel-safe: what is not returned stays.
    pub async fn news(&self) -> News {
        loop {
            if let Some(news) = self.state.borrow_mut().take_news() {
                return news;
            }
            self.changed.notified().await;
        }
    }

    /// Takes the record, unless it was taken before, and the ending to close it with.
    pub fn close(&self) -> (Option<Record>, Ending) {
        let mut state = self.state.borrow_mut();
        let ending = match &state.ended {
            Some(Ok(())) => Ending::Completed,
            Some(Err(ended)) => ended.ending,
            None => Ending::Abandoned,
        };
        (state.books.close(), ending)
    }

    /// Records an ending that the reader, who doesn't read, has not seen.
    pub fn close_unread(&self) {
        let mut state = self.state.borrow_mut();
        if let Some(Err(ended)) = &state.ended {
            let ending = ended.ending;
            if let Some(record) = state.books.close() {
                record.close_soon(ending, None);
            }
        }
    }

    /// Hands over the row `abandoned` at once, since no client waits any more, unless `close` was called.
    pub fn abandon(&self) {
        drop(self.state.borrow_mut().books.close());
    }
}

impl State {
    fn take_whole(&mut self) -> Option<Result<Vec<ChatEvent>, Error>> {
        match self.ended.as_mut()? {
            Ok(()) => Some(Ok(std::mem::take(&mut self.events))),
            Err(ended) => Some(Err(ended.tell())),
        }
    }

    fn take_news(&mut self) -> Option<News> {
        if !self.events.is_empty() {
            return Some(News::Events(std::mem::take(&mut self.events)));
        }
        match self.ended.as_mut()? {
            Ok(()) => Some(News::Complete),
            Err(ended) => Some(News::Failed(ended.tell())),
        }
    }
}
