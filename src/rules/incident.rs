//! The incident report: who sent the requests of a time, which pipeline, how often, and whether anything was misconfigured.
//!
//! `facts` sums the rows of the record up, `stands_out` decides whose doing it was, and `findings` what was wrong: all three are
//! pure. This file reads. Rendering is the pages'.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::People;
use crate::model::rights::Class;
use crate::model::rights::quotas::Quotas;
use crate::store::Store;
use crate::store::incidents::{AddressCount, CheckpointsAround, RowSpan};
use crate::store::prompt_starts::PROMPT_START_CHARS;
use crate::store::tokens::Label;
use crate::store::usage::QUARTER_US;

pub mod activity;
pub mod counts;
pub mod facts;
pub mod findings;
pub mod stands_out;
pub mod window;

use facts::{SenderKey, WindowFacts};
use findings::{Evidence, IncidentFinding, SenderSettings, findings};
use stands_out::{Share, stand_out};
use window::TimeWindow;

/// Rows that are read at a time.
const ROWS_PER_STEP: i64 = 10_000;
/// The time before the window is compared row by row if it has at most so many.
const ROWS_BEFORE_MAX: i64 = 200_000;
/// How long after the window its requests may end, to be followed.
const TAIL_SECONDS: i64 = 3_600;
/// After the window, rows with counts of its last minute are still written.
const TALLY_SECONDS: i64 = 150;
/// How far back usage is looked at to know what is usual.
const USUAL_DAYS: i64 = 7;
/// Less than that is no habit.
const USUAL_LEAST_US: i64 = 4 * QUARTER_US;
/// Requests whose addresses are counted: the last ones of more.
const ADDRESS_ROWS_MAX: i64 = 200_000;
const ADDRESSES_MAX: usize = 500;
/// What is less than this many requests doesn't stand out.
const REQUESTS_LEAST: u64 = 20;
/// Nor does less than this part of what all slots could have worked.
const GPU_LEAST_PERCENT: u64 = 5;
/// Senders whose prompts are looked at.
const PROMPT_SENDERS_MAX: usize = 5;
/// Beginnings of prompts of one sender.
const PROMPTS_MAX: usize = 5;

/// Makes one report at a time: each reads many rows.
#[derive(Clone)]
pub struct IncidentDesk(Arc<Semaphore>);

impl Default for IncidentDesk {
    fn default() -> Self {
        IncidentDesk(Arc::new(Semaphore::new(1)))
    }
}

/// What a report is to be about.
#[derive(Debug, Clone)]
pub struct IncidentQuestion {
    pub window: TimeWindow,
    /// Whether it shows how prompts begin.
    pub contents: bool,
    /// The upstreams and their slots.
    pub upstreams: Vec<(String, usize)>,
    pub now: Timestamp,
}

/// A sender with its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderName {
    /// The name of the person; empty if nobody is known.
    pub person: String,
    /// The name of the access token.
    pub token: Option<String>,
    /// The owner of the delegating token that brought requests of this person.
    pub via: Option<String>,
    pub is_deleted: bool,
    pub is_nobody: bool,
    pub is_others: bool,
}

/// What a sender does in such a time usually.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usual {
    pub requests: f64,
    pub gpu_us: f64,
}

/// How prompts of a sender begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptSample {
    pub sender: usize,
    /// Requests that were looked at.
    pub looked_at: usize,
    /// Beginnings with how often they occurred, most often first.
    pub starts: Vec<(String, usize)>,
}

/// Who stands out, and in what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaders {
    /// Places of those who sent far more requests.
    pub requests: Vec<usize>,
    /// Places of those who took far more GPU time.
    pub gpu: Vec<usize>,
}

impl Leaders {
    /// Returns all of them, once each.
    pub fn all(&self) -> Vec<usize> {
        let mut all = self.requests.clone();
        all.extend(self.gpu.iter().filter(|at| !self.requests.contains(at)));
        all
    }
}

pub struct IncidentReport {
    pub question: IncidentQuestion,
    pub facts: WindowFacts,
    /// The same length of time before the window, unless it has too many rows, or none are left of it.
    pub before: Option<WindowFacts>,
    /// What each sender does in such a time usually, by its place; and over how long that was looked at, in microseconds.
    pub usual: Option<(Vec<Usual>, i64)>,
    pub names: Vec<SenderName>,
    pub leaders: Leaders,
    pub findings: Vec<IncidentFinding>,
    pub addresses: Vec<AddressCount>,
    /// Whether not all requests were asked for their address.
    pub addresses_are_partial: bool,
    pub checkpoints: CheckpointsAround,
    pub span: RowSpan,
    /// Names of tokens that were paused, by id.
    pub token_names: HashMap<i64, String>,
    pub prompts: Option<Vec<PromptSample>>,
    pub people: Arc<People>,
}

impl IncidentReport {
    /// Returns the slots of all upstreams.
    pub fn slots(&self) -> u64 {
        self.question.upstreams.iter().map(|(_, slots)| *slots as u64).sum()
    }

