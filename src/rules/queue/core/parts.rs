//! Divides the work of slots between the flows that could use them, and keeps their accounts (`share.rs`).

use std::time::Duration;

use crate::model::catalog::UpstreamId;
use crate::model::rights::Class;
use crate::rules::queue::core::{
    Key, LONGEST_OWED_MAX, QueueCore, REQUESTS_OWED_MAX, Running, SlotRequest, Ticket, Waiting,
};
use crate::rules::queue::share::{SlotClaim, divide};

/// The part of a flow that could have used a slot when it was given away, or came to wait for it later.
pub struct SlotPart {
    pub flow: Key,
    pub stay: u64,
    pub claim: SlotClaim,
    /// What its account has for it.
    pub credited: f64,
}

impl QueueCore {
    /// Gives a flow its part of the slots in use that its newest request waits for. `begins`: none of its requests waited
    /// before.
    pub fn join(&mut self, key: Key, begins: bool, now: Duration) {
        let Some(flow) = self.flows.get(&key) else { return };
        let Some(Waiting { asking, .. }) = flow.waiting.back() else { return };
        let (stay, weight) = (flow.stay, flow.account.weight);
        let usable = |running: &Running| self.could_use_after(running, asking);
        let usable: Vec<Ticket> =
            self.running.iter().filter(|(_, running)| usable(running)).map(|(ticket, _)| *ticket).collect();
        let is_level = begins && self.place(key, &usable);
        let service = self.history.service();
        for ticket in usable {
            let Some(running) = self.running.get_mut(&ticket) else { continue };
            // What batch began while interactive left the slot to it is batch's own.
            let is_left = running.flow.0 == Class::Batch && key.0 == Class::Interactive;
            if is_left || running.parts.iter().any(|part| (part.flow, part.stay) == (key, stay)) {
                continue;
            }
            let held = now.saturating_sub(running.since).as_secs_f64();
            // As if it had come one usual request ago: people who come now and then wait for one turn.
            let since = if is_level { (held - service).max(0.0) } else { held };
            running.parts.push(SlotPart {
                flow: key,
                stay,
                claim: SlotClaim { class: key.0, weight, since },
                credited: 0.0,
            });
            let owner = running.flow;
            self.reckon(ticket, now);
            if let Some(owner) = self.flows.get_mut(&owner) {
                owner.is_placed = true;
            }
        }
    }

    /// Returns whether a request could run in place of one that runs, when that is over.
    fn could_use_after(&self, running: &Running, asking: &SlotRequest) -> bool {
        let has_permit = self.image_requests < self.bounds.image_requests_max;
        let upstream = &self.upstreams[running.upstream.0];
        let slot = asking.upstreams.contains(&running.upstream)
            && upstream.fits_instead(&asking.model, &running.asking.model)
            && (!asking.images || running.asking.images || has_permit);
        let permit = asking.images && running.asking.images && !has_permit && self.has_slot(asking);
        slot || permit
    }

    /// Places a flow that begins to wait among those that use the slots it waits for: it stands no higher than they stood when
    /// they got them. Returns whether it stands as high.
    fn place(&mut self, key: Key, usable: &[Ticket]) -> bool {
        let levels = usable.iter().filter_map(|ticket| self.level_at_start(&self.running[ticket]));
        let level = levels.min_by(f64::total_cmp);
        let settled = self.settled(key);
        let charged: f64 =
            self.running.values().filter(|running| running.flow == key).map(|running| running.charged).sum();
        let number = self.grants;
        let Some(flow) = self.flows.get_mut(&key) else { return false };
        let is_new = !std::mem::replace(&mut flow.is_placed, true);
        // What a new flow was charged for work that ran alone comes back to it when that ends.
        let owed = if is_new { settled + charged } else { settled };
        let behind = level.map_or(0.0, |level| level * flow.account.weight - owed);
        if is_new {
            flow.account.stand_behind(number);
        }
        let is_level = is_new || behind <= 0.0;
        if is_level {
            flow.account.add(behind);
        }
        is_level
    }

    /// Returns the level at which the flow that has a slot got it.
    fn level_at_start(&self, running: &Running) -> Option<f64> {
        let flow = self.flows.get(&running.flow).filter(|flow| flow.stay == running.stay)?;
        Some((self.settled(running.flow) + running.charged) / flow.account.weight)
    }

    /// Returns what a flow is owed without its parts of requests that still run, which are an estimate.
    fn settled(&self, key: Key) -> f64 {
        let Some(flow) = self.flows.get(&key) else { return 0.0 };
        let parts = self.running.values().flat_map(|running| &running.parts);
        let own = parts.filter(|part| (part.flow, part.stay) == (key, flow.stay));
        flow.account.owed() - own.map(|part| part.credited).sum::<f64>()
    }

    /// Divides the work of a running request anew, after its parts changed.
    fn reckon(&mut self, ticket: Ticket, now: Duration) {
        let Some(running) = self.running.get_mut(&ticket) else { return };
        let held = now.saturating_sub(running.since).as_secs_f64();
        let mut parts = std::mem::take(&mut running.parts);
        let work = running.charged;
        self.settle(&mut parts, work, work.max(held));
        if let Some(running) = self.running.get_mut(&ticket) {
            running.parts = parts;
        }
    }

