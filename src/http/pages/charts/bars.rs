//! Bars in time: a value per day with one part highlighted, and the pulse of the record, requests per hour.

use crate::http::pages::charts::axis::{Axis, time_axis, whole_axis};
use crate::http::pages::charts::phases::on_axis;
use crate::http::pages::charts::svg::{
    Rect, drawable, percent, write_attribute, write_escaped, write_line, write_linked,
};
use crate::http::pages::format::short;
use crate::http::pages::markup::Markup;

use std::fmt::Write as _;

/// One bar, of a day or an hour.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bar {
    pub value: f64,
    /// The part of the value that is highlighted: of the person who was chosen, or all of it.
    pub highlighted: f64,
    /// What it says when it is pointed at, and to screen readers: `12 Nov: 4 h 12 min, of these jonas 52 min`.
    pub title: String,
    /// What is written below it, such as `12 Nov`; empty for most.
    pub label: String,
    /// The page that it leads to; without one it is no link.
    pub href: Option<String>,
}

/// What bars count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarUnit {
    Things,
    Seconds,
}

/// Bars side by side.
#[derive(Debug, Clone)]
pub struct BarChart<'a> {
    /// What it shows, for screen readers: `GPU time per day`.
    pub name: &'a str,
    pub bars: &'a [Bar],
    pub unit: BarUnit,
    /// Whether it has lines with numbers at the left; a small chart without them has its numbers elsewhere.
    pub has_axis: bool,
}

/// Lines across a chart.
pub(super) const LINES_MAX: usize = 3;

/// The height that text above the topmost line needs, in percent.
pub(super) const HEAD: f64 = 10.0;

/// The least height of what is not nothing, in percent, so that it is seen.
const LEAST: f64 = 1.5;

/// The part of its place that a bar takes.
const FILLED: f64 = 0.68;

/// Returns bars with at most three lines behind them, and the labels below.
pub fn bars(chart: &BarChart<'_>) -> Markup {
    let largest = chart.bars.iter().map(|bar| drawable(bar.value)).fold(0.0, f64::max);
    let axis = match chart.unit {
        BarUnit::Things => whole_axis(largest, LINES_MAX),
        BarUnit::Seconds => time_axis(largest, LINES_MAX),
    };
    let mut svg = begin(if chart.has_axis { "bars tall" } else { "bars" }, chart.name, has_links(chart.bars));
    let (left, head, end) = if chart.has_axis {
        let left = write_axis(&mut svg, &axis, chart.unit);
        (left, HEAD, axis.end)
    } else {
        (0.0, 0.0, largest)
    };
    for (place, bar) in places(left, chart.bars) {
        let value = height(bar.value, end, 100.0 - head);
        if value <= 0.0 {
            continue;
        }
        let part = height(bar.highlighted, end, 100.0 - head).min(value);
        write_linked(&mut svg, bar.href.as_deref(), &bar.title, |svg, title| {
            let rect = |class, height| Rect { class, x: place.x, y: 100.0 - height, width: place.width, height };
            if part < value {
                rect("b", value).write(svg, title);
            }
            if part > 0.0 {
                rect("b hi", part).write(svg, title);
            }
        });
    }
    finish(svg, places(left, chart.bars).map(|(place, bar)| (place, bar.label.as_str())))
}

/// One hour of the record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hour {
    /// Requests that were neither refused nor failed.
    pub others: u64,
    pub refused: u64,
    pub failed: u64,
    pub title: String,
    pub label: String,
    pub href: Option<String>,
}

/// Returns requests per hour, refused and failed ones on top. `shaded`: the hours that the rows below cover, by their places.
pub fn pulse(name: &str, hours: &[Hour], shaded: Option<std::ops::Range<usize>>) -> Markup {
    let total = |hour: &Hour| hour.others as f64 + hour.refused as f64 + hour.failed as f64;
    let largest = hours.iter().map(total).fold(0.0, f64::max);
    let mut svg = begin("pulse", name, hours.iter().any(|hour| hour.href.is_some()));
    if let Some(shaded) = shaded.filter(|shaded| shaded.start < shaded.end && shaded.end <= hours.len()) {
        let step = 100.0 / hours.len() as f64;
        let (x, width) = (shaded.start as f64 * step, shaded.len() as f64 * step);
        Rect { class: "shade", x, y: 0.0, width, height: 100.0 }.write(&mut svg, "");
    }
    for (place, hour) in places(0.0, hours) {
        if total(hour) <= 0.0 {
            continue;
        }
        let parts = [("n", hour.others), ("refused", hour.refused), ("failed", hour.failed)];
        write_linked(&mut svg, hour.href.as_deref(), &hour.title, |svg, title| {
            let parts = parts.map(|(class, count)| (class, count as f64));
            write_parts(svg, place, &parts, |count| height(count, largest, 100.0), title);
        });
    }
    finish(svg, places(0.0, hours).map(|(place, hour)| (place, hour.label.as_str())))
}

fn has_links(bars: &[Bar]) -> bool {
    bars.iter().any(|bar| bar.href.is_some())
}

