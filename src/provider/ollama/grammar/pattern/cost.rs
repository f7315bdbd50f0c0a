//! The cost of a pattern for a sampler.

use crate::provider::ollama::grammar::pattern::COUNT_MAX;
use crate::provider::ollama::grammar::pattern::nonempty::NonEmpty;
use crate::provider::ollama::grammar::pattern::places::Places;

/// The most states in which a match can be at the same time. Each costs a walk through the whole vocabulary for each token.
const STATES_MAX: usize = 256;

/// The most nodes of a pattern whose places are computed.
const NODES_MAX: usize = 4096;

impl NonEmpty {
    /// Returns whether a sampler can follow it: the compiler accepts its counts, and there are few states at a time.
    pub fn is_cheap(&self) -> bool {
        self.counts_fit()
            && (self.states() <= STATES_MAX || (self.nodes() <= NODES_MAX && Places::of(self).are_plain()))
    }

    fn counts_fit(&self) -> bool {
        match self {
            NonEmpty::CharClass(_) => true,
            NonEmpty::Sequence(items) | NonEmpty::Either(items) => items.iter().all(NonEmpty::counts_fit),
            NonEmpty::Repeat(what, least, most) => {
                *least <= COUNT_MAX && most.is_none_or(|most| most <= COUNT_MAX) && what.counts_fit()
            }
            NonEmpty::Optional(what) => what.counts_fit(),
        }
    }

    /// Returns the number of sets of characters with every count expanded, which bounds the states at a time.
    fn states(&self) -> usize {
        match self {
            NonEmpty::CharClass(_) => 1,
            NonEmpty::Sequence(items) | NonEmpty::Either(items) => {
                items.iter().map(NonEmpty::states).fold(0, usize::saturating_add)
            }
            NonEmpty::Repeat(what, least, most) => {
                what.states().saturating_mul(most.map_or(*least as usize + 1, |most| most as usize))
            }
            NonEmpty::Optional(what) => what.states(),
        }
    }
}
