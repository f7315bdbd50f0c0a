//! What happened in a window, from the rows of the record in their order. A pure fold: its memory doesn't grow with the rows.

use std::collections::HashMap;

use crate::base::clock::Timestamp;
use crate::model::record::{Act, Kind, Outcome};
use crate::rules::incident::activity::{Activity, EndedRequest};
use crate::rules::incident::window::{TimeSteps, TimeWindow};
use crate::store::incidents::{IncidentRow, RowSpan};

/// Who sent requests: a person, by an access token or not. 0: no known person, or no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderKey {
    pub user_id: i64,
    pub token_id: i64,
}

impl SenderKey {
    /// Clients whose credential was wrong or missing.
    pub const NOBODY: SenderKey = SenderKey { user_id: 0, token_id: 0 };
    /// All beyond those who are told apart.
    pub const OTHERS: SenderKey = SenderKey { user_id: -1, token_id: -1 };
}

#[derive(Debug, Clone)]
pub struct IncidentSender {
    pub key: SenderKey,
    pub did: Activity,
}

/// Senders that are told apart.
const SENDERS_MAX: usize = 500;
/// Upstreams that are told apart: more than can be configured sensibly.
const UPSTREAMS_MAX: usize = 32;
/// Pairs of a sender and an upstream whose GPU time is told apart.
const PAIRS_MAX: usize = 2_000;
/// Pauses of access tokens that are told.
const PAUSES_MAX: usize = 50;

/// The work of one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamWork {
    pub name: String,
    pub busy_us: Vec<i64>,
    pub loading_us: Vec<i64>,
}

/// A token that the breaker paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub token_id: i64,
    pub owner_id: i64,
    pub reason: String,
    pub at_us: i64,
}

#[derive(Debug, Clone)]
pub struct WindowFacts {
    pub window: TimeWindow,
    pub steps: TimeSteps,
    span: RowSpan,
    pub all: Activity,
    pub senders: Vec<IncidentSender>,
    places: HashMap<SenderKey, usize>,
    pub upstreams: Vec<UpstreamWork>,
    /// GPU time by sender and upstream in each step.
    pairs: HashMap<(usize, usize), Vec<i64>>,
    /// How long all requests together waited in each step.
    pub waiting_us: Vec<i64>,
    pub running_us: Vec<i64>,
    pub pauses: Vec<Pause>,
    /// The last row that counts: of the window, or one after it in which a request of the window ended.
    pub last_row: i64,
}

impl WindowFacts {
    /// Begins with no rows. The steps of the window are counted from `midnight`.
    pub fn new(window: TimeWindow, midnight: Timestamp, span: RowSpan) -> WindowFacts {
        let steps = TimeSteps::of(window, midnight);
        WindowFacts {
            window,
            steps,
            span,
            all: Activity::new(steps.count),
            senders: Vec::new(),
            places: HashMap::new(),
            upstreams: Vec::new(),
            pairs: HashMap::new(),
            waiting_us: vec![0; steps.count],
            running_us: vec![0; steps.count],
            pauses: Vec::new(),
            last_row: span.last,
        }
    }

    /// Adds the next row. Rows of the window come first, then those after it, in which its requests ended.
    pub fn saw(&mut self, row: &IncidentRow) {
        let is_within = row.log_id > self.span.after && row.log_id <= self.span.last;
        match Kind::parse(&row.kind) {
            Some(Kind::Intent) if is_within => self.saw_intent(row),
            Some(Kind::Result) => self.saw_result(row, is_within),
            Some(Kind::Refusal) => self.saw_refusal(row),
            Some(Kind::Act) if is_within => self.saw_act(row),
            Some(Kind::Intent | Kind::Act) | None => {}
        }
    }

    /// Returns whether requests of the window have not ended in the rows so far.
    pub fn has_unfinished(&self) -> bool {
        self.all.unfinished() > 0
    }

    pub fn sender(&self, key: SenderKey) -> Option<&IncidentSender> {
        self.places.get(&key).map(|place| &self.senders[*place])
    }

    /// Returns the GPU time of some senders on an upstream in each step.
    pub fn work_of(&self, senders: &[usize], upstream: usize) -> Vec<i64> {
        let mut sum = vec![0_i64; self.steps.count];
        for sender in senders {
            for (sum, part) in sum.iter_mut().zip(self.pairs.get(&(*sender, upstream)).into_iter().flatten()) {
                *sum = sum.saturating_add(*part);
            }
        }
        sum
    }

    fn saw_intent(&mut self, row: &IncidentRow) {
        let step = self.steps.at(row.at_us);
        let (model, api) = (text(&row.model_asked), text(&row.api));
        let place = self.place_of(row);
        self.senders[place].did.arrived(row.log_id, step, model, api);
        self.all.arrived(row.log_id, step, model, api);
    }

