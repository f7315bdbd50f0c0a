//! Who is served next, on which host: a pure core, without clock, await or channel. `now` is an argument.
//!
//! A slot goes to the person who is owed most among those who can use it (`share.rs`): by class, where `batch` has a small
//! share and takes whatever `interactive` leaves, and within a class by weight. A person's own requests keep their order,
//! except that one that can't run now (its host or model is busy) is passed by the next that can. A request whose model is
//! not loaded may be passed by those whose model is, for `affinity` at most.
//!
//! A grant looks at each flow once, and within a flow at the requests before the first that can run. While no host has a
//! free slot it looks at nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::config::Order;
use crate::config::settings::Settings;
use crate::model::catalog::HostId;
use crate::model::rights::Class;
use crate::rules::queue::HostLoad;
use crate::rules::queue::history::History;
use crate::rules::queue::share::{Account, Split, Stake, Urgency};

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

/// A request that can't run where a slot is free, but would need a permit (as one of its person's, or for its images) is
/// passed by this many others that take the last one; then the permit is kept for it.
const PASSES_MAX: u32 = 8;

/// A flow is owed so many usual requests at most, for its weight, and owes so many of its own, beside the affinity.
const REQUESTS_OWED_MAX: f64 = 8.0;

pub struct Core {
    hosts: Vec<Host>,
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
    bounds: Bounds,
    next_ticket: Ticket,
    grants: u64,
    stays: u64,
}

/// One person's requests of one class; of everybody, when they are served in the order of arrival.
type Key = (Class, i64);

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

struct Flow {
    account: Account,
    /// Which of the flows that had this key, one after the other: settling a request is no matter of a later one.
    stay: u64,
    waiting: VecDeque<Waiting>,
    /// How many of these could run on each host, were it free.
    waiting_on: Vec<usize>,
    /// How many of these have images.
    waiting_images: usize,
    running: usize,
    /// What it had a slot for last: where it pays off what it owes.
    last: Option<Asking>,
}

struct Waiting {
    ticket: Ticket,
    asking: Asking,
    /// When a request for a loaded model first overtook this one.
    passed_since: Option<Duration>,
}

/// A waiting request that needs a permit.
struct Passed {
    person: i64,
    images: bool,
    hosts: Vec<HostId>,
    times: u32,
}

struct Running {
    asking: Asking,
    flow: Key,
    host: HostId,
    /// The estimate, in seconds of work, that its flow was charged.
    charged: f64,
    /// Its flow's stay.
    stay: u64,
    /// Those who could use the slot, and what each is owed of the work.
    split: Split,
    parts: Vec<Part>,
    /// Seconds that its flow was charged for the time before others came to wait.
    given: f64,
    since: Duration,
}

/// A flow that could have used a slot when it was given away, or came to wait for it later.
struct Part {
    flow: Key,
    stay: u64,
    stake: Stake,
    /// What it was credited when that was an estimate.
    credited: f64,
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
}

