//! Memory for request bodies: bounded for each sender and in total.
//!
//! A sender may hold as many bytes as are still free: a single sender gets half of all at most, two get a third each; no sender
//! can keep the others out. Nothing waits here: a body without room is refused and releases its bytes, so two bodies never wait
//! for each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::base::error::Error;
use crate::config::settings::{Live, Settings};

/// A body is usually forwarded within a moment; others wait longer for their turn anyway.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Who a body's memory is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The sender is not authenticated yet, or only by the body itself: charged to the address.
    Address(IpAddr),
    User(i64),
}

#[derive(Clone)]
pub struct Bodies {
    held: Arc<Mutex<Held>>,
    settings: Live,
}

#[derive(Default)]
struct Held {
    of_addresses: usize,
    of_users: usize,
    by_sender: HashMap<Sender, usize>,
}

impl Held {
    fn total(&mut self, sender: Sender) -> &mut usize {
        match sender {
            Sender::Address(_) => &mut self.of_addresses,
            Sender::User(_) => &mut self.of_users,
        }
    }
}

fn total_max(settings: &Settings, sender: Sender) -> usize {
    match sender {
        Sender::Address(_) => settings.stranger_bytes_max,
        Sender::User(_) => settings.bodies_bytes_max,
    }
}

impl Bodies {
    pub fn new(settings: Live) -> Self {
        Bodies { held: Arc::default(), settings }
    }

    /// Returns the length of the longest body that this sender can ever hold.
    pub fn longest(&self, sender: Sender) -> usize {
        total_max(&self.settings.now(), sender) / 2
    }

