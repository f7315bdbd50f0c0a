//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser;
use lan_gateway::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
