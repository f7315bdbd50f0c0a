//! The counts of tries and failures: digests and moments, without a clock, a name or an address.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;

/// Tries that one address may make at once, and how often it gets another.
const ADDRESS_BURST: u32 = 20;
const ADDRESS_PACE: Duration = Duration::from_secs(15);

/// Failures of one address on one account without a wait; then the wait doubles, from a second up to a maximum.
const FREE_FAILURES: u32 = 3;
const PAIR_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Failures of unknown addresses on one account in a day: the ceiling of NIST SP 800-63B.
const STRANGER_FAILURES_MAX: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an address stays known after a success.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Entries of each kind; beyond it the least important ones are dropped.
const ENTRIES_MAX: usize = 100_000;

/// A keyed digest of an address, an account, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mark([u8; 16]);

impl Mark {
    /// Takes the first bytes of `digest`.
    pub fn of(digest: &[u8]) -> Self {
        let mut mark = [0; 16];
        mark.copy_from_slice(&digest[..16]);
        Mark(mark)
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        BASE64.encode(mark.0)
    }
}

impl TryFrom<String> for Mark {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64.decode(text).map_err(|_| "not a mark")?;
        bytes.try_into().map(Mark).map_err(|_| "not a mark")
    }
}

/// The digests that a try is counted under: the address, the account, and the address on this account.
pub struct TryMarks {
    pub address: Mark,
    pub pair: Mark,
    pub account: Mark,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ladder {
    addresses: HashMap<Mark, Bucket>,
    pairs: HashMap<Mark, Failures>,
    /// Failed and undecided tries of unknown addresses, by account.
    strangers: HashMap<Mark, VecDeque<Timestamp>>,
    known: HashMap<Mark, Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Bucket {
    left: u32,
    filled_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Failures {
    account: Mark,
    count: u32,
    last: Timestamp,
    /// Tries that have started and are not decided yet.
    #[serde(skip)]
    open: u32,
}

/// Why a try may not be hashed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRefusal {
    /// Too many tries have failed; the next may come after this time.
    Wait(Duration),
    /// The decision depends on tries that this address has under way on this account.
    Undecided,
}

impl Ladder {
    /// Admits a try, or says why not. A try counts as a failure from its start until it succeeds: otherwise many at once would
    /// pass before the first has failed.
    pub fn enter(&mut self, who: &TryMarks, now: Timestamp) -> Result<(), TryRefusal> {
        if let Some(failures) = self.pairs.get(&who.pair) {
            let (wait, since) = (pair_wait(failures.count), now.since(failures.last));
            if since < wait {
                return Err(TryRefusal::Wait(wait - since));
            }
            if failures.open > 0 && failures.count.saturating_add(failures.open) >= FREE_FAILURES {
                return Err(TryRefusal::Undecided);
            }
        }
        let is_known = self.knows(who, now);
        if !is_known && let Some(failures) = self.strangers.get_mut(&who.account) {
            while failures.front().is_some_and(|oldest| now.since(*oldest) >= DAY) {
                failures.pop_front();
            }
            if failures.len() >= STRANGER_FAILURES_MAX {
                return Err(TryRefusal::Wait(failures.front().map_or(DAY, |oldest| DAY - now.since(*oldest))));
            }
        }
        make_room(&mut self.addresses, |bucket| bucket.filled_at);
        let bucket = self.addresses.entry(who.address).or_insert(Bucket { left: ADDRESS_BURST, filled_at: now });
        bucket.fill(now);
        if bucket.left == 0 {
            return Err(TryRefusal::Wait(ADDRESS_PACE.saturating_sub(now.since(bucket.filled_at))));
        }
        bucket.left -= 1;
        make_room(&mut self.pairs, |failures| (failures.count.saturating_add(failures.open), failures.last));
        let first = Failures { account: who.account, count: 0, last: now, open: 0 };
        self.pairs.entry(who.pair).or_insert(first).open += 1;
        if !is_known {
            // Names that were tried once are dropped before one that was tried often, so trying other names resets no count.
            make_room(&mut self.strangers, |failures| (failures.len(), failures.back().copied()));
            self.strangers.entry(who.account).or_default().push_back(now);
        }
        Ok(())
    }

    /// Records a failure; the wait for the next try begins at `now`.
    pub fn failed(&mut self, who: &TryMarks, now: Timestamp) {
        let first = Failures { account: who.account, count: 0, last: now, open: 0 };
        let failures = self.pairs.entry(who.pair).or_insert(first);
        failures.open = failures.open.saturating_sub(1);
        failures.count = failures.count.saturating_add(1);
        failures.last = failures.last.max(now);
    }

    /// Records a success, which costs the address nothing: many people may share one. `at` is when the try started.
    pub fn succeeded(&mut self, who: &TryMarks, at: Timestamp) {
        self.undone(who, at);
        if let Some(failures) = self.pairs.get_mut(&who.pair) {
            failures.count = 0;
        }
        self.forget_pair(who);
        make_room(&mut self.known, |since| *since);
        self.known.insert(who.pair, at);
    }

    /// Takes back what `enter` counted at `at`.
    pub fn undone(&mut self, who: &TryMarks, at: Timestamp) {
        if let Some(failures) = self.pairs.get_mut(&who.pair) {
            failures.open = failures.open.saturating_sub(1);
        }
        self.forget_pair(who);
        if let Some(bucket) = self.addresses.get_mut(&who.address) {
            bucket.left = (bucket.left + 1).min(ADDRESS_BURST);
        }
        // A known address was not counted here. If an unknown one was counted in the same microsecond, its count is taken
        // instead.
        if let Some(failures) = self.strangers.get_mut(&who.account)
            && let Some(own) = failures.iter().rposition(|moment| *moment == at)
        {
            failures.remove(own);
        }
    }

    pub fn unlock(&mut self, account: &Mark) {
        self.strangers.remove(account);
        self.pairs.retain(|_, failures| failures.account != *account);
    }

    /// Drops entries that no longer change a decision.
    pub fn forget_the_past(&mut self, now: Timestamp) {
        self.addresses.retain(|_, bucket| now.since(bucket.filled_at) < ADDRESS_PACE * ADDRESS_BURST);
        self.pairs.retain(|_, failures| failures.open > 0 || now.since(failures.last) < DAY);
        self.strangers.retain(|_, failures| failures.back().is_some_and(|last| now.since(*last) < DAY));
        self.known.retain(|_, since| now.since(*since) < KNOWN);
    }

    /// Moves future moments to `now`: the host's clock may have been set back between two processes.
    pub fn not_after(&mut self, now: Timestamp) {
        let moments = self.addresses.values_mut().map(|bucket| &mut bucket.filled_at);
        let moments = moments.chain(self.pairs.values_mut().map(|failures| &mut failures.last));
        let moments = moments.chain(self.strangers.values_mut().flatten()).chain(self.known.values_mut());
        moments.for_each(|moment| *moment = (*moment).min(now));
    }

    /// Drops a pair without failures and without tries under way.
    fn forget_pair(&mut self, who: &TryMarks) {
        if self.pairs.get(&who.pair).is_some_and(|failures| failures.count == 0 && failures.open == 0) {
            self.pairs.remove(&who.pair);
        }
    }

    fn knows(&self, who: &TryMarks, now: Timestamp) -> bool {
        self.known.get(&who.pair).is_some_and(|since| now.since(*since) < KNOWN)
    }
}

impl Bucket {
    fn fill(&mut self, now: Timestamp) {
        let paces = now.since(self.filled_at).as_secs() / ADDRESS_PACE.as_secs();
        let paces = u32::try_from(paces).unwrap_or(u32::MAX);
        if self.left.saturating_add(paces) >= ADDRESS_BURST {
            (self.left, self.filled_at) = (ADDRESS_BURST, now);
        } else {
            self.left += paces;
            self.filled_at = self.filled_at.plus(ADDRESS_PACE * paces);
        }
    }
}

fn pair_wait(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(20)).min(PAIR_WAIT_MAX),
    }
}