/// Begins a chart. One with links is a group, since an image hides what is in it from screen readers.
pub(super) fn begin(class: &str, name: &str, has_links: bool) -> String {
    let mut svg = format!(r#"<svg class="{class}" role="{}""#, if has_links { "group" } else { "img" });
    write_attribute(&mut svg, "aria-label", name);
    svg.push('>');
    svg
}

/// Writes the parts of one bar on top of each other, the lowest first.
pub(super) fn write_parts(
    svg: &mut String,
    place: BarPlace,
    parts: &[(&'static str, f64)],
    height: impl Fn(f64) -> f64,
    title: &str,
) {
    let mut y = 100.0;
    for (class, value) in parts {
        let part = height(*value).min(y);
        if part > 0.0 {
            y -= part;
            Rect { class, x: place.x, y, width: place.width, height: part }.write(svg, title);
        }
    }
}

/// Ends a chart with its base line and the labels below.
pub(super) fn finish<'a>(mut svg: String, labels: impl Iterator<Item = (BarPlace, &'a str)>) -> Markup {
    write_line(&mut svg, "base", 100.0);
    svg.push_str("</svg>");
    write_labels(&mut svg, labels);
    Markup::of_html(svg)
}

/// Returns the height of a value in percent; what is not nothing is seen.
pub(super) fn height(value: f64, largest: f64, most: f64) -> f64 {
    let value = drawable(value);
    if value <= 0.0 || largest <= 0.0 {
        return 0.0;
    }
    (value / largest * most).clamp(LEAST, most.max(LEAST))
}

/// Where a bar is from left to right, in percent.
#[derive(Clone, Copy)]
pub(super) struct BarPlace {
    pub x: f64,
    pub width: f64,
    pub middle: f64,
}

/// Returns each bar with its place, right of `left` percent.
pub(super) fn places<T>(left: f64, bars: &[T]) -> impl Iterator<Item = (BarPlace, &T)> {
    let step = (100.0 - left) / bars.len().max(1) as f64;
    bars.iter().enumerate().map(move |(at, bar)| {
        let middle = left + step * (at as f64 + 0.5);
        (BarPlace { x: middle - step * FILLED / 2.0, width: step * FILLED, middle }, bar)
    })
}

/// The width of a character of an axis in percent of a wide chart.
const CHARACTER: f64 = 1.0;

/// Writes the lines with their numbers above them, and returns where the bars begin.
pub(super) fn write_axis(svg: &mut String, axis: &Axis, unit: BarUnit) -> f64 {
    let mut longest = 0;
    for mark in &axis.marks {
        let y = 100.0 - mark / axis.end * (100.0 - HEAD);
        write_line(svg, "grid", y);
        let text = match unit {
            BarUnit::Seconds => on_axis(*mark),
            BarUnit::Things => short(*mark as u64),
        };
        longest = longest.max(text.chars().count());
        let _ = write!(svg, r#"<text class="axis" x="0" y="{}%" dy="-4">"#, percent(y));
        write_escaped(svg, &text);
        svg.push_str("</text>");
    }
    longest as f64 * CHARACTER + 1.5
}

/// The least room of a label, in percent: that of a date on a phone.
const LABEL: f64 = 13.0;

/// The room of a letter on a phone, in percent.
const LETTER: f64 = 2.0;

/// Returns from where to where a label needs room, where it is written, and how it is anchored there.
fn room_of(place: BarPlace, label: &str) -> (f64, f64, f64, &'static str) {
    let room = LABEL.max((label.chars().count() + 1) as f64 * LETTER);
    match place.middle {
        middle if middle < room / 2.0 => (place.x, place.x + room, place.x, "start"),
        middle if middle > 100.0 - room / 2.0 => {
            let end = place.x + place.width;
            (end - room, end, end, "end")
        }
        middle => (middle - room / 2.0, middle + room / 2.0, middle, "middle"),
    }
}

/// Writes what stands below the bars. The last label is always there; others are left out where they would touch.
fn write_labels<'a>(svg: &mut String, labels: impl Iterator<Item = (BarPlace, &'a str)>) {
    let labels: Vec<(BarPlace, &str)> = labels.filter(|(_, label)| !label.is_empty()).collect();
    let Some((last, last_label)) = labels.last().copied() else { return };
    let last_begins = room_of(last, last_label).0;
    svg.push_str(r#"<svg class="ticks" width="100%" height="18" aria-hidden="true">"#);
    let mut taken = f64::NEG_INFINITY;
    for (at, (place, label)) in labels.iter().enumerate() {
        let (begins, ends, x, anchor) = room_of(*place, label);
        if at + 1 < labels.len() && (begins < taken || ends > last_begins) {
            continue;
        }
        taken = ends;
        let _ = write!(svg, r#"<text class="axis" x="{}%" y="14" text-anchor="{anchor}">"#, percent(x));
        write_escaped(svg, label);
        svg.push_str("</text>");
    }
    svg.push_str("</svg>");
}
