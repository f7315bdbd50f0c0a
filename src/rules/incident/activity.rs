//! What one sender did in a window, or all of them together.

use crate::model::record::Outcome;
use crate::rules::incident::counts::{Counts, Examples, TimeSpread};

/// Reasons after which a client is told when to come back.
pub const TOLD_TO_WAIT: [&str; 5] =
    ["rate_limit_exceeded", "token_slowed", "insufficient_quota", "queue_full", "host_busy"];

/// A load of a model that takes less than this is none: Ollama reports some time for a model that is loaded, too.
const LOAD_LEAST_US: i64 = 500_000;

/// Kinds of a thing that are counted by themselves, for each sender.
const KINDS_MAX: usize = 32;
/// Lengths of prompts that are told apart.
const LENGTHS_MAX: usize = 64;
/// Requests whose prompts may be looked at.
const EXAMPLES_MAX: usize = 40;

const MINUTE_US: i64 = 60_000_000;

/// What happened in one step of the timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Requests that arrived and were let into the queue.
    pub arrived: u64,
    /// Requests that were refused before they could wait.
    pub refused_at_once: u64,
    /// Requests that were refused while they waited. They had arrived, perhaps in an earlier step.
    pub refused_later: u64,
    /// Requests that failed.
    pub failed: u64,
    pub gpu_us: i64,
}

impl StepCounts {
    /// Returns how many requests were sent.
    pub fn sent(self) -> u64 {
        self.arrived.saturating_add(self.refused_at_once)
    }

    /// Returns how many were refused, at once or while they waited.
    pub fn refused(self) -> u64 {
        self.refused_at_once.saturating_add(self.refused_later)
    }
}

/// How requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endings {
    pub completed: u64,
    pub failed: u64,
    /// Refused while they waited, or ended by an admin.
    pub refused: u64,
    pub abandoned: u64,
    pub interrupted: u64,
}

impl Endings {
    pub fn total(self) -> u64 {
        self.completed + self.failed + self.refused + self.abandoned + self.interrupted
    }
}

#[derive(Debug, Clone)]
pub struct Activity {
    /// Requests that were let into the queue.
    pub let_in: u64,
    /// Requests that were refused before they could wait.
    pub refused_at_once: u64,
    pub ended: Endings,
    /// Why requests were refused, failed or were interrupted.
    pub reasons: Counts<String>,
    pub models: Counts<String>,
    pub apis: Counts<String>,
    /// Models that the gateway doesn't have, or that the sender may not use.
    pub wrong_models: Counts<String>,
    /// Lengths of the prompts of requests that were answered, in model tokens.
    pub prompt_lengths: Counts<i64>,
    pub gpu_us: i64,
    pub loads: Counts<String>,
    pub load_us: i64,
    /// How long requests waited in the queue.
    pub waits: TimeSpread,
    /// How long requests took that their client gave up.
    pub patience: TimeSpread,
    /// Requests that went to a second upstream because the first one failed.
    pub second_attempts: u64,
    /// The most failures that followed each other without a success, and why the last of them failed.
    pub failures_in_row: u64,
    pub failed_why: Option<String>,
    /// The most refusals in one minute after which the client was told to wait.
    pub told_to_wait_in_minute: u64,
    pub examples: Examples,
    pub steps: Vec<StepCounts>,
    outstanding: Outstanding,
    run_of_failures: u64,
    told_to_wait: Vec<(i64, u64)>,
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedRequest<'a> {
    pub at_us: i64,
    pub outcome: Option<Outcome>,
    pub reason: Option<&'a str>,
    pub model: &'a str,
    pub total_us: i64,
    pub queued_us: i64,
    pub load_us: i64,
    pub prompt_tokens: Option<i64>,
    pub attempt: i64,
}

impl Activity {
    pub fn new(steps: usize) -> Activity {
        Activity {
            let_in: 0,
            refused_at_once: 0,
            ended: Endings::default(),
            reasons: Counts::new(KINDS_MAX),
            models: Counts::new(KINDS_MAX),
            apis: Counts::new(KINDS_MAX),
            wrong_models: Counts::new(KINDS_MAX),
            prompt_lengths: Counts::new(LENGTHS_MAX),
            gpu_us: 0,
            loads: Counts::new(KINDS_MAX),
            load_us: 0,
            waits: TimeSpread::default(),
            patience: TimeSpread::default(),
            second_attempts: 0,
            failures_in_row: 0,
            failed_why: None,
            told_to_wait_in_minute: 0,
            examples: Examples::new(EXAMPLES_MAX),
            steps: vec![StepCounts::default(); steps],
            outstanding: Outstanding::default(),
            run_of_failures: 0,
            told_to_wait: Vec::new(),
        }
    }

    /// Returns how many requests were sent.
    pub fn sent(&self) -> u64 {
        self.let_in.saturating_add(self.refused_at_once)
    }

    /// Returns how many were refused, at once or while they waited.
    pub fn refused(&self) -> u64 {
        self.refused_at_once.saturating_add(self.ended.refused)
    }

    /// Returns how many requests had not ended when the record was read.
    pub fn unfinished(&self) -> u64 {
        self.let_in.saturating_sub(self.ended.total())
    }

    /// Returns the most requests that waited or ran at the same time.
    pub fn outstanding_max(&self) -> u64 {
        self.outstanding.most()
    }

    /// Returns the most requests that waited or ran at the same time, for each of so many steps.
    pub fn outstanding_by_step(&self, count: usize) -> Vec<u64> {
        self.outstanding.by_step(count)
    }

