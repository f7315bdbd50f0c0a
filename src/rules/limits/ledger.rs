//! The ledger: the requests of the last minute of each user and token, and what they used today or have reserved.
//!
//! A pure core: the time and the current limits are arguments, so a changed limit has effect on the next request and the
//! history is kept. A request is charged to its user and also to the token that it came with.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::base::clock::Timestamp;
use crate::base::clock::zone::{Day, Zone};
use crate::base::error::{Error, retry_after_seconds};
use crate::model::chat::Spent;
use crate::model::rights::quotas::Quotas;
use crate::rules::limits::budget::{Budget, Fill};
use crate::rules::limits::day::{Amounts, Tally, Today};
use crate::rules::limits::window::Window;
use crate::rules::limits::{Cost, Denial, MINUTE, Standing};

/// One moment on two clocks: the monotonic one, and the host's, which tells the day.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Instant,
    pub wall: Timestamp,
}

impl Now {
    pub fn read() -> Now {
        Now { at: Instant::now(), wall: Timestamp::now() }
    }
}

/// The current limits of one user or token.
#[derive(Debug, Clone, Copy, Default)]
pub struct CurrentLimits {
    pub requests_per_minute: Option<u32>,
    pub quotas: Quotas,
}

/// Whom a request is charged to, with their limits.
#[derive(Debug, Clone, Copy)]
pub struct ChargedTo {
    pub user: i64,
    pub of_user: CurrentLimits,
    pub token: Option<(i64, CurrentLimits)>,
    /// A background task of a tool: it is counted in a minute of its own, of which `of_user` then has the limit.
    pub is_background: bool,
}

impl ChargedTo {
    /// Returns whether any limit depends on what a request costs, besides the number of requests.
    pub fn bounds_cost(&self) -> bool {
        let of_token = self.token.map(|(_, allowed)| allowed.quotas).unwrap_or_default();
        [self.of_user.quotas, of_token].iter().any(|quotas| {
            quotas.tokens_per_minute.is_some()
                || quotas.tokens_per_day.is_some()
                || quotas.gpu_seconds_per_day.is_some()
        })
    }

    /// Returns the smallest limit of requests; `total` is that of all users together. More can never pass at once.
    pub fn requests_at_once_max(&self, total: u32) -> u64 {
        let of_token = self.token.map(|(_, allowed)| allowed);
        let limits = [Some(self.of_user), of_token].into_iter().flatten();
        let limits =
            limits.flat_map(|allowed| [allowed.requests_per_minute.map(u64::from), allowed.quotas.requests_per_day]);
        limits.flatten().fold(u64::from(total), u64::min)
    }
}

/// The reservation of a request.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub cost: Cost,
    /// In the budgets of its user and its token.
    fills: [Option<Fill>; 2],
}

/// Limit, usage and remainder of one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub limit: Option<u64>,
    pub used: u64,
    /// Reserved for running requests; what they don't use is returned.
    pub reserved: u64,
    /// Time until the whole quota is available again.
    pub resets_in: Duration,
}

impl Left {
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used).saturating_sub(self.reserved))
    }
}

/// Everything that is counted for one user or token.
#[derive(Debug, Clone, Copy)]
pub struct QuotaAccount {
    pub requests_per_minute: Left,
    pub tokens_per_minute: Left,
    pub requests_per_day: Left,
    pub tokens_per_day: Left,
    pub gpu_seconds_per_day: Left,
}

/// The counts of one user or token.
#[derive(Debug, Default)]
struct Book {
    minute: Window,
    /// Background tasks of the last minute, which are not in `minute`.
    background: Window,
    budget: Budget,
    today: Tally,
}

/// A book with the limits of its owner, and the owner's name for messages.
struct Entry<'a> {
    book: &'a mut Book,
    allowed: &'a CurrentLimits,
    whose: &'static str,
    is_background: bool,
}

type Entries<'a> = [Option<Entry<'a>>; 2];

pub struct Ledger {
    users: HashMap<i64, Book>,
    tokens: HashMap<i64, Book>,
    total: Window,
    today: Today,
    swept_at: Option<Instant>,
}

const GPU_SECOND_US: u64 = 1_000_000;

/// When running requests will release their reservations is unknown, so this is a guess.
const HELD_RETRY: Duration = Duration::from_secs(5);

impl Ledger {
    pub fn new(zone: Zone, now: Timestamp) -> Ledger {
        Ledger {
            users: HashMap::new(),
            tokens: HashMap::new(),
            total: Window::default(),
            today: Today::new(zone, now),
            swept_at: None,
        }
    }

    pub fn day(&self) -> Day {
        self.today.day()
    }

