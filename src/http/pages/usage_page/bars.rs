//! Usage in time: a bar for each day, or for each hour of one day.

use std::collections::HashMap;

use crate::base::clock::Timestamp;
use crate::http::pages::charts::{Bar, BarChart, BarUnit, bars};
use crate::http::pages::format::PageTimes;
use crate::http::pages::markup::Markup;
use crate::http::pages::usage_page::asked::{UsageAsked, UsageMeasure, UsageRange, UsageTime, query_of};
use crate::http::pages::usage_page::table::cell;
use crate::rules::usage::UsageItem;
use crate::store::usage::QUARTER_US;

const HOUR_US: i64 = 4 * QUARTER_US;

/// One day or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageSlot {
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// By which lines of usage are found: days and hours begin with a quarter of an hour there.
    key: i64,
}

/// Returns the days of a time, or its hours.
pub fn slots(range: &UsageRange, times: &PageTimes) -> Vec<UsageSlot> {
    let floor = |time: Timestamp, unit: i64| time.0 - time.0.rem_euclid(unit);
    let mut slots = Vec::new();
    let mut next = range.from;
    while next < range.ends {
        let (begins, ends, key) = if range.is_hourly {
            let hour = floor(next, HOUR_US);
            (next, Timestamp(hour + HOUR_US).min(range.ends), hour)
        } else {
            let day = times.zone().day_of(next);
            (day.begins, day.ends, floor(day.begins, QUARTER_US))
        };
        slots.push(UsageSlot { begins, ends, key });
        next = ends;
    }
    slots
}

/// Lines of usage by time: of everybody, and of what is chosen.
pub struct UsageInTime<'a> {
    pub all: &'a [UsageItem],
    pub chosen: Option<(&'a str, &'a [UsageItem])>,
}

/// Returns the chart. A day leads to its hours, an hour to its rows of the record at `record`.
pub fn usage_bars(
    asked: &UsageAsked,
    (path, record): (&str, &str),
    range: &UsageRange,
    used: &UsageInTime<'_>,
    times: &PageTimes,
) -> Markup {
    let measure = asked.measure;
    let (all, chosen) = (by_time(used.all, measure), used.chosen.map(|(_, items)| by_time(items, measure)));
    let slots = slots(range, times);
    let bar = |(at, slot): (usize, &UsageSlot)| {
        let value = all.get(&slot.key).copied().unwrap_or(0);
        let part = chosen.as_ref().map(|chosen| chosen.get(&slot.key).copied().unwrap_or(0));
        let mut title = format!("{}: {}", when(slot, range, times), said(measure, value));
        if let (Some(part), Some((name, _))) = (part, &used.chosen) {
            title += &format!(", of these {name} {}", cell(measure, part).text);
        }
        let href = if range.is_hourly {
            let (from, to) = (slot.begins.rfc3339(), slot.ends.rfc3339());
            format!("{record}?{}", query_of([("from", from.as_str()), ("to", to.as_str())]))
        } else {
            let date = times.zone().date_of(slot.begins);
            UsageAsked { time: UsageTime::Other { from: date.clone(), to: date }, ..asked.clone() }.link(path)
        };
        Bar {
            value: drawn(measure, value),
            highlighted: drawn(measure, part.unwrap_or(0)),
            title,
            label: label(at, &slots, range, times),
            href: Some(href),
        }
    };
    let bars_of: Vec<Bar> = slots.iter().enumerate().map(bar).collect();
    let name = chart_title(measure, range.is_hourly);
    let unit = if measure == UsageMeasure::Gpu { BarUnit::Seconds } else { BarUnit::Things };
    bars(&BarChart { name: &name, bars: &bars_of, unit, has_axis: true })
}

/// Returns the heading of the chart: `GPU time per day`.
pub fn chart_title(measure: UsageMeasure, is_hourly: bool) -> String {
    let what = match measure {
        UsageMeasure::Refused => "Refused requests",
        UsageMeasure::Failed => "Failed requests",
        other => other.label(),
    };
    format!("{what} per {}", if is_hourly { "hour" } else { "day" })
}

