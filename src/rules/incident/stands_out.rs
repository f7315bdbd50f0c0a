//! Who stands out: a pure rule over what each sender did.
//!
//! Shares alone say little: the only person who works late has all of the GPU. So a sender stands out who did far more than the
//! others, or, where nobody else is left to compare with, far more than it usually does. What is too little to hurt anybody never
//! stands out.

/// What one sender did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    /// Requests sent, or GPU time in microseconds.
    pub amount: u64,
    /// What this sender does in such a time usually; `None`: that is not known.
    pub usual: Option<f64>,
}

/// Senders of whom each did at least this part of what the largest one did stand out together.
const WITH_THE_LARGEST: f64 = 0.5;
/// More senders than this who did about the same are a busy team.
const TOGETHER_MAX: usize = 3;
/// So many times as much as the others did on average, or as usual.
const TIMES: f64 = 3.0;
/// The part of everything that those who stand out did together.
const PART_OF_ALL: f64 = 0.5;

/// Returns the places of those who stand out, the largest first; empty: nobody does. `least`: what is less hurts nobody.
pub fn stand_out(shares: &[Share], least: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shares.len()).filter(|at| shares[*at].amount > 0).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(shares[*at].amount), *at));
    let Some(largest) = order.first().map(|at| shares[*at].amount) else { return Vec::new() };
    let is_large = |at: &&usize| shares[**at].amount as f64 >= largest as f64 * WITH_THE_LARGEST;
    let leaders: Vec<usize> = order.iter().take_while(is_large).copied().collect();
    let sum = |places: &[usize]| places.iter().map(|at| shares[*at].amount as f64).sum::<f64>();
    let (together, others) = (sum(&leaders), &order[leaders.len()..]);
    if leaders.len() > TOGETHER_MAX || leaders.iter().any(|at| shares[*at].amount < least) {
        return Vec::new();
    }
    if together < (together + sum(others)) * PART_OF_ALL {
        return Vec::new();
    }
    let exceeds = |at: &usize, level: f64| shares[*at].amount as f64 >= level * TIMES;
    let is_far = if others.is_empty() {
        leaders.iter().all(|at| shares[*at].usual.is_some_and(|usual| exceeds(at, usual)))
    } else {
        let mean = sum(others) / others.len() as f64;
        leaders.iter().all(|at| exceeds(at, mean))
    };
    if is_far { leaders } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [usize; 0] = [];

    fn of(amounts: &[u64]) -> Vec<usize> {
        let shares: Vec<Share> = amounts.iter().map(|amount| Share { amount: *amount, usual: None }).collect();
        stand_out(&shares, 20)
    }

    fn alone(amount: u64, usual: Option<f64>) -> Vec<usize> {
        stand_out(&[Share { amount, usual }], 20)
    }

    #[test]
    fn one_among_many_stands_out_who_did_three_times_as_much_as_the_others_and_half_of_all() {
        assert_eq!(of(&[5, 1_000, 8, 3]), [1]);
        assert_eq!(of(&[100, 33]), [0]);
        assert_eq!(of(&[100, 34]), NOBODY);
        // Far more than each other, but little of the whole.
        assert_eq!(of(&[100, 20, 20, 20, 20]), [0]);
        assert_eq!(of(&[100, 20, 20, 20, 20, 21]), NOBODY);
    }

    #[test]
    fn two_or_three_share_it_and_four_are_a_busy_team() {
        assert_eq!(of(&[80, 100, 5, 9]), [1, 0]);
        assert_eq!(of(&[50, 100, 5]), [1, 0]);
        assert_eq!(of(&[49, 100, 5]), [1]);
        assert_eq!(of(&[100, 100, 100, 2]), [0, 1, 2]);
        assert_eq!(of(&[100, 100, 100, 100, 2]), NOBODY);
        assert_eq!(of(&[30, 31, 29, 30, 33]), NOBODY);
    }

    #[test]
    fn without_others_the_usual_decides_and_little_never_stands_out() {
        assert_eq!(alone(300, Some(100.0)), [0]);
        assert_eq!(alone(299, Some(100.0)), NOBODY);
        assert_eq!(alone(300, Some(0.0)), [0]);
        assert_eq!(alone(300, None), NOBODY);
        assert_eq!(alone(20, Some(0.0)), [0]);
        assert_eq!(alone(19, Some(0.0)), NOBODY);
        assert_eq!(of(&[19, 1]), NOBODY);
        assert_eq!(of(&[20, 1]), [0]);
        // Two who both do far more than usual.
        let share = |amount, usual| Share { amount, usual: Some(usual) };
        assert_eq!(stand_out(&[share(100, 9.0), share(90, 8.0)], 20), [0, 1]);
        assert_eq!(stand_out(&[share(100, 9.0), share(90, 80.0)], 20), NOBODY);
    }

    #[test]
    fn nothing_and_nonsense_are_nobody() {
        assert_eq!(of(&[]), NOBODY);
        assert_eq!(of(&[0, 0]), NOBODY);
        assert_eq!(of(&[u64::MAX, 1]), [0]);
        assert_eq!(alone(100, Some(f64::NAN)), NOBODY);
    }
}
