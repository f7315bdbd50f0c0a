//! How often, and how much: of each person, of each token, and of everybody together.
//!
//! A request is counted when its sender is known, before anything is read of it, and holds what it may cost when it has
//! been understood. Its `Hold` settles that at the end, whatever the end is. This is the shell, with the lock and the
//! clocks; the rules stand in `limits/ledger.rs`. Without a quota a request takes the lock when it comes and when it
//! goes, and allocates nothing once its sender is in the books.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::auth::Identity;
use crate::base::clock::zone::Zone;
use crate::base::error::Error;
use crate::config::settings::{Live, Settings};
use crate::model::chat::Spent;
use crate::model::people::User;
use crate::model::token::Token;
use crate::store::Store;

pub mod bodies;
mod budget;
mod day;
mod ledger;
mod window;

use day::Amounts;
pub use ledger::{Account, Left};
use ledger::{Allowed, Asking, Held, Ledger, Now};

const MINUTE: Duration = Duration::from_secs(60);

pub struct Limits {
    settings: Live,
    ledger: Mutex<Ledger>,
}

/// What a counted answer tells about a limit per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of the limit is there again.
    pub reset: Duration,
}

/// What a request will cost at most, as far as that can be known before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Tokens, guessed from the length of the text.
    pub prompt: u64,
    /// Tokens that the answer may have.
    pub answer: u64,
    /// GPU time as in the past.
    pub gpu: Duration,
}

impl Cost {
    fn tokens(&self) -> u64 {
        self.prompt.saturating_add(self.answer)
    }

    fn amounts(&self) -> Amounts {
        let gpu_us = u64::try_from(self.gpu.as_micros()).unwrap_or(u64::MAX);
        Amounts { requests: 0, tokens: self.tokens(), gpu_us }
    }
}

/// A request that was counted.
pub struct Admission {
    pub requests: Standing,
    /// Where tokens per minute are limited, once it is known what the request may cost.
    pub tokens: Option<Standing>,
    /// Until somebody else looks after it.
    hold: Option<Hold>,
}

/// A request that was not let in, with the caller's standing all the same.
#[derive(Debug)]
pub struct Denial {
    pub error: Error,
    pub standing: Standing,
}

/// What is held for a request. Dropped without having been settled, the request has cost nothing, or was one request if it is
/// on record.
pub struct Hold {
    limits: Arc<Limits>,
    asking: Asking,
    held: Option<Held>,
    on_record: bool,
    settled: bool,
}

impl Limits {
    pub fn new(settings: Live, zone: Zone) -> Self {
        Limits { settings, ledger: Mutex::new(Ledger::new(zone, Now::read().wall)) }
    }

    /// Takes from the record what was used today, so that a restart does not begin the day anew. To be called before
    /// the first request.
    pub async fn load(&self, store: &Store) -> Result<(), Error> {
        let day = self.lock().day();
        let used = store.used_in(day).await?;
        let mut ledger = self.lock();
        for sum in used {
            let amount = |number: i64| u64::try_from(number).unwrap_or(0);
            let used =
                Amounts { requests: amount(sum.requests), tokens: amount(sum.tokens), gpu_us: amount(sum.gpu_us) };
            ledger.was_used(sum.user_id, sum.token_id, used);
        }
        Ok(())
    }

    /// Counts a request of `who`, or denies it; a denied one is not counted.
    // Async from the start: replicas will share these books.
    pub async fn admit(self: &Arc<Self>, who: &Identity) -> Result<Admission, Denial> {
        let settings = self.settings.now();
        let token = who.token().map(|token| (token.id, of_token(token)));
        let asking = Asking { user: who.user_id(), of_user: of_user(who.user(), &settings), token };
        let counted = self.lock().admit(&asking, settings.requests_per_minute_total, Now::read());
        match counted {
            Ok(requests) => {
                let hold = Hold { limits: self.clone(), asking, held: None, on_record: false, settled: false };
                Ok(Admission { requests, tokens: None, hold: Some(hold) })
            }
            Err(denial) => Err(denial),
        }
    }

    /// How a person stands with what they may use.
    pub fn account_of(&self, user: &User) -> Account {
        let allowed = of_user(user, &self.settings.now());
        self.lock().user_account(user.id, &allowed, Now::read())
    }

    /// How a token stands with its own quotas, besides its owner's.
    pub fn account_of_token(&self, token: &Token) -> Account {
        self.lock().token_account(token.id, &of_token(token), Now::read())
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn of_user(user: &User, settings: &Settings) -> Allowed {
    let own = user.requests_per_minute.and_then(|own| u32::try_from(own).ok());
    Allowed {
        requests_per_minute: Some(own.unwrap_or(settings.requests_per_minute)),
        quotas: user.quotas.or(settings.quotas()),
    }
}

fn of_token(token: &Token) -> Allowed {
    let requests_per_minute = token.requests_per_minute.and_then(|own| u32::try_from(own).ok());
    Allowed { requests_per_minute, quotas: token.quotas }
}

impl Admission {
    /// Whether it matters what the request will cost.
    pub fn bounds_cost(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.asking.bounds_cost())
    }

    /// Holds what the request may cost. Returns how many tokens its answer may have, which may be fewer than asked.
    // Async for the same reason.
    pub async fn hold(&mut self, cost: Cost) -> Result<u64, Error> {
        let Some(hold) = self.hold.as_mut().filter(|hold| hold.asking.bounds_cost()) else { return Ok(cost.answer) };
        let now = Now::read();
        let mut ledger = hold.limits.lock();
        let held = ledger.hold(&hold.asking, cost, now);
        self.tokens = ledger.tokens(&hold.asking, now);
        drop(ledger);
        let held = held?;
        hold.held = Some(held);
        Ok(held.cost.answer)
    }

    /// What is held, for who knows how the request ends.
    pub fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take()
    }
}

impl Hold {
    /// Notes whether the request has an intent in the record, by which it counts in its day after a restart.
    pub fn is_on_record(&mut self, on_record: bool) {
        self.on_record = on_record;
    }

    /// The request has ended, and cost this.
    pub fn settle(mut self, spent: Spent) {
        self.end(Some(spent));
    }

    fn end(&mut self, spent: Option<Spent>) {
        if !std::mem::replace(&mut self.settled, true) {
            self.limits.lock().settle(&self.asking, self.held, spent, Now::read());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(self.on_record.then(Spent::default));
    }
}
