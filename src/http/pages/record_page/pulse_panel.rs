//! The pulse above the list: requests per interval, the time of the rows below shaded, and a link to each interval.

use std::ops::Range;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{Hour, pulse as pulse_chart};
use crate::http::pages::format::PageTimes;
use crate::http::pages::markup::Markup;
use crate::http::pages::record_page::address::RecordAddress;
use crate::http::pages::words::counted;
use crate::rules::pulse::{Pulse, PulseBar};

/// More intervals than a chart can show.
const INTERVALS_MAX: usize = 1_200;

/// The time that the rows of a page cover; an open end goes on beyond the chart.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoveredTime {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// A chart with its title.
pub struct PulsePanel {
    pub title: String,
    pub chart: Markup,
}

/// One interval of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    begins: Timestamp,
    ends: Timestamp,
}

/// Returns the chart; `None` where there is nothing to show. Links lead to the same list below `path`, in that interval.
pub fn panel(
    pulse: &Pulse,
    times: &PageTimes,
    path: &str,
    address: &RecordAddress,
    covered: CoveredTime,
) -> Option<PulsePanel> {
    let bars = pulse.items.as_ref().filter(|bars| !bars.is_empty())?;
    let slots = slots(pulse, times);
    let hours: Vec<Hour> = slots
        .iter()
        .enumerate()
        .map(|(at, slot)| {
            let bar = bars.iter().find(|bar| Timestamp::parse(&bar.at) == Some(slot.begins));
            let label = match (at, slots.len() - at) {
                (_, 1) if slot.ends > times.now() => "now".to_owned(),
                (0, _) => named(slot.begins, pulse.interval, times),
                _ if is_marked(slot.begins, pulse.interval, times) => named(slot.begins, pulse.interval, times),
                _ => String::new(),
            };
            hour(bar, *slot, label, times, path, address)
        })
        .collect();
    let per = match pulse.interval {
        "quarter" => "quarter of an hour",
        other => other,
    };
    let name = format!("Requests per {per}");
    let that = if pulse.interval == "quarter" { "quarter" } else { pulse.interval };
    let title = format!("{name} · refused and failed on top · press a bar to see that {that}");
    Some(PulsePanel { title, chart: pulse_chart(&name, &hours, shaded(&slots, covered)) })
}

fn hour(
    bar: Option<&PulseBar>,
    slot: Slot,
    label: String,
    times: &PageTimes,
    path: &str,
    address: &RecordAddress,
) -> Hour {
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let Some(bar) = bar else { return Hour { label, ..Hour::default() } };
    let (requests, refused, failed) = (number(bar.requests), number(bar.refused), number(bar.failed));
    let from = times.zone().local(slot.begins);
    let span = if slot.ends.since(slot.begins).as_secs() > 12 * 3_600 {
        times.day(slot.begins).text
    } else {
        let day = if times.are_on_one_day(slot.begins, times.now()) { "today".to_owned() } else { from.weekday() };
        format!("{day} {} to {}", from.minute(), times.zone().local(slot.ends).minute())
    };
    let mut title = format!("{span}: {}", counted(requests, "request", "requests"));
    for (count, word) in [(refused, "refused"), (failed, "failed")] {
        if count > 0 {
            title.push_str(&format!(", {count} {word}"));
        }
    }
    let href = address.newest().with("from", &slot.begins.rfc3339()).with("to", &slot.ends.rfc3339()).link(path);
    Hour { others: requests.saturating_sub(failed), refused, failed, title, label, href: Some(href) }
}

/// Returns all intervals, also those in which nothing came.
fn slots(pulse: &Pulse, times: &PageTimes) -> Vec<Slot> {
    let (Some(from), Some(to)) = (Timestamp::parse(&pulse.from), Timestamp::parse(&pulse.to)) else {
        return Vec::new();
    };
    let mut slots = Vec::new();
    let mut begins = from;
    while begins < to && slots.len() < INTERVALS_MAX {
        let ends = match pulse.interval {
            "quarter" => begins.plus_seconds(15 * 60),
            "hour" => begins.plus_seconds(3_600),
            _ => times.zone().day_of(begins).ends,
        };
        slots.push(Slot { begins, ends });
        begins = ends;
    }
    slots
}

