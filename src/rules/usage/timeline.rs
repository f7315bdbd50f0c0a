//! The story of the GPU: who used it in each minute of an hour, or in longer intervals of a day or a week, and who waited.
//!
//! It is made from the rows of the requests that ended in that time, so GPU time lies where a request ran. Of a time with too
//! many rows the sums of usage are shown instead: they put GPU time where a request ended, and know nothing of waiting.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::People;
use crate::model::words::words_schema;
use crate::store::Store;
use crate::store::usage::{Group, Measure, QUARTER_US, Ran, UsageFilter, plus};

/// How long a time is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Hour,
    Day,
    Week,
}

words_schema!(impl Span, "How long a time is shown.", [Span::Hour, Span::Day, Span::Week].map(Span::name));

impl Span {
    pub fn parse(word: &str) -> Result<Span, Error> {
        [Span::Hour, Span::Day, Span::Week]
            .into_iter()
            .find(|span| span.name() == word)
            .ok_or_else(|| Error::invalid("span", "`span` must be hour, day or week"))
    }

    pub fn name(self) -> &'static str {
        match self {
            Span::Hour => "hour",
            Span::Day => "day",
            Span::Week => "week",
        }
    }

    pub fn seconds(self) -> i64 {
        match self {
            Span::Hour => 3600,
            Span::Day => 24 * 3600,
            Span::Week => 7 * 24 * 3600,
        }
    }

    fn interval_us(self) -> i64 {
        match self {
            Span::Hour => 60 * SECOND_US,
            Span::Day => QUARTER_US,
            Span::Week => 4 * QUARTER_US,
        }
    }
}

const SECOND_US: i64 = 1_000_000;

/// People who are shown by themselves: those who used most.
pub const PEOPLE_MAX: usize = 8;

/// Rows of the record that are read for one timeline. Of a time with more, the sums of usage are shown.
const ROWS_MAX: i64 = 200_000;

/// Who waited less is not said to have waited: the queue always takes a moment.
pub const WAIT_LEAST_US: i64 = SECOND_US;

/// How much later than the end of the time a request may end that ran in it.
const TAIL_SECONDS: i64 = 3600;

/// Name of those who used least, together.
const OTHERS: &str = "(others)";

/// Who used the GPU when, and who waited. Requests that have not ended yet are not in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// `hour`, `day` or `week`
    pub span: &'static str,
    #[schema(format = DateTime)]
    pub from: String,
    #[schema(format = DateTime)]
    pub to: String,
    /// Length of each interval: 60, 900 or 3,600.
    pub interval_seconds: i64,
    /// `requests`: GPU time lies where requests ran. `sums`: there are too many requests for that, so it lies in the quarter of an
    /// hour in which a request ended.
    pub source: &'static str,
    /// The people who used most GPU time, largest first, and last those who are summed up as `(others)`.
    pub people: Vec<TimelinePerson>,
    /// All intervals, the oldest first.
    pub intervals: Vec<TimelineInterval>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TimelinePerson {
    #[schema(example = "ann@example.org")]
    pub name: String,
    /// Absent for `(others)` and for deleted users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub id: Option<String>,
    /// In the whole time.
    pub gpu_ms: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineInterval {
    #[schema(format = DateTime)]
    pub begins_at: String,
    /// GPU time of each of `people`, in their order.
    pub gpu_ms: Vec<i64>,
    /// Requests that waited in the queue in this interval and for a second or more in all; absent with the source `sums`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited: Option<u64>,
    /// The longest wait of these requests, from its begin to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_wait_ms: Option<i64>,
}

/// Returns the timeline that ends with the interval in which `to` lies.
pub async fn timeline(
    store: &Store,
    span: Span,
    to: Option<Timestamp>,
    user_id: Option<String>,
) -> Result<Timeline, Error> {
    let user_id = match user_id {
        Some(id) => Some(store.user_key(id).await?),
        None => None,
    };
    let asked = to.unwrap_or_else(Timestamp::now);
    let grid = Grid::ending(asked, span, span.interval_us());
    let read_to = grid.ends().plus_seconds(TAIL_SECONDS);
    if let Some(rows) = store.ran_between(grid.from, read_to, user_id, ROWS_MAX).await? {
        return Ok(shown(span, grid, spread(&rows, grid), "requests", &store.people()));
    }
    let grid = Grid::ending(asked, span, span.interval_us().max(QUARTER_US));
    let story = summed(store, grid, user_id).await?;
    Ok(shown(span, grid, story, "sums", &store.people()))
}

/// Intervals of one length that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    from: Timestamp,
    step_us: i64,
    count: usize,
}

impl Grid {
    /// Returns the intervals of a span, the last of which holds `to` or ends with it.
    fn ending(to: Timestamp, span: Span, step_us: i64) -> Grid {
        let length = span.seconds() * SECOND_US;
        // Far from both ends of what a time can be.
        let to = to.0.clamp(0, i64::MAX / 4);
        let ends = to + (step_us - to.rem_euclid(step_us)) % step_us;
        Grid { from: Timestamp(ends - length), step_us, count: (length / step_us) as usize }
    }

