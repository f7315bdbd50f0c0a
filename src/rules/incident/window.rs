//! The time that a report is about, and the steps of its timeline.

use crate::base::clock::Timestamp;
use crate::base::error::Error;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// A time with a beginning and an end that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
}

impl TimeWindow {
    /// Checks the time that was asked for. An end that is still to come is now: nothing is on record after it.
    pub fn checked(from: Timestamp, to: Timestamp, now: Timestamp, hours_max: u32) -> Result<TimeWindow, Error> {
        if from >= to {
            return Err(Error::invalid("from", "`from` must be before `to`"));
        }
        if from >= now {
            return Err(Error::invalid("from", "`from` lies in the future"));
        }
        let to = to.min(now);
        if to.0.saturating_sub(from.0) > i64::from(hours_max).saturating_mul(HOUR_US) {
            let message = format!(
                "the time is longer than {hours_max} hours, the most that one report may be about \
                 (`incidents.window_hours_max`)"
            );
            return Err(Error::invalid("from", message));
        }
        Ok(TimeWindow { from, to })
    }

    pub fn length_us(self) -> i64 {
        self.to.0.saturating_sub(self.from.0).max(1)
    }

    /// Returns the same length of time just before this one.
    pub fn before(self) -> TimeWindow {
        TimeWindow { from: Timestamp(self.from.0.saturating_sub(self.length_us())), to: self.from }
    }
}

/// The steps of a timeline. The first one holds the beginning of the window, and the last one its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSteps {
    pub first: Timestamp,
    pub step_us: i64,
    pub count: usize,
}

/// More steps than this are too narrow to be seen on paper. Refusals are counted per minute, so no step is shorter.
const STEPS_MAX: i64 = 120;
const STEP_SECONDS: [i64; 7] = [60, 300, 900, 3_600, 10_800, 43_200, 86_400];

impl TimeSteps {
    /// Returns the shortest steps of which not too many fill the window. They are counted from `midnight`, so that they begin at
    /// whole hours of the wall clock.
    pub fn of(window: TimeWindow, midnight: Timestamp) -> TimeSteps {
        let steps = |seconds: i64| {
            let step_us = seconds * SECOND_US;
            let first = window.from.0 - window.from.0.saturating_sub(midnight.0).rem_euclid(step_us);
            let count = (window.to.0.saturating_sub(first) + step_us - 1) / step_us;
            (step_us, Timestamp(first), count.max(1))
        };
        let fitting = STEP_SECONDS.into_iter().map(steps).find(|(_, _, count)| *count <= STEPS_MAX);
        // A window has a largest length, of which a step of a day makes few.
        let (step_us, first, count) = fitting.unwrap_or_else(|| steps(86_400));
        TimeSteps { first, step_us, count: usize::try_from(count).unwrap_or(1).min(1_000) }
    }

    pub fn begins(self, at: usize) -> Timestamp {
        Timestamp(self.first.0 + self.step_us * at as i64)
    }

    pub fn ends(self) -> Timestamp {
        self.begins(self.count)
    }

    /// Returns the step that holds a time; the first or last one for times outside.
    pub fn at(self, time_us: i64) -> usize {
        let at = time_us.saturating_sub(self.first.0).max(0) / self.step_us;
        usize::try_from(at).unwrap_or(usize::MAX).min(self.count.saturating_sub(1))
    }

