//! What following a pattern costs a sampler.

use crate::provider::ollama::grammar::pattern::COUNT_MAX;
use crate::provider::ollama::grammar::pattern::nonempty::NonEmpty;
use crate::provider::ollama::grammar::pattern::places::Places;

/// States in which a text can be at the same time, where a pattern leaves that open. Each costs a walk through the whole
/// vocabulary for each token.
const STATES_MAX: usize = 256;

/// Nodes of a pattern whose places are looked at.
const NODES_MAX: usize = 4096;

impl NonEmpty {
    /// Whether a sampler can follow it: counts that the compiler takes, and few states at a time.
    pub fn is_cheap(&self) -> bool {
        self.counts_fit()
            && (self.states() <= STATES_MAX || (self.nodes() <= NODES_MAX && Places::of(self).are_plain()))
    }

    fn counts_fit(&self) -> bool {
        match self {
            NonEmpty::Class(_) => true,
            NonEmpty::Sequence(items) | NonEmpty::Either(items) => items.iter().all(NonEmpty::counts_fit),
            NonEmpty::Repeat(what, least, most) => {
                *least <= COUNT_MAX && most.is_none_or(|most| most <= COUNT_MAX) && what.counts_fit()
            }
            NonEmpty::Optional(what) => what.counts_fit(),
        }
    }

    /// Sets of characters when every count is written out: as many states a text can be in at most.
    fn states(&self) -> usize {
        match self {
            NonEmpty::Class(_) => 1,
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
