//! The phase bar: how long a request waited, was read, and was answered.

use std::fmt::Write as _;

use crate::http::pages::charts::axis::time_marks;
use crate::http::pages::charts::svg::{Rect, drawable, percent_of, write_attribute};
use crate::http::pages::format::duration;
use crate::http::pages::markup::Markup;

use std::time::Duration;

/// Where the time of a request went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    pub waited: u64,
    /// From its turn to the first token.
    pub read: u64,
    pub answered: u64,
}

impl Phases {
    /// Returns the phases by the numbers of the record: without a first token all the time after the wait was reading.
    pub fn of(total_ms: u64, queued_ms: Option<u64>, first_token_ms: Option<u64>) -> Phases {
        let waited = queued_ms.unwrap_or(0).min(total_ms);
        let first = first_token_ms.unwrap_or(total_ms).clamp(waited, total_ms);
        Phases { waited, read: first - waited, answered: total_ms - first }
    }

    pub fn total(&self) -> u64 {
        self.waited.saturating_add(self.read).saturating_add(self.answered)
    }

    fn parts(&self) -> [(&'static str, &'static str, u64); 3] {
        [("wait", "waited", self.waited), ("load", "read", self.read), ("answer", "answered", self.answered)]
    }

    /// Returns the bar in words: `waited 12.4 s, read 3.1 s, answered 18.2 s`.
    pub fn in_words(&self) -> String {
        let said = self.parts().into_iter().filter(|(_, _, millis)| *millis > 0);
        let said: Vec<String> = said.map(|(_, word, millis)| format!("{word} {}", in_words(millis))).collect();
        said.join(", ")
    }
}

fn in_words(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// The least scale of a page's rows, so that a page of quick requests does not look slow.
pub const LEAST_SCALE_MS: u64 = 10_000;

/// Returns the bar of a row. All rows of a page have one scale: that of the slowest, at least `LEAST_SCALE_MS`.
pub fn phase_bar(phases: Phases, scale_ms: u64) -> Markup {
    let mut svg = String::from(r#"<svg class="phase""#);
    begin(&mut svg, phases);
    write_parts(&mut svg, phases, scale_ms.max(LEAST_SCALE_MS) as f64);
    svg.push_str("</svg>");
    Markup::of_html(svg)
}

/// Marks of a large bar: one of 5 s for a request of half a minute, as people read it easily.
const MARKS_MAX: usize = 7;

/// Returns the bar of one request, as wide as its place, with an axis in seconds, minutes or hours below it.
pub fn phase_bar_large(phases: Phases) -> Markup {
    let total = drawable(phases.total() as f64);
    let mut svg = String::from(r#"<svg class="phase large""#);
    begin(&mut svg, phases);
    write_parts(&mut svg, phases, total);
    svg.push_str(r#"</svg><svg class="ticks" height="16" width="100%" aria-hidden="true">"#);
    svg.push_str(r#"<text class="axis" x="0%" y="12">0 s</text>"#);
    for mark in time_marks(total / 1_000.0, MARKS_MAX).marks {
        let x = percent_of(mark * 1_000.0, total);
        // What would stick out at the right is left out.
        if mark * 1_000.0 <= total * 0.96 {
            let _ = write!(svg, r#"<text class="axis" x="{x}%" y="12" text-anchor="middle">{}</text>"#, on_axis(mark));
        }
    }
    svg.push_str("</svg>");
    Markup::of_html(svg)
}

/// Returns a time on an axis: `500 ms`, `5 s`, `2 min`, `1 h`.
pub(super) fn on_axis(seconds: f64) -> String {
    let round = |number: f64| (number * 100.0).round() / 100.0;
    match seconds {
        seconds if seconds < 1.0 => format!("{} ms", round(seconds * 1_000.0)),
        seconds if seconds < 120.0 && seconds % 60.0 != 0.0 => format!("{} s", round(seconds)),
        seconds if seconds < 3_600.0 => format!("{} min", round(seconds / 60.0)),
        seconds => format!("{} h", round(seconds / 3_600.0)),
    }
}

fn begin(svg: &mut String, phases: Phases) {
    let words = phases.in_words();
    if words.is_empty() {
        svg.push_str(r#" aria-hidden="true">"#);
        return;
    }
    svg.push_str(r#" role="img""#);
    write_attribute(svg, "aria-label", &words);
    svg.push('>');
}

/// The gap between two phases, in percent of the chart.
const GAP: f64 = 0.25;

fn write_parts(svg: &mut String, phases: Phases, scale: f64) {
    let share = |millis: u64| if scale > 0.0 { (millis as f64 / scale * 100.0).min(100.0) } else { 0.0 };
    let mut x: f64 = 0.0;
    for (class, word, millis) in phases.parts() {
        let width = share(millis).min(100.0 - x);
        if millis == 0 || width <= 0.0 {
            continue;
        }
        let shown = if width > GAP * 3.0 { width - GAP } else { width };
        Rect { class, x, y: 0.0, width: shown, height: 100.0 }.write(svg, &format!("{word} {}", in_words(millis)));
        x += width;
    }
}
