//! The queue for slots of the upstreams: fair between people, bounded, visible.
//!
//! This is the shell: it keeps the time, wakes requests whose turn has come, and frees the slots of those that end. Which
//! request is next is decided in `queue/core.rs`, under one lock that is never held over an await.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::auth::Identity;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::config::Order;
use crate::config::settings::Live;
use crate::model::catalog::UpstreamId;
use crate::model::rights::Class;

mod core;
mod history;
mod share;

pub use self::core::Slots;
use self::core::{Full, QueueBounds, QueueCore, SlotRequest, Ticket, TurnEnd};

pub struct Queue {
    state: Mutex<State>,
    order: Order,
    settings: Live,
    epoch: Instant,
}

struct State {
    core: QueueCore,
    /// The requests that hold a place or a turn, in the order of entry.
    cards: BTreeMap<Ticket, Card>,
    /// Wakes those that wait.
    wakes: HashMap<Ticket, oneshot::Sender<UpstreamId>>,
}

/// A request for a place in the queue.
pub struct QueueRequest<'a> {
    pub id: RequestId,
    pub who: &'a Identity,
    pub class: Class,
    /// The model's canonical name.
    pub model: &'a str,
    /// Upstreams that serve the model, at least one.
    pub upstreams: &'a [UpstreamId],
    /// What it holds in memory while it waits.
    pub bytes: usize,
    pub images: bool,
}

/// A waiting or running request, as it is shown.
#[derive(Debug, Clone)]
pub struct Card {
    pub request_id: RequestId,
    pub user_id: i64,
    pub token_id: Option<i64>,
    /// The token's public id.
    pub token: Option<String>,
    pub class: Class,
    pub model: String,
    pub entered_at: Timestamp,
    pub state: CardState,
}

#[derive(Debug, Clone, Copy)]
pub enum CardState {
    Waiting,
    Running { upstream: UpstreamId, since: Timestamp },
}

/// A request and when it will probably begin and end, estimated from past requests.
#[derive(Debug, Clone)]
pub struct Forecast {
    pub card: Card,
    /// Waiting requests that will be served before it; `None` when it runs.
    pub ahead: Option<usize>,
    /// Until its turn; `None` when it runs.
    pub begins_in: Option<Duration>,
    pub ends_in: Duration,
}

/// An upstream as the queue sees it.
#[derive(Debug, Clone)]
pub struct UpstreamLoad {
    pub slots: usize,
    pub free: usize,
    /// The models that ran there last.
    pub loaded: Vec<String>,
}

/// The longest `Retry-After`: an estimate beyond it is no help.
const RETRY_MAX: Duration = Duration::from_secs(120);

impl Queue {
    pub fn new(upstreams: &[Slots], order: Order, settings: Live) -> Arc<Self> {
        let core = QueueCore::new(upstreams, QueueBounds::of(&settings.now(), order));
        let state = State { core, cards: BTreeMap::new(), wakes: HashMap::new() };
        Arc::new(Queue { state: Mutex::new(state), order, settings, epoch: Instant::now() })
    }

    /// Reserves a place in the queue, without waiting for a turn. Refuses when the waiting room is full, for this user or for
    /// all.
    // Async from the start: replicas will share the queue.
    pub async fn reserve(self: &Arc<Self>, asked: QueueRequest<'_>) -> Result<Place, Error> {
        self.enter(asked)
    }

    fn enter(self: &Arc<Self>, asked: QueueRequest<'_>) -> Result<Place, Error> {
        let asking = SlotRequest {
            person: asked.who.user_id(),
            weight: asked.who.weight(),
            class: asked.class,
            model: asked.model.to_owned(),
            upstreams: asked.upstreams.to_vec(),
            bytes: asked.bytes,
            images: asked.images,
        };
        let card = Card {
            request_id: asked.id,
            user_id: asked.who.user_id(),
            token_id: asked.who.token_id(),
            token: asked.who.token().map(|token| token.public_id.clone()),
            class: asked.class,
            model: asked.model.to_owned(),
            entered_at: Timestamp::now(),
            state: CardState::Waiting,
        };
        self.seat(asking, card)
    }

    fn seat(self: &Arc<Self>, asking: SlotRequest, card: Card) -> Result<Place, Error> {
        let bounds = QueueBounds::of(&self.settings.now(), self.order);
        let mut state = self.lock();
        state.core.obey(bounds);
        let now = self.epoch.elapsed();
        let ticket = state.core.enter(asking, now).map_err(|full| refusal(&state.core, full))?;
        state.cards.insert(ticket, card);
        let (wake, woken) = oneshot::channel();
        state.wakes.insert(ticket, wake);
        state.serve(now);
        let ahead = state.core.ahead_of(ticket);
        Ok(Place { queue: self.clone(), ticket: Some(ticket), woken, ahead })
    }

    /// Returns the requests that wait or run, in the order of entry.
    pub fn forecast(&self) -> Vec<Forecast> {
        let state = self.lock();
        let now = self.epoch.elapsed();
        let service = state.core.service();
        let forecast = |(ticket, card): (&Ticket, &Card)| {
            let ahead = state.core.ahead_of(*ticket);
            let begins_in = ahead.map(|ahead| state.core.begins_in(ahead));
            let ends_in = match begins_in {
                Some(begins_in) => begins_in + service,
                None => state.core.ends_in(*ticket, now).unwrap_or_default(),
            };
            Forecast { card: card.clone(), ahead, begins_in, ends_in }
        };
        state.cards.iter().map(forecast).collect()
    }

