//! Chooses the next request and its upstream: a pure core, without clock, await or channel. `now` is an argument.
//!
//! A slot goes to the person who is owed most among those who can use it (`share.rs`): by class, where `batch` has a small
//! share and takes what `interactive` leaves, and within a class by weight. A person's own requests keep their order,
//! except that one that can't run now (its upstream or model is busy) is passed by the next that can. A request whose model is
//! not loaded may be passed by those whose model is, for `affinity` at most.
//!
//! A grant looks at each flow once, and within a flow at the requests before the first that can run. While no upstream has a
//! free slot it looks at nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::config::Order;
use crate::config::settings::Settings;
use crate::model::catalog::UpstreamId;
use crate::model::rights::Class;
use crate::rules::queue::UpstreamLoad;
use crate::rules::queue::history::History;
use crate::rules::queue::share::FlowAccount;

mod choosing;
mod forecast;
mod parts;
mod upstream;

use self::choosing::NextRequest;
use self::parts::SlotPart;
use self::upstream::SlotState;

/// The id of a request in the queue; ids grow in the order of entry.
pub type Ticket = u64;

/// An upstream, as the queue sees it.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// Requests that run there at once.
    pub total: usize,
    /// How many of these may be for one model.
    pub per_model: usize,
    /// Models that the upstream keeps loaded at once.
    pub models_loaded: usize,
}

/// The settings of the queue. Units as in `config/settings.rs`.
#[derive(Debug, Clone, Copy)]
pub struct QueueBounds {
    pub order: Order,
    pub waiting_max: usize,
    pub waiting_per_user_max: usize,
    pub waiting_bytes_max: usize,
    pub running_per_user_max: usize,
    pub image_requests_max: usize,
    /// From 0 to 1.
    pub batch_share: f64,
    pub affinity: Duration,
}

impl QueueBounds {
    pub fn of(settings: &Settings, order: Order) -> QueueBounds {
        QueueBounds {
            order,
            waiting_max: settings.waiting_max,
            waiting_per_user_max: settings.waiting_per_user_max,
            waiting_bytes_max: settings.waiting_bytes_max,
            running_per_user_max: settings.running_per_user_max,
            image_requests_max: settings.image_requests_max,
            batch_share: f64::from(settings.batch_share_percent) / 100.0,
            affinity: Duration::from_secs(settings.affinity_seconds_max.into()),
        }
    }
}

/// What a request needs, and for whom.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    pub person: i64,
    /// The person's share against others, at least 1.
    pub weight: u32,
    pub class: Class,
    /// Its canonical name.
    pub model: String,
    /// Upstreams that serve the model, at least one.
    pub upstreams: Vec<UpstreamId>,
    /// What it holds in memory while it waits.
    pub bytes: usize,
    pub images: bool,
}

/// Why a request got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// This person has as many waiting requests as allowed.
    OfPerson { waiting: usize },
    /// As many requests or bytes wait as are allowed in total.
    OfAll { waiting: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub ticket: Ticket,
    pub upstream: UpstreamId,
}

/// How a turn ended, which decides what it is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// The answer is complete. `work` is its GPU time, where the upstream told it; else the time on the slot counts.
    Answered { work: Option<Duration> },
    /// It broke off. The time on the slot counts, and nothing is learnt from it.
    Cut,
}

/// A waiting request is passed so many times by others that take the last permit it needs (as one of its person's, or for its
/// images), and by younger ones of its flow; then the permit is kept for it, and the younger ones stand back.
const PASSES_MAX: u32 = 8;

/// A flow is owed so many usual requests at most, for its weight, and owes so many of its own, beside the affinity.
const REQUESTS_OWED_MAX: f64 = 8.0;

/// The same of the longest requests, if that is more: a flow of short requests is owed its part of a long one until it has had it.
const LONGEST_OWED_MAX: f64 = 2.0;

pub struct QueueCore {
    upstreams: Vec<SlotState>,
    flows: BTreeMap<Key, Flow>,
    running: HashMap<Ticket, Running>,
    /// The flow of each waiting request.
    seats: HashMap<Ticket, Key>,
    people: HashMap<i64, Counts>,
    waiting_bytes: usize,
    image_requests: usize,
    /// Waiting requests that were passed by others that took the last permit.
    passed: BTreeMap<Ticket, Passed>,
    history: History,
    bounds: QueueBounds,
    next_ticket: Ticket,
    grants: u64,
    stays: u64,
}

/// One person's requests of one class; with the order `arrival`, those of all people.
type Key = (Class, i64);

struct Flow {
    account: FlowAccount,
    /// Tells apart the flows that had this key one after the other: a request is settled with its own.
    stay: u64,
    waiting: VecDeque<Waiting>,
    /// How many of these could run on each upstream, were it free.
    waiting_on: Vec<usize>,
    /// How many of these have images.
    waiting_images: usize,
    running: usize,
    /// What it had a slot for last: where others catch up with it.
    last: Option<SlotRequest>,
    /// It has competed with others, so its account can be compared with theirs.
    is_placed: bool,
}

