//! Counts that stay small whatever is counted: words, a spread of times, and rows that are looked at as examples.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// How often each of some things occurred. Things beyond a number are counted together.
#[derive(Debug, Clone)]
pub struct Counts<K> {
    counts: HashMap<K, u64>,
    kinds_max: usize,
    pub others: u64,
}

impl<K: Hash + Eq + Ord + Clone> Counts<K> {
    pub fn new(kinds_max: usize) -> Counts<K> {
        Counts { counts: HashMap::new(), kinds_max, others: 0 }
    }

    pub fn add<Q: ?Sized + Hash + Eq + ToOwned<Owned = K>>(&mut self, what: &Q, number: u64)
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some(count) = self.counts.get_mut(what) {
            *count = count.saturating_add(number);
        } else if self.counts.len() < self.kinds_max {
            self.counts.insert(what.to_owned(), number);
        } else {
            self.others = self.others.saturating_add(number);
        }
    }

    pub fn of<Q: ?Sized + Hash + Eq>(&self, what: &Q) -> u64
    where
        K: std::borrow::Borrow<Q>,
    {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Returns what occurred, most often first.
    pub fn most(&self) -> Vec<(K, u64)> {
        let mut most: Vec<(K, u64)> = self.counts.iter().map(|(what, count)| (what.clone(), *count)).collect();
        most.sort_by(|one, other| (Reverse(one.1), &one.0).cmp(&(Reverse(other.1), &other.0)));
        most
    }

    pub fn kinds(&self) -> usize {
        self.counts.len()
    }

    pub fn total(&self) -> u64 {
        self.counts.values().fold(self.others, |sum, count| sum.saturating_add(*count))
    }
}

/// How many times were how long, in buckets that are a tenth apart: enough for a median that people read.
#[derive(Debug, Clone, Default)]
pub struct TimeSpread {
    buckets: Vec<u32>,
    pub count: u64,
    pub longest_us: i64,
}

/// Buckets for each doubling.
const PER_DOUBLING: f64 = 8.0;

impl TimeSpread {
    pub fn add(&mut self, time_us: i64) {
        let time_us = time_us.max(0);
        let at = ((time_us as f64 + 1.0).log2() * PER_DOUBLING) as usize;
        if self.buckets.len() <= at {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] = self.buckets[at].saturating_add(1);
        self.count += 1;
        self.longest_us = self.longest_us.max(time_us);
    }

    /// Returns about how long the time is that this part of all times doesn't exceed; `None`: there are none.
    pub fn part_us(&self, percent: u64) -> Option<i64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                // The middle of the bucket; no time is longer than the longest.
                let middle = ((at as f64 + 0.5) / PER_DOUBLING).exp2() - 1.0;
                return Some((middle.round() as i64).min(self.longest_us));
            }
        }
        None
    }
}

/// A few of many rows, spread evenly over them.
#[derive(Debug, Clone)]
pub struct Examples {
    rows: Vec<i64>,
    most: usize,
    seen: u64,
    every: u64,
}

impl Examples {
    pub fn new(most: usize) -> Examples {
        Examples { rows: Vec::new(), most, seen: 0, every: 1 }
    }

    pub fn add(&mut self, row: i64) {
        if self.seen.is_multiple_of(self.every) {
            if self.rows.len() >= self.most {
                let mut at = 0;
                self.rows.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.rows.push(row);
            }
        }
        self.seen += 1;
    }

    pub fn rows(&self) -> &[i64] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_their_number_are_counted_together() {
        let mut counts: Counts<String> = Counts::new(2);
        for word in ["a", "b", "c", "a", "d", "b", "a"] {
            counts.add(word, 1);
        }

        assert_eq!(counts.most(), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
        assert_eq!((counts.others, counts.total(), counts.of("c"), counts.kinds()), (2, 7, 0, 2));
    }

    #[test]
    fn a_median_is_about_right_at_every_length() {
        for length in [1, 900, 1_000_000, 47_000_000, 3_600_000_000_i64] {
            let mut spread = TimeSpread::default();
            (1..=100).for_each(|part| spread.add(length * part));

            for percent in [50, 95] {
                let (found, exact) = (spread.part_us(percent).unwrap() as f64, (length * percent as i64) as f64);
                assert!((found - exact).abs() <= exact * 0.1 + 1.0, "{percent} % of {length}: {found}");
            }
            assert_eq!(spread.longest_us, length * 100);
        }
        assert_eq!(TimeSpread::default().part_us(50), None);
        let mut odd = TimeSpread::default();
        odd.add(i64::MIN);
        odd.add(i64::MAX);
        assert_eq!((odd.part_us(50), odd.count), (Some(0), 2));
    }

    #[test]
    fn examples_are_few_and_spread_over_all() {
        let mut examples = Examples::new(4);
        (0..100).for_each(|row| examples.add(row));

        assert!(examples.rows().len() <= 4 && examples.rows().len() >= 2, "{examples:?}");
        assert!(examples.rows().last().unwrap() >= &50, "{examples:?}");
        let mut few = Examples::new(4);
        (7..10).for_each(|row| few.add(row));
        assert_eq!(few.rows(), [7, 8, 9]);
    }
}