    fn saw_result(&mut self, row: &IncidentRow, is_within: bool) {
        let intent = row.intent_id.unwrap_or(row.log_id);
        if intent > self.span.last {
            return;
        }
        self.last_row = self.last_row.max(row.log_id);
        let total_us = row.total_us.unwrap_or(0).clamp(0, row.at_us.max(0));
        // One without a turn waited all the time.
        let queued_us = row.queued_us.unwrap_or(total_us).clamp(0, total_us);
        let step = is_within.then(|| self.steps.at(row.at_us));
        let place = self.place_of(row);
        if intent > self.span.after {
            let ended = EndedRequest {
                at_us: row.at_us,
                outcome: row.outcome.as_deref().and_then(Outcome::parse),
                reason: row.reason.as_deref(),
                model: text(&row.model_asked),
                total_us,
                queued_us,
                load_us: row.load_us.unwrap_or(0),
                prompt_tokens: row.prompt_tokens,
                attempt: row.attempt.unwrap_or(1),
            };
            self.senders[place].did.ends(ended, step);
            self.all.ends(ended, step);
        } else {
            self.senders[place].did.was_there_before(step);
            self.all.was_there_before(step);
        }
        self.spread(row, place, total_us, queued_us);
    }

    /// Puts the time of a request to where it waited and ran.
    fn spread(&mut self, row: &IncidentRow, place: usize, total_us: i64, queued_us: i64) {
        let ended = row.at_us;
        let began = (ended - (total_us - queued_us)).min(ended - 1);
        let window = self.window;
        let clip = |time: i64| time.clamp(window.from.0, window.to.0);
        for (at, from, to) in self.steps.parts(clip(ended - total_us), clip(began)) {
            self.waiting_us[at] = self.waiting_us[at].saturating_add(to - from);
        }
        if row.queued_us.is_none() {
            return;
        }
        for (at, from, to) in self.steps.parts(clip(began), clip(ended)) {
            self.running_us[at] = self.running_us[at].saturating_add(to - from);
        }
        let gpu = row.gpu_us.unwrap_or(0).max(0);
        if gpu == 0 {
            return;
        }
        let upstream = self.upstream(text(&row.host));
        // Rounded down at each border, so that the parts of a request add up to its whole.
        let until = |time: i64| i128::from(gpu) * i128::from(time - began) / i128::from(ended - began);
        let parts: Vec<_> = self.steps.parts(clip(began), clip(ended)).collect();
        for (at, from, to) in parts {
            let part = i64::try_from(until(to) - until(from)).unwrap_or(i64::MAX);
            self.senders[place].did.worked(at, part);
            self.all.worked(at, part);
            if let Some(upstream) = upstream {
                let busy = &mut self.upstreams[upstream].busy_us[at];
                *busy = busy.saturating_add(part);
                self.pair(place, upstream, at, part);
            }
        }
        let Some(upstream) = upstream else { return };
        let load = row.load_us.unwrap_or(0).clamp(0, ended - began);
        for (at, from, to) in self.steps.parts(clip(began), clip(began + load)) {
            let loading = &mut self.upstreams[upstream].loading_us[at];
            *loading = loading.saturating_add(to - from);
        }
    }

    fn saw_refusal(&mut self, row: &IncidentRow) {
        // A row with a count is written after the minute that it counts.
        let at_us = row.until_us.unwrap_or(row.at_us);
        if at_us < self.window.from.0 || at_us >= self.window.to.0 {
            return;
        }
        self.last_row = self.last_row.max(row.log_id);
        let number = u64::try_from(row.repeat.unwrap_or(1)).unwrap_or(0);
        let step = self.steps.at(at_us);
        let place = self.place_of(row);
        let (reason, model) = (text(&row.reason), row.model_asked.as_deref());
        self.senders[place].did.was_refused(at_us, step, reason, model, number);
        self.all.was_refused(at_us, step, reason, model, number);
    }

    fn saw_act(&mut self, row: &IncidentRow) {
        if row.act.as_deref().and_then(Act::parse) == Some(Act::TokenPaused)
            && self.pauses.len() < PAUSES_MAX
            && let Some(token_id) = row.token_id
        {
            let reason = text(&row.reason).to_owned();
            self.pauses.push(Pause { token_id, owner_id: row.subject_id.unwrap_or(0), reason, at_us: row.at_us });
        }
    }

    fn place_of(&mut self, row: &IncidentRow) -> usize {
        let key = SenderKey { user_id: row.user_id.unwrap_or(0), token_id: row.token_id.unwrap_or(0) };
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let key = if self.senders.len() < SENDERS_MAX { key } else { SenderKey::OTHERS };
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.senders.push(IncidentSender { key, did: Activity::new(self.steps.count) });
        let place = self.senders.len() - 1;
        self.places.insert(key, place);
        place
    }

    fn upstream(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.upstreams.iter().position(|one| one.name == name) {
            return Some(place);
        }
        if self.upstreams.len() >= UPSTREAMS_MAX {
            return None;
        }
        let (busy_us, loading_us) = (vec![0; self.steps.count], vec![0; self.steps.count]);
        self.upstreams.push(UpstreamWork { name: name.to_owned(), busy_us, loading_us });
        Some(self.upstreams.len() - 1)
    }

    fn pair(&mut self, sender: usize, upstream: usize, step: usize, gpu_us: i64) {
        let is_known = self.pairs.contains_key(&(sender, upstream));
        if !is_known && self.pairs.len() >= PAIRS_MAX {
            return;
        }
        let steps = self.steps.count;
        let work = self.pairs.entry((sender, upstream)).or_insert_with(|| vec![0; steps]);
        work[step] = work[step].saturating_add(gpu_us);
    }
}

fn text(column: &Option<String>) -> &str {
    column.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
