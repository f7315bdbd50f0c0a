//! Makes the parts, starts the server, and runs the background work.

pub mod app;
pub mod files;
mod open_upstreams;
pub mod server;
pub mod telemetry;
pub mod upkeep;
