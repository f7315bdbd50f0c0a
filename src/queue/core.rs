//! Who is served next, on which host: a pure core, without clock, await or channel. `now` is an argument.
//!
//! Two levels of start-time fair queueing (`share.rs`): between the classes, where `batch` has a small share and takes
//! whatever `interactive` leaves, and within a class between people, weighted. A person's own requests keep their order,
//! except that one that can't run now (its host or model is busy) is passed by the next that can. A request whose model is
//! not loaded may be passed by those whose model is, for `affinity` at most.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use crate::catalog::HostId;
use crate::config::Order;
use crate::config::settings::Settings;
use crate::queue::HostLoad;
use crate::queue::history::History;
use crate::queue::share::{Clock, Tag};
use crate::rights::Class;

/// A request's name in the queue, in the order of entry.
pub type Ticket = u64;

/// A host, as the queue sees it.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// Requests that run there at once.
    pub total: usize,
    /// Of these, requests to one model.
    pub per_model: usize,
    /// Models that the host keeps loaded at once.
    pub models_loaded: usize,
}

/// What an operator or admin decided. Units as in `config/settings.rs`.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
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

impl Bounds {
    pub fn of(settings: &Settings, order: Order) -> Bounds {
        Bounds {
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

/// What the queue has to know of a request.
#[derive(Debug, Clone)]
pub struct Asking {
    pub person: i64,
    /// The person's share against others, at least 1.
    pub weight: u32,
    pub class: Class,
    /// Its canonical name.
    pub model: String,
    /// Hosts that serve the model, at least one.
    pub hosts: Vec<HostId>,
    /// What it holds in memory while it waits.
    pub bytes: usize,
    pub images: bool,
}

/// Why a request got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many of this person's requests wait as may.
    Yours { waiting: usize },
    /// As many requests or bytes wait as may.
    Everybodys { waiting: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub ticket: Ticket,
    pub host: HostId,
}

/// How a turn ended, and what it is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The answer is complete. `work` is its GPU time, where the upstream told it; else the time on the slot counts.
    Answered { work: Option<Duration> },
    /// It broke off. The time on the slot counts, and nothing is learnt from it.
    Cut,
}

pub struct Core {
    hosts: Vec<Host>,
    /// By class: `Class as usize`.
    lanes: [Lane; 2],
    clock: Clock,
    running: HashMap<Ticket, Running>,
    /// Which flow of which lane a waiting request stands in.
    seats: HashMap<Ticket, (Class, i64)>,
    people: HashMap<i64, Counts>,
    waiting_bytes: usize,
    image_requests: usize,
    history: History,
    bounds: Bounds,
    next_ticket: Ticket,
}

struct Host {
    slots: Slots,
    free: usize,
    /// It takes no new work.
    down: bool,
    /// Running requests by model; none is zero.
    models: HashMap<String, usize>,
    /// The models that ran last, newest at the end: what the host probably has loaded.
    loaded: VecDeque<String>,
}

/// One class.
struct Lane {
    /// Its share against the other class.
    weight: f64,
    tag: Tag,
    clock: Clock,
    flows: BTreeMap<i64, Flow>,
    waiting: usize,
    running: usize,
}

/// One person's requests of one class.
struct Flow {
    weight: f64,
    tag: Tag,
    waiting: VecDeque<Waiting>,
    running: usize,
}

struct Waiting {
    ticket: Ticket,
    asking: Asking,
    /// Since when others pass it because their model is loaded.
    passed_since: Option<Duration>,
}

struct Running {
    asking: Asking,
    flow: i64,
    host: HostId,
    /// Seconds of work that the flow and the class were charged.
    charged: f64,
    since: Duration,
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
}

/// A waiting request that can run now.
struct Choice {
    flow: i64,
    at: usize,
    host: HostId,
    /// Its model is loaded there.
    loaded: bool,
}

impl Core {
    pub fn new(hosts: &[Slots], bounds: Bounds) -> Self {
        let host = |slots: &Slots| Host {
            slots: *slots,
            free: slots.total,
            down: false,
            models: HashMap::new(),
            loaded: VecDeque::new(),
        };
        let clock = Clock::new();
        let batch = bounds.batch_share;
        Core {
            hosts: hosts.iter().map(host).collect(),
            lanes: [Lane::new(1.0 - batch), Lane::new(batch)],
            clock,
            running: HashMap::new(),
            seats: HashMap::new(),
            people: HashMap::new(),
            waiting_bytes: 0,
            image_requests: 0,
            history: History::default(),
            bounds,
            next_ticket: 0,
        }
    }

    /// From now on these bounds hold.
    pub fn obey(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.lanes[Class::Interactive as usize].weight = 1.0 - bounds.batch_share;
        self.lanes[Class::Batch as usize].weight = bounds.batch_share;
    }

    /// Whether a host takes new work. What runs there is left alone, and what waits for it alone goes on waiting.
    pub fn set_down(&mut self, host: HostId, down: bool) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.down = down;
        }
    }

