//! Fair shares where slots are not interchangeable: what each flow is owed of the slots that it waits for.
//!
//! A *flow* is one person's requests of one class. Not every request can use every slot: upstreams serve different models, a
//! model may have slots of its own, and requests with images need a permit. So flows cannot share one virtual clock: an idle
//! upstream would drive it, and a newcomer to a crowded upstream would start behind all others there. Instead, each flow has an
//! account in seconds of GPU time; what it is owed, divided by its weight, is its *level*.
//!
//! The work of a slot is divided, by class and then by weight, between the flow that has the slot and the flows that wait
//! and could use it (`divide`). Each of them is owed its part more; the flow that has the slot is owed the whole work less.
//! A free slot goes to the flow with the highest level among those that can use it. So:
//!
//! - A slot that no other flow could use costs nothing: work that ran alone is not held against its flow later. (A flow that
//!   comes while a request of its class runs counts as if it had come one usual request earlier, at most.)
//! - A new flow stands where the flow that has the slot stood when it got it, as in start-time fair queueing (Goyal, Vin and
//!   Cheng, SIGCOMM 1996), where a newcomer's tag is the start tag of the packet in service. So it earns nothing by being
//!   away, or busy on an idle upstream, and it does not wait for what others are owed.
//! - A flow that has nothing waiting keeps its account, and its part of each slot that it last used, until its level is that
//!   of the flows that wait there. So nothing is gained by leaving and coming back.
//! - Two flows that always wait for the same slots get the same parts for their weights. Where all flows wait for the same
//!   slot, levels differ by one request at most, and the order is that of start-time fair queueing.
//! - While both classes wait for a slot, batch is owed its share of it. It is set back, so that new batch work earns its part
//!   before it has it (`choosing.rs`).
//!
//! # The bound on waiting
//!
//! Let `S` be the number of slots, `W` the longest request or estimate in seconds, `A` the affinity in seconds, `p` a flow's
//! weight (at least 1), `P` the sum of the weights of all flows that have an account, `N` the number of flows that have one
//! while the request waits, and `s` the share of the flow's class (1 where the other class does not wait). Two limits are
//! kept by force: a flow is never owed more than `p * C` with `C = A + 8 * W` (`FlowAccount::cap`), and never owes more than
//! `D = p * (A + (8 + 3 * S) * W)` (`FlowAccount::let_off`; `3 * S` for running requests, which are charged an estimate).
//!
//! **SlotClaim.** Take a request that waits behind `k` older ones of its flow, and count the work of the requests of other flows
//! that were given a slot which it could have used at that moment. That is at most
//!
//! > `P / (s * p) * (p * C + D + 3 * S * W + own) + (k + 1) * N * W`,
//!
//! where `own` is the work that its own flow was given meanwhile. For one request of weight 1 among `n` other people, without
//! affinity, that is some `17 + 6 * S` turns of each. It holds for any upstreams, models and late joiners. Where all flows wait
//! for the same slot, each of the others has one or two turns.
//!
//! **Proof.** While the request waits, its flow has a part of each slot that it could use. So each second of counted work
//! adds at least `s * p / P` to its account, until that has reached `p * C`. An estimate is corrected when the request is
//! done; running requests may be wrong by `W` each, once when counting begins and once when it ends. The flow loses only what
//! it pays for its own requests: `W` for each that ran before, and `own`. Its account began at `-D` or more. So after the
//! first term's work it is owed `p * C`, and from then on it stands at the limit.
//!
//! Which flow can still pass it? One whose model is loaded passes the one whose turn it is only while that is owed less than
//! `A` for its weight, and at the limit batch is not set back, nor does a request stand back. So it must be a flow at the
//! limit, too, that was served longer ago; a new flow counts as served when it comes. Each flow does that at most once: from
//! then on it has been served later. That is `N` requests; and once more after each of the `k` older requests of its own,
//! which lower its account.
//!
//! **`own` is bounded, too.** A flow may always be served at one upstream just before its turn comes at another. So when eight
//! younger requests of a flow took slots that others wanted, its younger requests stand back until the older one is served,
//! or the flow is at the limit (`PASSES_MAX` in `core.rs`).
//!
//! **What a request could have used.** A slot of a model comes free together with a slot of its upstream, so a request that
//! waits for both can use them at that moment. An image permit, or one of the permits of its person, may come free while the
//! upstream is busy, and the upstream while the permit is not there. (A request that has a slot and waits for an image permit alone
//! competes with all that take one, on any upstream.) So a permit that passed such a request several times is kept for it
//! (`PASSES_MAX`); it then waits for a slot alone. At most one permit of a kind is kept, for the oldest.

use crate::model::rights::Class;

/// What one flow is owed.
#[derive(Debug, Clone)]
pub struct FlowAccount {
    /// At least 1.
    pub weight: f64,
    /// Seconds of GPU time; negative: it had more than its part.
    owed: f64,
    /// The number of its last grant: of equals, the one that has waited longer is served.
    served: u64,
}

impl FlowAccount {
    pub fn new() -> Self {
        FlowAccount { weight: 1.0, owed: 0.0, served: 0 }
    }

    /// Returns what it is owed.
    pub fn owed(&self) -> f64 {
        self.owed
    }

