//! Chooses the waiting request that runs next, and its upstream.

use std::time::Duration;

use crate::model::catalog::UpstreamId;
use crate::model::rights::Class;
use crate::rules::queue::core::{Flow, Key, PASSES_MAX, Passed, QueueCore, SlotRequest, Ticket, Waiting};
use crate::rules::queue::share::Urgency;

/// A waiting request that can run now.
pub struct NextRequest {
    pub flow: Key,
    pub at: usize,
    pub ticket: Ticket,
    pub upstream: UpstreamId,
    /// Its model is loaded there.
    pub loaded: bool,
    /// Older ones of its flow were passed too often, so other flows come first.
    pub stands_back: bool,
    pub urgency: Urgency,
}

impl QueueCore {
    pub fn choose(&mut self, now: Duration) -> Option<NextRequest> {
        let mut able: Vec<NextRequest> =
            self.flows.iter().filter_map(|(key, flow)| self.first(*key, flow, false)).collect();
        // New batch work earns its part before it has it: it begins when its account is ahead by as much as makes the finish
        // tags of start-time fair queueing equal. Several batch flows together earn no more slowly than one.
        let batches = able.iter().filter(|choice| choice.flow.0 == Class::Batch).count();
        let set_back = 2.0 * (1.0 - 2.0 * self.bounds.batch_share).max(0.0);
        for choice in able.iter_mut().filter(|choice| choice.flow.0 == Class::Batch) {
            let flow = &self.flows[&choice.flow];
            let work = self.history.work_of(&flow.waiting[choice.at].asking.model);
            if flow.account.level() < self.level_max() {
                choice.urgency = flow.account.urgency(set_back * work / batches as f64);
            }
        }
        let due = able.into_iter().max_by(NextRequest::cmp)?;
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
            .max_by(NextRequest::cmp);
        let Some(handy) = handy else { return Some(due) };
        self.flows.get_mut(&due.flow)?.waiting[due.at].passed_since.get_or_insert(now);
        let able = |waiting: &Waiting| self.upstream_for(Some(waiting.ticket), &waiting.asking).is_some();
        let older = self.flows[&handy.flow].waiting.range(..handy.at).enumerate();
        let older: Vec<usize> = older.filter(|(_, waiting)| able(waiting)).map(|(at, _)| at).collect();
        let flow = self.flows.get_mut(&handy.flow)?;
        older.into_iter().for_each(|at| _ = flow.waiting[at].passed_since.get_or_insert(now));
        Some(handy)
    }

    /// Returns the first request of a flow that can run now.
    fn first(&self, key: Key, flow: &Flow, loaded_only: bool) -> Option<NextRequest> {
        flow.waiting.iter().enumerate().find_map(|(at, waiting)| {
            let (upstream, loaded) = self.upstream_for(Some(waiting.ticket), &waiting.asking)?;
            let urgency = flow.account.urgency(0.0);
            let stands_back = flow.account.level() < self.level_max()
                && flow.waiting.range(..at).any(|older| older.passed_by_own >= PASSES_MAX);
            let choice = NextRequest { flow: key, at, ticket: waiting.ticket, upstream, loaded, stands_back, urgency };
            (loaded || !loaded_only).then_some(choice)
        })
    }

    /// Returns an upstream where the request can run now, and whether its model is loaded there. Prefers such an upstream, then the
    /// emptiest.
    pub fn upstream_for(&self, ticket: Option<Ticket>, asking: &SlotRequest) -> Option<(UpstreamId, bool)> {
        let able = asking.upstreams.iter().filter(|upstream| self.upstreams[upstream.0].can_run(&asking.model));
        let best = able.max_by_key(|upstream| {
            let state = &self.upstreams[upstream.0];
            // Of equals `max_by_key` takes the last; the order of the config is the tie-breaker.
            (state.has_loaded(&asking.model), state.free, usize::MAX - upstream.0)
        })?;
        self.is_permitted(ticket, asking).then(|| (*best, self.upstreams[best.0].has_loaded(&asking.model)))
    }

    /// Returns whether the request has the permits that it needs. `ticket`: if it waits already.
    fn is_permitted(&self, ticket: Option<Ticket>, asking: &SlotRequest) -> bool {
        let running = self.people.get(&asking.person).map_or(0, |counts| counts.running);
        let own = self.bounds.running_per_user_max.saturating_sub(running);
        let images = self.bounds.image_requests_max.saturating_sub(self.image_requests);
        own > self.kept(ticket, |passed| passed.person == asking.person)
            && (!asking.images || images > self.kept(ticket, |passed| passed.images))
    }

    /// Returns 1 if a permit is kept for another request: the oldest of those that were passed too often and have an upstream.
    fn kept(&self, ticket: Option<Ticket>, needs: impl Fn(&Passed) -> bool) -> usize {
        let due = |passed: &Passed| {
            passed.times >= PASSES_MAX
                && needs(passed)
                && passed.upstreams.iter().any(|upstream| !self.upstreams[upstream.0].down)
        };
        let first = self.passed.iter().find(|(_, passed)| due(passed)).map(|(first, _)| *first);
        usize::from(first.is_some() && first != ticket)
    }

    /// Returns whether a request could use this slot now, or the image permit that goes with it.
    pub fn could_use(&self, upstream: UpstreamId, images: bool, ticket: Option<Ticket>, asking: &SlotRequest) -> bool {
        let slot = asking.upstreams.contains(&upstream) && self.upstreams[upstream.0].can_run(&asking.model);
        let permit = images && asking.images && self.has_slot(asking);
        (slot || permit) && self.is_permitted(ticket, asking)
    }

    /// Returns whether there is a free slot for the request.
    pub fn has_slot(&self, asking: &SlotRequest) -> bool {
        asking.upstreams.iter().any(|upstream| self.upstreams[upstream.0].can_run(&asking.model))
    }

    /// Counts the waiting requests that a grant passed by taking the last permit while there was no slot for them.
    pub fn note_passed(&mut self, by: Ticket, asking: &SlotRequest) {
        let own = self.people.get(&asking.person).is_some_and(|own| own.running >= self.bounds.running_per_user_max);
        let images = asking.images && self.image_requests >= self.bounds.image_requests_max;
        if !own && !images {
            return;
        }
        for waiting in self.flows.values().flat_map(|flow| &flow.waiting) {
            let other = &waiting.asking;
            let needs = (own && other.person == asking.person) || (images && other.images);
            if needs && !self.has_slot(other) && waiting.ticket < by {
                let SlotRequest { person, images, ref upstreams, .. } = *other;
                let fresh = || Passed { person, images, upstreams: upstreams.clone(), times: 0 };
                self.passed.entry(waiting.ticket).or_insert_with(fresh).times += 1;
            }
        }
    }
}

impl NextRequest {
    /// `Greater`: this one is served first.
    fn cmp(&self, other: &NextRequest) -> std::cmp::Ordering {
        let by_order = other.stands_back.cmp(&self.stands_back);
        by_order.then(self.urgency.cmp(&other.urgency)).then(other.ticket.cmp(&self.ticket))
    }
}