    /// Adds earlier usage of the current day.
    pub fn was_used(&mut self, user: i64, token: Option<i64>, used: Amounts) {
        self.users.entry(user).or_default().today.settle(Amounts::default(), used);
        if let Some(token) = token {
            self.tokens.entry(token).or_default().today.settle(Amounts::default(), used);
        }
    }

    /// Counts a request, or refuses it; a refused one does not count.
    pub fn admit(&mut self, asking: &ChargedTo, total: u32, now: Now) -> Result<Standing, Denial> {
        self.admit_several(asking, 1, total, now)
    }

    /// Counts `count` more generations of a request that was counted, or takes its count back and refuses it.
    pub fn admit_more(&mut self, asking: &ChargedTo, count: u32, total: u32, now: Now) -> Result<Standing, Denial> {
        self.admit_several(asking, count, total, now).map_err(|denial| {
            let mut entries = Self::entries(&mut self.users, &mut self.tokens, asking);
            each(&mut entries).for_each(|entry| entry.minute().take_back());
            self.total.take_back();
            Denial { standing: tightest(&mut entries, now), ..denial }
        })
    }

    fn admit_several(&mut self, asking: &ChargedTo, count: u32, total: u32, now: Now) -> Result<Standing, Denial> {
        self.keep_time(now);
        self.total.forget(now.at);
        let day_left = self.today.left(now.wall);
        let wait_of_all = self.total.wait(count, total, now.at);
        let mut entries = Self::entries(&mut self.users, &mut self.tokens, asking);
        each(&mut entries).for_each(|entry| entry.minute().forget(now.at));

        let standing = tightest(&mut entries, now);
        let deny = |error| Err(Denial { error, standing });
        if let Some(error) = each(&mut entries).find_map(|entry| entry.used_up(count, day_left)) {
            return deny(error);
        }
        let waits = each(&mut entries).filter_map(|entry| entry.minute_wait(count, now));
        if let Some((wait, limit)) = waits.max().filter(|(wait, _)| !wait.is_zero()) {
            return deny(too_often(&format!("more than {} in a minute", requests(limit)), wait));
        }
        if !wait_of_all.is_zero() {
            let what = format!("all users together made more than {} in a minute", requests(total));
            return deny(too_often(&what, wait_of_all));
        }
        for entry in each(&mut entries) {
            for _ in 0..count {
                entry.minute().pass(now.at);
                entry.book.today.hold(Amounts::ONE_REQUEST);
            }
        }
        let standing = tightest(&mut entries, now);
        (0..count).for_each(|_| self.total.pass(now.at));
        Ok(standing)
    }

    /// Reserves the cost of a counted request until it is settled. Returns how long its answer may be: as long as asked for, or
    /// what is left of the day.
    pub fn hold(&mut self, asking: &ChargedTo, cost: Cost, now: Now) -> Result<Held, Error> {
        self.keep_time(now);
        let day_left = self.today.left(now.wall);
        let mut entries = Self::entries(&mut self.users, &mut self.tokens, asking);
        let mut held = Held { cost, fills: [None; 2] };
        for entry in each(&mut entries) {
            entry.check_gpu(day_left)?;
            held.cost.answer = held.cost.answer.min(entry.answer_today(&cost, day_left)?);
        }
        for entry in each(&mut entries) {
            entry.check_budget(&held.cost, now)?;
        }
        for (entry, fill) in each(&mut entries).zip(&mut held.fills) {
            entry.book.today.hold(held.cost.amounts());
            if entry.allowed.quotas.tokens_per_minute.is_some() {
                *fill = Some(entry.book.budget.take(held.cost.tokens(), now.at));
            }
        }
        Ok(held)
    }

    /// Settles a counted request that has ended: releases its reservation and charges its usage. A request that failed before
    /// it ran has no usage.
    pub fn settle(&mut self, asking: &ChargedTo, held: Option<Held>, spent: Option<Spent>, now: Now) {
        self.keep_time(now);
        let used = spent.map(|spent| used(&spent, held.map_or(0, |held| held.cost.prompt))).unwrap_or_default();
        let (cost, fills) = held.map_or((Cost::default(), [None; 2]), |held| (held.cost, held.fills));
        let mut entries = Self::entries(&mut self.users, &mut self.tokens, asking);
        for (entry, fill) in each(&mut entries).zip(fills) {
            entry.book.today.settle(cost.amounts().plus(Amounts::ONE_REQUEST), used);
            if let (Some(fill), Some(limit)) = (fill, entry.allowed.quotas.tokens_per_minute) {
                entry.book.budget.settle(fill, used.tokens, limit, now.at);
            }
        }
    }

