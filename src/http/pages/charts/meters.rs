//! Bars of one line: how much of a limit, who most, how far a request is, and the shape of a day.

use std::fmt::Write as _;

use crate::http::pages::charts::svg::{drawable, percent_of};
use crate::http::pages::markup::Markup;

/// The colour of a bar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BarColour {
    #[default]
    Plain,
    /// What runs now.
    Now,
    /// Class `batch`.
    Batch,
    /// The row that was chosen.
    Chosen,
}

impl BarColour {
    fn class(self) -> &'static str {
        match self {
            BarColour::Plain => "",
            BarColour::Now => " now",
            BarColour::Batch => " batch",
            BarColour::Chosen => " chosen",
        }
    }
}

/// Above this share of a limit, a meter warns; its text says so, too.
const WARN_ABOVE: f64 = 0.80;
const BAD_ABOVE: f64 = 0.95;

/// Returns how much of a limit is used, and held by what runs. The numbers beside it say the same, so it is hidden from screen
/// readers.
pub fn meter(used: u64, held: u64, limit: u64) -> Markup {
    let (used, held, limit) = (used as f64, held as f64, limit as f64);
    let share = if limit > 0.0 { used / limit } else { 1.0 };
    let class = match share {
        share if share > BAD_ABOVE => " bad",
        share if share > WARN_ABOVE => " warn",
        _ => "",
    };
    let mut svg = begin("meter");
    let width = percent_of(share, 1.0);
    let _ = write!(svg, r#"<rect class="f{class}" width="{width}%"/>"#);
    if held > 0.0 && limit > used {
        let held = percent_of(held.min(limit - used), limit);
        let _ = write!(svg, r#"<rect class="held" x="{width}%" width="{held}%"/>"#);
    }
    end(svg)
}

/// Returns a bar for a row of a ranking: a value beside the largest one.
pub fn rank(value: f64, largest: f64, colour: BarColour) -> Markup {
    one_bar("bar", drawable(value), drawable(largest), colour)
}

/// Returns how far a running request is: the seconds that it has run, of those that it will probably take. It is full when it
/// takes longer, and has no end without an estimate.
pub fn lane(ran_s: f64, about_s: Option<f64>, colour: BarColour) -> Markup {
    let about = about_s.map_or(0.0, drawable);
    one_bar("meter", drawable(ran_s), about, colour)
}

fn one_bar(class: &str, part: f64, whole: f64, colour: BarColour) -> Markup {
    let mut svg = begin(class);
    let _ = write!(svg, r#"<rect class="f{}" width="{}%"/>"#, colour.class(), percent_of(part, whole));
    end(svg)
}

fn begin(class: &str) -> String {
    format!(r#"<svg class="{class}" aria-hidden="true"><rect class="t" width="100%"/>"#)
}

fn end(mut svg: String) -> Markup {
    svg.push_str("</svg>");
    Markup::of_html(svg)
}

/// The height of a spark's drawing. The line keeps away from the edges by its own width.
const SPARK_TOP: f64 = 2.0;
const SPARK_BASE: f64 = 26.0;

/// Returns the shape of some values in time, without numbers: the tile around it has those.
pub fn spark(values: &[f64]) -> Markup {
    let values: Vec<f64> = values.iter().copied().map(drawable).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let height = |value: f64| {
        let share = if largest > 0.0 { value / largest } else { 0.0 };
        SPARK_BASE - share * (SPARK_BASE - SPARK_TOP)
    };
    let mut points = String::new();
    match values.as_slice() {
        [] => {}
        // One value is a line from edge to edge.
        [one] => {
            let _ = write!(points, "M0 {0:.1}L100 {0:.1}", height(*one));
        }
        many => {
            let step = 100.0 / (many.len() - 1) as f64;
            for (at, value) in many.iter().enumerate() {
                let letter = if at == 0 { 'M' } else { 'L' };
                let _ = write!(points, "{letter}{:.1} {:.1}", at as f64 * step, height(*value));
            }
        }
    }
    let mut svg =
        String::from(r#"<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">"#);
    if !points.is_empty() {
        let _ = write!(svg, r#"<path class="area" d="{points}L100 28L0 28Z"/><path class="line" d="{points}"/>"#);
    }
    end(svg)
}
