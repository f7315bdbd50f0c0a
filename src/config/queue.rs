//! `[queue]`: what is not a setting.

use crate::config::reader::Reader;
use crate::config::values::one_of;

/// Which request gets a free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The user with the least GPU time, divided by the weight.
    Fair,
    /// The oldest. For comparison.
    Arrival,
}

impl Order {
    pub fn read(reader: &mut Reader) -> Self {
        reader.key(
            "queue.order",
            "\"fair\"",
            "Which request gets a free slot: \"fair\", one of the person with the least GPU time for their weight, or \
             \"arrival\", the oldest.",
            one_of(&[("fair", Order::Fair), ("arrival", Order::Arrival)]),
        )
    }
}
