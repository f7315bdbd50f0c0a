//! Parts of SVG: percentages, rectangles, titles and links.

use std::fmt::Write as _;

use crate::http::pages::markup::push_escaped;
use crate::http::pages::visible::plain;

/// Returns a part of a whole in percent with at most two decimals, between 0 and 100: `71`, `33.33`.
pub fn percent_of(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
    // A part that is no number is nothing.
    percent(if share.is_nan() { 0.0 } else { share.clamp(0.0, 100.0) })
}

/// Returns a number of percent with at most two decimals.
pub fn percent(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A rectangle whose sides are percentages.
pub struct Rect<'a> {
    pub class: &'a str,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect<'_> {
    /// Writes the rectangle, with a title if there is one.
    pub fn write(&self, svg: &mut String, title: &str) {
        let Rect { class, x, y, width, height } = self;
        let [x, y, width, height] = [*x, *y, *width, *height].map(percent);
        // A `String` takes whatever is written.
        let _ = write!(svg, r#"<rect class="{class}" x="{x}%" y="{y}%" width="{width}%" height="{height}%""#);
        if title.is_empty() {
            svg.push_str("/>");
        } else {
            svg.push('>');
            write_title(svg, title);
            svg.push_str("</rect>");
        }
    }
}

pub fn write_title(svg: &mut String, title: &str) {
    svg.push_str("<title>");
    write_escaped(svg, title);
    svg.push_str("</title>");
}

pub fn write_escaped(svg: &mut String, text: &str) {
    plain(text).chars().for_each(|character| push_escaped(svg, character));
}

/// Writes an attribute.
pub fn write_attribute(svg: &mut String, name: &str, value: &str) {
    let _ = write!(svg, r#" {name}=""#);
    write_escaped(svg, value);
    svg.push('"');
}

/// Writes `inside` into a link to `href`, if there is one. The address must be one of the gateway's own pages. `inside` gets the
/// title that its own parts have: of a link it stands once, in the link, which is also its name for screen readers.
pub fn write_linked(svg: &mut String, href: Option<&str>, title: &str, inside: impl FnOnce(&mut String, &str)) {
    // A link that could run a script or lead elsewhere is none.
    let Some(href) = href.filter(|href| href.starts_with(['/', '?', '#']) && !href.starts_with("//")) else {
        return inside(svg, title);
    };
    svg.push_str("<a");
    write_attribute(svg, "href", href);
    svg.push('>');
    if !title.is_empty() {
        write_title(svg, title);
    }
    inside(svg, "");
    svg.push_str("</a>");
}

/// Writes a horizontal line across the chart.
pub fn write_line(svg: &mut String, class: &str, y: f64) {
    let y = percent(y);
    let _ = write!(svg, r#"<line class="{class}" x1="0%" x2="100%" y1="{y}%" y2="{y}%"/>"#);
}

/// Returns a number as a chart can draw it: what is none, or below zero, is nothing.
pub fn drawable(number: f64) -> f64 {
    if number.is_finite() && number > 0.0 { number } else { 0.0 }
}
