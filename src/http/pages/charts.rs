//! Charts as SVG: numbers in, markup out.
//!
//! Colours and heights come from classes alone, and positions are percentages of the chart's place, so that nothing is stretched
//! but bars. Texts of others are escaped. Charts with links are groups and no images, so that screen readers find the links.

mod axis;
mod bars;
mod meters;
mod phases;
mod stack;
mod svg;
mod timeline;

pub use self::axis::{Axis, nice_axis, time_axis, time_marks, whole_axis};
pub use self::bars::{Bar, BarChart, BarUnit, Hour, bars, pulse};
pub use self::meters::{BarColour, lane, meter, rank, spark};
pub use self::phases::{LEAST_SCALE_MS, Phases, phase_bar, phase_bar_large};
pub use self::stack::{StackBar, StackChart, StackUnit, stack};
pub use self::timeline::{Interval, TimelineChart, timeline};

#[cfg(test)]
mod tests;
