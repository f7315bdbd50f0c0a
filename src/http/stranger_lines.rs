//! Bounds the lines that the log gets for clients who did not sign in, so that a stranger can't fill the disk with them. What is
//! left out is counted and told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::base::clock::Timestamp;

/// Lines of one address in a minute.
const OF_ADDRESS_MAX: u32 = 120;

/// Lines of all addresses in a minute. It bounds the memory for their counts, too.
const OF_ALL_MAX: u32 = 1_200;

/// The counts of one minute.
#[derive(Default)]
struct StrangerLines {
    minute: i64,
    all: u32,
    by_address: HashMap<Option<IpAddr>, u32>,
    /// Lines that were left out, and not told yet.
    left_out: u64,
}

impl StrangerLines {
    /// Counts a line; `false`: it is left out.
    fn admits(&mut self, address: Option<IpAddr>, minute: i64) -> bool {
        if self.minute != minute {
            *self = StrangerLines { minute, left_out: self.left_out, ..StrangerLines::default() };
        }
        let of_address = self.by_address.get(&address).copied().unwrap_or(0);
        if self.all >= OF_ALL_MAX || of_address >= OF_ADDRESS_MAX {
            self.left_out += 1;
            return false;
        }
        self.all += 1;
        self.by_address.insert(address, of_address + 1);
        true
    }

    /// Returns how many lines were left out in minutes that are over, once.
    fn take_left_out(&mut self, minute: i64) -> u64 {
        if self.minute == minute { 0 } else { std::mem::take(&mut self.left_out) }
    }
}

static LINES: LazyLock<Mutex<StrangerLines>> = LazyLock::new(Mutex::default);

fn lines() -> MutexGuard<'static, StrangerLines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn minute() -> i64 {
    Timestamp::now().seconds().div_euclid(60)
}

/// Returns whether a client who did not sign in gets a line now.
pub fn admits(address: Option<IpAddr>) -> bool {
    lines().admits(address, minute())
}

/// Tells how many lines were left out in the last minute. Called every few seconds.
pub fn tell_left_out() {
    let left_out = lines().take_left_out(minute());
    if left_out > 0 {
        warn!(
            lines = left_out,
            "lines of clients who did not sign in were left out, since there were too many in a minute"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_together_have_so_many_lines_a_minute_and_the_rest_is_counted() {
        let mut lines = StrangerLines::default();
        let address = |number: u32| Some(IpAddr::from(number.to_be_bytes()));

        let of_one = (0..OF_ADDRESS_MAX + 3).filter(|_| lines.admits(address(1), 7)).count();
        let of_others = (2..OF_ALL_MAX + 2).filter(|number| lines.admits(address(*number), 7)).count();

        assert_eq!(of_one, OF_ADDRESS_MAX as usize);
        assert_eq!(of_others, (OF_ALL_MAX - OF_ADDRESS_MAX) as usize);
        assert_eq!(lines.take_left_out(7), 0, "the minute is not over");
        assert!(lines.admits(address(1), 8));
        assert_eq!((lines.take_left_out(8), lines.by_address.len()), (0, 1));
        assert_eq!(lines.take_left_out(9), 3 + u64::from(OF_ADDRESS_MAX));
        assert_eq!(lines.take_left_out(9), 0);
    }
}
