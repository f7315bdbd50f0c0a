//! What each flow is owed of the slots that it waits for: fair shares where slots are not interchangeable.
//!
//! A *flow* is one person's requests of one class. Not every request can use every slot: hosts serve different models, a
//! model may have slots of its own, and requests with images need a permit. So there is no virtual clock that all flows
//! could share: an idle host would drive it, and a newcomer to a crowded one would start behind everybody there. Instead,
//! each flow has an account in seconds of GPU time.
//!
//! The work of a slot is split, by class and weight, between the flow that has it and the flows that wait and could use it
//! (`Split`): each of them is owed its part more, and the flow that has the slot is owed the whole work less. A free slot
//! goes to the flow that is owed most for its weight, among those that can use it. So:
//!
//! - A slot that no other flow could use costs nothing: work that ran alone is not held against its flow later. (Whoever
//!   comes while a request of its own class runs is treated as if it had come one usual request earlier, at most.)
//! - A flow that is new is owed nothing: neither being away nor being busy on an idle host earns credit. A flow that leaves
//!   forfeits what it is owed. What it owes stays, until it would have been paid off by waiting.
//! - Two flows that always wait for the same slots get the same parts for their weights, so what they have had differs by
//!   no more than their accounts do. Where everybody waits for the same slot, that is one request of each, as in start-time
//!   fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): accounts in place of tags then give the same order.
//! - While both classes wait for a slot, batch is owed its share of it. It is set back by one request, so that it earns
//!   its part before it has it.
//!
//! # Nobody waits for ever
//!
//! Let `S` be the number of slots, `W` the longest request or estimate in seconds, `A` the affinity in seconds, `p` a
//! flow's weight (at least 1), `P` the sum of the weights of all flows that wait or run, `N` the number
//! of flows that come by while it waits, and `s` the share of the flow's class (1 where the other class does not wait). Two limits are kept by force: a flow is never owed
//! more than `p * C` with `C = A + 8 * W` (`Account::add`), and never owes more than `D = p * A + (8 + 2 * S) * W`
//! (`Account::let_off`; requests that still run are charged an estimate, and whoever joins them, hence `2 * S`).
//!
//! **Claim.** Take a request that waits behind `k` of its own flow, and count the work of those requests of other flows
//! that were given a slot which it could have used at that moment. That is at most
//!
//! > `P / (s * p) * (p * C + D + 3 * S * W + 2 * own) + (k + 1) * N * W`,
//!
//! where `own` is the work that its own flow was given meanwhile. (Whoever cancels one of its waiting requests gives up what
//! its flow was owed, and counting begins anew.) For one request of weight 1 among `n` others, without
//! affinity, that is some `17 + 6 * S` turns of everybody; it is meant to hold for any hosts, models and late joiners. Where
//! all wait for the same slot, everybody else has one or two turns.
//!
//! **Proof.** While the request waits, its flow is among those that wait for such a slot for as long as that is held. So
//! each second of counted work adds at least `s * p / P` to its account, until that has reached `p * C`. Whatever was
//! added as an estimate is corrected to what it was in truth; for requests that run that may be wrong by `W` each, once when
//! counting begins and once when it ends. What the flow loses is what it pays for requests of its own: for those that ran
//! before, `W` each, and for the others `own`, and as much again to those who join them. Its account began at `-D` or more.
//! So after the first term's work it is owed `p * C`, and from then on it stands at the limit.
//!
//! Who can still pass it? A flow whose model is loaded passes the one whose turn it is only while that is owed less than `A`
//! for its weight, and batch is not set back at the limit. So it must be a flow that is owed as much, that is, one at the
//! limit, too, and one that was served longer ago. Each flow does that at most once: from then on it has been served later.
//! That is `N` requests; and once more after each of the `k` older requests of its own, which lower its account.
//!
//! **What a request could have used.** A slot of a model comes free together with a slot of its host, so a request that
//! waits for both can use them at that moment. An image permit, or one of the permits of its person, may come free while the
//! host is busy, and the host while the permit is not there. (Whoever has a slot and waits for an image permit alone competes
//! with all who take one, on whichever host.) So a permit that passed such a request several times is kept
//! for it (`PASSES_MAX` in `core.rs`); it then waits for a slot alone. At most one permit of a kind is kept, for the oldest.
//!
//! What a request costs is known when it is done, so accounts are charged an estimate first and corrected then.

