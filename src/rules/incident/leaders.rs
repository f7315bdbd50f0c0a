//! Who stands out in a window: in requests, and in GPU time.

use crate::rules::incident::facts::{IncidentSender, SenderKey, WindowFacts};
use crate::rules::incident::stands_out::{Share, stand_out};

/// Who sent fewer requests doesn't stand out.
const REQUESTS_LEAST: u64 = 20;
/// Who took a smaller part of what all slots could have worked doesn't stand out.
const GPU_LEAST_PERCENT: u64 = 5;

/// What a sender does in such a time usually.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usual {
    pub requests: f64,
    pub gpu_us: f64,
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

/// Returns who stands out. What is usual is the mean of days where it is known, and otherwise the time just before.
pub fn leaders(
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
    let shares = |amount: fn(&IncidentSender) -> u64, of: fn(Usual) -> f64| -> Vec<Share> {
        let share = |(sender, usual): (&IncidentSender, &Option<Usual>)| {
            // Those who are not told apart can't be named.
            let amount = if sender.key == SenderKey::OTHERS { 0 } else { amount(sender) };
            Share { amount, usual: usual.map(of) }
        };
        facts.senders.iter().zip(&usual).map(share).collect()
    };
    let requests = shares(|sender| sender.did.sent(), |usual| usual.requests);
    let gpu = shares(|sender| sender.did.gpu_us.max(0).unsigned_abs(), |usual| usual.gpu_us);
    let capacity = slots.max(1).saturating_mul(facts.window.length_us().unsigned_abs());
    let by_requests = stand_out(&requests, REQUESTS_LEAST);
    let mut by_gpu = stand_out(&gpu, (capacity / 100).saturating_mul(GPU_LEAST_PERCENT));
    // Beside a pipeline, the only person who still gets answers has much of the GPU, too, and is not the cause.
    let most = by_requests.iter().map(|at| gpu[*at].amount).max().unwrap_or(0);
    by_gpu.retain(|at| by_requests.contains(at) || gpu[*at].amount > most);
    Leaders { requests: by_requests, gpu: by_gpu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::rules::incident::window::TimeWindow;
    use crate::store::incidents::{IncidentRow, RowSpan};

    const SECOND: i64 = 1_000_000;

    /// Returns ten minutes in which each sender sent so many requests that ran for so many seconds each.
    fn facts(senders: &[(i64, i64)]) -> WindowFacts {
        let window = TimeWindow { from: Timestamp(0), to: Timestamp(600 * SECOND) };
        let span = RowSpan { after: 0, last: 100_000, newest: 100_000, oldest_at: None, erased_to: 0 };
        let mut facts = WindowFacts::new(window, window.from, span);
        for (user, (requests, seconds)) in senders.iter().enumerate() {
            for number in 0..*requests {
                let intent = IncidentRow {
                    log_id: 1 + number,
                    kind: "intent".into(),
                    at_us: 100 * SECOND,
                    user_id: Some(user as i64 + 1),
                    ..IncidentRow::default()
                };
                let result = IncidentRow {
                    kind: "result".into(),
                    intent_id: Some(intent.log_id),
                    at_us: 200 * SECOND,
                    queued_us: Some(0),
                    total_us: Some(seconds * SECOND),
                    gpu_us: Some(seconds * SECOND),
                    ..intent.clone()
                };
                facts.saw(&intent);
                facts.saw(&result);
            }
        }
        facts
    }

    fn found(senders: &[(i64, i64)]) -> (Vec<usize>, Vec<usize>) {
        let nothing = facts(&[]);
        let leaders = leaders(&facts(senders), Some(&nothing), None, 1);
        (leaders.requests, leaders.gpu)
    }

    #[test]
    fn a_person_beside_a_pipeline_does_not_stand_out_in_gpu_time_unless_it_is_more() {
        let (pipeline, person) = (0, 1);

        assert_eq!(found(&[(60, 2), (10, 8)]), (vec![pipeline], vec![pipeline]));
        assert_eq!(found(&[(60, 2), (10, 12)]), (vec![pipeline], vec![pipeline]), "as much is not more");
        assert_eq!(found(&[(60, 2), (10, 13)]), (vec![pipeline], vec![person, pipeline]));
        assert_eq!(found(&[(60, 2), (1, 99)]), (vec![pipeline], vec![pipeline]));
        assert_eq!(found(&[(19, 1), (1, 99)]), (vec![], vec![person]), "too few requests");
    }
}