    /// Returns the steps that have a part of the time between two others, with where that part begins and ends.
    pub fn parts(self, from_us: i64, to_us: i64) -> impl Iterator<Item = (usize, i64, i64)> {
        let (first, ends) = (self.first.0, self.ends().0);
        let (from_us, to_us) = (from_us.max(first), to_us.min(ends));
        let begin = if from_us < to_us { self.at(from_us) } else { self.count };
        let part = move |at: usize| {
            let begins = self.begins(at).0;
            (at, begins.max(from_us), (begins + self.step_us).min(to_us))
        };
        (begin..self.count).map(part).take_while(|(_, begins, ends)| begins < ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn window(from: &str, to: &str) -> TimeWindow {
        TimeWindow { from: at(from), to: at(to) }
    }

    #[test]
    fn a_window_has_a_beginning_an_end_that_has_passed_and_a_largest_length() {
        let now = at("2026-01-15T12:00:00Z");
        let checked = |from: &str, to: &str| TimeWindow::checked(at(from), at(to), now, 24);

        assert_eq!(checked("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z").unwrap().to, at("2026-01-15T11:00:00Z"));
        assert_eq!(checked("2026-01-15T11:59:59Z", "2026-01-16T00:00:00Z").unwrap().to, now);
        assert_eq!(checked("2026-01-14T12:00:00Z", "2026-01-15T12:00:00Z").unwrap().length_us(), 24 * HOUR_US);
        for (from, to, said) in [
            ("2026-01-15T11:00:00Z", "2026-01-15T11:00:00Z", "before `to`"),
            ("2026-01-15T11:00:01Z", "2026-01-15T11:00:00Z", "before `to`"),
            ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00Z", "future"),
            ("2026-01-14T11:59:59Z", "2026-01-15T12:00:00Z", "longer than 24 hours"),
        ] {
            let refused = checked(from, to).unwrap_err();
            assert!(refused.to_string().contains(said), "{from} {to}: {refused}");
            assert_eq!(refused.field(), Some("from"));
        }
        assert!(TimeWindow::checked(Timestamp(i64::MIN), Timestamp(i64::MAX), now, 24).is_err());
    }

    #[test]
    fn steps_are_minutes_or_longer_and_not_too_many() {
        let steps = |from: &str, to: &str| {
            let steps = TimeSteps::of(window(from, to), Timestamp(0));
            (steps.step_us / SECOND_US, steps.count)
        };

        assert_eq!(steps("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z"), (60, 60));
        assert_eq!(steps("2026-01-15T10:00:30Z", "2026-01-15T10:00:31Z"), (60, 1));
        assert_eq!(steps("2026-01-15T10:00:30Z", "2026-01-15T10:01:31Z"), (60, 2));
        assert_eq!(steps("2026-01-15T10:00:00Z", "2026-01-15T12:00:00Z"), (60, 120));
        assert_eq!(steps("2026-01-15T10:00:00Z", "2026-01-15T12:00:01Z"), (300, 25));
        assert_eq!(steps("2026-01-08T10:00:00Z", "2026-01-15T10:00:00Z"), (10_800, 57));
        let year = TimeSteps::of(window("2025-01-15T10:00:00Z", "2026-01-15T10:00:00Z"), Timestamp(0));
        assert_eq!((year.step_us / SECOND_US, year.count), (86_400, 366));
        // A week in Berlin.
        let week = window("2026-01-07T23:00:00Z", "2026-01-14T23:00:00Z");
        assert_eq!(TimeSteps::of(week, week.from).first, week.from);
        let late = window("2026-01-08T03:30:00Z", "2026-01-14T23:00:00Z");
        assert_eq!(TimeSteps::of(late, week.from).first, at("2026-01-08T02:00:00Z"));
    }

    #[test]
    fn a_time_is_cut_at_the_steps_and_at_both_ends() {
        let steps = TimeSteps::of(window("2026-01-15T10:00:00Z", "2026-01-15T10:03:00Z"), Timestamp(0));
        let zero = steps.first.0;
        let parts = |from: i64, to: i64| -> Vec<(usize, i64)> {
            let parts = steps.parts(zero + from * SECOND_US, zero + to * SECOND_US);
            parts.map(|(at, from, to)| (at, (to - from) / SECOND_US)).collect()
        };

        assert_eq!(parts(30, 150), [(0, 30), (1, 60), (2, 30)]);
        assert_eq!(parts(-50, 10), [(0, 10)]);
        assert_eq!(parts(170, 999), [(2, 10)]);
        for nothing in [parts(-50, 0), parts(180, 190), parts(20, 20), parts(30, 10)] {
            assert!(nothing.is_empty(), "{nothing:?}");
        }
        assert_eq!([steps.at(i64::MIN), steps.at(zero + 61 * SECOND_US), steps.at(i64::MAX)], [0, 1, 2]);
    }
}