use crate::model::rights::Class;

/// What one flow is owed.
#[derive(Debug, Clone)]
pub struct Account {
    /// At least 1.
    pub weight: f64,
    /// Seconds of GPU time; negative: it had more than its part.
    owed: f64,
    /// The number of its last grant: of equals, the one that has waited longer is served. 0: none yet.
    served: u64,
}

impl Account {
    pub fn new() -> Self {
        Account { weight: 1.0, owed: 0.0, served: 0 }
    }

    /// What it is owed.
    pub fn owed(&self) -> f64 {
        self.owed
    }

    /// What it is owed, for its weight.
    pub fn level(&self) -> f64 {
        self.owed / self.weight
    }

    pub fn owes(&self) -> bool {
        // What rounding leaves is no debt.
        self.owed < -1e-9
    }

    /// How urgent its next request is; the largest is served. `set_back`: seconds by which it stands behind others.
    pub fn urgency(&self, set_back: f64) -> Urgency {
        Urgency { level: (self.owed - set_back) / self.weight, served: self.served }
    }

    /// Changes what it is owed, and returns by how much: it is not owed more than `level_max` for its weight.
    pub fn add(&mut self, seconds: f64, level_max: f64) -> f64 {
        let before = self.owed;
        let most = (level_max * self.weight).max(before.min(before + seconds));
        self.owed = (before + seconds).min(most);
        self.owed - before
    }

    /// A part of work for a flow that does not wait: it pays off what it owes, and no more. Returns how much.
    pub fn pay_off(&mut self, seconds: f64) -> f64 {
        let before = self.owed;
        if before < 0.0 {
            self.owed = (before + seconds).min(0.0);
        }
        self.owed - before
    }

    /// It has paid so much for a request, and needs not owe more than `most` for that.
    pub fn let_off(&mut self, paid: f64, most: f64) {
        self.owed += (-most - self.owed).min(paid).max(0.0);
    }

    /// It gives up what it is owed.
    pub fn forfeit(&mut self) {
        self.owed = self.owed.min(0.0);
    }

    /// It gets a slot. `number` grows with each grant.
    pub fn serve(&mut self, work: f64, number: u64) {
        self.owed -= work;
        self.served = number;
    }
}

/// The order of flows. Of equals, whoever was served longer ago comes first.
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

    /// How many requests of `work` each the flow with this urgency and `weight` begins before `other` begins its request
    /// number `behind`, counted from 0.
    pub fn pieces_before(&self, weight: f64, other: &Urgency, other_weight: f64, behind: usize, work: f64) -> usize {
        let pieces = (self.level - other.level + behind as f64 * work / other_weight) * weight / work;
        // Of equals, whoever was served longer ago begins, and `other` was served just now if `behind` is not 0.
        let is_first = behind > 0 || other.served > self.served;
        let pieces = if is_first { pieces.floor() + 1.0 } else { pieces.ceil() };
        // Negative and NaN become 0.
        pieces.max(0.0) as usize
    }
}

/// How the work of one slot is split between the flows that could have used it: those who wait share it, by class and then
/// by weight. Somebody who comes to wait for it later has a part of the rest.
#[derive(Debug, Clone)]
pub struct Split {
    /// Of those who wait, by class.
    weights: [f64; 2],
    /// Seconds that the slot was held until now, for each unit of weight in a class.
    each: [f64; 2],
    held: f64,
}