    /// Returns the token budget with the least left, if there is one.
    pub fn tokens(&mut self, asking: &ChargedTo, now: Now) -> Option<Standing> {
        let mut entries = Self::entries(&mut self.users, &mut self.tokens, asking);
        let standing =
            |entry: &mut Entry<'_>| Some(entry.book.budget.standing(entry.allowed.quotas.tokens_per_minute?, now.at));
        each(&mut entries).filter_map(standing).min_by_key(|standing| standing.remaining)
    }

    pub fn user_account(&mut self, user: i64, allowed: &CurrentLimits, now: Now) -> QuotaAccount {
        self.keep_time(now);
        let day_left = self.today.left(now.wall);
        let mut nothing = Book::default();
        self.users.get_mut(&user).unwrap_or(&mut nothing).account(allowed, day_left, now)
    }

    pub fn token_account(&mut self, token: i64, allowed: &CurrentLimits, now: Now) -> QuotaAccount {
        self.keep_time(now);
        let day_left = self.today.left(now.wall);
        let mut nothing = Book::default();
        self.tokens.get_mut(&token).unwrap_or(&mut nothing).account(allowed, day_left, now)
    }

    fn entries<'a>(
        users: &'a mut HashMap<i64, Book>,
        tokens: &'a mut HashMap<i64, Book>,
        asking: &'a ChargedTo,
    ) -> Entries<'a> {
        let user = Entry {
            book: users.entry(asking.user).or_default(),
            allowed: &asking.of_user,
            whose: "your",
            is_background: asking.is_background,
        };
        let token = asking.token.as_ref().map(|(id, allowed)| Entry {
            book: tokens.entry(*id).or_default(),
            allowed,
            whose: "this token's",
            is_background: false,
        });
        [Some(user), token]
    }

    /// Starts a new day when it is time and, once a minute, drops users and tokens without any counts.
    fn keep_time(&mut self, now: Now) {
        if self.today.turns(now.wall) {
            for book in self.users.values_mut().chain(self.tokens.values_mut()) {
                book.today.used = Amounts::default();
            }
        }
        if self.swept_at.is_some_and(|then| now.at.saturating_duration_since(then) < MINUTE) {
            return;
        }
        self.swept_at = Some(now.at);
        for books in [&mut self.users, &mut self.tokens] {
            books.retain(|_, book| {
                book.minute.forget(now.at);
                book.background.forget(now.at);
                book.minute.used() > 0
                    || book.background.used() > 0
                    || book.today != Tally::default()
                    || !book.budget.is_empty(now.at)
            });
        }
    }
}

fn each<'e, 'a>(entries: &'e mut Entries<'a>) -> impl Iterator<Item = &'e mut Entry<'a>> {
    entries.iter_mut().flatten()
}

/// Returns the request window with the least left.
fn tightest(entries: &mut Entries<'_>, now: Now) -> Standing {
    let standing = |entry: &mut Entry<'_>| {
        let limit = entry.allowed.requests_per_minute?;
        Some(entry.minute().standing(limit, now.at))
    };
    let least = each(entries).filter_map(standing).min_by_key(|standing| standing.remaining);
    least.unwrap_or(Standing { limit: 0, remaining: 0, reset: Duration::ZERO })
}

/// Returns what a request is charged. A model that was cut off has not reported the length of its prompt: then the estimate
/// counts, if the model had read it.
fn used(spent: &Spent, guessed_prompt: u64) -> Amounts {
    let read = if spent.answer_tokens > 0 { guessed_prompt } else { 0 };
    Amounts {
        requests: 1,
        tokens: spent.prompt_tokens.unwrap_or(read).saturating_add(spent.answer_tokens),
        gpu_us: u64::try_from(spent.gpu.as_micros()).unwrap_or(u64::MAX),
    }
}

fn requests(count: u32) -> String {
    format!("{count} request{}", if count == 1 { "" } else { "s" })
}

fn too_often(what: &str, wait: Duration) -> Error {
    let message = format!("{what}; try again in {} s", retry_after_seconds(wait));
    Error::RateLimited { message, retry_after: wait }
}

