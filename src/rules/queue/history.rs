//! Estimates what the next request will cost, from past requests to the same model.

use std::collections::HashMap;
use std::time::Duration;

/// The weight of a new value in the moving means.
const NEWEST: f64 = 1.0 / 8.0;

/// How much of the longest time on a slot is forgotten in each second on a slot. Others make up for a request of a flow that has a
/// two-hundredth of the work in two hundred times its length.
const FADES: f64 = 1.0 / 200.0;

/// The estimate before the first answer.
const GUESS_SECONDS: f64 = 5.0;

/// The least cost: work that cost nothing would make turns free.
const LEAST_SECONDS: f64 = 1e-3;

/// Models that are remembered. Only models that an upstream serves come here; the bound is for upstreams that change theirs often.
const MODELS_MAX: usize = 256;

#[derive(Default)]
pub struct History {
    /// Seconds of GPU time.
    work: HashMap<String, f64>,
    /// Seconds that a slot was held, over all models.
    held: Option<f64>,
    /// The longest of these, which fades.
    longest: f64,
}

impl History {
    /// Returns the seconds of GPU time that a request to `model` will probably cost.
    pub fn work_of(&self, model: &str) -> f64 {
        self.work.get(model).or(self.held.as_ref()).copied().unwrap_or(GUESS_SECONDS).max(LEAST_SECONDS)
    }

    /// Returns the seconds for which a request will probably hold its slot.
    pub fn service(&self) -> f64 {
        self.held.unwrap_or(GUESS_SECONDS).max(LEAST_SECONDS)
    }

    /// Returns the seconds for which the longest of the recent requests held its slot: what others can be owed for one request.
    /// The mean would not do, since it forgets a long request while short ones make up for it.
    pub fn longest(&self) -> f64 {
        self.longest.max(self.service())
    }

    /// Learns from a complete answer.
    pub fn learn(&mut self, model: &str, work: Duration, held: Duration) {
        let (work, held) = (work.as_secs_f64(), held.as_secs_f64());
        self.longest = held.max(self.longest - held * FADES);
        self.held = Some(self.held.map_or(held, |mean| mean + (held - mean) * NEWEST));
        if let Some(mean) = self.work.get_mut(model) {
            *mean += (work - *mean) * NEWEST;
            return;
        }
        if self.work.len() >= MODELS_MAX {
            self.work.clear();
        }
        self.work.insert(model.to_owned(), work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_replaces_the_guess_and_later_ones_move_the_mean() {
        let mut history = History::default();
        assert_eq!(history.work_of("a"), GUESS_SECONDS);

        history.learn("a", Duration::from_secs(2), Duration::from_secs(3));
        history.learn("a", Duration::from_secs(10), Duration::from_secs(3));

        assert_eq!(history.work_of("a"), 3.0);
        assert_eq!(history.work_of("b"), 3.0, "an unknown model: as long as a slot is held");
        assert_eq!(history.service(), 3.0);
    }

    #[test]
    fn the_longest_is_forgotten_after_two_hundred_times_its_length() {
        let mut history = History::default();
        let learn = |history: &mut History, seconds: u64, times: usize| {
            let held = Duration::from_secs(seconds);
            (0..times).for_each(|_| history.learn("a", held, held));
        };
        assert_eq!(history.longest(), GUESS_SECONDS);

        learn(&mut history, 40, 1);
        learn(&mut history, 1, 40 * 100);

        assert_eq!((history.longest().round(), history.service().round()), (20.0, 1.0));
        learn(&mut history, 1, 40 * 100);
        assert_eq!(history.longest().round(), 1.0);
    }
}