    /// A running request, to be sent to another host that is up and serves its model, if there is one.
    pub fn elsewhere(&self, ticket: Ticket) -> Option<Asking> {
        let running = self.running.get(&ticket)?;
        let mut hosts = running.asking.hosts.clone();
        hosts.retain(|host| *host != running.host && !self.hosts[host.0].down);
        (!hosts.is_empty()).then(|| Asking { hosts, ..running.asking.clone() })
    }

    /// A place for a request. Whether its turn has come already, `grant` tells.
    pub fn enter(&mut self, asking: Asking) -> Result<Ticket, Full> {
        // A free slot that somebody waiting could use does not exist, so a request that can run, runs.
        if self.host_for(&asking).is_none() {
            self.check_room(&asking)?;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let class = asking.class;
        let key = match self.bounds.order {
            Order::Fair => asking.person,
            Order::Arrival => 0,
        };
        self.people.entry(asking.person).or_default().waiting += 1;
        self.waiting_bytes += asking.bytes;
        self.seats.insert(ticket, (class, key));

        let clock = self.clock;
        let lane = &mut self.lanes[class as usize];
        if lane.waiting == 0 {
            clock.wakes(&mut lane.tag);
        }
        lane.waiting += 1;
        let start = lane.clock.tag();
        let flow = lane.flows.entry(key).or_insert_with(|| Flow::new(start));
        if flow.waiting.is_empty() {
            lane.clock.wakes(&mut flow.tag);
        }
        flow.weight = match self.bounds.order {
            Order::Fair => f64::from(asking.weight.max(1)),
            Order::Arrival => 1.0,
        };
        flow.waiting.push_back(Waiting { ticket, asking, passed_since: None });
        Ok(ticket)
    }

    fn check_room(&self, asking: &Asking) -> Result<(), Full> {
        let yours = self.people.get(&asking.person).map_or(0, |counts| counts.waiting);
        if yours >= self.bounds.waiting_per_user_max {
            return Err(Full::Yours { waiting: yours });
        }
        let full = self.seats.len() >= self.bounds.waiting_max
            || self.waiting_bytes.saturating_add(asking.bytes) > self.bounds.waiting_bytes_max;
        if full { Err(Full::Everybodys { waiting: self.seats.len() }) } else { Ok(()) }
    }

    /// The next request whose turn has come. To be called until it answers `None`, after every `enter` and `release`.
    pub fn grant(&mut self, now: Duration) -> Option<Grant> {
        if self.seats.is_empty() || self.hosts.iter().all(|host| host.free == 0) {
            return None;
        }
        let [interactive, batch] = &self.lanes;
        // By where the next piece would end, not where it begins: a batch that comes new earns its share before it has it.
        let work = self.history.service();
        let ends = |lane: &Lane| lane.tag.after(work, lane.weight);
        let batch_first = ends(batch).cmp(&ends(interactive)).is_lt();
        let order = if batch_first { [Class::Batch, Class::Interactive] } else { [Class::Interactive, Class::Batch] };
        for class in order {
            if let Some(choice) = self.choose(class, now) {
                return Some(self.start(class, choice, now));
            }
        }
        None
    }

    fn choose(&mut self, class: Class, now: Duration) -> Option<Choice> {
        let lane = &self.lanes[class as usize];
        let mut flows: Vec<(&i64, &Flow)> = lane.flows.iter().filter(|(_, flow)| !flow.waiting.is_empty()).collect();
        flows.sort_by(|(_, one), (_, other)| {
            one.tag.cmp(&other.tag).then(one.waiting[0].ticket.cmp(&other.waiting[0].ticket))
        });
        let due = flows.iter().find_map(|(key, flow)| self.first_that_can_run(**key, flow, false))?;
        if due.loaded || self.bounds.affinity.is_zero() {
            return Some(due);
        }
        let handy = flows.iter().find_map(|(key, flow)| self.first_that_can_run(**key, flow, true));
        let passed = &mut self.lanes[class as usize].flows.get_mut(&due.flow)?.waiting[due.at].passed_since;
        match handy {
            Some(handy) if passed.is_none_or(|since| now.saturating_sub(since) < self.bounds.affinity) => {
                passed.get_or_insert(now);
                Some(handy)
            }
            _ => Some(due),
        }
    }

    fn first_that_can_run(&self, key: i64, flow: &Flow, loaded_only: bool) -> Option<Choice> {
        flow.waiting.iter().enumerate().find_map(|(at, waiting)| {
            let (host, loaded) = self.host_for(&waiting.asking)?;
            (loaded || !loaded_only).then_some(Choice { flow: key, at, host, loaded })
        })
    }

    /// A host where the request can run now, and whether its model is loaded there: such a one first, then the emptiest.
    fn host_for(&self, asking: &Asking) -> Option<(HostId, bool)> {
        let running = self.people.get(&asking.person).map_or(0, |counts| counts.running);
        if running >= self.bounds.running_per_user_max
            || (asking.images && self.image_requests >= self.bounds.image_requests_max)
        {
            return None;
        }
        let able = asking.hosts.iter().filter(|host| self.hosts[host.0].can_run(&asking.model));
        let best = able.max_by_key(|host| {
            let state = &self.hosts[host.0];
            // Of equals `max_by_key` takes the last; the order of the config is the tie-breaker.
            (state.has_loaded(&asking.model), state.free, usize::MAX - host.0)
        })?;
        Some((*best, self.hosts[best.0].has_loaded(&asking.model)))
    }

    fn start(&mut self, class: Class, choice: Choice, now: Duration) -> Grant {
        let lane = &mut self.lanes[class as usize];
        let waiting = lane.flows.get_mut(&choice.flow).and_then(|flow| flow.waiting.remove(choice.at));
        let waiting = waiting.unwrap_or_else(|| unreachable!("a choice is made from what waits"));
        let Waiting { ticket, asking, .. } = waiting;
        let work = self.history.work_of(&asking.model);
        self.clock.serves(&mut lane.tag, work, lane.weight);
        lane.waiting -= 1;
        lane.running += 1;
        if let Some(flow) = lane.flows.get_mut(&choice.flow) {
            lane.clock.serves(&mut flow.tag, work, flow.weight);
            flow.running += 1;
        }
        self.unseat(ticket, &asking);
        self.people.entry(asking.person).or_default().running += 1;
        self.image_requests += usize::from(asking.images);
        self.hosts[choice.host.0].takes(&asking.model);
        let running = Running { asking, flow: choice.flow, host: choice.host, charged: work, since: now };
        self.running.insert(ticket, running);
        Grant { ticket, host: choice.host }
    }

    fn unseat(&mut self, ticket: Ticket, asking: &Asking) {
        self.seats.remove(&ticket);
        self.waiting_bytes -= asking.bytes;
        self.people.entry(asking.person).or_default().waiting -= 1;
    }

    /// A request ends, wherever it stands.
    pub fn release(&mut self, ticket: Ticket, end: End, now: Duration) {
        if self.seats.contains_key(&ticket) {
            self.leave(ticket);
        } else {
            self.end(ticket, end, now);
        }
    }

    fn leave(&mut self, ticket: Ticket) {
        let Some((class, key)) = self.seats.get(&ticket).copied() else { return };
        let lane = &mut self.lanes[class as usize];
        let Some(flow) = lane.flows.get_mut(&key) else { return };
        let Some(at) = flow.waiting.iter().position(|waiting| waiting.ticket == ticket) else { return };
        let Some(waiting) = flow.waiting.remove(at) else { return };
        lane.waiting -= 1;
        self.unseat(ticket, &waiting.asking);
        self.forget(class, key, waiting.asking.person);
    }

    fn end(&mut self, ticket: Ticket, end: End, now: Duration) {
        let Some(running) = self.running.remove(&ticket) else { return };
        let Running { asking, flow: key, host, charged, since } = running;
        let held = now.saturating_sub(since);
        let cost = match end {
            End::Answered { work: Some(work) } => work,
            End::Answered { work: None } | End::Cut => held,
        };
        if let End::Answered { .. } = end {
            self.history.learn(&asking.model, cost, held);
        }
        let cost = cost.as_secs_f64();
        self.hosts[host.0].gives_back(&asking.model);
        self.image_requests -= usize::from(asking.images);
        self.people.entry(asking.person).or_default().running -= 1;
        let lane = &mut self.lanes[asking.class as usize];
        lane.running -= 1;
        lane.tag.correct(charged, cost, lane.weight);
        if let Some(flow) = lane.flows.get_mut(&key) {
            flow.running -= 1;
            flow.tag.correct(charged, cost, flow.weight);
        }
        self.forget(asking.class, key, asking.person);
    }

    /// Drops what needs not be remembered, so that memory is bounded by who waits, runs or has run ahead of the others.
    fn forget(&mut self, class: Class, key: i64, person: i64) {
        if self.people.get(&person).is_some_and(|counts| counts.waiting == 0 && counts.running == 0) {
            self.people.remove(&person);
        }
        let lane = &mut self.lanes[class as usize];
        if lane.waiting == 0 && lane.running == 0 {
            let last = lane.flows.values().map(|flow| flow.tag).max_by(Tag::cmp);
            last.into_iter().for_each(|last| lane.clock.rests(last));
            lane.flows.clear();
        } else if let Some(flow) = lane.flows.get(&key)
            && flow.waiting.is_empty()
            && flow.running == 0
            && lane.clock.has_passed(flow.tag)
        {
            lane.flows.remove(&key);
        }
        if self.seats.is_empty() && self.running.is_empty() {
            for lane in &self.lanes {
                self.clock.rests(lane.tag);
            }
        }
    }

    /// How many waiting requests will probably be served before this one; `None` when it does not wait.
    pub fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        let (class, key) = *self.seats.get(&ticket)?;
        let lane = &self.lanes[class as usize];
        let own = lane.flows.get(&key)?;
        let behind = own.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        let work = self.history.service();
        let others = lane.flows.iter().filter(|(other, _)| **other != key);
        let before: usize = others
            .map(|(_, flow)| {
                flow.tag.pieces_before(flow.weight, own.tag, own.weight, behind, work).min(flow.waiting.len())
            })
            .sum();
        let preferred = match class {
            Class::Interactive => 0,
            Class::Batch => self.lanes[Class::Interactive as usize].waiting,
        };
        Some(behind + before + preferred)
    }

