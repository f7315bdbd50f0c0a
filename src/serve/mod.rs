//! Makes the parts, starts the server, and looks after what runs beside the requests.

pub mod app;
pub mod files;
pub mod server;
pub mod telemetry;
pub mod upkeep;