fn by_time(items: &[UsageItem], measure: UsageMeasure) -> HashMap<i64, i64> {
    let line = |item: &UsageItem| {
        let begins = item.begins_at.as_deref().and_then(Timestamp::parse)?;
        Some((begins.0, item.of(measure.of_sums())))
    };
    items.iter().filter_map(line).collect()
}

fn drawn(measure: UsageMeasure, value: i64) -> f64 {
    if measure == UsageMeasure::Gpu { value as f64 / 1000.0 } else { value as f64 }
}

fn said(measure: UsageMeasure, value: i64) -> String {
    let text = cell(measure, value).text;
    match measure {
        UsageMeasure::Gpu => format!("{text} of GPU time"),
        UsageMeasure::Requests => format!("{text} requests"),
        UsageMeasure::Tokens => format!("{text} model tokens"),
        UsageMeasure::Refused => format!("{text} refused"),
        UsageMeasure::Failed => format!("{text} failed"),
    }
}

fn when(slot: &UsageSlot, range: &UsageRange, times: &PageTimes) -> String {
    let zone = times.zone();
    if range.is_hourly {
        return format!("{} to {}", zone.local(slot.begins).minute(), zone.local(slot.ends).minute());
    }
    let local = zone.local(slot.begins);
    format!("{} {}", local.weekday(), times.date(slot.begins).text)
}

/// More days than this have labels for months alone.
const DAYS_WITH_WEEKS: usize = 62;

/// Returns what is written below a bar; most have nothing.
fn label(at: usize, slots: &[UsageSlot], range: &UsageRange, times: &PageTimes) -> String {
    let (slot, is_last) = (slots[at], at + 1 == slots.len());
    let local = times.zone().local(slot.begins);
    if range.is_hourly {
        let is_round = local.hour().is_multiple_of(6) && local.minute().ends_with(":00");
        return if at == 0 || is_round { local.minute() } else { String::new() };
    }
    if is_last && times.are_on_one_day(slot.begins, times.now()) {
        return "today".to_owned();
    }
    let is_marked = match slots.len() {
        0..=8 => return format!("{} {}", local.weekday(), local.day_of_month()),
        9..=DAYS_WITH_WEEKS => local.is_monday(),
        _ => local.day_of_month() == "1",
    };
    if at == 0 || is_last || is_marked { local.date() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::zone::Zone;
    use crate::http::pages::usage_page::asked::UsageBy;

    fn slots_of(zone: &str, query: &str) -> Vec<(String, String)> {
        let now = Timestamp::parse("2026-10-26T14:05:00Z").unwrap();
        let times = PageTimes::new(Zone::named(zone).unwrap(), now);
        let range = UsageAsked::parse(query, UsageBy::User).range(&times).unwrap();
        slots(&range, &times).iter().map(|slot| (slot.begins.rfc3339(), slot.ends.rfc3339())).collect()
    }

    #[test]
    fn days_and_hours_follow_each_other_also_where_the_clocks_change() {
        let day = |query| slots_of("Europe/Berlin", query);

        assert_eq!(day("time=7d").len(), 7);
        assert_eq!(day("from=2026-10-25&to=2026-10-25").len(), 25);
        assert_eq!(day("from=2026-10-24&to=2026-10-24").len(), 24);
        for slots in [day("time=30d"), day("time=today"), day("from=2026-10-25&to=2026-10-25")] {
            assert!(slots.windows(2).all(|pair| pair[0].1 == pair[1].0), "{slots:?}");
        }
    }

    #[test]
    fn where_the_day_begins_within_an_hour_the_first_and_last_are_shorter() {
        let hours = slots_of("Asia/Kathmandu", "from=2026-10-25&to=2026-10-25");

        assert_eq!((hours.len(), hours[0].0.as_str()), (25, "2026-10-24T18:15:00Z"));
        assert_eq!(hours[24], ("2026-10-25T18:00:00Z".into(), "2026-10-25T18:15:00Z".into()));
    }
}