    /// The GPU time that a request to `model` will probably take.
    pub fn work_of(&self, model: &str) -> Duration {
        Duration::from_secs_f64(self.history.work_of(model))
    }

    /// How long a request will probably hold its slot.
    pub fn service(&self) -> Duration {
        Duration::from_secs_f64(self.history.service())
    }

    /// When a request with `ahead` others before it will probably begin.
    pub fn begins_in(&self, ahead: usize) -> Duration {
        let slots: usize = self.hosts.iter().map(|host| host.slots.total).sum();
        Duration::from_secs_f64((ahead + 1) as f64 * self.history.service() / slots.max(1) as f64)
    }

    /// When all who wait now will probably have begun: before that, one more would wait as long as they do.
    pub fn drained_in(&self) -> Duration {
        self.begins_in(self.seats.len().saturating_sub(1))
    }

    /// When a running request will probably have ended, as far as means can tell; zero when it is overdue.
    pub fn ends_in(&self, ticket: Ticket, now: Duration) -> Option<Duration> {
        let ran = now.saturating_sub(self.running.get(&ticket)?.since);
        Some(self.service().saturating_sub(ran))
    }

    /// When one more place will probably be free, for this person or for anybody.
    pub fn room_in(&self, full: Full) -> Duration {
        let turns = match full {
            // Everybody who waits is served once before this person is served again.
            Full::Yours { .. } => self.people.values().filter(|counts| counts.waiting > 0).count().max(1) - 1,
            Full::Everybodys { .. } => 0,
        };
        self.begins_in(turns)
    }

