//! Start-time fair queueing: who has had the least of what is shared, for its weight.
//!
//! Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996. Each flow carries a tag: the virtual time at which its
//! next piece of work begins. The flow with the smallest tag is served, and its tag grows by `work / weight`. Virtual time
//! is the tag of what was served last; a flow that comes back from idleness begins there, so nobody saves up a claim by
//! staying away. Two flows that both always have work waiting get shares that differ by one piece of work of each at most,
//! whatever the pieces cost. Chosen over deficit round robin because it needs no quantum, which would have to be guessed
//! per model, and serves a newcomer next instead of at the end of a round.
//!
//! What a piece really costs is known when it is done, so the tag is charged an estimate first and corrected then.

/// Where a flow stands. Units: seconds of work, divided by the flow's weight.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Tag(f64);

/// The virtual time of one set of flows.
#[derive(Debug, Clone, Copy)]
pub struct Clock(f64);

impl Clock {
    pub fn new() -> Self {
        Clock(0.0)
    }

    /// The tag of a flow that has not been seen yet.
    pub fn tag(&self) -> Tag {
        Tag(self.0)
    }

    /// A flow that had nothing waiting has something now.
    pub fn wakes(&self, tag: &mut Tag) {
        tag.0 = tag.0.max(self.0);
    }

    /// Work of the flow begins.
    pub fn serves(&mut self, tag: &mut Tag, work: f64, weight: f64) {
        self.0 = self.0.max(tag.0);
        tag.0 += work / weight;
    }

    /// Nothing is waiting or running any more: virtual time goes on after the last that was served.
    pub fn rests(&mut self, last: Tag) {
        self.0 = self.0.max(last.0);
    }

    /// Whether forgetting the flow changes nothing: it would begin at the clock anyway.
    pub fn has_passed(&self, tag: Tag) -> bool {
        tag.0 <= self.0
    }
}

impl Tag {
    /// Work cost other than was charged.
    pub fn correct(&mut self, charged: f64, cost: f64, weight: f64) {
        self.0 += (cost - charged) / weight;
    }

    /// Where the flow will stand after one more piece of `work`.
    pub fn after(&self, work: f64, weight: f64) -> Tag {
        Tag(self.0 + work / weight)
    }

    pub fn cmp(&self, other: &Tag) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }

    /// How many pieces of `work` each this flow would begin before `other` begins its piece number `behind`, counted from 0.
    pub fn pieces_before(&self, weight: f64, other: Tag, other_weight: f64, behind: usize, work: f64) -> usize {
        let begins = other.0 + behind as f64 * work / other_weight;
        let pieces = (begins - self.0) * weight / work;
        // Negative and NaN become 0.
        pieces.ceil().max(0.0) as usize
    }
}
