//! Adds requests that run or wait now to the story of the GPU, which is made from those that have ended.

use crate::base::clock::Timestamp;
use crate::http::queue::QueueItem;
use crate::rules::usage::timeline::{Timeline, TimelinePerson, WAIT_LEAST_US};

/// Adds them up to `now`. A request that runs has its model server for all of that time.
pub fn add_running(told: &mut Timeline, queue: &[QueueItem], now: Timestamp) {
    for item in queue {
        let Some(entered) = Timestamp::parse(&item.entered_at) else { continue };
        let began = item.began_at.as_deref().and_then(Timestamp::parse);
        if let Some(began) = began {
            let place = place_of(told, item);
            for (at, ms) in parts(told, began, now) {
                let interval = &mut told.intervals[at];
                interval.gpu_ms[place] = interval.gpu_ms[place].saturating_add(ms);
                told.people[place].gpu_ms = told.people[place].gpu_ms.saturating_add(ms);
            }
        }
        let until = began.unwrap_or(now);
        let wait_us = until.0.saturating_sub(entered.0);
        if wait_us < WAIT_LEAST_US {
            continue;
        }
        for (at, _) in parts(told, entered, until) {
            let interval = &mut told.intervals[at];
            // Where waiting is not known, what waits now is no story.
            let Some(count) = interval.waited else { continue };
            interval.waited = Some(count + 1);
            interval.longest_wait_ms = interval.longest_wait_ms.max(Some(wait_us / 1000));
        }
    }
}

/// Returns the place of a request's sender among the people, who may be new there.
fn place_of(told: &mut Timeline, item: &QueueItem) -> usize {
    let known = told.people.iter().position(|person| person.id.is_some() && person.id == item.user_id);
    known.unwrap_or_else(|| {
        told.people.push(TimelinePerson { name: item.user.clone(), id: item.user_id.clone(), gpu_ms: 0 });
        told.intervals.iter_mut().for_each(|interval| interval.gpu_ms.push(0));
        told.people.len() - 1
    })
}

/// Returns the intervals in which a time lies, and its milliseconds in each.
fn parts(told: &Timeline, from: Timestamp, to: Timestamp) -> Vec<(usize, i64)> {
    let step = told.interval_seconds * 1_000_000;
    let Some(first) = Timestamp::parse(&told.from) else { return Vec::new() };
    let part = |at: usize| {
        let begins = first.0 + step * at as i64;
        let (from, to) = (begins.max(from.0), (begins + step).min(to.0));
        (from < to).then_some((at, (to - from) / 1000))
    };
    (0..told.intervals.len()).filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::usage::timeline::TimelineInterval;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn told() -> Timeline {
        let interval = |minute: i64| TimelineInterval {
            begins_at: format!("2026-01-15T14:{minute:02}:00Z"),
            gpu_ms: vec![1_000],
            waited: Some(0),
            longest_wait_ms: Some(0),
        };
        Timeline {
            span: "hour",
            from: "2026-01-15T14:00:00Z".into(),
            to: "2026-01-15T14:04:00Z".into(),
            interval_seconds: 60,
            source: "requests",
            people: vec![TimelinePerson { name: "ann".into(), id: Some("a".into()), gpu_ms: 4_000 }],
            intervals: (0..4).map(interval).collect(),
        }
    }

    fn item(user: &str, entered: &str, began: Option<&str>) -> QueueItem {
        QueueItem {
            request_id: String::new(),
            state: "",
            user: user.into(),
            user_id: Some(user[..1].into()),
            token: None,
            token_name: None,
            class: "interactive",
            model: String::new(),
            host: None,
            entered_at: entered.into(),
            began_at: began.map(str::to_owned),
            position: None,
            begins_in_ms: None,
            ends_in_ms: 0,
        }
    }

    #[test]
    fn what_runs_is_added_until_now_to_those_who_are_there_and_to_others() {
        let mut told = told();
        let queue = [
            item("ann", "2026-01-15T14:01:30Z", Some("2026-01-15T14:01:30Z")),
            item("bob", "2026-01-15T14:00:30Z", Some("2026-01-15T14:02:00Z")),
        ];

        add_running(&mut told, &queue, at("2026-01-15T14:03:10Z"));

        let gpu: Vec<Vec<i64>> = told.intervals.iter().map(|interval| interval.gpu_ms.clone()).collect();
        assert_eq!(gpu, [[1_000, 0], [31_000, 0], [61_000, 60_000], [11_000, 10_000]]);
        let totals: Vec<i64> = told.people.iter().map(|person| person.gpu_ms).collect();
        assert_eq!(totals, [104_000, 70_000]);
        let waited: Vec<Option<u64>> = told.intervals.iter().map(|interval| interval.waited).collect();
        assert_eq!(waited, [Some(1), Some(1), Some(0), Some(0)]);
        assert_eq!(told.intervals[0].longest_wait_ms, Some(90_000));
    }

    #[test]
    fn who_waits_now_has_waited_until_now_unless_for_a_moment() {
        let mut told = told();
        let queue = [item("ann", "2026-01-15T14:02:50Z", None), item("bob", "2026-01-15T14:03:09.500Z", None)];

        add_running(&mut told, &queue, at("2026-01-15T14:03:10Z"));

        assert_eq!(told.intervals[2].waited, Some(1));
        assert_eq!((told.intervals[3].waited, told.intervals[3].longest_wait_ms), (Some(1), Some(20_000)));
        assert_eq!(told.people.len(), 1);
    }
}