/// A waiting request that can run now.
struct Choice {
    flow: Key,
    at: usize,
    ticket: Ticket,
    host: HostId,
    /// Its model is loaded there.
    loaded: bool,
    urgency: Urgency,
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
        Core {
            hosts: hosts.iter().map(host).collect(),
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

    /// From now on these bounds hold.
    pub fn obey(&mut self, bounds: Bounds) {
        self.bounds = bounds;
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
    pub fn enter(&mut self, asking: Asking, now: Duration) -> Result<Ticket, Full> {
        // A free slot that somebody waiting could use does not exist, so a request that can run, runs.
        let has_to_wait = self.host_for(None, &asking).is_none();
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
        let hosts = self.hosts.len();
        let flow = self.flows.entry(key).or_insert_with(|| {
            self.stays += 1;
            Flow::new(self.stays, hosts)
        });
        flow.account.weight = match self.bounds.order {
            Order::Fair => f64::from(asking.weight.max(1)),
            Order::Arrival => 1.0,
        };
        asking.hosts.iter().for_each(|host| flow.waiting_on[host.0] += 1);
        flow.waiting_images += usize::from(asking.images);
        flow.waiting.push_back(Waiting { ticket, asking, passed_since: None });
        if has_to_wait {
            self.join(key, now);
        }
        Ok(ticket)
    }

    /// A flow has come to wait for slots that are in use: from now on it has its part of what they do.
    fn join(&mut self, key: Key, now: Duration) {
        let Some(flow) = self.flows.get(&key) else { return };
        let Some(Waiting { asking, .. }) = flow.waiting.back() else { return };
        let (stay, weight) = (flow.stay, flow.account.weight);
        let has_permit = self.image_requests < self.bounds.image_requests_max;
        let has_slot = self.has_slot(asking);
        let level_max = self.level_max();
        let room = |flow: &Flow| (level_max * flow.account.weight - flow.account.owed()).max(0.0);
        let mut room = room(flow);
        let mut credits = Vec::new();
        let service = self.history.service();
        // Work that began while the other class left the slot is nobody's but its own.
        for running in self.running.values_mut().filter(|running| running.flow.0 == key.0) {
            let host = &self.hosts[running.host.0];
            let slot = asking.hosts.contains(&running.host)
                && host.fits_instead(&asking.model, &running.asking.model)
                && (!asking.images || running.asking.images || has_permit);
            let permit = asking.images && running.asking.images && !has_permit && has_slot;
            let could_use = slot || permit;
            // One part for each flow, however often it comes and goes while the request runs.
            let known = running.parts.iter().position(|part| part.flow == key);
            let known = known.map(|at| running.parts.swap_remove(at));
            if !could_use || known.as_ref().is_some_and(|part| part.stay == stay && part.stake.waits()) {
                running.parts.extend(known);
                continue;
            }
            let known = known.filter(|part| part.stay == stay);
            let held = now.saturating_sub(running.since).as_secs_f64();
            let had = known.as_ref().map_or(0.0, |part| part.stake.had(held, running.charged));
            let (stake, part) = running.split.join(key.0, weight, had, held, self.bounds.batch_share);
            // It counts as if it had come one usual request ago: people who come now and then wait for one turn.
            let is_new = known.is_none();
            let before = if is_new { (part * held.min(service)).min(service - running.given).max(0.0) } else { 0.0 };
            running.given += before;
            let credited = (part * (running.charged - held).max(0.0)).min((room - before).max(0.0));
            room -= before + credited;
            let already = known.map_or(0.0, |part| part.credited);
            running.parts.push(Part { flow: key, stay, stake, credited: already + credited });
            // The part comes from whoever has the slot, until it is known what everybody is owed.
            if let Some(owner) = running.owner() {
                owner.credited -= credited;
                credits.push((running.flow, running.stay, -credited - before));
            }
            credits.push((key, stay, credited + before));
        }
        for (flow, stay, seconds) in credits {
            self.credit(flow, stay, seconds);
        }
    }

    /// A flow may have nothing waiting any more for slots that are in use: it has had its part of what they do.
    fn part(&mut self, key: Key, now: Duration) {
        let Some(flow) = self.flows.get(&key) else { return };
        let stay = flow.stay;
        let mut credits = Vec::new();
        for running in self.running.values_mut() {
            // Whoever has the slot has its part until the end.
            let still_waits = flow.waiting_on[running.host.0] > 0 || (running.asking.images && flow.waiting_images > 0);
            if still_waits || (running.flow, running.stay) == (key, stay) {
                continue;
            }
            let mine = |part: &&mut Part| part.flow == key && part.stay == stay && part.stake.waits();
            let Some(part) = running.parts.iter_mut().find(mine) else { continue };
            let held = now.saturating_sub(running.since).as_secs_f64();
            let rest = running.split.leave(&mut part.stake, held, self.bounds.batch_share);
            let rest = (rest * (running.charged - held).max(0.0)).min(part.credited);
            part.credited -= rest;
            credits.push((key, stay, -rest));
            if let Some(owner) = running.owner() {
                owner.credited += rest;
                credits.push((running.flow, running.stay, rest));
            }
        }
        for (flow, stay, seconds) in credits {
            self.credit(flow, stay, seconds);
        }
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
        if self.hosts.iter().all(|host| host.down || host.free == 0) {
            return None;
        }
        let Some(choice) = self.choose(now) else {
            self.let_off();
            return None;
        };
        Some(self.start(choice, now))
    }

    fn choose(&mut self, now: Duration) -> Option<Choice> {
        let mut able: Vec<Choice> = self.flows.iter().filter_map(|(key, flow)| self.first(*key, flow, false)).collect();
        // A batch that comes new earns its part before it has it, and all of them together not more slowly than one.
        let batches = able.iter().filter(|choice| choice.flow.0 == Class::Batch).count();
        for choice in able.iter_mut().filter(|choice| choice.flow.0 == Class::Batch) {
            let flow = &self.flows[&choice.flow];
            let work = self.history.work_of(&flow.waiting[choice.at].asking.model);
            if flow.account.level() < self.level_max() {
                choice.urgency = flow.account.urgency(work / batches as f64);
            }
        }
        let due = able.into_iter().max_by(Choice::cmp)?;
        let affinity = self.bounds.affinity;
        if due.loaded || affinity.is_zero() {
            return Some(due);
        }
        let due_flow = &self.flows[&due.flow];
        let may_pass =
            |waiting: &Waiting| waiting.passed_since.is_none_or(|since| now.saturating_sub(since) < affinity);
        if !may_pass(&due_flow.waiting[due.at]) || due_flow.account.level() >= affinity.as_secs_f64() {
            return Some(due);
        }
        let in_class = self.flows.range((due.flow.0, i64::MIN)..=(due.flow.0, i64::MAX));
        let handy = in_class
            .filter(|(_, flow)| flow.account.level() > -affinity.as_secs_f64())
            .filter_map(|(key, flow)| self.first(*key, flow, true))
            // Nor does it pass older ones of its own for longer.
            .filter(|choice| self.flows[&choice.flow].waiting.range(..choice.at).all(may_pass))
            .max_by(Choice::cmp);
        let Some(handy) = handy else { return Some(due) };
        self.flows.get_mut(&due.flow)?.waiting[due.at].passed_since.get_or_insert(now);
        let able = |waiting: &Waiting| self.host_for(Some(waiting.ticket), &waiting.asking).is_some();
        let older = self.flows[&handy.flow].waiting.range(..handy.at).enumerate();
        let older: Vec<usize> = older.filter(|(_, waiting)| able(waiting)).map(|(at, _)| at).collect();
        let flow = self.flows.get_mut(&handy.flow)?;
        older.into_iter().for_each(|at| _ = flow.waiting[at].passed_since.get_or_insert(now));
        Some(handy)
    }

    /// The first request of a flow that can run now.
    fn first(&self, key: Key, flow: &Flow, loaded_only: bool) -> Option<Choice> {
        flow.waiting.iter().enumerate().find_map(|(at, waiting)| {
            let (host, loaded) = self.host_for(Some(waiting.ticket), &waiting.asking)?;
            let urgency = flow.account.urgency(0.0);
            (loaded || !loaded_only).then_some(Choice { flow: key, at, ticket: waiting.ticket, host, loaded, urgency })
        })
    }

    /// A host where the request can run now, and whether its model is loaded there: such a one first, then the emptiest.
    fn host_for(&self, ticket: Option<Ticket>, asking: &Asking) -> Option<(HostId, bool)> {
        let able = asking.hosts.iter().filter(|host| self.hosts[host.0].can_run(&asking.model));
        let best = able.max_by_key(|host| {
            let state = &self.hosts[host.0];
            // Of equals `max_by_key` takes the last; the order of the config is the tie-breaker.
            (state.has_loaded(&asking.model), state.free, usize::MAX - host.0)
        })?;
        self.is_permitted(ticket, asking).then(|| (*best, self.hosts[best.0].has_loaded(&asking.model)))
    }

    /// Whether the request may run beside those that do, wherever there is a slot for it. `ticket`: if it waits already.
    fn is_permitted(&self, ticket: Option<Ticket>, asking: &Asking) -> bool {
        let running = self.people.get(&asking.person).map_or(0, |counts| counts.running);
        let own = self.bounds.running_per_user_max.saturating_sub(running);
        let images = self.bounds.image_requests_max.saturating_sub(self.image_requests);
        own > self.kept(ticket, |passed| passed.person == asking.person)
            && (!asking.images || images > self.kept(ticket, |passed| passed.images))
    }

    /// Whether one permit is kept for another request: the oldest of those that were passed too often and have a host.
    fn kept(&self, ticket: Option<Ticket>, needs: impl Fn(&Passed) -> bool) -> usize {
        let due = |passed: &Passed| {
            passed.times >= PASSES_MAX && needs(passed) && passed.hosts.iter().any(|host| !self.hosts[host.0].down)
        };
        let first = self.passed.iter().find(|(_, passed)| due(passed)).map(|(first, _)| *first);
        usize::from(first.is_some() && first != ticket)
    }

    fn start(&mut self, choice: Choice, now: Duration) -> Grant {
        let Choice { flow: key, at, host, .. } = choice;
        let asking = &self.flows[&key].waiting[at].asking;
        let work = self.history.work_of(&asking.model);
        let (split, mut parts) = self.split(host, asking.images, work);
        let flow = self.flows.get_mut(&key);
        let taken = flow.and_then(|flow| flow.waiting.remove(at).map(|waiting| (waiting, flow)));
        let (waiting, flow) = taken.unwrap_or_else(|| unreachable!("a choice is made from what waits"));
        let Waiting { ticket, asking, .. } = waiting;
        self.grants += 1;
        flow.account.serve(work, self.grants);
        flow.running += 1;
        flow.last = Some(asking.clone());
        let stay = flow.stay;
        asking.hosts.iter().for_each(|host| flow.waiting_on[host.0] -= 1);
        flow.waiting_images -= usize::from(asking.images);
        for part in &mut parts {
            part.credited = self.credit(part.flow, part.stay, part.credited);
        }
        self.unseat(ticket, &asking);
        self.part(key, now);
        self.people.entry(asking.person).or_default().running += 1;
        self.image_requests += usize::from(asking.images);
        self.note_passed(ticket, &asking);
        self.hosts[host.0].takes(&asking.model);
        let running = Running { asking, flow: key, host, charged: work, stay, split, parts, given: 0.0, since: now };
        self.running.insert(ticket, running);
        Grant { ticket, host }
    }

    /// Whether a request could use this slot now, or the image permit that goes with it.
    fn could_use(&self, host: HostId, images: bool, ticket: Option<Ticket>, asking: &Asking) -> bool {
        let slot = asking.hosts.contains(&host) && self.hosts[host.0].can_run(&asking.model);
        let permit = images && asking.images && self.has_slot(asking);
        (slot || permit) && self.is_permitted(ticket, asking)
    }

    /// Whether there is a slot for the request, if it is permitted to run.
    fn has_slot(&self, asking: &Asking) -> bool {
        asking.hosts.iter().any(|host| self.hosts[host.0].can_run(&asking.model))
    }

    /// Who could use a slot on this host now, or owes for having had one like it, and the part of `work` for each.
    fn split(&mut self, host: HostId, images: bool, work: f64) -> (Split, Vec<Part>) {
        let fits = |ticket, asking: &Asking| self.could_use(host, images, ticket, asking);
        let (mut waiting, mut paying) = (Vec::new(), Vec::new());
        for (key, flow) in &self.flows {
            if flow.waiting.iter().any(|waiting| fits(Some(waiting.ticket), &waiting.asking)) {
                waiting.push(*key);
            } else if flow.account.owes() && flow.last.as_ref().is_some_and(|last| fits(None, last)) {
                paying.push(*key);
            }
        }
        self.raise(&waiting);
        let weight = |key: &Key| (key.0, self.flows[key].account.weight);
        let split = Split::new(waiting.iter().map(weight));
        let part = |key: &Key, waits: bool| {
            let (class, weight) = weight(key);
            let share = self.bounds.batch_share;
            let stake = if waits { split.stake(class, weight) } else { split.pays(class, weight, share) };
            let credited = if waits { work * split.part(class, weight, share) } else { 0.0 };
            Part { flow: *key, stay: self.flows[key].stay, stake, credited }
        };
        let parts =
            waiting.iter().map(|key| part(key, true)).chain(paying.iter().map(|key| part(key, false))).collect();
        (split, parts)
    }

    /// Where everybody who competes owes something, it counts only who owes less: a newcomer would be owed nothing and yet
    /// pass them all. Whoever is alone keeps what it owes elsewhere.
    fn raise(&mut self, competing: &[Key]) {
        let highest = competing.iter().map(|key| self.flows[key].account.level()).max_by(f64::total_cmp);
        let Some(highest) = highest.filter(|highest| *highest < 0.0 && competing.len() > 1) else { return };
        for key in competing {
            if let Some(flow) = self.flows.get_mut(key) {
                flow.account.add(-highest * flow.account.weight, 0.0);
            }
        }
    }

    /// Changes what a flow is owed, if it is still the one that it was. One that is away only pays off what it owes.
    /// Returns by how much.
    fn credit(&mut self, key: Key, stay: u64, seconds: f64) -> f64 {
        let level_max = self.level_max();
        let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.stay == stay) else { return 0.0 };
        let changed = if flow.is_away() && seconds > 0.0 {
            flow.account.pay_off(seconds)
        } else {
            flow.account.add(seconds, level_max)
        };
        if flow.is_away() && !flow.account.owes() {
            self.flows.remove(&key);
        }
        changed
    }

    /// What a flow may be owed for its weight, in seconds: far more than flows differ by where all slots are alike.
    fn level_max(&self) -> f64 {
        self.bounds.affinity.as_secs_f64() + REQUESTS_OWED_MAX * self.history.service()
    }

    /// Notes whom a grant passed by taking the last permit while they could not run for want of a slot.
    fn note_passed(&mut self, by: Ticket, asking: &Asking) {
        let own = self.people.get(&asking.person).is_some_and(|own| own.running >= self.bounds.running_per_user_max);
        let images = asking.images && self.image_requests >= self.bounds.image_requests_max;
        if !own && !images {
            return;
        }
        for waiting in self.flows.values().flat_map(|flow| &flow.waiting) {
            let other = &waiting.asking;
            let needs = (own && other.person == asking.person) || (images && other.images);
            if needs && !self.has_slot(other) && waiting.ticket < by {
                let Asking { person, images, ref hosts, .. } = *other;
                let fresh = || Passed { person, images, hosts: hosts.clone(), times: 0 };
                self.passed.entry(waiting.ticket).or_insert_with(fresh).times += 1;
            }
        }
    }

    fn unseat(&mut self, ticket: Ticket, asking: &Asking) {
        self.seats.remove(&ticket);
        self.passed.remove(&ticket);
        self.waiting_bytes -= asking.bytes;
        self.people.entry(asking.person).or_default().waiting -= 1;
    }

    /// A request ends, wherever it stands.
    pub fn release(&mut self, ticket: Ticket, end: End, now: Duration) {
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
        waiting.asking.hosts.iter().for_each(|host| flow.waiting_on[host.0] -= 1);
        flow.waiting_images -= usize::from(waiting.asking.images);
        // Coming, waiting and leaving again earns nothing.
        flow.account.forfeit();
        self.unseat(ticket, &waiting.asking);
        self.part(key, now);
        self.forget(key, waiting.asking.person);
    }

    fn end(&mut self, ticket: Ticket, end: End, now: Duration) {
        let Some(running) = self.running.remove(&ticket) else { return };
        let Running { asking, flow: key, host, charged, stay, mut split, parts, given, since } = running;
        let held = now.saturating_sub(since);
        let cost = match end {
            // Nobody can have had more of a host than it was given.
            End::Answered { work: Some(work) } => work.min(held),
            End::Answered { work: None } | End::Cut => held,
        };
        if let End::Answered { .. } = end {
            self.history.learn(&asking.model, cost, held);
        }
        self.hosts[host.0].gives_back(&asking.model);
        self.image_requests -= usize::from(asking.images);
        self.people.entry(asking.person).or_default().running -= 1;
        // The accounts have an estimate; now they get what it really was.
        let (cost, held) = (cost.as_secs_f64(), held.as_secs_f64());
        split.advance(held, self.bounds.batch_share);
        let (mut own, mut more) = (0.0, charged - cost);
        for part in &parts {
            let owed = cost * split.portion(&part.stake, held);
            if (part.flow, part.stay) == (key, stay) && !part.stake.pays() {
                own += owed;
                more += owed - part.credited;
            } else if !part.stake.pays() {
                self.credit(part.flow, part.stay, owed - part.credited);
            } else if let Some(flow) = self.flows.get_mut(&part.flow).filter(|flow| flow.stay == part.stay) {
                flow.account.pay_off(owed);
                self.credit(part.flow, part.stay, 0.0);
            }
        }
        let level_max = self.level_max();
        let most = REQUESTS_OWED_MAX * cost.max(self.history.service());
        let affinity = self.bounds.affinity.as_secs_f64();
        if let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.stay == stay) {
            flow.running -= 1;
            flow.account.add(more, level_max);
            flow.account.let_off(cost - own + given, most + affinity * flow.account.weight);
        }
        self.forget(key, asking.person);
    }