    fn begins(self, at: usize) -> Timestamp {
        Timestamp(self.from.0 + self.step_us * at as i64)
    }

    fn ends(self) -> Timestamp {
        self.begins(self.count)
    }

    /// Returns the intervals that have a part of the time between two others, and where that part lies.
    fn parts(self, from: i64, to: i64) -> impl Iterator<Item = (usize, i64, i64)> {
        let (first, end) = (self.from.0, self.ends().0);
        let begin = (from.max(first) - first) / self.step_us;
        let parts = (begin..self.count as i64).map(move |at| {
            let begins = first + at * self.step_us;
            (at as usize, begins.max(from), (begins + self.step_us).min(to))
        });
        parts.take_while(move |(_, begins, ends)| from < end && begins < ends)
    }
}

/// GPU time by person and interval, in microseconds, and who waited.
#[derive(Debug, Default)]
struct Story {
    gpu_us: HashMap<i64, Vec<i64>>,
    /// Those who are only known together.
    rest: Option<Vec<i64>>,
    /// For each interval the requests that waited and the longest wait, if that is known.
    waits: Option<Vec<(u64, i64)>>,
}

/// Spreads the GPU time of each request evenly over the time in which it ran.
fn spread(rows: &[Ran], grid: Grid) -> Story {
    let mut gpu_us: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut waits = vec![(0, 0); grid.count];
    for row in rows {
        let ended = row.at_us;
        let total = row.total_us.unwrap_or(0).clamp(0, ended.max(0));
        let queued = row.queued_us.unwrap_or(0).clamp(0, total);
        // A request without a length ran for a moment.
        let began = (ended - (total - queued)).min(ended - 1);
        let gpu = row.gpu_us.unwrap_or(0).max(0);
        if gpu > 0 {
            let own = gpu_us.entry(row.user_id.unwrap_or(0)).or_insert_with(|| vec![0; grid.count]);
            // Rounded down at each border, so that the parts of a request add up to its whole.
            let until = |time: i64| i128::from(gpu) * i128::from(time - began) / i128::from(ended - began);
            for (at, from, to) in grid.parts(began, ended) {
                own[at] = plus(own[at], (until(to) - until(from)) as i64);
            }
        }
        if queued >= WAIT_LEAST_US {
            for (at, _, _) in grid.parts(ended - total, began) {
                let (count, longest) = &mut waits[at];
                *count += 1;
                *longest = queued.max(*longest);
            }
        }
    }
    Story { gpu_us, rest: None, waits: Some(waits) }
}

/// Reads the sums of usage instead.
async fn summed(store: &Store, grid: Grid, user_id: Option<i64>) -> Result<Story, Error> {
    let wanted = UsageFilter { user_id, token_id: None, from: grid.from, to: grid.ends() };
    let bounds = (0..=grid.count).map(|at| grid.begins(at)).collect();
    let steps = store.usage_in_steps(Group::User, wanted, bounds, Measure::Gpu, PEOPLE_MAX).await?;
    let (mut gpu_us, mut rest) = (HashMap::new(), vec![0; grid.count]);
    for (at, step) in steps.into_iter().enumerate().take(grid.count) {
        for used in step.used {
            let own: &mut Vec<i64> = gpu_us.entry(used.number).or_insert_with(|| vec![0; grid.count]);
            own[at] = used.sums.gpu_us;
        }
        rest[at] = step.rest.map_or(0, |rest| rest.gpu_us);
    }
    Ok(Story { gpu_us, rest: Some(rest), waits: None })
}

