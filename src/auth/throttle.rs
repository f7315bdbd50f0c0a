//! The ladder for passwords that are tried: it stands before the hash and counts only what reaches it.
//!
//! Three rungs: an address may try so often, an address fails on one account ever more slowly, and an account is closed to
//! strangers after a hundred failures in a day. An address from which the owner came in lately is no stranger, so an owner
//! is not locked out from afar; this is kept in memory, so after a restart the first sign-in makes an address known again,
//! and `lan-gateway user unlock` on the host always helps. A name without an account runs through the same rungs as one with.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::credential::Username;
use crate::error::Error;

/// Tries of one address at once, and the pace at which it gets further ones.
const ADDRESS_BURST: u32 = 20;
const ADDRESS_PACE: Duration = Duration::from_secs(15);

/// Failures of one address on one account that cost nothing; then the wait doubles from a second to the most.
const FREE_FAILURES: u32 = 3;
const PAIR_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Failures of strangers on one account in a day. NIST SP 800-63B's ceiling.
const STRANGER_FAILURES_MAX: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an address stays known after a success.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Entries of each kind; beyond it the oldest go first.
const ENTRIES_MAX: usize = 100_000;

#[derive(Default)]
pub struct Throttle {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    addresses: HashMap<Prefix, Bucket>,
    pairs: HashMap<(Prefix, String), Failures>,
    /// Failures of strangers, by account.
    strangers: HashMap<String, VecDeque<Instant>>,
    known: HashMap<(Prefix, String), Instant>,
}

/// IPv4 whole, IPv6 /64: what one household or host has to itself.
type Prefix = u128;

struct Bucket {
    left: u32,
    filled_at: Instant,
}

struct Failures {
    count: u32,
    last: Instant,
}

/// A try that may reach the hash. It is told how it ended; one that is never told counts as failed on the address alone.
pub struct Try<'a> {
    throttle: &'a Throttle,
    prefix: Prefix,
    account: String,
}

impl Throttle {
    /// Lets a try on `account` pass, or says when the next may come.
    pub fn enter(&self, source: IpAddr, account: &Username) -> Result<Try<'_>, Error> {
        let (prefix, account) = (prefix(source), account.as_str().to_owned());
        self.lock().enter(prefix, &account, Instant::now()).map_err(refusal)?;
        Ok(Try { throttle: self, prefix, account })
    }

    /// Forgets every failure on `account`, for the command line.
    pub fn unlock(&self, account: &Username) {
        let mut state = self.lock();
        state.strangers.remove(account.as_str());
        state.pairs.retain(|(_, name), _| name != account.as_str());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Try<'_> {
    pub fn ended(self, right: bool) {
        let mut state = self.throttle.lock();
        if right {
            state.succeeded(self.prefix, self.account, Instant::now());
        } else {
            state.failed(self.prefix, self.account, Instant::now());
        }
    }
}

fn refusal(wait: Duration) -> Error {
    let seconds = crate::error::retry_after_seconds(wait);
    Error::RateLimited { message: format!("too many wrong passwords; try again in {seconds} s"), retry_after: wait }
}

impl State {
    fn enter(&mut self, prefix: Prefix, account: &str, now: Instant) -> Result<(), Duration> {
        let pair = (prefix, account.to_owned());
        if let Some(failures) = self.pairs.get(&pair) {
            let until = failures.last + pair_wait(failures.count);
            if now < until {
                return Err(until - now);
            }
        }
        let is_known = self.known.get(&pair).is_some_and(|since| now.duration_since(*since) < KNOWN);
        if !is_known && let Some(failures) = self.strangers.get_mut(account) {
            while failures.front().is_some_and(|oldest| now.duration_since(*oldest) >= DAY) {
                failures.pop_front();
            }
            if failures.len() >= STRANGER_FAILURES_MAX {
                return Err(failures.front().map_or(DAY, |oldest| DAY - now.duration_since(*oldest)));
            }
        }
        make_room(&mut self.addresses, |bucket| bucket.filled_at);
        let bucket = self.addresses.entry(prefix).or_insert(Bucket { left: ADDRESS_BURST, filled_at: now });
        bucket.fill(now);
        if bucket.left == 0 {
            return Err(ADDRESS_PACE.saturating_sub(now.duration_since(bucket.filled_at)));
        }
        bucket.left -= 1;
        Ok(())
    }

    fn failed(&mut self, prefix: Prefix, account: String, now: Instant) {
        make_room(&mut self.pairs, |failures| failures.last);
        let failures = self.pairs.entry((prefix, account.clone())).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if !self.known.contains_key(&(prefix, account.clone())) {
            make_room(&mut self.strangers, |failures| failures.back().copied().unwrap_or(now));
            let failures = self.strangers.entry(account).or_default();
            failures.push_back(now);
            failures.truncate(STRANGER_FAILURES_MAX);
        }
    }

