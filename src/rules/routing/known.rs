//! What is known of one upstream: its models, whether it is up, and when to poll it again. Pure: times are arguments.

use std::time::{Duration, Instant};

use crate::base::clock::Timestamp;
use crate::model::catalog::ModelCard;
use crate::model::model_name::ModelName;
use crate::model::provider_kind::ProviderKind;
use crate::provider;

/// The pause after the first failed poll; it doubles up to the longest, so that a return is noticed within a second.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// Failed polls in a row before an upstream counts as down if the failure is unsure: it may only be slow.
const UNSURE_LOOKS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The upstream was not polled yet.
    Unknown,
    Up,
    Down {
        since: Timestamp,
        /// The error of the last poll.
        error: String,
    },
}

/// How sure it is that a failed poll means that the upstream is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sure {
    /// It refuses connections.
    Yes,
    /// It is slow, or sends an unexpected answer.
    No,
}

#[derive(Debug)]
pub struct Known {
    /// What it speaks.
    pub kind: ProviderKind,
    pub condition: Condition,
    /// Its last list, also while the upstream is down.
    pub models: Vec<ModelCard>,
    /// How long the last poll took, while it is up.
    pub latency: Option<Duration>,
    fetched_at: Option<Instant>,
    failures: u32,
    /// Polls that have started, and how many of these have ended.
    pub begun: u64,
    pub ended: u64,
}

impl Known {
    pub fn nothing(kind: ProviderKind) -> Known {
        Known {
            kind,
            condition: Condition::Unknown,
            models: Vec::new(),
            latency: None,
            fetched_at: None,
            failures: 0,
            begun: 0,
            ended: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.condition == Condition::Up
    }

    pub fn is_down(&self) -> bool {
        matches!(self.condition, Condition::Down { .. })
    }

    pub fn serves(&self, model: &ModelName) -> bool {
        let canonical = self.canonical(model);
        self.models.iter().any(|card| card.canonical == canonical)
    }

    pub fn card_mut(&mut self, model: &ModelName) -> Option<&mut ModelCard> {
        let canonical = self.canonical(model);
        self.models.iter_mut().find(|card| card.canonical == canonical)
    }

    fn canonical(&self, model: &ModelName) -> String {
        provider::of(self.kind).canonical(model)
    }

    pub fn is_fresh(&self, fresh: Duration, now: Instant) -> bool {
        self.fetched_at.is_some_and(|at| now.saturating_duration_since(at) < fresh)
    }

    /// Records a list of models. What they can do is kept where nothing has changed.
    pub fn answered(&mut self, mut models: Vec<ModelCard>, now: Instant) {
        if self.is_up() {
            for card in &mut models {
                let same = |old: &&ModelCard| old.canonical == card.canonical && old.modified_at == card.modified_at;
                card.skills = card.skills.or_else(|| self.models.iter().find(same)?.skills);
            }
        }
        self.models = models;
        self.fetched_at = Some(now);
        self.failures = 0;
        self.condition = Condition::Up;
    }

    /// Records a poll, or a request, that did not reach it.
    pub fn failed(&mut self, sure: Sure, error: String, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        if let Condition::Down { error: last, .. } = &mut self.condition {
            *last = error;
        } else if sure == Sure::Yes || self.failures >= UNSURE_LOOKS {
            self.condition = Condition::Down { since: now, error };
        }
    }

    /// Returns the pause before the next poll; `fresh` is how old a list may become.
    pub fn pause(&self, fresh: Duration) -> Duration {
        match self.failures {
            0 => fresh,
            failures => PAUSE_MIN.saturating_mul(1 << (failures - 1).min(8)).min(PAUSE_MAX).min(fresh),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::Skills;

    const FRESH: Duration = Duration::from_secs(30);

    fn fails(known: &mut Known, sure: Sure, at: i64) {
        known.failed(sure, format!("error {at}"), Timestamp(at));
    }

    fn card(modified_at: i64) -> ModelCard {
        let name = ModelName::parse("m").unwrap();
        ModelCard {
            name,
            canonical: "m:latest".into(),
            modified_at: Timestamp(modified_at),
            skills: None,
            bytes: None,
            details: Default::default(),
        }
    }

    #[test]
    fn a_refused_connection_is_sure_and_a_slow_answer_only_the_second_time() {
        let mut refused = Known::nothing(ProviderKind::Ollama);
        fails(&mut refused, Sure::Yes, 1);
        assert!(refused.is_down());

        let mut slow = Known::nothing(ProviderKind::Ollama);
        slow.answered(vec![card(1)], Instant::now());
        fails(&mut slow, Sure::No, 1);
        assert!(slow.is_up());
        fails(&mut slow, Sure::No, 2);
        assert_eq!(slow.condition, Condition::Down { since: Timestamp(2), error: "error 2".into() });
    }

    #[test]
    fn a_slow_answer_between_good_ones_does_not_add_up() {
        let mut known = Known::nothing(ProviderKind::Ollama);
        for at in 0..5 {
            fails(&mut known, Sure::No, at);
            known.answered(Vec::new(), Instant::now());
        }

        assert!(known.is_up());
    }

    #[test]
    fn it_is_down_since_its_first_failure_with_the_last_error_and_keeps_its_models() {
        let mut known = Known::nothing(ProviderKind::Ollama);
        known.answered(vec![card(1)], Instant::now());
        fails(&mut known, Sure::Yes, 5);
        fails(&mut known, Sure::Yes, 9);

        assert_eq!(known.condition, Condition::Down { since: Timestamp(5), error: "error 9".into() });
        assert!(known.serves(&ModelName::parse("m").unwrap()));
        known.answered(Vec::new(), Instant::now());
        assert!(known.is_up());
    }

    #[test]
    fn pauses_double_and_stay_below_a_second() {
        let mut known = Known::nothing(ProviderKind::Ollama);
        assert_eq!(known.pause(FRESH), FRESH);

        let pauses: Vec<_> = (0..40)
            .map(|at| {
                fails(&mut known, Sure::Yes, at);
                known.pause(FRESH).as_millis()
            })
            .collect();

        assert_eq!(pauses[..5], [100, 200, 400, 800, 800]);
        assert_eq!(pauses[39], 800);
    }

    #[test]
    fn what_a_model_can_do_is_asked_again_when_it_changed_or_its_upstream_was_away() {
        let skills = Some(Skills { thinks: true, sees: false, calls_tools: false });
        let told = |away: bool, modified_at: i64| {
            let mut known = Known::nothing(ProviderKind::Ollama);
            known.answered(vec![ModelCard { skills, ..card(1) }], Instant::now());
            if away {
                fails(&mut known, Sure::Yes, 1);
            }
            known.answered(vec![card(modified_at)], Instant::now());
            known.models[0].skills
        };

        assert_eq!(told(false, 1), skills);
        assert_eq!(told(false, 2), None);
        assert_eq!(told(true, 1), None);
    }
}