impl Entry<'_> {
    /// Returns the window in which the request is counted.
    fn minute(&mut self) -> &mut Window {
        if self.is_background { &mut self.book.background } else { &mut self.book.minute }
    }

    /// Returns an error if a daily quota is used up, whatever the `count` requests would cost.
    fn used_up(&self, count: u32, day_left: Duration) -> Option<Error> {
        let (quotas, Tally { used, held }) = (&self.allowed.quotas, self.book.today);
        let reached = |limit: Option<u64>, used: u64| limit.filter(|limit| used >= *limit);
        let others = u64::from(count.saturating_sub(1));
        let requests = used.requests.saturating_add(held.requests).saturating_add(others);
        let (limit, what) = reached(quotas.requests_per_day, requests)
            .map(|limit| (limit, "requests"))
            .or_else(|| reached(quotas.tokens_per_day, used.tokens).map(|limit| (limit, "tokens")))
            .or_else(|| {
                reached(quotas.gpu_seconds_per_day, used.gpu_us / GPU_SECOND_US).map(|limit| (limit, "GPU seconds"))
            })?;
        Some(self.quota_used_up(limit, what, "used up", day_left))
    }

    fn minute_wait(&mut self, count: u32, now: Now) -> Option<(Duration, u32)> {
        let limit = self.allowed.requests_per_minute?;
        Some((self.minute().wait(count, limit, now.at), limit))
    }

    /// Checks the GPU time. How long a request will take is unknown: the reservations of running ones are what such requests
    /// took before, so the last ones of a day may exceed the quota.
    fn check_gpu(&self, day_left: Duration) -> Result<(), Error> {
        let Some(limit) = self.allowed.quotas.gpu_seconds_per_day else { return Ok(()) };
        let Tally { used, held } = self.book.today;
        if used.gpu_us / GPU_SECOND_US >= limit {
            return Err(self.quota_used_up(limit, "GPU seconds", "used up", day_left));
        }
        if used.gpu_us.saturating_add(held.gpu_us) >= limit.saturating_mul(GPU_SECOND_US) {
            return Err(self.is_held(limit, "GPU seconds"));
        }
        Ok(())
    }

    /// Returns how long the answer may be with what is left of the day, at least one token if any were asked for.
    fn answer_today(&self, cost: &Cost, day_left: Duration) -> Result<u64, Error> {
        let Some(limit) = self.allowed.quotas.tokens_per_day else { return Ok(cost.answer) };
        let least = cost.prompt.saturating_add(cost.answer.min(1));
        let Tally { used, held } = self.book.today;
        let unused = limit.saturating_sub(used.tokens);
        if unused < least {
            let how = format!("used up but for {unused}, and the prompt alone has about {}", cost.prompt);
            return Err(self.quota_used_up(limit, "tokens", &how, day_left));
        }
        let free = unused.saturating_sub(held.tokens);
        if free < least {
            return Err(self.is_held(limit, "tokens"));
        }
        Ok(cost.answer.min(free - cost.prompt))
    }

    fn check_budget(&mut self, cost: &Cost, now: Now) -> Result<(), Error> {
        let Some(limit) = self.allowed.quotas.tokens_per_minute else { return Ok(()) };
        let wait = self.book.budget.wait(cost.tokens(), limit, now.at);
        if wait.is_zero() {
            return Ok(());
        }
        let (whose, tokens) = (self.whose, cost.tokens());
        let what = format!("this request may take {tokens} of {whose} {limit} tokens per minute, and fewer are left");
        Err(too_often(&what, wait))
    }

    fn quota_used_up(&self, limit: u64, what: &str, how: &str, day_left: Duration) -> Error {
        let (whose, seconds) = (self.whose, retry_after_seconds(day_left));
        let message = format!("{whose} {limit} {what} per day are {how}; the next day begins in {seconds} s");
        Error::QuotaUsedUp { message, retry_after: day_left }
    }

    fn is_held(&self, limit: u64, what: &str) -> Error {
        let message = format!(
            "what is left of {} {limit} {what} per day is held for requests that run; try again when one has ended",
            self.whose
        );
        Error::RateLimited { message, retry_after: HELD_RETRY }
    }
}

impl Book {
    fn account(&mut self, allowed: &CurrentLimits, day_left: Duration, now: Now) -> QuotaAccount {
        self.minute.forget(now.at);
        let quotas = &allowed.quotas;
        let minute = self.minute.standing(allowed.requests_per_minute.unwrap_or(0), now.at);
        let requests_per_minute = Left {
            limit: allowed.requests_per_minute.map(u64::from),
            used: self.minute.used(),
            reserved: 0,
            resets_in: minute.reset,
        };
        let budget = quotas.tokens_per_minute.map(|limit| self.budget.standing(limit, now.at));
        let tokens_per_minute = Left {
            limit: quotas.tokens_per_minute,
            used: budget.map_or(0, |budget| budget.limit - budget.remaining),
            reserved: 0,
            resets_in: budget.map_or(Duration::ZERO, |budget| budget.reset),
        };
        let Tally { used, held } = self.today;
        let of_day = |limit, used, reserved| Left { limit, used, reserved, resets_in: day_left };
        QuotaAccount {
            requests_per_minute,
            tokens_per_minute,
            requests_per_day: of_day(quotas.requests_per_day, used.requests, held.requests),
            tokens_per_day: of_day(quotas.tokens_per_day, used.tokens, held.tokens),
            gpu_seconds_per_day: of_day(
                quotas.gpu_seconds_per_day,
                used.gpu_us / GPU_SECOND_US,
                held.gpu_us.div_ceil(GPU_SECOND_US),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