    /// Drops what needs not be remembered, so that memory is bounded by who waits, runs or owes something.
    fn forget(&mut self, key: Key, person: i64) {
        if self.people.get(&person).is_some_and(|counts| counts.waiting == 0 && counts.running == 0) {
            self.people.remove(&person);
        }
        let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.is_away()) else { return };
        flow.account.forfeit();
        if !flow.account.owes() {
            self.flows.remove(&key);
        }
    }

    /// To be called when nobody waiting can run: where a slot is free nobody competes for it, so nothing is owed for it.
    fn let_off(&mut self) {
        let hosts = &self.hosts;
        self.flows.retain(|_, flow| {
            let is_free = |last: &Asking| last.hosts.iter().any(|host| hosts[host.0].can_run(&last.model));
            !(flow.is_away() && flow.last.as_ref().is_none_or(is_free))
        });
    }

    /// How many waiting requests will probably be served before this one; `None` when it does not wait.
    pub fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        let key = *self.seats.get(&ticket)?;
        let own = self.flows.get(&key)?;
        let behind = own.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        let hosts = &own.waiting[behind].asking.hosts;
        let work = self.history.service();
        let urgency = own.account.urgency(0.0);
        let before = |(other, flow): (&Key, &Flow)| {
            // Those who wait for other hosts are not before it.
            let competing = hosts.iter().map(|host| flow.waiting_on[host.0]).max().unwrap_or_default();
            match (other.0, key.0) {
                _ if *other == key => 0,
                (Class::Interactive, Class::Batch) => competing,
                (Class::Batch, Class::Interactive) => 0,
                _ => {
                    let other = flow.account.urgency(0.0);
                    other.pieces_before(flow.account.weight, &urgency, own.account.weight, behind, work).min(competing)
                }
            }
        };
        Some(behind + self.flows.iter().map(before).sum::<usize>())
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

impl Flow {
    fn new(stay: u64, hosts: usize) -> Self {
        Flow {
            account: Account::new(),
            stay,
            waiting: VecDeque::new(),
            waiting_on: vec![0; hosts],
            waiting_images: 0,
            running: 0,
            last: None,
        }
    }

    fn is_away(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

impl Running {
    /// The part of the flow that has the slot.
    fn owner(&mut self) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| (part.flow, part.stay) == (self.flow, self.stay))
    }
}

impl Choice {
    /// `Greater`: this one is served first.
    fn cmp(&self, other: &Choice) -> std::cmp::Ordering {
        self.urgency.cmp(&other.urgency).then(other.ticket.cmp(&self.ticket))
    }
}

impl Host {
    fn can_run(&self, model: &str) -> bool {
        !self.down && self.free > 0 && self.models.get(model).is_none_or(|running| *running < self.slots.per_model)
    }

    /// Whether a request for `model` could run there when one that runs, for `other`, is over.
    fn fits_instead(&self, model: &str, other: &str) -> bool {
        model == other || self.models.get(model).is_none_or(|running| *running < self.slots.per_model)
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
