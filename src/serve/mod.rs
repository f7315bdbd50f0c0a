//! Makes the parts, starts the server, and runs the background work.

pub mod alive;
pub mod app;
pub mod backups;
pub mod catch_up;
pub mod chain;
pub mod control;
pub mod disk;
pub mod greeting;
pub mod listeners;
pub mod metrics_server;
mod notes_file;
pub mod notices;
pub mod parts;
pub mod restore;
pub mod server;
pub mod socket;
pub mod systemd;
pub mod telemetry;
pub mod tls;
pub mod upkeep;
