//! The scale of a chart: a few round numbers, from zero to the largest value or a little beyond.

use crate::http::pages::charts::svg::drawable;

/// An axis from 0 to `end`.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub end: f64,
    /// The round numbers on it, 0 left out, the last one not above `end`.
    pub marks: Vec<f64>,
}

/// Steps that people count in.
const DECIMAL: &[f64] = &[1.0, 2.0, 5.0, 10.0];
const SECONDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0, 21_600.0,
    43_200.0,
];

/// Returns an axis with at most `marks_max` marks, of which the last one holds `largest`: for bars.
pub fn nice_axis(largest: f64, marks_max: usize) -> Axis {
    axis_by(step_of(drawable(largest), marks_max), drawable(largest))
}

/// The same for whole things, such as requests, which have no halves.
pub fn whole_axis(largest: f64, marks_max: usize) -> Axis {
    axis_by(step_of(drawable(largest), marks_max).max(1.0), drawable(largest))
}

/// The same for seconds: minutes and hours are round, and not hundreds.
pub fn time_axis(largest: f64, marks_max: usize) -> Axis {
    let largest = drawable(largest);
    axis_by(time_step(largest, marks_max, f64::ceil), largest)
}

/// Returns an axis of seconds that ends where the time ends, with the round numbers before it: for phase bars.
pub fn time_marks(end: f64, marks_max: usize) -> Axis {
    let end = drawable(end);
    let step = time_step(end, marks_max, f64::floor);
    let count = if end > 0.0 { (end / step).floor() } else { 0.0 };
    Axis { end, marks: marks(step, count) }
}

fn axis_by(step: f64, largest: f64) -> Axis {
    // The division of huge numbers may be off by one; the last mark is never below the largest.
    let mut count = (largest / step).ceil().max(1.0);
    if count * step < largest {
        count += 1.0;
    }
    Axis { end: count * step, marks: marks(step, count) }
}

/// More marks than any chart has.
const MARKS_MAX: usize = 100;

fn marks(step: f64, count: f64) -> Vec<f64> {
    (1..=MARKS_MAX).map(|at| at as f64).take_while(|at| *at <= count).map(|at| at * step).collect()
}

/// Returns the smallest step of 1, 2 or 5 times a power of ten with which `marks_max` marks reach `largest`.
fn step_of(largest: f64, marks_max: usize) -> f64 {
    if largest <= 0.0 {
        return 1.0;
    }
    let least = largest / marks_max.max(1) as f64;
    let power = 10_f64.powf(least.log10().floor());
    // Rounding may have made the power too large or too small by a hair; then one of the ends fits.
    DECIMAL.iter().map(|step| step * power).find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

fn time_step(largest: f64, marks_max: usize, round: fn(f64) -> f64) -> f64 {
    let fits = |step: &f64| round(largest / step * (1.0 - 1e-12)) <= marks_max.max(1) as f64;
    if largest < 2.0 {
        return step_of(largest, marks_max);
    }
    // Beyond half days, whole days are counted like other things.
    SECONDS.iter().copied().find(fits).unwrap_or_else(|| 86_400.0 * step_of(largest / 86_400.0, marks_max).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(axis: Axis, end: f64, marks: &[f64]) {
        assert!((axis.end - end).abs() <= end * 1e-9, "{axis:?}");
        assert_eq!(axis.marks.len(), marks.len(), "{axis:?}");
        for (found, wanted) in axis.marks.iter().zip(marks) {
            assert!((found - wanted).abs() <= wanted * 1e-9, "{axis:?}");
        }
    }

    #[test]
    fn marks_are_round_and_hold_the_largest_value() {
        is(nice_axis(5.2, 3), 6.0, &[2.0, 4.0, 6.0]);
        is(nice_axis(6.0, 3), 6.0, &[2.0, 4.0, 6.0]);
        is(nice_axis(6.1, 3), 10.0, &[5.0, 10.0]);
        is(nice_axis(100.0, 3), 100.0, &[50.0, 100.0]);
        is(nice_axis(101.0, 3), 150.0, &[50.0, 100.0, 150.0]);
        is(nice_axis(0.3, 3), 0.3, &[0.1, 0.2, 0.3]);
        is(nice_axis(1.0, 1), 1.0, &[1.0]);
        is(whole_axis(1.0, 3), 1.0, &[1.0]);
        is(whole_axis(2.0, 3), 2.0, &[1.0, 2.0]);
        is(whole_axis(927.0, 3), 1_000.0, &[500.0, 1_000.0]);
    }

    #[test]
    fn nothing_and_nonsense_have_an_axis_all_the_same() {
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            is(nice_axis(odd, 3), 1.0, &[1.0]);
            is(time_axis(odd, 3), 1.0, &[1.0]);
            is(time_marks(odd, 6), 0.0, &[]);
        }
        for huge in [1e18, f64::MAX / 1e9, u64::MAX as f64] {
            let axis = nice_axis(huge, 3);
            assert!(axis.end >= huge && axis.marks.len() <= 3, "{axis:?}");
        }
        let tiny = nice_axis(f64::MIN_POSITIVE, 3);
        assert!(tiny.marks.len() <= 3, "{tiny:?}");
    }

    #[test]
    fn times_are_marked_by_minutes_and_hours() {
        is(time_axis(5.4 * 3_600.0, 3), 6.0 * 3_600.0, &[7_200.0, 14_400.0, 21_600.0]);
        is(time_axis(170.0, 3), 180.0, &[60.0, 120.0, 180.0]);
        is(time_axis(86_400.0 * 2.0, 3), 86_400.0 * 2.0, &[86_400.0, 172_800.0]);
        is(time_marks(33.8, 5), 33.8, &[10.0, 20.0, 30.0]);
        is(time_marks(33.8, 7), 33.8, &[5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        is(time_marks(0.9, 4), 0.9, &[0.5]);
    }

    #[test]
    fn no_axis_has_more_marks_than_asked_for() {
        let values = (0..400).map(|at| 1.1_f64.powi(at - 100));
        for value in values {
            for most in 1..8 {
                for axis in [nice_axis(value, most), time_axis(value, most)] {
                    assert!(axis.marks.len() <= most && axis.end >= value * (1.0 - 1e-9), "{value} {most} {axis:?}");
                }
                assert!(time_marks(value, most).marks.len() <= most + 1, "{value} {most}");
            }
        }
    }
}
