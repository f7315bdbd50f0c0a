//! The record: the list with its filters, a request's story, and the table of rows that other pages show, too.

mod address;
mod asked;
mod bounded;
pub mod list;
mod pulse_panel;
mod said;
pub mod story;
pub mod story_files;
pub mod table;
pub mod typed_time;

pub use self::table::{RecordLook, RecordTable};
