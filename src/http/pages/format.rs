//! PageTimes, durations, sizes and numbers as the pages show them.

pub mod numbers;
pub mod times;

pub use self::numbers::{bytes, coarse, commas, commas_in, duration, figure, model_tokens, percent, seconds, short};
pub use self::times::{Moment, PageTimes};
