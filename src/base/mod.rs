//! Words that everything else is written in: errors, time, ids, secrets, rows of text. Knows nothing of HTTP.

pub mod clock;
pub mod error;
pub mod fields;
pub mod ids;
pub mod owner;
pub mod secret;
pub mod sheet;
pub mod text;
pub mod vital;