    /// Returns the GPU time that a request to `model`, by its canonical name, will probably take.
    pub fn work_of(&self, model: &str) -> Duration {
        self.lock().core.work_of(model)
    }

    /// Marks an upstream as down or up. An upstream that is down gets no work: requests that another upstream serves, too, run on that one,
    /// and the others wait until it is up or their time ends.
    pub fn set_down(&self, upstream: UpstreamId, down: bool) {
        let mut state = self.lock();
        state.core.set_down(upstream, down);
        state.serve(self.epoch.elapsed());
    }

    /// Returns the load of each upstream, in the order of `UpstreamId`.
    pub fn upstreams(&self) -> Vec<UpstreamLoad> {
        self.lock().core.upstreams().collect()
    }

    /// Returns how many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        self.lock().cards.values().filter(|card| matches!(card.state, CardState::Waiting)).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        tests::threads::stop();
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn release(&self, ticket: Ticket, end: TurnEnd) {
        let mut state = self.lock();
        let now = self.epoch.elapsed();
        state.cards.remove(&ticket);
        state.wakes.remove(&ticket);
        state.core.release(ticket, end, now);
        state.serve(now);
    }
}

impl State {
    fn serve(&mut self, now: Duration) {
        while let Some(grant) = self.core.grant(now) {
            if let Some(card) = self.cards.get_mut(&grant.ticket) {
                card.state = CardState::Running { upstream: grant.upstream, since: Timestamp::now() };
            }
            // If the receiver is gone, its `Place` releases the ticket when it is dropped.
            if let Some(wake) = self.wakes.remove(&grant.ticket) {
                let _ = wake.send(grant.upstream);
            }
        }
    }
}

fn refusal(core: &QueueCore, full: Full) -> Error {
    let retry_after = core.room_in(full).clamp(Duration::from_secs(1), RETRY_MAX);
    match full {
        Full::OfPerson { waiting } => Error::QueueFull {
            message: format!("{waiting} of your requests wait already; send the next when one of them is answered"),
            retry_after,
        },
        Full::OfAll { waiting } => Error::HostBusy {
            message: format!("the waiting room is full, {waiting} requests wait already; try again later"),
            retry_after,
        },
    }
}

/// A place in the queue. Dropping it gives up the place, or the slot that was granted meanwhile.
pub struct Place {
    queue: Arc<Queue>,
    ticket: Option<Ticket>,
    woken: oneshot::Receiver<UpstreamId>,
    ahead: Option<usize>,
}

impl Place {
    /// Returns how many requests were ahead when this one entered; `None` when it did not have to wait.
    pub fn ahead(&self) -> Option<usize> {
        self.ahead
    }

    /// Waits for the turn, for `queue.wait_seconds_max` at most.
    pub async fn turn(self) -> Result<Turn, Error> {
        let seconds_max = self.queue.settings.now().wait_seconds_max;
        self.turn_within(tokio::time::sleep(Duration::from_secs(seconds_max.into()))).await
    }

    /// Waits for the turn until `patience` ends.
    async fn turn_within(mut self, patience: impl Future<Output = ()>) -> Result<Turn, Error> {
        let upstream = tokio::select! {
            biased;
            upstream = &mut self.woken => upstream.ok(),
            () = patience => None,
        };
        match upstream {
            Some(upstream) => Ok(Turn { queue: self.queue.clone(), upstream, ticket: self.ticket.take() }),
            // A turn that comes at this moment is given back when the place is dropped.
            None => Err(Error::HostBusy {
                message: format!(
                    "no slot came free in {} s; try again later",
                    self.queue.settings.now().wait_seconds_max
                ),
                retry_after: self.queue.lock().core.drained_in().clamp(Duration::from_secs(1), RETRY_MAX),
            }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.release(ticket, TurnEnd::Cut);
        }
    }
}

/// A slot on an upstream. Dropping it frees the slot and starts the next request.
pub struct Turn {
    queue: Arc<Queue>,
    pub upstream: UpstreamId,
    ticket: Option<Ticket>,
}

impl Turn {
    /// Ends the turn of a request that was answered. `work` is the GPU time that it took, where the upstream told it.
    pub fn settle(mut self, work: Option<Duration>) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.release(ticket, TurnEnd::Answered { work });
        }
    }
}

impl Turn {
    /// Gives up the slot and reserves a place for another upstream. `None` when no other upstream that is up serves the model. Refuses
    /// as `reserve` does.
    pub fn elsewhere(self) -> Option<Result<Place, Error>> {
        let ticket = self.ticket?;
        let (asking, card) = {
            let state = self.queue.lock();
            (state.core.elsewhere(ticket)?, state.cards.get(&ticket)?.clone())
        };
        let queue = self.queue.clone();
        drop(self);
        Some(queue.seat(asking, Card { state: CardState::Waiting, ..card }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.release(ticket, TurnEnd::Cut);
        }
    }
}

#[cfg(test)]
mod tests;