    /// Returns what it is owed for its weight.
    pub fn level(&self) -> f64 {
        self.owed / self.weight
    }

    /// Returns how urgent its next request is; the largest is served. `set_back`: seconds by which it stands behind others.
    pub fn urgency(&self, set_back: f64) -> Urgency {
        Urgency { level: (self.owed - set_back) / self.weight, served: self.served }
    }

    /// Changes what it is owed.
    pub fn add(&mut self, seconds: f64) {
        self.owed += seconds;
    }

    /// Limits what it is owed for its weight.
    pub fn cap(&mut self, level_max: f64) {
        self.owed = self.owed.min(level_max * self.weight);
    }

    /// Gives back of what it `paid` for a request as much as it owes more than `most`.
    pub fn let_off(&mut self, paid: f64, most: f64) {
        self.owed += (-most - self.owed).min(paid).max(0.0);
    }

    /// Counts as served with that grant, though it was not.
    pub fn stand_behind(&mut self, number: u64) {
        self.served = number;
    }

    /// Charges it for a slot. `number` grows with each grant.
    pub fn serve(&mut self, work: f64, number: u64) {
        self.owed -= work;
        self.served = number;
    }
}

/// The order of flows. Of equals, the one that was served longer ago comes first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Urgency {
    level: f64,
    served: u64,
}

impl Urgency {
    /// `Greater`: this one is served first.
    pub fn cmp(&self, other: &Urgency) -> std::cmp::Ordering {
        self.level.total_cmp(&other.level).then(other.served.cmp(&self.served))
    }

    /// Returns how many requests of `work` each the flow with this urgency and `weight` begins before `other` begins its request
    /// number `behind`, counted from 0.
    pub fn pieces_before(&self, weight: f64, other: &Urgency, other_weight: f64, behind: usize, work: f64) -> usize {
        let pieces = (self.level - other.level + behind as f64 * work / other_weight) * weight / work;
        // Of equals, the flow that was served longer ago begins, and `other` was served just now if `behind` is not 0.
        let is_first = behind > 0 || other.served > self.served;
        let pieces = if is_first { pieces.floor() + 1.0 } else { pieces.ceil() };
        // Negative and NaN become 0.
        pieces.max(0.0) as usize
    }
}

/// A flow's claim to a part of the work of one slot.
#[derive(Debug, Clone, Copy)]
pub struct SlotClaim {
    pub class: Class,
    pub weight: f64,
    /// Seconds from the begin of the work, of which it has no part.
    pub since: f64,
}

/// Divides the seconds that a slot was held between the flows that claim a part: by class, where both do, and then by
/// weight. Returns the seconds of each claim, in the same order.
pub fn divide(claims: &[SlotClaim], held: f64, batch_share: f64) -> Vec<f64> {
    let mut begins: Vec<f64> = claims.iter().map(|claim| claim.since).filter(|since| *since < held).collect();
    begins.sort_by(f64::total_cmp);
    begins.dedup();
    let ends = begins.iter().skip(1).copied().chain([held]);
    let mut seconds = vec![0.0; claims.len()];
    for (begin, end) in begins.iter().zip(ends) {
        let mut weights = [0.0; 2];
        let present = |claim: &&SlotClaim| claim.since <= *begin;
        claims.iter().filter(present).for_each(|claim| weights[claim.class as usize] += claim.weight);
        let share = |class| match class {
            Class::Interactive if weights[Class::Batch as usize] > 0.0 => 1.0 - batch_share,
            Class::Batch if weights[Class::Interactive as usize] > 0.0 => batch_share,
            Class::Interactive | Class::Batch => 1.0,
        };
        for (seconds, claim) in seconds.iter_mut().zip(claims).filter(|(_, claim)| present(claim)) {
            *seconds += (end - begin) * share(claim.class) * claim.weight / weights[claim.class as usize];
        }
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(class: Class, weight: f64, since: f64) -> SlotClaim {
        SlotClaim { class, weight, since }
    }

    #[test]
    fn work_is_divided_by_weight_between_the_flows_of_a_class() {
        let claims = [claim(Class::Interactive, 1.0, 0.0), claim(Class::Interactive, 3.0, 0.0)];

        assert_eq!(divide(&claims, 8.0, 0.05), [2.0, 6.0]);
    }

    #[test]
    fn a_class_has_its_share_beside_the_other_and_everything_without_it() {
        let batch = claim(Class::Batch, 2.0, 0.0);

        assert_eq!(divide(&[batch], 8.0, 0.25), [8.0]);
        assert_eq!(divide(&[batch, claim(Class::Interactive, 1.0, 0.0)], 8.0, 0.25), [2.0, 6.0]);
    }

    #[test]
    fn a_flow_that_came_later_has_its_part_from_then_on() {
        let late = |since| [claim(Class::Interactive, 1.0, 0.0), claim(Class::Interactive, 1.0, since)];

        assert_eq!(divide(&late(6.0), 8.0, 0.05), [7.0, 1.0]);
        assert_eq!(divide(&late(8.0), 8.0, 0.05), [8.0, 0.0], "when the work is done");
        assert_eq!(divide(&late(0.0), 0.0, 0.05), [0.0, 0.0], "no work");
    }
}
