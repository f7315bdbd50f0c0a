//! The map of the house, floor by floor. A module imports from lower floors only; `tests/floors.rs` keeps it so.

// Ground: words.
pub mod clock;
pub mod error;
pub mod fields;
pub mod ids;
pub mod owner;
pub mod secret;
pub mod sheet;
pub mod text;
pub mod vital;

// Model: what is being talked about.
pub mod catalog;
pub mod chat;
pub mod complete;
pub mod config;
pub mod credential;
pub mod embed;
pub mod rights;
pub mod runaway;
pub mod work;

// Faces and store: pure translators, and the one file on disk.
pub mod dialect;
pub mod provider;
pub mod store;

// Doors: who comes in, and how we go out.
pub mod auth;
pub mod upstream;

// Stages and rules: each in one sentence, none knows another.
pub mod accounts;
pub mod audit;
pub mod breaker;
pub mod export;
pub mod limits;
pub mod policy;
pub mod quarantine;
pub mod queue;
pub mod routing;
pub mod tokens;
pub mod usage;

// Gateway: the spine.
pub mod gateway;

// Edge: HTTP and the control socket.
pub mod control;
pub mod http;

// Roof: builds the parts and starts them.
pub mod app;
pub mod cli;
pub mod files;
pub mod server;
pub mod telemetry;
pub mod upkeep;
