//! Estimates when waiting requests will begin and running ones will end.

use std::time::Duration;

use crate::model::rights::Class;
use crate::rules::queue::core::{Flow, Full, Key, QueueCore, Ticket};

impl QueueCore {
    /// Returns how many waiting requests will probably be served before this one; `None` when it does not wait.
    pub fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        let key = *self.seats.get(&ticket)?;
        let own = self.flows.get(&key)?;
        let behind = own.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
        let upstreams = &own.waiting[behind].asking.upstreams;
        let work = self.history.service();
        let urgency = own.account.urgency(0.0);
        let before = |(other, flow): (&Key, &Flow)| {
            // Requests for other upstreams are not ahead of it.
            let competing = upstreams.iter().map(|upstream| flow.waiting_on[upstream.0]).max().unwrap_or_default();
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

    /// Returns the GPU time that a request to `model` will probably take.
    pub fn work_of(&self, model: &str) -> Duration {
        Duration::from_secs_f64(self.history.work_of(model))
    }

    /// Returns how long a request will probably hold its slot.
    pub fn service(&self) -> Duration {
        Duration::from_secs_f64(self.history.service())
    }

    /// Returns when a request with `ahead` others before it will probably begin.
    pub fn begins_in(&self, ahead: usize) -> Duration {
        let slots: usize = self.upstreams.iter().map(|upstream| upstream.slots.total).sum();
        Duration::from_secs_f64((ahead + 1) as f64 * self.history.service() / slots.max(1) as f64)
    }

    /// Returns when all requests that wait now will probably have begun.
    pub fn drained_in(&self) -> Duration {
        self.begins_in(self.seats.len().saturating_sub(1))
    }

    /// Returns when a running request will probably have ended, as far as means can tell; zero when it is overdue.
    pub fn ends_in(&self, ticket: Ticket, now: Duration) -> Option<Duration> {
        let ran = now.saturating_sub(self.running.get(&ticket)?.since);
        Some(self.service().saturating_sub(ran))
    }

    /// Returns when one more place will probably be free, for this person or for all.
    pub fn room_in(&self, full: Full) -> Duration {
        let turns = match full {
            // Each person who waits is served once before this one is served again.
            Full::OfPerson { .. } => self.people.values().filter(|counts| counts.waiting > 0).count().max(1) - 1,
            Full::OfAll { .. } => 0,
        };
        self.begins_in(turns)
    }
}