    pub fn arrived(&mut self, log_id: i64, step: usize, model: &str, api: &str) {
        self.let_in += 1;
        self.models.add(model, 1);
        self.apis.add(api, 1);
        self.examples.add(log_id);
        self.step(step).arrived += 1;
        self.outstanding.changes(step, 1);
    }

    /// Notes refusals of one kind that came before the request could wait.
    pub fn was_refused(&mut self, at_us: i64, step: usize, reason: &str, model: Option<&str>, number: u64) {
        self.refused_at_once = self.refused_at_once.saturating_add(number);
        self.reasons.add(reason, number);
        if reason == "model_not_found" {
            self.wrong_models.add(model.unwrap_or_default(), number);
        }
        let counts = self.step(step);
        counts.refused_at_once = counts.refused_at_once.saturating_add(number);
        self.notes_told_to_wait(at_us, reason, number);
    }

    /// Notes the end of a request of the window; `step`: where it ended, unless that was after the window.
    pub fn ends(&mut self, ended: EndedRequest<'_>, step: Option<usize>) {
        let failed = ended.outcome == Some(Outcome::Failed);
        let count = match ended.outcome {
            Some(Outcome::Completed) => &mut self.ended.completed,
            Some(Outcome::Refused) => &mut self.ended.refused,
            Some(Outcome::Abandoned) => &mut self.ended.abandoned,
            Some(Outcome::Interrupted) => &mut self.ended.interrupted,
            // An outcome that only a newer version knows.
            Some(Outcome::Failed) | None => &mut self.ended.failed,
        };
        *count += 1;
        if let Some(reason) = ended.reason {
            self.reasons.add(reason, 1);
            if ended.outcome == Some(Outcome::Refused) {
                self.notes_told_to_wait(ended.at_us, reason, 1);
            }
        }
        self.run_of_failures = match ended.outcome {
            Some(Outcome::Completed) => 0,
            Some(Outcome::Failed) => self.run_of_failures + 1,
            _ => self.run_of_failures,
        };
        if self.run_of_failures > self.failures_in_row {
            self.failures_in_row = self.run_of_failures;
            self.failed_why = ended.reason.map(str::to_owned);
        }
        if ended.outcome == Some(Outcome::Abandoned) {
            self.patience.add(ended.total_us);
        }
        if ended.outcome == Some(Outcome::Completed)
            && let Some(tokens) = ended.prompt_tokens
        {
            self.prompt_lengths.add(&tokens, 1);
        }
        self.waits.add(ended.queued_us);
        if ended.load_us >= LOAD_LEAST_US {
            self.loads.add(ended.model, 1);
            self.load_us = self.load_us.saturating_add(ended.load_us);
        }
        self.second_attempts += u64::from(ended.attempt > 1);
        // One that ended after the window was still there at its end.
        if let Some(at) = step {
            self.outstanding.changes(at, -1);
            let counts = self.step(at);
            counts.failed += u64::from(failed);
            counts.refused_later += u64::from(ended.outcome == Some(Outcome::Refused));
        }
    }

    /// Notes the end of a request that had arrived before the window.
    pub fn was_there_before(&mut self, step: Option<usize>) {
        self.outstanding.at_first += 1;
        if let Some(step) = step {
            self.outstanding.changes(step, -1);
        }
    }

    pub fn worked(&mut self, step: usize, gpu_us: i64) {
        self.gpu_us = self.gpu_us.saturating_add(gpu_us);
        let counts = self.step(step);
        counts.gpu_us = counts.gpu_us.saturating_add(gpu_us);
    }

    fn step(&mut self, at: usize) -> &mut StepCounts {
        let last = self.steps.len().saturating_sub(1);
        if self.steps.is_empty() {
            self.steps.push(StepCounts::default());
        }
        &mut self.steps[at.min(last)]
    }

    /// Counts refusals per minute. Those of one minute come in several rows, the last one a moment after it.
    fn notes_told_to_wait(&mut self, at_us: i64, reason: &str, number: u64) {
        if !TOLD_TO_WAIT.contains(&reason) {
            return;
        }
        let minute = at_us.div_euclid(MINUTE_US);
        let place = self.told_to_wait.iter().position(|(of, _)| *of == minute);
        let place = place.unwrap_or_else(|| {
            if self.told_to_wait.len() >= 4 {
                self.told_to_wait.remove(0);
            }
            self.told_to_wait.push((minute, 0));
            self.told_to_wait.len() - 1
        });
        let count = &mut self.told_to_wait[place].1;
        *count = count.saturating_add(number);
        self.told_to_wait_in_minute = self.told_to_wait_in_minute.max(*count);
    }
}

/// How many requests waited or ran, counted from the beginning of the window on. Those that were there before are known only
/// when they end.
#[derive(Debug, Clone, Default)]
struct Outstanding {
    now: i64,
    at_first: i64,
    /// The most in each step so far.
    steps: Vec<i64>,
}

impl Outstanding {
    fn changes(&mut self, step: usize, by: i64) {
        // What was there at the end of the last step is there at the beginning of the next ones.
        while self.steps.len() <= step {
            self.steps.push(self.now);
        }
        self.now += by;
        self.steps[step] = self.steps[step].max(self.now);
    }

    fn by_step(&self, count: usize) -> Vec<u64> {
        let all = self.steps.iter().copied().chain(std::iter::repeat(self.now)).take(count);
        all.map(|number| u64::try_from(number + self.at_first).unwrap_or(0)).collect()
    }

    fn most(&self) -> u64 {
        let most = self.steps.iter().copied().chain([0]).max().unwrap_or(0);
        u64::try_from(most + self.at_first).unwrap_or(0)
    }
}
