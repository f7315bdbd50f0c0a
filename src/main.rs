//! The binary: parses the command line and runs it.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::disallowed_methods))]

use std::process::ExitCode;

use lan_gateway::cli;
use tikv_jemallocator::Jemalloc;

/// A request makes many short-lived values, some larger than what the C library keeps at hand for a thread, and some are freed on
/// another. SQLite uses it, too.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
