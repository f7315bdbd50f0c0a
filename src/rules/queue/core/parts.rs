//! Who has a part in the work of a slot, and what that does to the accounts (`share.rs`).

use std::time::Duration;

use crate::model::catalog::HostId;
use crate::rules::queue::core::{Asking, Core, Flow, Key, REQUESTS_OWED_MAX, Running, Waiting};
use crate::rules::queue::share::{Split, Stake};

/// A flow that could have used a slot when it was given away, or came to wait for it later.
pub struct Part {
    pub flow: Key,
    pub stay: u64,
    pub stake: Stake,
    /// What it was credited when that was an estimate.
    pub credited: f64,
}

impl Running {
    /// The part of the flow that has the slot.
    pub fn owner(&mut self) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| (part.flow, part.stay) == (self.flow, self.stay))
    }
}

impl Core {
    /// A flow has come to wait for slots that are in use: from now on it has its part of what they do.
    pub fn join(&mut self, key: Key, now: Duration) {
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
    pub fn part(&mut self, key: Key, now: Duration) {
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

    /// Who could use a slot on this host now, or owes for having had one like it, and the part of `work` for each.
    pub fn split(&mut self, host: HostId, images: bool, work: f64) -> (Split, Vec<Part>) {
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
    pub fn credit(&mut self, key: Key, stay: u64, seconds: f64) -> f64 {
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
    pub fn level_max(&self) -> f64 {
        self.bounds.affinity.as_secs_f64() + REQUESTS_OWED_MAX * self.history.service()
    }

    /// To be called when nobody waiting can run: where a slot is free nobody competes for it, so nothing is owed for it.
    pub fn let_off(&mut self) {
        let hosts = &self.hosts;
        self.flows.retain(|_, flow| {
            let is_free = |last: &Asking| last.hosts.iter().any(|host| hosts[host.0].can_run(&last.model));
            !(flow.is_away() && flow.last.as_ref().is_none_or(is_free))
        });
    }
}
