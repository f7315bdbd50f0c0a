//! `lan-gateway keys …`: changes the keys that sign JWTs.

use clap::Subcommand;
use serde_json::json;

use crate::cli::host::HostApi;

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Sign JWTs with a new key from now on. Those signed with the key before stay valid until they expire; any older end.
    /// Passwords, API tokens and the sessions of pages don't depend on these keys
    Rotate {
        /// End every JWT at once, as after a leak of the folder of secrets
        #[arg(long)]
        end_older: bool,
    },
}

pub async fn run(host: &HostApi, command: &KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Rotate { end_older } = command;
    host.post("/host/keys/rotate", &json!({ "end_older": end_older })).await?;
    match end_older {
        true => println!("JWTs are signed with a new key; every JWT of before has ended"),
        false => println!("JWTs are signed with a new key; those of the key before stay valid until they expire"),
    }
    Ok(())
}
