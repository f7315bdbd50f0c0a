//! `lan-gateway completions`: what a shell needs to complete the words of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    lan-gateway completions bash > /usr/share/bash-completion/completions/lan-gateway\n  \
    lan-gateway completions zsh > /usr/share/zsh/vendor-completions/_lan-gateway\n  \
    lan-gateway completions fish > ~/.config/fish/completions/lan-gateway.fish\n  \
    source <(lan-gateway completions bash)    # for this shell alone")]
pub struct CompletionsCommand {
    /// Whose words they are
    shell: Shell,
}

pub fn run(command: &CompletionsCommand) {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "lan-gateway", &mut script);
    // clap_complete 4.6 takes the hyphen in the name of the program for one between commands, so that bash completes nothing
    // below the first word.
    print!("{}", String::from_utf8_lossy(&script).replace("lan__subcmd__gateway", "lan__gateway"));
}
