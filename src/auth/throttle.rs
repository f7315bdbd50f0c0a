//! Slows down guessing of passwords. It comes before the hash and counts each try when it starts.
//!
//! Three limits: tries per address; failures of one address on one account, with growing waits; and a hundred failures a day on
//! one account from unknown addresses. An address from which the owner signed in lately is known, so owners are not locked out
//! from afar; `lan-gateway user unlock` on the host always works. A name without an account has the same limits as one with an
//! account. The counts outlive the process, see `memory`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use ring::hmac;
use tokio::sync::{Notify, Semaphore};
use tracing::warn;

use crate::base::clock::{SteadyClock, Timestamp};
use crate::base::error::Error;
use crate::model::credential::Username;

mod ladder;
mod memory;

use ladder::{Ladder, Mark, TryMarks, TryRefusal};
use memory::Memory;

pub struct Throttle {
    clock: SteadyClock,
    /// Key for the digests of addresses and names: the file on disk contains neither.
    key: hmac::Key,
    memory: Memory,
    state: Mutex<State>,
    /// Notified when a try has ended, so that waiting tries look again.
    decided: Notify,
    /// Limits the tries that wait until others are decided.
    waiting: Semaphore,
}

/// Tries that wait until others of the same address on the same account are decided; further ones are refused at once.
const UNDECIDED_MAX: usize = 256;

struct State {
    ladder: Ladder,
    /// Whether anything was counted since the last save.
    changed: bool,
}

/// A try that may be hashed. The caller reports its outcome; a try that is dropped unreported counts as a failure.
pub struct Try<'a> {
    throttle: &'a Throttle,
    who: TryMarks,
    at: Timestamp,
    open: bool,
}

