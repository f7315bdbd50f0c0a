//! The machine that the gateway runs on: what is read from it, and what is wrong with it. `doctor`, the log at the start and the
//! API all show the findings of this room.

pub mod backups;
pub mod certificate;
pub mod exposed;
pub mod files;
pub mod findings;
pub mod listeners;
pub mod machine;
pub mod parallel;
pub mod process;
pub mod room;
pub mod watch;