    /// Returns all that the slots could have worked in the window, in microseconds.
    pub fn capacity_us(&self) -> u64 {
        self.slots().saturating_mul(self.question.window.length_us().unsigned_abs())
    }

    /// Whether the record of the window's beginning was removed for its age, or never was.
    pub fn begins_too_early(&self) -> bool {
        self.span.oldest_at.is_none_or(|oldest| oldest > self.question.window.from)
    }
}

impl IncidentDesk {
    /// Reads the record of a window and finds out what happened.
    pub async fn report(&self, store: &Store, question: IncidentQuestion) -> Result<IncidentReport, Error> {
        let Ok(_turn) = self.0.try_acquire() else {
            return Err(Error::conflict("another report is being made; ask again when it is done"));
        };
        let window = question.window;
        let span = store.rows_between(window.from, window.to).await?;
        let facts = read(store, window, span).await?;
        let before = before(store, window).await?;
        let usual = usual(store, &facts, span).await?;
        let addresses = store.addresses_between(span, ADDRESS_ROWS_MAX, ADDRESSES_MAX).await?;
        let checkpoints = store.checkpoints_around(span).await?;
        let people = store.people();
        let labels = store.token_labels(token_ids(&facts)).await?;
        let slots: u64 = question.upstreams.iter().map(|(_, slots)| *slots as u64).sum();
        let leaders = leaders(&facts, before.as_ref(), usual.as_ref(), slots);
        let settings: Vec<SenderSettings> =
            facts.senders.iter().map(|sender| settings_of(sender.key, &people)).collect();
        let evidence =
            Evidence { facts: &facts, before: before.as_ref(), leaders: &leaders.all(), settings: &settings, slots };
        let findings = findings(&evidence);
        let prompts = match question.contents {
            true => Some(prompts(store, &facts, &people).await?),
            false => None,
        };
        Ok(IncidentReport {
            names: facts.senders.iter().map(|sender| name_of(sender.key, sender.via, &people, &labels)).collect(),
            token_names: labels.into_iter().map(|(id, label)| (id, label.name().to_owned())).collect(),
            addresses_are_partial: span.rows_max() > ADDRESS_ROWS_MAX,
            question,
            facts,
            before,
            usual,
            leaders,
            findings,
            addresses,
            checkpoints,
            span,
            prompts,
            people,
        })
    }
}

/// Reads the rows of a window, and those after it in which its requests ended.
async fn read(store: &Store, window: TimeWindow, span: RowSpan) -> Result<WindowFacts, Error> {
    let mut facts = WindowFacts::new(window, span);
    let mut after = span.after;
    while after < span.last {
        let rows = store.incident_rows(after, span.last, ROWS_PER_STEP).await?;
        let Some(last) = rows.last() else { break };
        after = last.log_id;
        rows.iter().for_each(|row| facts.saw(row));
    }
    let until = |seconds: i64| window.to.plus_seconds(seconds).0;
    let mut after = span.last;
    loop {
        let rows = store.incident_rows(after, span.newest, ROWS_PER_STEP).await?;
        let Some(last) = rows.last() else { break };
        after = last.log_id;
        rows.iter().take_while(|row| row.at_us < until(TAIL_SECONDS)).for_each(|row| facts.saw(row));
        let goes_on = facts.has_unfinished() && last.at_us < until(TAIL_SECONDS);
        if !goes_on && last.at_us >= until(TALLY_SECONDS) {
            break;
        }
    }
    Ok(facts)
}

/// Reads the same length of time before the window.
async fn before(store: &Store, window: TimeWindow) -> Result<Option<WindowFacts>, Error> {
    let window = window.before();
    let span = store.rows_between(window.from, window.to).await?;
    let begins_too_late = span.oldest_at.is_none_or(|oldest| oldest >= window.to);
    if begins_too_late || span.rows_max() > ROWS_BEFORE_MAX {
        return Ok(None);
    }
    read(store, window, span).await.map(Some)
}

/// Returns what each sender does in a time as long as the window usually: its mean in the days before, by the sums of usage.
async fn usual(store: &Store, facts: &WindowFacts, span: RowSpan) -> Result<Option<(Vec<Usual>, i64)>, Error> {
    let window = facts.window;
    let to = window.from.0 - window.from.0.rem_euclid(QUARTER_US);
    let from = to.saturating_sub(USUAL_DAYS * 24 * 4 * QUARTER_US);
    // Before the first row there was nothing to be usual.
    let from = from.max(span.oldest_at.map_or(to, |oldest| oldest.0 - oldest.0.rem_euclid(QUARTER_US)));
    let length = to.saturating_sub(from);
    if length < USUAL_LEAST_US {
        return Ok(None);
    }
    let sums = store.usual_sums(Timestamp(from), Timestamp(to), 10_000).await?;
    let part = window.length_us() as f64 / length as f64;
    let by_key: HashMap<SenderKey, Usual> = sums
        .iter()
        .map(|sum| {
            let usual = Usual { requests: sum.requests as f64 * part, gpu_us: sum.gpu_us as f64 * part };
            (SenderKey { user_id: sum.user_id, token_id: sum.token_id }, usual)
        })
        .collect();
    let usual = facts.senders.iter().map(|sender| by_key.get(&sender.key).copied().unwrap_or_default()).collect();
    Ok(Some((usual, length)))
}