/// Drops the less important half when the map is full, so that this happens rarely.
fn make_room<V, W: Ord + Copy>(map: &mut HashMap<Mark, V>, weight: impl Fn(&V) -> W) {
    if map.len() < ENTRIES_MAX {
        return;
    }
    // The digest makes the weights unique, so that exactly half of them are dropped.
    let mut weights: Vec<_> = map.iter().map(|(mark, value)| (weight(value), *mark)).collect();
    let middle = weights.len() / 2;
    let median = *weights.select_nth_unstable(middle).1;
    map.retain(|mark, value| (weight(value), *mark) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Timestamp = Timestamp(1_800_000_000_000_000);

    fn mark(kind: u8, number: u64, name: &str) -> Mark {
        let mut bytes = [kind; 16];
        bytes[1..9].copy_from_slice(&number.to_be_bytes());
        for (place, letter) in name.bytes().enumerate() {
            bytes[9 + place % 7] = bytes[9 + place % 7].wrapping_mul(31).wrapping_add(letter);
        }
        Mark(bytes)
    }

    fn who(address: u64, account: &str) -> TryMarks {
        TryMarks { address: mark(0, address, ""), pair: mark(1, address, account), account: mark(2, 0, account) }
    }

    fn enter(ladder: &mut Ladder, address: u64, account: &str, now: Timestamp) -> Result<(), Duration> {
        ladder.enter(&who(address, account), now).map_err(|refusal| match refusal {
            TryRefusal::Wait(wait) => wait,
            TryRefusal::Undecided => panic!("a try is under way"),
        })
    }

    fn fail(ladder: &mut Ladder, address: u64, account: &str, now: Timestamp) -> Result<(), Duration> {
        enter(ladder, address, account, now)?;
        ladder.failed(&who(address, account), now);
        Ok(())
    }

    fn succeed(ladder: &mut Ladder, address: u64, account: &str, now: Timestamp) -> Result<(), Duration> {
        enter(ladder, address, account, now)?;
        ladder.succeeded(&who(address, account), now);
        Ok(())
    }

    #[test]
    fn an_address_fails_on_one_account_ever_more_slowly() {
        let mut ladder = Ladder::default();
        let at = |seconds| START.plus_seconds(seconds);
        for _ in 0..3 {
            assert_eq!(fail(&mut ladder, 1, "ann", START), Ok(()));
        }

        assert_eq!(fail(&mut ladder, 1, "ann", START), Err(SECOND));
        assert_eq!(fail(&mut ladder, 1, "ann", at(1)), Ok(()));
        assert_eq!(fail(&mut ladder, 1, "ann", at(1)), Err(2 * SECOND));
        assert_eq!(fail(&mut ladder, 1, "ann", at(3)), Ok(()));
        assert_eq!(fail(&mut ladder, 2, "ann", at(3)), Ok(()), "another address");
        assert_eq!(pair_wait(u32::MAX), PAIR_WAIT_MAX);
        ladder.succeeded(&who(1, "ann"), at(20));
        assert_eq!(fail(&mut ladder, 1, "ann", at(20)), Ok(()));
    }

    #[test]
    fn an_address_has_twenty_tries_and_then_one_in_fifteen_seconds() {
        let mut ladder = Ladder::default();
        for number in 0..20 {
            assert_eq!(fail(&mut ladder, 1, &format!("user{number}"), START), Ok(()));
        }

        assert_eq!(fail(&mut ladder, 1, "x", START.plus(SECOND)), Err(14 * SECOND));
        assert_eq!(fail(&mut ladder, 1, "x", START.plus(ADDRESS_PACE)), Ok(()));
        assert_eq!(fail(&mut ladder, 1, "y", START.plus(ADDRESS_PACE)), Err(15 * SECOND));
    }

    #[test]
    fn successes_cost_an_address_nothing() {
        let mut ladder = Ladder::default();

        for number in 0..200 {
            assert_eq!(succeed(&mut ladder, 1, &format!("user{number}"), START), Ok(()));
        }
    }

    #[test]
    fn a_hundred_failures_close_an_account_to_strangers_for_a_day_and_never_to_its_owner() {
        let mut ladder = Ladder::default();
        succeed(&mut ladder, 7, "ann", START).unwrap();
        for address in 1000..1100 {
            assert_eq!(fail(&mut ladder, address, "ann", START), Ok(()));
        }

        assert_eq!(fail(&mut ladder, 2000, "ann", START), Err(DAY));
        assert_eq!(ladder.enter(&who(7, "ann"), START), Ok(()));
        assert_eq!(fail(&mut ladder, 2000, "bob", START), Ok(()));
        assert_eq!(fail(&mut ladder, 2001, "ann", START.plus(DAY)), Ok(()));
    }

    #[test]
    fn strangers_who_come_at_once_do_not_pass_before_the_first_has_failed() {
        let mut ladder = Ladder::default();
        let passed: Vec<u64> = (0..500).filter(|address| ladder.enter(&who(*address, "ann"), START).is_ok()).collect();
        assert_eq!(passed.len(), STRANGER_FAILURES_MAX);

        ladder.succeeded(&who(passed[0], "ann"), START);

        assert_eq!(fail(&mut ladder, 501, "ann", START), Ok(()), "a right password is no failure");
        assert_eq!(fail(&mut ladder, 502, "ann", START), Err(DAY));
    }

    #[test]
    fn of_many_tries_at_once_as_many_pass_as_would_one_after_the_other() {
        let mut ladder = Ladder::default();
        let ann = who(1, "ann");
        let at_once = |ladder: &mut Ladder, now| {
            let tries: Vec<_> = (0..30).map(|_| ladder.enter(&ann, now)).collect();
            let passed = tries.iter().filter(|entered| entered.is_ok()).count();
            assert!(tries[passed..].iter().all(|entered| *entered == Err(TryRefusal::Undecided)), "{tries:?}");
            (0..passed).for_each(|_| ladder.failed(&ann, now));
            passed
        };

        assert_eq!(at_once(&mut ladder, START), 3);
        assert_eq!(ladder.enter(&ann, START), Err(TryRefusal::Wait(SECOND)));
        assert_eq!(at_once(&mut ladder, START.plus(SECOND)), 1);
        assert_eq!(ladder.enter(&ann, START.plus(SECOND)), Err(TryRefusal::Wait(2 * SECOND)));
        assert_eq!(fail(&mut ladder, 2, "ann", START), Ok(()), "another address");
    }

    #[test]
    fn a_try_that_succeeds_or_is_not_compared_makes_room_for_the_next() {
        let mut ladder = Ladder::default();
        let ann = who(1, "ann");
        let wait_for_room = |ladder: &mut Ladder| {
            while ladder.enter(&ann, START).is_ok() {}
            assert_eq!(ladder.enter(&ann, START), Err(TryRefusal::Undecided));
        };
        wait_for_room(&mut ladder);

        ladder.undone(&who(1, "ann"), START);
        assert_eq!(ladder.enter(&who(1, "ann"), START), Ok(()));
        ladder.failed(&who(1, "ann"), START);
        wait_for_room(&mut ladder);
        ladder.succeeded(&who(1, "ann"), START);
        assert_eq!(ladder.enter(&who(1, "ann"), START), Ok(()), "a success forgets the failure before it");
        (0..3).for_each(|_| ladder.undone(&who(1, "ann"), START));
        assert!(ladder.pairs.is_empty());
    }

    #[test]
    fn of_ten_thousand_guesses_in_a_day_a_hundred_reach_the_hash() {
        let spread = |count: i64, number: i64| Timestamp(START.0 + DAY.as_micros() as i64 / count * number);
        let mut one_address = Ladder::default();
        let passed = (0..10_000).filter(|number| fail(&mut one_address, 1, "ann", spread(10_000, *number)).is_ok());
        let passed = passed.count();
        assert!((90..=STRANGER_FAILURES_MAX).contains(&passed), "{passed}");

        let mut many_addresses = Ladder::default();
        let guess =
            |number: &i64| fail(&mut many_addresses, *number as u64 % 1000, "ann", spread(10_000, *number)).is_ok();
        assert_eq!((0..10_000).filter(guess).count(), STRANGER_FAILURES_MAX);
    }

    #[test]
    fn one_address_reaches_the_hash_forty_times_in_five_minutes_over_all_accounts() {
        let mut ladder = Ladder::default();
        let mut passed = |from: i64| {
            let tries = (from..from + 3000).map(|tenth| (tenth, START.plus(Duration::from_millis(100) * tenth as u32)));
            tries.filter(|(number, now)| fail(&mut ladder, 1, &format!("user{number}"), *now).is_ok()).count()
        };

        assert!(passed(0) <= 40);
        assert!(passed(3000) <= 20);
    }

    #[test]
    fn an_address_is_known_for_thirty_days() {
        let mut ladder = Ladder::default();
        succeed(&mut ladder, 7, "ann", START).unwrap();
        let later = START.plus(KNOWN);
        for address in 1000..1100 {
            fail(&mut ladder, address, "ann", later).unwrap();
        }

        assert_eq!(ladder.enter(&who(7, "ann"), Timestamp(later.0 - 1)), Ok(()));
        assert!(ladder.enter(&who(7, "ann"), later).is_err());
    }

    #[test]
    fn what_is_kept_is_what_was_counted_and_lies_never_ahead() {
        let mut ladder = Ladder::default();
        for _ in 0..4 {
            let _ = fail(&mut ladder, 1, "ann", START);
        }
        succeed(&mut ladder, 2, "ann", START).unwrap();
        let mut again: Ladder = serde_json::from_str(&serde_json::to_string(&ladder).unwrap()).unwrap();
        let earlier = START.plus_seconds(-3600);

        again.not_after(earlier);

        assert_eq!(fail(&mut again, 1, "ann", earlier), Err(SECOND));
        assert!(again.knows(&who(2, "ann"), earlier));
        again.forget_the_past(earlier.plus(DAY));
        assert_eq!((again.addresses.len(), again.pairs.len(), again.strangers.len(), again.known.len()), (0, 0, 0, 1));
    }

    #[test]
    fn the_maps_have_a_bound_and_trying_other_names_resets_no_count() {
        let mut ladder = Ladder::default();
        for address in 1_000_000..1_000_100 {
            fail(&mut ladder, address, "ann", START).unwrap();
        }
        for number in 0..ENTRIES_MAX as u64 + 10 {
            let now = START.plus(Duration::from_millis(number));
            fail(&mut ladder, number, &format!("{number:07}"), now).unwrap();
        }

        let sizes = [ladder.addresses.len(), ladder.pairs.len(), ladder.strangers.len()];
        assert!(sizes.iter().all(|size| *size <= ENTRIES_MAX), "{sizes:?}");
        assert!(fail(&mut ladder, 2_000_000, "ann", START.plus_seconds(200)).is_err());
    }
}