struct Waiting {
    ticket: Ticket,
    asking: SlotRequest,
    /// When a request for a loaded model first overtook this one.
    passed_since: Option<Duration>,
    /// How many younger ones of its flow took a slot that others wanted.
    passed_by_own: u32,
}

/// A waiting request that needs a permit.
struct Passed {
    person: i64,
    images: bool,
    upstreams: Vec<UpstreamId>,
    times: u32,
}

struct Running {
    asking: SlotRequest,
    flow: Key,
    upstream: UpstreamId,
    /// The estimate, in seconds of work, that its flow was charged.
    charged: f64,
    /// Its flow's stay.
    stay: u64,
    /// The flows that could use the slot, and what each is owed of the work.
    parts: Vec<SlotPart>,
    since: Duration,
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
}

impl QueueCore {
    pub fn new(upstreams: &[Slots], bounds: QueueBounds) -> Self {
        let upstream = |slots: &Slots| SlotState {
            slots: *slots,
            free: slots.total,
            down: false,
            models: HashMap::new(),
            loaded: VecDeque::new(),
        };
        QueueCore {
            upstreams: upstreams.iter().map(upstream).collect(),
            flows: BTreeMap::new(),
            running: HashMap::new(),
            seats: HashMap::new(),
            people: HashMap::new(),
            waiting_bytes: 0,
            image_requests: 0,
            passed: BTreeMap::new(),
            history: History::default(),
            bounds,
            next_ticket: 0,
            grants: 0,
            stays: 0,
        }
    }

    /// Replaces the bounds.
    pub fn obey(&mut self, bounds: QueueBounds) {
        self.bounds = bounds;
    }

    /// Marks an upstream as down or up. Requests that run there go on, and those that wait for it alone go on waiting.
    pub fn set_down(&mut self, upstream: UpstreamId, down: bool) {
        if let Some(upstream) = self.upstreams.get_mut(upstream.0) {
            upstream.down = down;
        }
    }

    /// Returns a running request for another upstream that is up and serves its model, if there is one.
    pub fn elsewhere(&self, ticket: Ticket) -> Option<SlotRequest> {
        let running = self.running.get(&ticket)?;
        let mut upstreams = running.asking.upstreams.clone();
        upstreams.retain(|upstream| *upstream != running.upstream && !self.upstreams[upstream.0].down);
        (!upstreams.is_empty()).then(|| SlotRequest { upstreams, ..running.asking.clone() })
    }