fn shown(span: Span, grid: Grid, story: Story, source: &'static str, people: &People) -> Timeline {
    let total = |parts: &[i64]| parts.iter().fold(0, |sum, part| plus(sum, *part));
    let mut most: Vec<(i64, Vec<i64>)> = story.gpu_us.into_iter().filter(|(_, parts)| total(parts) > 0).collect();
    most.sort_by_key(|(id, parts)| (Reverse(total(parts)), *id));
    let mut rest = story.rest.unwrap_or_else(|| vec![0; grid.count]);
    for (_, parts) in most.drain(most.len().min(PEOPLE_MAX)..) {
        rest.iter_mut().zip(parts).for_each(|(sum, part)| *sum = plus(*sum, part));
    }
    let of_person = |id: i64, parts: &[i64]| TimelinePerson {
        name: if id == 0 { "(unknown)".into() } else { people.name_of(id) },
        id: people.by_id(id).map(|user| user.public_id.clone()),
        gpu_ms: total(parts) / 1000,
    };
    let mut names: Vec<TimelinePerson> = most.iter().map(|(id, parts)| of_person(*id, parts)).collect();
    let mut rows: Vec<Vec<i64>> = most.into_iter().map(|(_, parts)| parts).collect();
    if total(&rest) > 0 {
        names.push(TimelinePerson { name: OTHERS.into(), id: None, gpu_ms: total(&rest) / 1000 });
        rows.push(rest);
    }
    let interval = |at: usize| {
        let waits = story.waits.as_ref().map(|waits| waits[at]);
        TimelineInterval {
            begins_at: grid.begins(at).rfc3339(),
            gpu_ms: rows.iter().map(|parts| parts[at] / 1000).collect(),
            waited: waits.map(|(count, _)| count),
            longest_wait_ms: waits.map(|(_, longest)| longest / 1000),
        }
    };
    Timeline {
        span: span.name(),
        from: grid.from.rfc3339(),
        to: grid.ends().rfc3339(),
        interval_seconds: grid.step_us / SECOND_US,
        source,
        intervals: (0..grid.count).map(interval).collect(),
        people: names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * SECOND_US;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn hour() -> Grid {
        Grid::ending(at("2026-01-15T15:00:00Z"), Span::Hour, Span::Hour.interval_us())
    }

    fn ran(user_id: i64, ended: i64, queued: i64, total: i64, gpu: i64) -> Ran {
        let us = |seconds: i64| Some(seconds * SECOND_US);
        let at_us = hour().from.0 + ended * SECOND_US;
        Ran { user_id: Some(user_id), at_us, queued_us: us(queued), total_us: us(total), gpu_us: us(gpu) }
    }

    #[test]
    fn a_time_ends_with_the_interval_that_holds_it() {
        let ends = |to: &str, span: Span| {
            let grid = Grid::ending(at(to), span, span.interval_us());
            (grid.from.rfc3339(), grid.ends().rfc3339(), grid.count)
        };

        let full = ("2026-01-15T14:00:00Z".into(), "2026-01-15T15:00:00Z".into(), 60);
        assert_eq!(ends("2026-01-15T15:00:00Z", Span::Hour), full);
        assert_eq!(ends("2026-01-15T14:59:00.000001Z", Span::Hour), full);
        assert_eq!(ends("2026-01-15T14:46:00Z", Span::Day).1, "2026-01-15T15:00:00Z");
        assert_eq!(ends("2026-01-15T14:46:00Z", Span::Week), ("2026-01-08T15:00:00Z".into(), full.1, 168));
    }

    #[test]
    fn gpu_time_lies_where_a_request_ran_and_adds_up() {
        // It arrived at 14:04:30, waited a minute, and ran from 14:05:30 to 14:07:30.
        let story = spread(&[ran(1, 450, 60, 180, 100)], hour());

        let gpu: Vec<i64> = story.gpu_us[&1][4..9].to_vec();
        assert_eq!(gpu, [0, 25 * SECOND_US, 50 * SECOND_US, 25 * SECOND_US, 0]);
        let waits = story.waits.unwrap();
        assert_eq!(waits[3..7], [(0, 0), (1, MINUTE), (1, MINUTE), (0, 0)]);
    }

    #[test]
    fn what_lies_before_and_after_the_time_is_left_out() {
        let story = spread(&[ran(1, 30, 0, 60, 60), ran(1, 3630, 0, 60, 60), ran(2, 4000, 0, 60, 60)], hour());

        let own = &story.gpu_us[&1];
        assert_eq!((own[0], own[59], own[1..59].iter().sum::<i64>()), (30 * SECOND_US, 30 * SECOND_US, 0));
        assert!(story.gpu_us.get(&2).is_none_or(|own| own.iter().all(|part| *part == 0)));
    }

    #[test]
    fn a_row_without_a_length_or_with_a_strange_one_is_told_all_the_same() {
        let ended = hour().from.0 + 90 * SECOND_US;
        let moment = Ran { user_id: None, at_us: ended, gpu_us: Some(5), ..Ran::default() };
        let strange = Ran { queued_us: Some(-7), total_us: Some(i64::MAX), ..moment };
        let story = spread(&[moment, Ran { at_us: i64::MIN + 1, ..moment }], hour());

        assert_eq!(story.gpu_us[&0].iter().sum::<i64>(), 5);
        spread(&[strange, Ran { total_us: Some(-1), queued_us: Some(i64::MAX), ..moment }], hour());
    }

    #[test]
    fn a_short_wait_is_none() {
        let wait = |us: i64| Ran { queued_us: Some(us), ..ran(1, 90, 0, 30, 1) };

        let story = spread(&[wait(WAIT_LEAST_US - 1), wait(WAIT_LEAST_US)], hour());

        assert_eq!(story.waits.unwrap()[1], (1, WAIT_LEAST_US));
    }

    #[test]
    fn eight_people_are_named_and_the_others_are_one() {
        let rows: Vec<Ran> = (1..=10).map(|id| ran(id, 30, 0, 10, 10 + id)).collect();

        let told = shown(Span::Hour, hour(), spread(&rows, hour()), "requests", &People::default());

        assert_eq!(told.people.len(), 9);
        assert_eq!((told.people[0].name.as_str(), told.people[0].gpu_ms), ("(deleted 10)", 20_000));
        assert_eq!((told.people[8].name.as_str(), told.people[8].gpu_ms), ("(others)", 11_000 + 12_000));
        assert_eq!(told.intervals[0].gpu_ms.iter().sum::<i64>(), 155_000);
        assert_eq!(told.intervals.len(), 60);
    }
}