    /// A success costs the address nothing: many people may share one.
    fn succeeded(&mut self, prefix: Prefix, account: String, now: Instant) {
        self.pairs.remove(&(prefix, account.clone()));
        if let Some(bucket) = self.addresses.get_mut(&prefix) {
            bucket.left = (bucket.left + 1).min(ADDRESS_BURST);
        }
        make_room(&mut self.known, |since| *since);
        self.known.insert((prefix, account), now);
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let paces = now.duration_since(self.filled_at).as_secs() / ADDRESS_PACE.as_secs();
        let paces = u32::try_from(paces).unwrap_or(u32::MAX);
        if self.left.saturating_add(paces) >= ADDRESS_BURST {
            (self.left, self.filled_at) = (ADDRESS_BURST, now);
        } else {
            self.left += paces;
            self.filled_at += ADDRESS_PACE * paces;
        }
    }
}

fn pair_wait(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(20)).min(PAIR_WAIT_MAX),
    }
}

/// Drops the older half when the map is full, so that the cost of it is rare.
fn make_room<K: Clone + Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, age: impl Fn(&V) -> Instant) {
    if map.len() < ENTRIES_MAX {
        return;
    }
    let mut ages: Vec<Instant> = map.values().map(&age).collect();
    let middle = ages.len() / 2;
    let (_, median, _) = ages.select_nth_unstable(middle);
    let median = *median;
    map.retain(|_, value| age(value) > median);
}

fn prefix(address: IpAddr) -> Prefix {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(state: &mut State, prefix: Prefix, account: &str, now: Instant) -> Result<(), Duration> {
        state.enter(prefix, account, now)?;
        state.failed(prefix, account.to_owned(), now);
        Ok(())
    }

    #[test]
    fn an_address_fails_on_one_account_ever_more_slowly() {
        let (mut state, start) = (State::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(fail(&mut state, 1, "ann", start), Ok(()));
        }

        assert_eq!(fail(&mut state, 1, "ann", start), Err(SECOND));
        assert_eq!(fail(&mut state, 1, "ann", start + SECOND), Ok(()));
        assert_eq!(fail(&mut state, 1, "ann", start + SECOND), Err(2 * SECOND));
        assert_eq!(fail(&mut state, 1, "ann", start + 3 * SECOND), Ok(()));
        assert_eq!(fail(&mut state, 2, "ann", start + 3 * SECOND), Ok(()), "another address");
        assert_eq!(pair_wait(u32::MAX), PAIR_WAIT_MAX);
        state.succeeded(1, "ann".into(), start + 20 * SECOND);
        assert_eq!(fail(&mut state, 1, "ann", start + 20 * SECOND), Ok(()));
    }

    #[test]
    fn an_address_has_twenty_tries_and_then_one_in_fifteen_seconds() {
        let (mut state, start) = (State::default(), Instant::now());
        for number in 0..20 {
            assert_eq!(fail(&mut state, 1, &format!("user{number}"), start), Ok(()));
        }

        assert_eq!(fail(&mut state, 1, "x", start + SECOND), Err(14 * SECOND));
        assert_eq!(fail(&mut state, 1, "x", start + 15 * SECOND), Ok(()));
        assert_eq!(fail(&mut state, 1, "y", start + 15 * SECOND), Err(15 * SECOND));
    }

    #[test]
    fn successes_cost_an_address_nothing() {
        let (mut state, start) = (State::default(), Instant::now());

        for number in 0..200 {
            assert_eq!(state.enter(1, &format!("user{number}"), start), Ok(()));
            state.succeeded(1, format!("user{number}"), start);
        }
    }

    #[test]
    fn a_hundred_failures_close_an_account_to_strangers_for_a_day_and_never_to_its_owner() {
        let (mut state, start) = (State::default(), Instant::now());
        state.enter(7, "ann", start).unwrap();
        state.succeeded(7, "ann".into(), start);
        for address in 1000..1100 {
            assert_eq!(fail(&mut state, address, "ann", start), Ok(()));
        }

        assert_eq!(fail(&mut state, 2000, "ann", start), Err(DAY));
        assert_eq!(state.enter(7, "ann", start), Ok(()));
        assert_eq!(fail(&mut state, 2000, "bob", start), Ok(()));
        assert_eq!(fail(&mut state, 2001, "ann", start + DAY), Ok(()));
    }

    #[test]
    fn the_maps_have_a_bound() {
        let (mut state, start) = (State::default(), Instant::now());

        for number in 0..ENTRIES_MAX as u32 + 10 {
            let now = start + Duration::from_millis(u64::from(number));
            state.failed(u128::from(number), "ann".into(), now);
        }

        assert!(state.pairs.len() <= ENTRIES_MAX);
        assert!(state.pairs.contains_key(&(u128::from(ENTRIES_MAX as u32), "ann".to_owned())));
    }
}
