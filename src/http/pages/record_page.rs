//! The record: the list with its filters, a request's story, and the table of rows that other pages show, too.

pub mod table;

pub use self::table::{RecordLook, RecordTable};