/// Returns who stands out. What is usual is the mean of days where it is known, and otherwise the time just before.
fn leaders(
    facts: &WindowFacts,
    before: Option<&WindowFacts>,
    usual: Option<&(Vec<Usual>, i64)>,
    slots: u64,
) -> Leaders {
    let just_before = |key: SenderKey| {
        before.map(|before| {
            let did = before.sender(key).map(|sender| &sender.did);
            Usual {
                requests: did.map_or(0.0, |did| did.sent() as f64),
                gpu_us: did.map_or(0.0, |did| did.gpu_us as f64),
            }
        })
    };
    let usual: Vec<Option<Usual>> = facts
        .senders
        .iter()
        .enumerate()
        .map(|(at, sender)| match usual {
            Some((usual, _)) => usual.get(at).copied(),
            None => just_before(sender.key),
        })
        .collect();
    let shares = |amount: fn(&facts::IncidentSender) -> u64, of: fn(Usual) -> f64| -> Vec<Share> {
        let share = |(sender, usual): (&facts::IncidentSender, &Option<Usual>)| {
            // Those who are not told apart can't be named.
            let amount = if sender.key == SenderKey::OTHERS { 0 } else { amount(sender) };
            Share { amount, usual: usual.map(of) }
        };
        facts.senders.iter().zip(&usual).map(share).collect()
    };
    let requests = shares(|sender| sender.did.sent(), |usual| usual.requests);
    let gpu = shares(|sender| sender.did.gpu_us.max(0).unsigned_abs(), |usual| usual.gpu_us);
    let capacity = slots.max(1).saturating_mul(facts.window.length_us().unsigned_abs());
    Leaders {
        requests: stand_out(&requests, REQUESTS_LEAST),
        gpu: stand_out(&gpu, (capacity / 100).saturating_mul(GPU_LEAST_PERCENT)),
    }
}

fn token_ids(facts: &WindowFacts) -> Vec<i64> {
    let senders = facts.senders.iter().map(|sender| sender.key.token_id).filter(|id| *id > 0);
    let ids: HashSet<i64> = senders.chain(facts.pauses.iter().map(|pause| pause.token_id)).collect();
    ids.into_iter().collect()
}

fn name_of(key: SenderKey, via: Option<i64>, people: &People, labels: &HashMap<i64, Label>) -> SenderName {
    if key == SenderKey::OTHERS {
        return SenderName { is_others: true, ..SenderName::default() };
    }
    if key.user_id == 0 {
        return SenderName { is_nobody: true, ..SenderName::default() };
    }
    SenderName {
        person: people.name_of(key.user_id),
        token: labels.get(&key.token_id).map(|label| label.name().to_owned()),
        via: via.map(|id| people.name_of(id)),
        is_deleted: people.by_id(key.user_id).is_none(),
        ..SenderName::default()
    }
}

fn settings_of(key: SenderKey, people: &People) -> SenderSettings {
    let token = people.tokens().find(|token| token.id == key.token_id);
    let owner = people.by_id(key.user_id);
    let owner_class = owner.map(|user| user.class);
    SenderSettings {
        has_token: token.is_some(),
        has_own_limit: token.is_some_and(|token| token.requests_per_minute.is_some() || limits_use(token.quotas)),
        owner_limit: owner.and_then(|user| user.requests_per_minute),
        is_batch: token.and_then(|token| token.class).or(owner_class) == Some(Class::Batch),
    }
}

/// Returns whether quotas limit how much is used, and not only how long one answer is.
fn limits_use(quotas: Quotas) -> bool {
    let Quotas { tokens_per_minute, requests_per_day, tokens_per_day, gpu_seconds_per_day, .. } = quotas;
    [tokens_per_minute, requests_per_day, tokens_per_day, gpu_seconds_per_day].iter().any(Option::is_some)
}

/// Reads how prompts begin: a few of those who sent most. Of people who were deleted nothing is read.
async fn prompts(store: &Store, facts: &WindowFacts, people: &People) -> Result<Vec<PromptSample>, Error> {
    let mut order: Vec<usize> = (0..facts.senders.len()).collect();
    order.retain(|at| people.by_id(facts.senders[*at].key.user_id).is_some());
    order.sort_by_key(|at| (std::cmp::Reverse(facts.senders[*at].did.sent()), *at));
    let mut samples = Vec::new();
    for sender in order.into_iter().take(PROMPT_SENDERS_MAX) {
        let rows = facts.senders[sender].did.examples.rows().to_vec();
        let found = store.prompt_starts(rows).await?;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for start in found.values() {
            let start: String = start.chars().take(PROMPT_START_CHARS).collect();
            *counts.entry(start).or_default() += 1;
        }
        let mut starts: Vec<(String, usize)> = counts.into_iter().collect();
        starts.sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
        starts.truncate(PROMPTS_MAX);
        samples.push(PromptSample { sender, looked_at: found.len(), starts });
    }
    Ok(samples)
}
