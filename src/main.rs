//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser;
use lan_gateway::cli::{self, Cli};
use mimalloc::MiMalloc;

// A request is made in one thread and written in another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
