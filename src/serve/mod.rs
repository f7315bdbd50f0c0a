//! Makes the parts, starts the server, and looks after what runs beside the requests.

pub mod app;
pub mod files;
mod open_upstreams;
pub mod server;
pub mod telemetry;
pub mod upkeep;
