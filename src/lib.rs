//! The map of the house, the lowest floor first. A module imports from lower floors only; `tests/floors.rs` keeps it so.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::disallowed_methods))]
// `println!` panics when its reader has gone; `cli::output` has one that does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// Words that everything else is written in.
pub mod base;
pub mod config;
pub mod metrics;

// What is talked about.
pub mod model;

// Pure translators, and the one folder that knows the database.
pub mod dialect;
pub mod provider;
pub mod store;

// Who comes in, how a call goes out, and the machine under it all.
pub mod auth;
pub mod host;
pub mod upstream;

// The stages of a request, and the rules about people.
pub mod rules;

// The line that a request takes through them.
pub mod gateway;

// HTTP, over TCP and over the control socket.
pub mod http;

// Makes the parts and starts them; the command line.
pub mod cli;
pub mod serve;
