//! The story of the GPU: who used it when, and when requests had to wait for it.

use crate::http::pages::charts::bars::{begin, finish, height, places};
use crate::http::pages::charts::svg::{Rect, drawable, write_line, write_linked};
use crate::http::pages::markup::Markup;

/// A few minutes of the timeline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interval {
    /// How long the model servers worked.
    pub busy_s: f64,
    /// How long of this for the person who is highlighted.
    pub highlighted_s: f64,
    /// Requests that waited.
    pub waited: u64,
    /// What it says when it is pointed at, and to screen readers.
    pub title: String,
    /// What is written below it, such as `14:00`; empty for most.
    pub label: String,
    pub href: Option<String>,
}

#[derive(Debug, Clone)]
pub struct TimelineChart<'a> {
    /// What it shows, for screen readers.
    pub name: &'a str,
    pub intervals: &'a [Interval],
    /// The most that all slots together can work in one interval; a full bar.
    pub capacity_s: f64,
}

/// The height of the marks of waiting above the bars, and where the bars begin, in percent.
const WAITED: f64 = 16.0;
const TOP: f64 = 22.0;

/// Returns the timeline: bars for the work, lines at half and full use, and above them marks where requests waited.
pub fn timeline(timeline: &TimelineChart<'_>) -> Markup {
    let intervals = timeline.intervals;
    let busiest = intervals.iter().map(|interval| drawable(interval.busy_s)).fold(0.0, f64::max);
    // Work that was measured a little beyond its interval fills the bar and no more.
    let capacity = if timeline.capacity_s > 0.0 { timeline.capacity_s } else { busiest };
    let most_waited = intervals.iter().map(|interval| interval.waited).max().unwrap_or(0);
    let room = 100.0 - TOP;
    let mut svg = begin("timeline", timeline.name, intervals.iter().any(|interval| interval.href.is_some()));
    write_line(&mut svg, "grid", TOP);
    write_line(&mut svg, "grid", TOP + room / 2.0);
    for (place, interval) in places(0.0, intervals) {
        let busy = height(interval.busy_s, capacity, room);
        let part = height(interval.highlighted_s, capacity, room).min(busy);
        let waited =
            height(interval.waited as f64, most_waited as f64, WAITED).max(if interval.waited > 0 { 4.0 } else { 0.0 });
        if busy <= 0.0 && waited <= 0.0 {
            continue;
        }
        write_linked(&mut svg, interval.href.as_deref(), &interval.title, |svg, title| {
            let rect = |class, y, height| Rect { class, x: place.x, y, width: place.width, height };
            // So that a low bar can be hit, too.
            rect("hit", 0.0, 100.0).write(svg, title);
            if waited > 0.0 {
                rect("waited", WAITED - waited, waited).write(svg, title);
            }
            if busy > part {
                rect("p", 100.0 - busy, busy).write(svg, title);
            }
            if part > 0.0 {
                rect("hi", 100.0 - part, part).write(svg, title);
            }
        });
    }
    finish(svg, places(0.0, intervals).map(|(place, interval)| (place, interval.label.as_str())))
}
