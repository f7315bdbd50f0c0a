//! The incident report: who sent the requests of a time, which pipeline, how often, and whether anything was misconfigured.
//!
//! `facts` sums up the rows of the record, `stands_out` finds who caused it, and `findings` what was wrong: all three are pure.
//! This file reads the record. The pages render the report.

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
pub mod leaders;
pub mod stands_out;
pub mod window;

use facts::{SenderKey, WindowFacts};
use findings::{Evidence, IncidentFinding, SenderSettings, findings};
use leaders::{Leaders, Usual, leaders};
use window::TimeWindow;

/// Rows that are read at a time. They are summed up on a worker thread, which others wait for meanwhile.
const ROWS_PER_STEP: i64 = 2_000;
/// A time before the window with more rows is not read.
const ROWS_BEFORE_MAX: i64 = 200_000;
/// How long after the window the ends of its requests are looked for.
pub const TAIL_SECONDS: i64 = 3_600;
/// How long after the window rows are written that count the refusals of its last minute.
const TALLY_SECONDS: i64 = 150;
/// How many days of usage before the window tell what is usual.
const USUAL_DAYS: i64 = 7;
/// The least time of usage that tells what is usual.
const USUAL_LEAST_US: i64 = 4 * QUARTER_US;
/// Addresses are counted in so many rows, the last ones of the window.
pub const ADDRESS_ROWS_MAX: i64 = 200_000;
const ADDRESSES_MAX: usize = 500;
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
    /// When the day of its beginning began, where the gateway is.
    pub midnight: Timestamp,
    /// Whether it shows how prompts begin.
    pub contents: bool,
    /// The upstreams and their slots.
    pub upstreams: Vec<(String, usize)>,
    pub now: Timestamp,
}

/// A sender with its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SenderName {
    /// The name of the person; empty if no person is known.
    pub person: String,
    /// The name of the access token.
    pub token: Option<String>,
    /// The owner of the token, if it is a delegating one: it brought requests of this person.
    pub via: Option<String>,
    pub is_deleted: bool,
    pub is_nobody: bool,
    pub is_others: bool,
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
    /// Whether addresses were counted in the last rows of the window only.
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

    /// Returns whether the record begins after the window does: older rows were removed for their age, or never written.
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
        let facts = read(store, window, question.midnight, span).await?;
        let before = before(store, window).await?;
        let usual = usual(store, &facts, span).await?;
        let addresses = store.addresses_between(span, ADDRESS_ROWS_MAX, ADDRESSES_MAX).await?;
        let checkpoints = store.checkpoints_around(RowSpan { last: facts.last_row, ..span }).await?;
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
            names: facts.senders.iter().map(|sender| name_of(sender.key, &people, &labels)).collect(),
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
async fn read(store: &Store, window: TimeWindow, midnight: Timestamp, span: RowSpan) -> Result<WindowFacts, Error> {
    let mut facts = WindowFacts::new(window, midnight, span);
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
    read(store, window, window.from, span).await.map(Some)
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

fn token_ids(facts: &WindowFacts) -> Vec<i64> {
    let senders = facts.senders.iter().map(|sender| sender.key.token_id).filter(|id| *id > 0);
    let ids: HashSet<i64> = senders.chain(facts.pauses.iter().map(|pause| pause.token_id)).collect();
    ids.into_iter().collect()
}

fn name_of(key: SenderKey, people: &People, labels: &HashMap<i64, Label>) -> SenderName {
    if key == SenderKey::OTHERS {
        return SenderName { is_others: true, ..SenderName::default() };
    }
    if key.user_id == 0 {
        return SenderName { is_nobody: true, ..SenderName::default() };
    }
    let label = labels.get(&key.token_id);
    SenderName {
        person: people.name_of(key.user_id),
        token: label.map(|label| label.name().to_owned()),
        via: label.filter(|label| label.delegating).map(|label| people.name_of(label.user_id)),
        is_deleted: people.by_id(key.user_id).is_none(),
        ..SenderName::default()
    }
}

fn settings_of(key: SenderKey, people: &People) -> SenderSettings {
    // A limit or class of a delegating token is that of a whole tool, and of all people who use it.
    let token = people.tokens().find(|token| token.id == key.token_id && !token.delegating);
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

/// Reads how prompts begin: a few of those who sent most. Prompts of people who were deleted are not read.
async fn prompts(store: &Store, facts: &WindowFacts, people: &People) -> Result<Vec<PromptSample>, Error> {
    let mut order: Vec<usize> = (0..facts.senders.len()).collect();
    order.retain(|at| facts.senders[*at].did.let_in > 0 && people.by_id(facts.senders[*at].key.user_id).is_some());
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
