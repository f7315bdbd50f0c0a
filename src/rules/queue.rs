//! Whose turn it is, and on which host: fair between people, bounded, visible.
//!
//! This is the shell: it keeps the time, wakes those whose turn has come, and gives back what is dropped. Who is next is
//! decided in `queue/core.rs`, under one lock that is never held over an await.

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
use crate::model::catalog::HostId;
use crate::model::rights::Class;

mod core;
mod history;
mod share;

pub use self::core::Slots;
use self::core::{Asking, Bounds, Core, End, Full, Ticket};

pub struct Queue {
    state: Mutex<State>,
    order: Order,
    settings: Live,
    epoch: Instant,
}

struct State {
    core: Core,
    /// Everybody who holds a place or a turn, in the order of entry.
    cards: BTreeMap<Ticket, Card>,
    /// Of these, those who wait.
    wakes: HashMap<Ticket, oneshot::Sender<HostId>>,
}

/// What the queue has to know of a request.
pub struct Asked<'a> {
    pub id: RequestId,
    pub who: &'a Identity,
    pub class: Class,
    /// The model's canonical name.
    pub model: &'a str,
    /// Hosts that serve the model, at least one.
    pub hosts: &'a [HostId],
    /// What it holds in memory while it waits.
    pub bytes: usize,
    pub images: bool,
}

/// A request as people see it.
#[derive(Debug, Clone)]
pub struct Card {
    pub request_id: RequestId,
    pub user_id: i64,
    pub token_id: Option<i64>,
    /// The token's id as it is known outside.
    pub token: Option<String>,
    pub class: Class,
    pub model: String,
    pub entered_at: Timestamp,
    pub state: CardState,
}

#[derive(Debug, Clone, Copy)]
pub enum CardState {
    Waiting,
    Running { host: HostId, since: Timestamp },
}

/// A request and what will probably become of it, as far as means over the past can tell.
#[derive(Debug, Clone)]
pub struct Forecast {
    pub card: Card,
    /// Those who wait and will be served before it; `None` when it runs.
    pub ahead: Option<usize>,
    /// Until its turn; `None` when it runs.
    pub begins_in: Option<Duration>,
    pub ends_in: Duration,
}

/// A host as the queue sees it.
#[derive(Debug, Clone)]
pub struct HostLoad {
    pub slots: usize,
    pub free: usize,
    /// The models that ran there last.
    pub loaded: Vec<String>,
}

/// A retry after more than this helps nobody to plan.
const RETRY_MAX: Duration = Duration::from_secs(120);

impl Queue {
    pub fn new(hosts: &[Slots], order: Order, settings: Live) -> Arc<Self> {
        let core = Core::new(hosts, Bounds::of(&settings.now(), order));
        let state = State { core, cards: BTreeMap::new(), wakes: HashMap::new() };
        Arc::new(Queue { state: Mutex::new(state), order, settings, epoch: Instant::now() })
    }

    /// A place in the queue, without waiting for a turn. Refused when the waiting room is full, the caller's or everybody's.
    // Async from the start: replicas will share the queue.
    pub async fn reserve(self: &Arc<Self>, asked: Asked<'_>) -> Result<Place, Error> {
        self.enter(asked)
    }

    fn enter(self: &Arc<Self>, asked: Asked<'_>) -> Result<Place, Error> {
        let asking = Asking {
            person: asked.who.user_id(),
            weight: asked.who.weight(),
            class: asked.class,
            model: asked.model.to_owned(),
            hosts: asked.hosts.to_vec(),
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

    fn seat(self: &Arc<Self>, asking: Asking, card: Card) -> Result<Place, Error> {
        let bounds = Bounds::of(&self.settings.now(), self.order);
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

    /// Everybody who waits or runs, in the order of entry.
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

    /// The GPU time that a request to `model`, by its canonical name, will probably take.
    pub fn work_of(&self, model: &str) -> Duration {
        self.lock().core.work_of(model)
    }

    /// Says whether a host can take work. While it is down, no turn is given there: requests that another host serves, too,
    /// run on that one, and the others wait until it is back or their time is up.
    pub fn set_down(&self, host: HostId, down: bool) {
        let mut state = self.lock();
        state.core.set_down(host, down);
        state.serve(self.epoch.elapsed());
    }

    /// In the order of `HostId`.
    pub fn hosts(&self) -> Vec<HostLoad> {
        self.lock().core.hosts().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        tests::threads::stop();
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn release(&self, ticket: Ticket, end: End) {
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
                card.state = CardState::Running { host: grant.host, since: Timestamp::now() };
            }
            // Whoever is gone releases the ticket when the place is dropped, under the lock that is held here.
            if let Some(wake) = self.wakes.remove(&grant.ticket) {
                let _ = wake.send(grant.host);
            }
        }
    }
}

fn refusal(core: &Core, full: Full) -> Error {
    let retry_after = core.room_in(full).clamp(Duration::from_secs(1), RETRY_MAX);
    match full {
        Full::Yours { waiting } => Error::QueueFull {
            message: format!("{waiting} of your requests wait already; send the next when one of them is answered"),
            retry_after,
        },
        Full::Everybodys { waiting } => Error::HostBusy {
            message: format!("the waiting room is full, {waiting} requests wait already; try again later"),
            retry_after,
        },
    }
}

/// A place in the queue. Dropping it gives it up, and the slot that may have been granted meanwhile.
pub struct Place {
    queue: Arc<Queue>,
    ticket: Option<Ticket>,
    woken: oneshot::Receiver<HostId>,
    ahead: Option<usize>,
}

impl Place {
    /// How many others stood before this one when it entered; `None`: it did not have to wait.
    pub fn ahead(&self) -> Option<usize> {
        self.ahead
    }

    /// Waits for the turn, as long as the queue lets anybody wait.
    pub async fn turn(self) -> Result<Turn, Error> {
        let seconds_max = self.queue.settings.now().wait_seconds_max;
        self.turn_within(tokio::time::sleep(Duration::from_secs(seconds_max.into()))).await
    }

    /// Waits for the turn until `patience` ends.
    async fn turn_within(mut self, patience: impl Future<Output = ()>) -> Result<Turn, Error> {
        let host = tokio::select! {
            biased;
            host = &mut self.woken => host.ok(),
            () = patience => None,
        };
        match host {
            Some(host) => Ok(Turn { queue: self.queue.clone(), host, ticket: self.ticket.take() }),
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
            self.queue.release(ticket, End::Cut);
        }
    }
}

/// A slot on a host. Dropping it, settled or not, wakes the next in line.
pub struct Turn {
    queue: Arc<Queue>,
    pub host: HostId,
    ticket: Option<Ticket>,
}

impl Turn {
    /// Ends the turn of a request that was answered. `work` is the GPU time that it took, where the upstream told it.
    pub fn settle(mut self, work: Option<Duration>) {
        if let Some(ticket) = self.ticket.take() {
            self.queue.release(ticket, End::Answered { work });
        }
    }
}

impl Turn {
    /// Gives the slot up and takes a place for another host. `None`: no other that is up serves the model. Refused as in
    /// `reserve`.
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
            self.queue.release(ticket, End::Cut);
        }
    }
}

#[cfg(test)]
mod tests;
