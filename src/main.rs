//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser;
use lan_gateway::cli::{self, Cli};
use tikv_jemallocator::Jemalloc;

/// A request makes some hundred short-lived values, of which many are larger than what the C library keeps at hand for a thread.
/// SQLite uses it, too.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