/// A flow's claim to a part of the work.
#[derive(Debug, Clone, Copy)]
pub enum Stake {
    /// It waits since `each` of its class was this much, and had so many seconds of the slot before.
    Waits { class: Class, weight: f64, since: f64, had: f64 },
    /// It waited for a while, and had so many of the seconds that the slot was held.
    Waited { had: f64 },
    /// It does not wait and pays off what it owes, with the part that it would have had waiting, at nobody's cost.
    Pays { part: f64 },
}

impl Split {
    pub fn new(waiting: impl Iterator<Item = (Class, f64)>) -> Self {
        let mut weights = [0.0; 2];
        waiting.for_each(|(class, weight)| weights[class as usize] += weight);
        Split { weights, each: [0.0; 2], held: 0.0 }
    }

    /// The share of a class beside the other, if that waits.
    fn share(&self, class: Class, batch_share: f64) -> f64 {
        let (own, other) = match class {
            Class::Interactive => (1.0 - batch_share, Class::Batch),
            Class::Batch => (batch_share, Class::Interactive),
        };
        if self.weights[other as usize] > 0.0 { own } else { 1.0 }
    }

    /// The part of a flow that waits.
    pub fn part(&self, class: Class, weight: f64, batch_share: f64) -> f64 {
        self.share(class, batch_share) * weight / self.weights[class as usize]
    }

    pub fn stake(&self, class: Class, weight: f64) -> Stake {
        Stake::Waits { class, weight, since: self.each[class as usize], had: 0.0 }
    }

    pub fn pays(&self, class: Class, weight: f64, batch_share: f64) -> Stake {
        Stake::Pays { part: self.share(class, batch_share) * weight / (self.weights[class as usize] + weight) }
    }

    /// The slot has been held for so many seconds.
    pub fn advance(&mut self, held: f64, batch_share: f64) {
        let more = (held - self.held).max(0.0);
        for class in [Class::Interactive, Class::Batch] {
            if self.weights[class as usize] > 0.0 {
                self.each[class as usize] += more * self.share(class, batch_share) / self.weights[class as usize];
            }
        }
        self.held = self.held.max(held);
    }

    /// Somebody has come to wait for the slot, who `had` some seconds of it before. Also returns the part of the rest.
    pub fn join(&mut self, class: Class, weight: f64, had: f64, held: f64, batch_share: f64) -> (Stake, f64) {
        self.advance(held, batch_share);
        self.weights[class as usize] += weight;
        let stake = Stake::Waits { class, weight, since: self.each[class as usize], had };
        (stake, self.part(class, weight, batch_share))
    }

    /// Somebody does not wait for it any more. Returns what was its part of the rest.
    pub fn leave(&mut self, stake: &mut Stake, held: f64, batch_share: f64) -> f64 {
        let Stake::Waits { class, weight, since, had } = *stake else { return 0.0 };
        self.advance(held, batch_share);
        let part = self.part(class, weight, batch_share);
        self.weights[class as usize] -= weight;
        *stake = Stake::Waited { had: had + weight * (self.each[class as usize] - since) };
        part
    }

    /// What a stake is of all that the slot did, once it was held for so many seconds.
    pub fn portion(&self, stake: &Stake, held: f64) -> f64 {
        match *stake {
            Stake::Waits { class, weight, since, had } if held > 0.0 => {
                (had + weight * (self.each[class as usize] - since)) / held
            }
            Stake::Waited { had } if held > 0.0 => had / held,
            Stake::Waits { .. } | Stake::Waited { .. } => 0.0,
            Stake::Pays { part } => part,
        }
    }
}

impl Stake {
    pub fn waits(&self) -> bool {
        matches!(self, Stake::Waits { .. })
    }

    pub fn pays(&self) -> bool {
        matches!(self, Stake::Pays { .. })
    }

    /// The seconds that it had of a slot that was held for so long, of those expected.
    pub fn had(&self, held: f64, expected: f64) -> f64 {
        match *self {
            Stake::Waits { had, .. } | Stake::Waited { had } => had,
            Stake::Pays { part } => part * held.min(expected),
        }
    }
}
