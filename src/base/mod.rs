//! Basic types that every other room uses: errors, time, ids, secrets, text. Knows nothing of HTTP.

pub mod clock;
pub mod durable;
pub mod error;
pub mod fields;
pub mod ids;
pub mod likeness;
pub mod owner;
pub mod private;
pub mod sealing;
pub mod secret;
pub mod sheet;
pub mod text;
pub mod vital;