impl Throttle {
    /// Reads what the last process counted.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let clock = SteadyClock::start();
        let memory = Memory::of(data_dir);
        let key =
            hmac::Key::new(hmac::HMAC_SHA256, &memory.key().context("can't keep the key of the sign-in ladder")?[..]);
        let ladder = memory.recall(clock.now());
        Ok(Throttle {
            clock,
            key,
            memory,
            state: Mutex::new(State { ladder, changed: false }),
            decided: Notify::new(),
            waiting: Semaphore::new(UNDECIDED_MAX),
        })
    }

    /// Admits a try on `account`, or says when the next may come. As many are admitted at once as may fail without a wait; the
    /// others wait until those are decided, so that jobs that start together can all sign in.
    pub async fn enter(&self, source: IpAddr, account: &Username) -> Result<Try<'_>, Error> {
        let mut place = None;
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            // From here on no notification is missed.
            decided.as_mut().enable();
            match self.try_enter(source, account) {
                Ok(entered) => return Ok(entered),
                Err(TryRefusal::Wait(wait)) => return Err(refusal(wait)),
                Err(TryRefusal::Undecided) if place.is_none() => match self.waiting.try_acquire() {
                    Ok(free) => place = Some(free),
                    Err(_) => return Err(refusal(Duration::from_secs(1))),
                },
                Err(TryRefusal::Undecided) => {}
            }
            decided.await;
        }
    }

    fn try_enter(&self, source: IpAddr, account: &Username) -> Result<Try<'_>, TryRefusal> {
        let (who, at) = (self.who(source, account), self.clock.now());
        let mut state = self.lock();
        state.changed = true;
        state.ladder.enter(&who, at)?;
        Ok(Try { throttle: self, who, at, open: true })
    }

    /// Forgets every failure on `account`, for the command line.
    pub fn unlock(&self, account: &Username) {
        let mut state = self.lock();
        state.changed = true;
        state.ladder.unlock(&self.account(account));
        drop(state);
        self.decided.notify_waiters();
        self.save();
    }

    /// Saves the counts for the next process. Blocks on the disk.
    pub fn save(&self) {
        let mut state = self.lock();
        if !std::mem::take(&mut state.changed) {
            return;
        }
        state.ladder.forget_the_past(self.clock.now());
        let kept = memory::text(&state.ladder);
        drop(state);
        if let Err(cause) = kept.and_then(|text| self.memory.keep(&text)) {
            self.lock().changed = true;
            warn!(
                cause = format!("{cause:#}"),
                "the counts of wrong passwords can't be kept; a restart would forget them"
            );
        }
    }

    /// Returns the digests that a try is counted under. A cookie of an earlier success would be a second kind of source:
    /// another label, the same limits.
    fn who(&self, source: IpAddr, account: &Username) -> TryMarks {
        let (prefix, name) = (prefix(source).to_be_bytes(), account.as_str().as_bytes());
        TryMarks {
            address: self.mark("address", &[&prefix]),
            pair: self.mark("pair", &[&prefix, name]),
            account: self.account(account),
        }
    }

    fn account(&self, account: &Username) -> Mark {
        self.mark("account", &[account.as_str().as_bytes()])
    }

    fn mark(&self, label: &str, parts: &[&[u8]]) -> Mark {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(label.as_bytes());
        mac.update(&[0]);
        // The prefix has a fixed length, so the parts can be read in one way only.
        parts.iter().for_each(|part| mac.update(part));
        Mark::of(mac.sign().as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Try<'_> {
    pub fn ended(mut self, right: bool) {
        if right {
            self.open = false;
            self.throttle.lock().ladder.succeeded(&self.who, self.at);
            self.throttle.decided.notify_waiters();
        }
    }

    /// Takes the try back: the password was not compared.
    pub fn undone(mut self) {
        self.open = false;
        self.throttle.lock().ladder.undone(&self.who, self.at);
        self.throttle.decided.notify_waiters();
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.open {
            let now = self.throttle.clock.now();
            self.throttle.lock().ladder.failed(&self.who, now);
            self.throttle.decided.notify_waiters();
        }
    }
}

fn refusal(wait: Duration) -> Error {
    let seconds = crate::base::error::retry_after_seconds(wait);
    Error::RateLimited { message: format!("too many wrong passwords; try again in {seconds} s"), retry_after: wait }
}

/// Returns the network that one household or machine controls: a whole IPv4 address, or an IPv6 /64.
fn prefix(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.168.77.31";

    fn fail(throttle: &Throttle, source: &str, account: &str) -> bool {
        throttle.try_enter(source.parse().unwrap(), &Username::of(account)).map(|pass| pass.ended(false)).is_ok()
    }

    #[test]
    fn what_was_counted_outlives_the_process_and_names_nobody_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (mallory, ann, bob) = ("10.9.8.7", "ann@example.org", "bob@example.org");
        let first = Throttle::open(folder.path()).unwrap();
        first.try_enter(HOME.parse().unwrap(), &Username::of(ann)).ok().unwrap().ended(true);
        for number in 0..100 {
            assert!(fail(&first, &format!("10.1.1.{number}"), ann));
        }
        for _ in 0..3 {
            assert!(fail(&first, mallory, bob));
        }
        first.save();

        let second = Throttle::open(folder.path()).unwrap();

        assert!(!fail(&second, "10.2.2.2", ann), "a hundred failures are still counted");
        assert!(fail(&second, HOME, ann), "the owner's address is still known");
        // The wait of a second after three failures may be over, that after the fourth is not.
        assert!(!(fail(&second, mallory, bob) && fail(&second, mallory, bob)), "the ladder of an address goes on");
        let text = std::fs::read_to_string(folder.path().join("sign-in-tries.json")).unwrap();
        assert!(![HOME, mallory, ann, bob].iter().any(|name| text.contains(name)), "{text}");
        second.unlock(&Username::of(ann));
        drop(second);
        assert!(fail(&Throttle::open(folder.path()).unwrap(), "10.2.2.2", ann), "an unlocking is kept at once");
    }

    #[test]
    fn a_damaged_memory_is_begun_afresh_and_a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Throttle::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("sign-in-tries.json"), "{\"pairs\":").unwrap();
        assert!(fail(&Throttle::open(folder.path()).unwrap(), HOME, "ann"));

        let key = folder.path().join("secrets/throttle.key");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o640)).unwrap();

        assert!(Throttle::open(folder.path()).is_err());
    }

    #[test]
    fn a_try_that_nobody_waits_for_has_failed_and_one_that_was_not_compared_was_none() {
        let folder = tempfile::tempdir().unwrap();
        let throttle = Throttle::open(folder.path()).unwrap();
        let ann = Username::of("ann");
        for number in 0..60 {
            throttle.try_enter(format!("10.0.0.{number}").parse().unwrap(), &ann).ok().unwrap().undone();
        }
        for number in 0..100 {
            drop(throttle.try_enter(format!("10.0.1.{number}").parse().unwrap(), &ann).ok().unwrap());
        }

        assert!(!fail(&throttle, "10.0.2.1", "ann"));
    }

    #[tokio::test]
    async fn of_many_who_come_at_once_all_enter_when_they_are_right_and_three_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let throttle = Throttle::open(folder.path()).unwrap();
        let home: IpAddr = HOME.parse().unwrap();
        let come = async |account: &str, right: bool| {
            let account = Username::of(account);
            let one = async || match throttle.enter(home, &account).await {
                Ok(entered) => {
                    // Lets the password be compared meanwhile.
                    tokio::task::yield_now().await;
                    entered.ended(right);
                    true
                }
                Err(_) => false,
            };
            let all = futures_util::future::join_all((0..18).map(|_| one())).await;
            all.into_iter().filter(|entered| *entered).count()
        };

        assert_eq!(come("ann", true).await, 18);
        assert_eq!(come("bob", false).await, 3);
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let one = |text: &str| prefix(text.parse().unwrap());

        assert_eq!(one("2001:db8::1"), one("2001:db8::2:3"));
        assert_ne!(one("2001:db8::1"), one("2001:db8:0:1::1"));
        assert_eq!(one("::ffff:10.0.0.1"), one("10.0.0.1"));
        assert_ne!(one("10.0.0.1"), one("10.0.0.2"));
    }
}