/// Returns the slots that the rows of the page cover.
fn shaded(slots: &[Slot], covered: CoveredTime) -> Option<Range<usize>> {
    let is_covered =
        |slot: &Slot| covered.from.is_none_or(|from| slot.ends > from) && covered.to.is_none_or(|to| slot.begins <= to);
    let first = slots.iter().position(is_covered)?;
    let last = slots.iter().rposition(is_covered)?;
    Some(first..last + 1)
}

/// Returns whether a time is written below its bar.
fn is_marked(at: Timestamp, interval: &str, times: &PageTimes) -> bool {
    let local = times.zone().local(at);
    match interval {
        "quarter" => local.minute().ends_with(":00"),
        "hour" => local.minute().ends_with(":00") && local.hour().is_multiple_of(12),
        _ => local.is_monday(),
    }
}

fn named(at: Timestamp, interval: &str, times: &PageTimes) -> String {
    let local = times.zone().local(at);
    match interval {
        "quarter" => local.minute(),
        "hour" if times.are_on_one_day(at, times.now()) => format!("today {}", local.minute()),
        "hour" => format!("{} {}", local.weekday(), local.minute()),
        _ => times.date(at).text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn times() -> PageTimes {
        PageTimes::new(Zone::named("Europe/Berlin").unwrap(), at("2026-11-27T13:32:07Z"))
    }

    fn pulse(interval: &'static str, from: &str, bars: Vec<PulseBar>) -> Pulse {
        Pulse { interval, from: from.to_owned(), to: "2026-11-27T13:32:07Z".to_owned(), items: Some(bars) }
    }

    fn bar(begins: &str, requests: i64, refused: i64, failed: i64) -> PulseBar {
        PulseBar { at: begins.to_owned(), until: String::new(), requests, refused, failed }
    }

    #[test]
    fn each_bar_leads_to_its_hour_with_the_same_filter() {
        let address = RecordAddress::parse("model=gemma3&from=-2d&cursor=9");
        let pulse = pulse("hour", "2026-11-27T10:00:00Z", vec![bar("2026-11-27T11:00:00Z", 12, 1, 2)]);

        let panel = panel(&pulse, &times(), "/admin/record", &address, CoveredTime::default()).unwrap();

        let html = panel.chart.as_str();
        assert!(panel.title.starts_with("Requests per hour · refused and failed on top"));
        assert!(
            html.contains(
                "/admin/record?model=gemma3&amp;from=2026-11-27T11%3A00%3A00Z&amp;to=2026-11-27T12%3A00%3A00Z"
            ),
            "{html}"
        );
        assert!(html.contains("today 12:00 to 13:00: 12 requests, 1 refused, 2 failed"), "{html}");
        assert!(html.contains(">now<"), "{html}");
    }

    #[test]
    fn intervals_without_requests_have_their_place_and_nothing_at_all_is_no_chart() {
        let day = pulse("day", "2026-10-23T22:00:00Z", vec![]);
        let hours = pulse("hour", "2026-11-27T10:00:00Z", vec![]);

        assert_eq!(slots(&hours, &times()).len(), 4);
        // The clocks go back on 25 October; days go from midnight to midnight all the same.
        let days = slots(&day, &times());
        assert_eq!(days.len(), 35);
        assert_eq!(days[2].begins, at("2026-10-25T23:00:00Z"));
        assert!(panel(&day, &times(), "/r", &RecordAddress::default(), CoveredTime::default()).is_none());
    }

    #[test]
    fn the_time_of_the_rows_below_is_shaded() {
        let slots = slots(&pulse("hour", "2026-11-27T10:00:00Z", vec![]), &times());
        let covered =
            |from: Option<&str>, to: Option<&str>| shaded(&slots, CoveredTime { from: from.map(at), to: to.map(at) });

        assert_eq!(covered(None, None), Some(0..4));
        assert_eq!(covered(Some("2026-11-27T11:59:59Z"), None), Some(1..4));
        assert_eq!(covered(Some("2026-11-27T12:00:00Z"), Some("2026-11-27T12:30:00Z")), Some(2..3));
        assert_eq!(covered(Some("2026-11-28T00:00:00Z"), None), None);
        assert_eq!(covered(None, Some("2026-11-26T00:00:00Z")), None);
    }
}
