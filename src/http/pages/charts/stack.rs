//! Bars in time whose parts lie on top of each other, for the incident report.

use crate::http::pages::charts::axis::whole_axis;
use crate::http::pages::charts::bars::{
    BarUnit, HEAD, LINES_MAX, begin, finish, height, places, write_axis, write_parts,
};
use crate::http::pages::charts::svg::{drawable, write_line, write_linked};
use crate::http::pages::markup::Markup;

/// One bar. Its parts have a class of the style sheet each, the lowest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StackBar {
    pub parts: Vec<(&'static str, f64)>,
    /// What it says when it is pointed at, and to screen readers.
    pub title: String,
    /// What is written below it; empty for most.
    pub label: String,
}

/// What the parts count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StackUnit {
    Things,
    /// Seconds of this many that there are in each bar: a full bar is all of them.
    SecondsOf(f64),
}

#[derive(Debug, Clone)]
pub struct StackChart<'a> {
    /// What it shows, for screen readers.
    pub name: &'a str,
    pub bars: &'a [StackBar],
    pub unit: StackUnit,
}

/// Returns the bars with a few lines behind them, and the labels below. It has no links, so it can be part of a file.
pub fn stack(chart: &StackChart<'_>) -> Markup {
    let total = |bar: &StackBar| bar.parts.iter().map(|(_, value)| drawable(*value)).sum::<f64>();
    let largest = chart.bars.iter().map(total).fold(0.0, f64::max);
    let mut svg = begin("stack", chart.name, false);
    let (left, full, room) = match chart.unit {
        StackUnit::Things => {
            let axis = whole_axis(largest, LINES_MAX);
            (write_axis(&mut svg, &axis, BarUnit::Things), axis.end, 100.0 - HEAD)
        }
        StackUnit::SecondsOf(all) => {
            write_line(&mut svg, "grid", 0.0);
            write_line(&mut svg, "grid", 50.0);
            // What was measured a little beyond its time fills the bar and no more.
            (0.0, if drawable(all) > 0.0 { all } else { largest }, 100.0)
        }
    };
    for (place, bar) in places(left, chart.bars) {
        write_linked(&mut svg, None, &bar.title, |svg, title| {
            write_parts(svg, place, &bar.parts, |value| height(value, full, room), title);
        });
    }
    finish(svg, places(left, chart.bars).map(|(place, bar)| (place, bar.label.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(parts: &[(&'static str, f64)], title: &str) -> StackBar {
        StackBar { parts: parts.to_vec(), title: title.to_owned(), label: String::new() }
    }

    #[test]
    fn parts_lie_on_top_of_each_other_and_fill_no_more_than_all() {
        let bars = [bar(&[("a", 30.0), ("b", 15.0)], "one"), bar(&[("a", 60.0), ("b", 60.0)], "two"), bar(&[], "none")];
        let chart = StackChart { name: "work", bars: &bars, unit: StackUnit::SecondsOf(60.0) };

        let html = stack(&chart).as_str().to_owned();

        assert!(html.contains(r#"<rect class="a" x="5.33%" y="50%" width="22.67%" height="50%">"#), "{html}");
        assert!(html.contains(r#"<rect class="b" x="5.33%" y="25%" width="22.67%" height="25%">"#), "{html}");
        assert!(html.contains(r#"<rect class="a" x="38.67%" y="0%" width="22.67%" height="100%">"#), "{html}");
        assert!(!html.contains("none"), "{html}");
    }

    #[test]
    fn titles_are_escaped_and_there_is_no_link() {
        let bars = [bar(&[("a", 1.0)], "<script>\u{202e}")];
        for unit in [StackUnit::Things, StackUnit::SecondsOf(0.0), StackUnit::SecondsOf(f64::NAN)] {
            let html = stack(&StackChart { name: "\"><script>", bars: &bars, unit }).as_str().to_owned();
            assert!(!html.contains("<script") && !html.contains("<a"), "{html}");
        }
    }
}