    /// Gives each its part of `work`, done in so many seconds on the slot, in place of what it had for it before.
    pub fn settle(&mut self, parts: &mut [SlotPart], work: f64, held: f64) {
        let share = if held > 0.0 { work / held } else { 0.0 };
        let claims: Vec<SlotClaim> = parts.iter().map(|part| part.claim).collect();
        let seconds = divide(&claims, held, self.bounds.batch_share);
        for (part, seconds) in parts.iter_mut().zip(seconds) {
            let seconds = seconds * share;
            self.credit(part.flow, part.stay, seconds - part.credited);
            part.credited = seconds;
        }
        let level_max = self.level_max();
        for part in parts {
            if let Some(flow) = self.flows.get_mut(&part.flow) {
                flow.account.cap(level_max);
            }
        }
    }

    /// Takes a flow's part of the slots in use that none of its requests waits for any more.
    pub fn drop_parts(&mut self, key: Key, now: Duration) {
        let Some(flow) = self.flows.get(&key) else { return };
        let stay = flow.stay;
        let left = |running: &Running| {
            let still_waits =
                flow.waiting_on[running.upstream.0] > 0 || (running.asking.images && flow.waiting_images > 0);
            // The flow that has the slot keeps its part until the end.
            !still_waits && (running.flow, running.stay) != (key, stay)
        };
        let left: Vec<Ticket> =
            self.running.iter().filter(|(_, running)| left(running)).map(|(ticket, _)| *ticket).collect();
        for ticket in left {
            let Some(running) = self.running.get_mut(&ticket) else { continue };
            let Some(at) = running.parts.iter().position(|part| (part.flow, part.stay) == (key, stay)) else {
                continue;
            };
            let part = running.parts.swap_remove(at);
            self.credit(key, stay, -part.credited);
            self.reckon(ticket, now);
        }
    }

    /// Returns an empty part for each flow that could use a slot on this upstream now, and for each that has nothing waiting but
    /// had more of that slot than they. Forgets those that had not.
    pub fn claimants(&mut self, upstream: UpstreamId, images: bool) -> Vec<SlotPart> {
        let fits = |ticket, asking: &SlotRequest| self.could_use(upstream, images, ticket, asking);
        let (mut keys, mut idle) = (Vec::new(), Vec::new());
        for (key, flow) in &self.flows {
            if flow.waiting.iter().any(|waiting| fits(Some(waiting.ticket), &waiting.asking)) {
                keys.push(*key);
            } else if flow.waiting.is_empty() && flow.last.as_ref().is_some_and(|last| fits(None, last)) {
                idle.push(*key);
            }
        }
        let level = |key: &Key| self.flows[key].account.level();
        // Compared with its own class, if that waits.
        let highest = |class| {
            keys.iter().max_by(|one, other| {
                (one.0 == class).cmp(&(other.0 == class)).then(level(one).total_cmp(&level(other)))
            })
        };
        let is_behind = |key: &Key| highest(key.0).is_some_and(|highest| level(key) < level(highest));
        let (behind, even): (Vec<Key>, Vec<Key>) = idle.into_iter().partition(is_behind);
        keys.extend(behind);
        for key in even {
            if self.flows[&key].is_away() {
                self.flows.remove(&key);
            }
        }
        self.raise(&keys);
        let is_contended = keys.len() > 1;
        let mut parts = Vec::new();
        for key in keys {
            let Some(flow) = self.flows.get_mut(&key) else { continue };
            flow.is_placed |= is_contended;
            let claim = SlotClaim { class: key.0, weight: flow.account.weight, since: 0.0 };
            parts.push(SlotPart { flow: key, stay: flow.stay, claim, credited: 0.0 });
        }
        parts
    }

    /// Lifts flows that compete and all owe something until one of them owes nothing: that keeps their order, and accounts
    /// far from their limits. A flow that is alone keeps what it owes elsewhere.
    fn raise(&mut self, competing: &[Key]) {
        let highest = competing.iter().map(|key| self.flows[key].account.level()).max_by(f64::total_cmp);
        let Some(highest) = highest.filter(|highest| *highest < 0.0 && competing.len() > 1) else { return };
        for key in competing {
            if let Some(flow) = self.flows.get_mut(key) {
                flow.account.add(-highest * flow.account.weight);
            }
        }
    }

    /// Changes what a flow is owed, if that flow is still there.
    pub fn credit(&mut self, key: Key, stay: u64, seconds: f64) {
        if let Some(flow) = self.flows.get_mut(&key).filter(|flow| flow.stay == stay) {
            flow.account.add(seconds);
        }
    }

    /// Returns the limit of what a flow is owed for its weight, in seconds: far more than flows differ by where all slots are
    /// alike.
    pub fn level_max(&self) -> f64 {
        let usual = REQUESTS_OWED_MAX * self.history.service();
        self.bounds.affinity.as_secs_f64() + usual.max(LONGEST_OWED_MAX * self.history.longest())
    }

    /// Forgets the flows that are away and last used a slot that is free. To be called when no waiting request can run.
    pub fn let_off(&mut self) {
        let upstreams = &self.upstreams;
        self.flows.retain(|_, flow| {
            let is_free =
                |last: &SlotRequest| last.upstreams.iter().any(|upstream| upstreams[upstream.0].can_run(&last.model));
            !(flow.is_away() && flow.last.as_ref().is_none_or(is_free))
        });
    }
}