    /// Starts an empty body of this sender.
    pub fn begin(&self, sender: Sender) -> BodyBytes {
        BodyBytes { bodies: self.clone(), sender, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Refuses a body of `bytes` that would find no room now, before it is read.
    pub fn check(&self, sender: Sender, bytes: usize) -> Result<(), Error> {
        self.room(&mut self.lock(), sender, bytes)
    }

    fn room(&self, held: &mut Held, sender: Sender, bytes: usize) -> Result<(), Error> {
        let total = held.total(sender).saturating_add(bytes);
        let own = held.by_sender.get(&sender).copied().unwrap_or(0).saturating_add(bytes);
        let left = total_max(&self.settings.now(), sender).checked_sub(total);
        match left {
            Some(left) if own <= left => Ok(()),
            _ => Err(full(sender, own > bytes)),
        }
    }

    fn take(&self, sender: Sender, bytes: usize) -> Result<(), Error> {
        let mut held = self.lock();
        self.room(&mut held, sender, bytes)?;
        *held.total(sender) += bytes;
        *held.by_sender.entry(sender).or_insert(0) += bytes;
        Ok(())
    }

    fn give_back(&self, sender: Sender, bytes: usize) {
        let mut held = self.lock();
        *held.total(sender) -= bytes;
        if let Some(own) = held.by_sender.get_mut(&sender) {
            *own -= bytes;
            if *own == 0 {
                held.by_sender.remove(&sender);
            }
        }
    }
}

fn full(sender: Sender, has_others: bool) -> Error {
    let message = match (sender, has_others) {
        (Sender::Address(_), true) => {
            "other request bodies from this address take the memory that is set aside for it; try again in a moment, or \
             send a token in `Authorization`"
        }
        (Sender::User(_), true) => {
            "your other requests take the memory that is set aside for request bodies; send the next when one of them \
             was forwarded"
        }
        (_, false) => "the memory that is set aside for request bodies is taken; try again in a moment",
    };
    Error::Unavailable { message: message.into(), retry_after: RETRY_AFTER }
}

/// The memory of one body. Dropping it releases the bytes.
pub struct BodyBytes {
    bodies: Bodies,
    sender: Sender,
    bytes: usize,
}

impl BodyBytes {
    /// Extends the reservation by `bytes`, for what a body refers to.
    pub fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.grow(self.bytes.saturating_add(bytes))
    }

    /// Extends the reservation to `bytes` in total, or refuses that and keeps what it has.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.bodies.take(self.sender, more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Reserves as much once more, for a copy.
    pub fn again(&self) -> Result<BodyBytes, Error> {
        let mut copy = self.bodies.begin(self.sender);
        copy.grow(self.bytes)?;
        Ok(copy)
    }

    /// Charges the body to a user, who was authenticated by its content.
    pub fn identified(self, user_id: i64) -> Result<BodyBytes, Error> {
        let mut owned = self.bodies.begin(Sender::User(user_id));
        owned.grow(self.bytes)?;
        Ok(owned)
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.bodies.give_back(self.sender, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: usize = 1 << 20;

    fn bodies() -> Bodies {
        let settings = [("bodies_bytes_max", TOTAL as u64), ("stranger_bytes_max", TOTAL as u64)];
        Bodies::new(Live::new(Settings::default().with(settings)))
    }

    fn grown(bodies: &Bodies, user: i64, bytes: usize) -> Result<BodyBytes, Error> {
        let mut body = bodies.begin(Sender::User(user));
        body.grow(bytes).map(|()| body)
    }

    #[test]
    fn one_sender_gets_half_and_leaves_the_other_half() {
        let bodies = bodies();
        let half = bodies.longest(Sender::User(1));
        assert_eq!(half, TOTAL / 2);

        assert!(grown(&bodies, 1, half + 1).is_err());
        let first = grown(&bodies, 1, half).unwrap();
        assert!(grown(&bodies, 1, 1).is_err());
        let _second = grown(&bodies, 2, TOTAL / 4).unwrap();
        assert!(grown(&bodies, 2, 1).is_err(), "as much is left for a third");
        let _third = grown(&bodies, 3, TOTAL / 8).unwrap();

        drop(first);
        assert!(grown(&bodies, 1, TOTAL / 4).is_ok());
    }

    #[test]
    fn a_body_that_finds_no_room_keeps_what_it_has_until_it_is_dropped() {
        let bodies = bodies();
        let mut first = grown(&bodies, 1, 1000).unwrap();

        let error = first.grow(TOTAL).unwrap_err();
        assert!(error.retry_after().is_some(), "{error}");
        assert_eq!(bodies.lock().of_users, 1000);
        drop(first);
        assert_eq!(bodies.lock().of_users, 0);
        assert!(bodies.lock().by_sender.is_empty());
    }

    #[test]
    fn strangers_and_users_have_memory_of_their_own_and_a_body_moves_with_its_sender() {
        let bodies = bodies();
        let address = Sender::Address([10, 0, 0, 1].into());
        let mut stranger = bodies.begin(address);
        stranger.grow(TOTAL / 2).unwrap();

        let _user = grown(&bodies, 2, TOTAL / 4).unwrap();
        let moved = stranger.identified(1);

        assert!(moved.is_err(), "more than half of what users have left");
        assert_eq!(bodies.lock().of_addresses, 0);
        let mut stranger = bodies.begin(address);
        stranger.grow(TOTAL / 4).unwrap();
        let _moved = stranger.identified(1).unwrap();
        assert_eq!(bodies.lock().of_addresses, 0);
        assert_eq!(bodies.lock().of_users, TOTAL / 2);
    }

    proptest! {
        #[test]
        fn what_is_held_is_bounded_and_comes_back_whole(steps in prop::collection::vec((0..4_i64, 0..TOTAL, any::<bool>()), 1..60)) {
            let bodies = bodies();
            let mut open: Vec<BodyBytes> = Vec::new();
            for (user, bytes, closes) in steps {
                if closes && !open.is_empty() {
                    open.remove(bytes % open.len());
                } else if let Ok(body) = grown(&bodies, user, bytes) {
                    open.push(body);
                }
                let total: usize = open.iter().map(|body| body.bytes).sum();
                prop_assert_eq!(bodies.lock().of_users, total);
                prop_assert!(total < TOTAL || total == 0, "somebody who comes new gets something");
            }
            drop(open);
            prop_assert_eq!(bodies.lock().of_users, 0);
            prop_assert!(bodies.lock().by_sender.is_empty());
        }
    }
}