    pub fn hosts(&self) -> impl Iterator<Item = HostLoad> {
        self.hosts.iter().map(|host| HostLoad {
            slots: host.slots.total,
            free: host.free,
            loaded: host.loaded.iter().cloned().collect(),
        })
    }
}

impl Lane {
    fn new(weight: f64) -> Self {
        let clock = Clock::new();
        Lane { weight, tag: clock.tag(), clock, flows: BTreeMap::new(), waiting: 0, running: 0 }
    }
}

impl Flow {
    fn new(tag: Tag) -> Self {
        Flow { weight: 1.0, tag, waiting: VecDeque::new(), running: 0 }
    }
}

impl Host {
    fn can_run(&self, model: &str) -> bool {
        !self.down && self.free > 0 && self.models.get(model).is_none_or(|running| *running < self.slots.per_model)
    }

    fn has_loaded(&self, model: &str) -> bool {
        self.loaded.iter().any(|loaded| loaded == model)
    }

    fn takes(&mut self, model: &str) {
        self.free -= 1;
        *self.models.entry(model.to_owned()).or_default() += 1;
        self.loaded.retain(|loaded| loaded != model);
        self.loaded.push_back(model.to_owned());
        if self.loaded.len() > self.slots.models_loaded {
            self.loaded.pop_front();
        }
    }

    fn gives_back(&mut self, model: &str) {
        self.free += 1;
        if let Some(running) = self.models.get_mut(model) {
            *running -= 1;
            if *running == 0 {
                self.models.remove(model);
            }
        }
    }
}

#[cfg(test)]
mod tests;