    /// Gives a request a place. `grant` tells whether its turn has come already.
    pub fn enter(&mut self, asking: SlotRequest, now: Duration) -> Result<Ticket, Full> {
        // No free slot is left that a waiting request could use, so a request that can run passes none.
        let has_to_wait = self.upstream_for(None, &asking).is_none();
        if has_to_wait {
            self.check_room(&asking)?;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let key = match self.bounds.order {
            Order::Fair => (asking.class, asking.person),
            Order::Arrival => (asking.class, 0),
        };
        self.people.entry(asking.person).or_default().waiting += 1;
        self.waiting_bytes += asking.bytes;
        self.seats.insert(ticket, key);
        let upstreams = self.upstreams.len();
        let flow = self.flows.entry(key).or_insert_with(|| {
            self.stays += 1;
            Flow::new(self.stays, upstreams)
        });
        flow.account.weight = match self.bounds.order {
            Order::Fair => f64::from(asking.weight.max(1)),
            Order::Arrival => 1.0,
        };
        asking.upstreams.iter().for_each(|upstream| flow.waiting_on[upstream.0] += 1);
        flow.waiting_images += usize::from(asking.images);
        let begins = flow.waiting.is_empty();
        flow.waiting.push_back(Waiting { ticket, asking, passed_since: None, passed_by_own: 0 });
        if has_to_wait {
            self.join(key, begins, now);
        }
        Ok(ticket)
    }

    fn check_room(&self, asking: &SlotRequest) -> Result<(), Full> {
        let yours = self.people.get(&asking.person).map_or(0, |counts| counts.waiting);
        if yours >= self.bounds.waiting_per_user_max {
            return Err(Full::OfPerson { waiting: yours });
        }
        let full = self.seats.len() >= self.bounds.waiting_max
            || self.waiting_bytes.saturating_add(asking.bytes) > self.bounds.waiting_bytes_max;
        if full { Err(Full::OfAll { waiting: self.seats.len() }) } else { Ok(()) }
    }

    /// Returns the next request whose turn has come. To be called until it returns `None`, after every `enter` and `release`.
    pub fn grant(&mut self, now: Duration) -> Option<Grant> {
        if self.upstreams.iter().all(|upstream| upstream.down || upstream.free == 0) {
            return None;
        }
        let Some(choice) = self.choose(now) else {
            self.let_off();
            return None;
        };
        Some(self.start(choice, now))
    }

    fn start(&mut self, choice: NextRequest, now: Duration) -> Grant {
        let NextRequest { flow: key, at, upstream, .. } = choice;
        let asking = &self.flows[&key].waiting[at].asking;
        let work = self.history.work_of(&asking.model);
        let mut parts = self.claimants(upstream, asking.images);
        let flow = self.flows.get_mut(&key);
        let taken = flow.and_then(|flow| flow.waiting.remove(at).map(|waiting| (waiting, flow)));
        let (waiting, flow) = taken.unwrap_or_else(|| unreachable!("a choice is made from what waits"));
        let Waiting { ticket, asking, .. } = waiting;
        if parts.len() > 1 {
            flow.waiting.range_mut(..at).for_each(|older| older.passed_by_own += 1);
        }
        self.grants += 1;
        flow.account.serve(work, self.grants);
        flow.running += 1;
        flow.last = Some(asking.clone());
        let stay = flow.stay;
        asking.upstreams.iter().for_each(|upstream| flow.waiting_on[upstream.0] -= 1);
        flow.waiting_images -= usize::from(asking.images);
        self.settle(&mut parts, work, work);
        self.unseat(ticket, &asking);
        if !self.flows[&key].waiting.is_empty() {
            self.drop_parts(key, now);
        }
        self.people.entry(asking.person).or_default().running += 1;
        self.image_requests += usize::from(asking.images);
        self.note_passed(ticket, &asking);
        self.upstreams[upstream.0].takes(&asking.model);
        let running = Running { asking, flow: key, upstream, charged: work, stay, parts, since: now };
        self.running.insert(ticket, running);
        Grant { ticket, upstream }
    }

    fn unseat(&mut self, ticket: Ticket, asking: &SlotRequest) {
        self.seats.remove(&ticket);
        self.passed.remove(&ticket);
        self.waiting_bytes -= asking.bytes;
        self.people.entry(asking.person).or_default().waiting -= 1;
    }

    /// Ends a request that waits or runs.
    pub fn release(&mut self, ticket: Ticket, end: TurnEnd, now: Duration) {
        if self.seats.contains_key(&ticket) {
            self.leave(ticket, now);
        } else {
            self.end(ticket, end, now);
        }
    }

    fn leave(&mut self, ticket: Ticket, now: Duration) {
        let Some(key) = self.seats.get(&ticket).copied() else { return };
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let Some(at) = flow.waiting.iter().position(|waiting| waiting.ticket == ticket) else { return };
        let Some(waiting) = flow.waiting.remove(at) else { return };
        waiting.asking.upstreams.iter().for_each(|upstream| flow.waiting_on[upstream.0] -= 1);
        flow.waiting_images -= usize::from(waiting.asking.images);
        let is_unserved = flow.is_away() && flow.last.is_none();
        self.unseat(ticket, &waiting.asking);
        self.drop_parts(key, now);
        if is_unserved {
            self.flows.remove(&key);
        }
        self.forget(waiting.asking.person);
    }

    fn end(&mut self, ticket: Ticket, end: TurnEnd, now: Duration) {
        let Some(running) = self.running.remove(&ticket) else { return };
        let Running { asking, flow: key, upstream, charged, stay, mut parts, since } = running;
        let held = now.saturating_sub(since);
        let cost = match end {
            // A request cannot use more GPU time than it held the slot.
            TurnEnd::Answered { work: Some(work) } => work.min(held),
            TurnEnd::Answered { work: None } | TurnEnd::Cut => held,
        };
        if let TurnEnd::Answered { .. } = end {
            self.history.learn(&asking.model, cost, held);
        }
        self.upstreams[upstream.0].gives_back(&asking.model);
        self.image_requests -= usize::from(asking.images);
        self.people.entry(asking.person).or_default().running -= 1;
        // The accounts have an estimate; now they get what it really was.
        let (cost, held) = (cost.as_secs_f64(), held.as_secs_f64());
        self.credit(key, stay, charged - cost);
        self.settle(&mut parts, cost, held);
        let own = parts.iter().find(|part| (part.flow, part.stay) == (key, stay)).map_or(0.0, |part| part.credited);
        let most = REQUESTS_OWED_MAX * cost.max(self.history.service());
        let affinity = self.bounds.affinity.as_secs_f64();
        if let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.stay == stay) {
            flow.running -= 1;
            flow.account.let_off(cost - own, most + affinity * flow.account.weight);
        }
        self.forget(asking.person);
    }

    /// Drops the counts of a person who has no requests any more. Flows that are away are dropped at the next grant
    /// (`claimants`, `let_off`).
    fn forget(&mut self, person: i64) {
        if self.people.get(&person).is_some_and(|counts| counts.waiting == 0 && counts.running == 0) {
            self.people.remove(&person);
        }
    }

    pub fn upstreams(&self) -> impl Iterator<Item = UpstreamLoad> {
        self.upstreams.iter().map(|upstream| UpstreamLoad {
            slots: upstream.slots.total,
            free: upstream.free,
            loaded: upstream.loaded.iter().cloned().collect(),
        })
    }
}

impl Flow {
    fn new(stay: u64, upstreams: usize) -> Self {
        Flow {
            account: FlowAccount::new(),
            stay,
            waiting: VecDeque::new(),
            waiting_on: vec![0; upstreams],
            waiting_images: 0,
            running: 0,
            last: None,
            is_placed: false,
        }
    }

    fn is_away(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

#[cfg(test)]
mod tests;
