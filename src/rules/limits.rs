//! Limits and quotas: requests, tokens and GPU time of each user, each token, and all together.
//!
//! A request is counted as soon as its sender is known, before its body is read, and reserves its estimated cost once it is
//! understood. Its `Hold` settles that at the end, however the request ends. This file is the shell with the lock and the
//! clocks; `limits/ledger.rs` has the rules. Without quotas, a request takes the lock when it arrives and when it ends, and
//! allocates nothing once its sender is known.

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
use ledger::{ChargedTo, CurrentLimits, Held, Ledger, Now};
pub use ledger::{Left, QuotaAccount};

const MINUTE: Duration = Duration::from_secs(60);

pub struct Limits {
    settings: Live,
    ledger: Mutex<Ledger>,
}

/// The state of a per-minute limit, for the headers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u64,
    pub remaining: u64,
    /// Time until the whole limit is available again.
    pub reset: Duration,
}

/// The highest cost of a request, as far as it can be estimated in advance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Model tokens of the prompt, estimated from the length of the text.
    pub prompt: u64,
    /// Model tokens that the answer may have.
    pub answer: u64,
    /// GPU time that such requests took in the past.
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
    /// The state of the model tokens per minute, where they are limited, once the cost is known.
    pub tokens: Option<Standing>,
    /// Kept here until `take_hold`.
    hold: Option<Hold>,
}

/// A refused request, with the state of the caller's limit.
#[derive(Debug)]
pub struct Denial {
    pub error: Error,
    pub standing: Standing,
}

/// A reservation. Dropped without `settle`, the request counts as free of cost, or as one request if it is on record.
pub struct Hold {
    limits: Arc<Limits>,
    asking: ChargedTo,
    held: Option<Held>,
    on_record: bool,
    settled: bool,
}

impl Limits {
    pub fn new(settings: Live, zone: Zone) -> Self {
        Limits { settings, ledger: Mutex::new(Ledger::new(zone, Now::read().wall)) }
    }

    /// Reads today's usage from the record, so that a restart does not reset the quotas. Must be called before the first
    /// request.
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

    /// Counts a request of `who`, or refuses it; a refused one does not count.
    // Async although nothing waits yet: replicas will share these counts.
    pub async fn admit(self: &Arc<Self>, who: &Identity) -> Result<Admission, Denial> {
        let settings = self.settings.now();
        let token = who.token().map(|token| (token.id, of_token(token)));
        let (mut of_user, is_background) = (of_user(who.user(), &settings), who.is_background());
        if is_background {
            of_user.requests_per_minute = Some(settings.tasks_per_minute);
        }
        let asking = ChargedTo { user: who.user_id(), of_user, token, is_background };
        let counted = self.lock().admit(&asking, settings.requests_per_minute_total, Now::read());
        match counted {
            Ok(requests) => {
                let hold = Hold { limits: self.clone(), asking, held: None, on_record: false, settled: false };
                Ok(Admission { requests, tokens: None, hold: Some(hold) })
            }
            Err(denial) => Err(denial),
        }
    }

    /// Counts the other answers of a request for `choices` of them: each is a request to limits and quotas. Returns their
    /// admissions. If they are refused, `first` does not count any more.
    pub async fn admit_choices(self: &Arc<Self>, first: &mut Admission, choices: u8) -> Result<Vec<Admission>, Error> {
        let Some(asking) = first.hold.as_ref().map(|hold| hold.asking) else { return Ok(Vec::new()) };
        let total = self.settings.now().requests_per_minute_total;
        let most = asking.requests_at_once_max(total);
        if u64::from(choices) > most {
            let message = format!("`n` is {choices}; each answer counts as a request, and you may make {most} at once");
            return Err(Error::invalid("n", message));
        }
        let others = u32::from(choices.saturating_sub(1));
        let counted = self.lock().admit_more(&asking, others, total, Now::read());
        let (Ok(standing) | Err(Denial { standing, .. })) = &counted;
        first.requests = *standing;
        let requests = counted.map_err(|denial| denial.error)?;
        let admission = |_| {
            let hold = Hold { limits: self.clone(), asking, held: None, on_record: false, settled: false };
            Admission { requests, tokens: None, hold: Some(hold) }
        };
        Ok((0..others).map(admission).collect())
    }

    /// Returns the usage and limits of a user.
    pub fn account_of(&self, user: &User) -> QuotaAccount {
        let allowed = of_user(user, &self.settings.now());
        self.lock().user_account(user.id, &allowed, Now::read())
    }

    /// Returns the usage and limits of a token, which are separate from its owner's.
    pub fn account_of_token(&self, token: &Token) -> QuotaAccount {
        self.lock().token_account(token.id, &of_token(token), Now::read())
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn of_user(user: &User, settings: &Settings) -> CurrentLimits {
    let own = user.requests_per_minute.and_then(|own| u32::try_from(own).ok());
    CurrentLimits {
        requests_per_minute: Some(own.unwrap_or(settings.requests_per_minute)),
        quotas: user.quotas.or(settings.quotas()),
    }
}

fn of_token(token: &Token) -> CurrentLimits {
    let requests_per_minute = token.requests_per_minute.and_then(|own| u32::try_from(own).ok());
    CurrentLimits { requests_per_minute, quotas: token.quotas }
}

impl Admission {
    /// Returns whether any limit depends on what the request will cost.
    pub fn bounds_cost(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.asking.bounds_cost())
    }

    /// Reserves the estimated cost. Returns how many model tokens the answer may have, which may be fewer than asked for.
    // Async for the same reason as `admit`.
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

    /// Hands the reservation to the part that knows how the request ends.
    pub fn take_hold(&mut self) -> Option<Hold> {
        self.hold.take()
    }
}

impl Hold {
    /// Sets whether the request has an intent in the record, by which it counts for its day after a restart.
    pub fn is_on_record(&mut self, on_record: bool) {
        self.on_record = on_record;
    }

    /// Settles the reservation: charges what the request really cost.
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
