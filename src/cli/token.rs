//! `lan-gateway token …`: what is asked, and how answers look on a terminal.

use clap::Subcommand;

use crate::base::text::visible;
use crate::cli::{host, print_json, table};
use crate::config::Config;
use crate::control::tokens::{TokenAsk, TokenLine};
use crate::control::{Answer, Ask};
use crate::rules::tokens::{RotateWish, Wish};

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token for a machine of USER; it is printed once
    Create {
        user: String,
        /// Says which machine or pipeline it is for
        name: String,
        /// chat, embeddings, models, usage, models:manage; may be given several times [default: chat, models]
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// A model that it may name; may be given several times [default: all]
        #[arg(long = "model")]
        models: Vec<String>,
        /// A network or address that it may be used from; may be given several times [default: all]
        #[arg(long = "network")]
        networks: Vec<String>,
        /// A limit of its own besides its owner's
        #[arg(long)]
        requests_per_minute: Option<u32>,
        /// interactive, or batch for work that takes what others leave [default: its owner's]
        #[arg(long)]
        class: Option<String>,
        /// [default: 90]
        #[arg(long)]
        days: Option<u32>,
    },
    /// List tokens, of USER or of everybody
    List {
        user: Option<String>,
        /// For scripts: one JSON list
        #[arg(long)]
        json: bool,
    },
    /// End a token at once
    Revoke { token: String },
    /// Give a token a new secret, printed once; the one before is taken for an hour more
    Rotate {
        token: String,
        /// How long the secret before is taken, too; 0 ends it at once
        #[arg(long)]
        grace_seconds: Option<u32>,
        /// Days from now until it expires
        #[arg(long)]
        days: Option<u32>,
    },
    /// Let a token in again that was paused because it ran away, or suspended with its owner
    Resume { token: String },
}

impl From<TokenCommand> for TokenAsk {
    fn from(command: TokenCommand) -> Self {
        let some = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
        match command {
            TokenCommand::Create { user, name, scopes, models, networks, requests_per_minute, class, days } => {
                let wish = Wish {
                    name,
                    scopes: some(scopes),
                    models: some(models),
                    networks: some(networks),
                    requests_per_minute,
                    quotas: None,
                    class,
                    expires_in_days: days,
                };
                TokenAsk::Create { user, wish: Box::new(wish) }
            }
            TokenCommand::List { user, .. } => TokenAsk::List { user },
            TokenCommand::Revoke { token } => TokenAsk::Revoke { id: token },
            TokenCommand::Rotate { token, grace_seconds, days } => {
                TokenAsk::Rotate { id: token, wish: RotateWish { grace_seconds, expires_in_days: days } }
            }
            TokenCommand::Resume { token } => TokenAsk::Resume { id: token },
        }
    }
}

pub async fn run(config: &Config, command: TokenCommand) -> anyhow::Result<()> {
    let json = matches!(command, TokenCommand::List { json: true, .. });
    match host::ask(config, Ask::Token(command.into())).await? {
        Answer::Tokens { tokens } if json => print_json(&tokens)?,
        Answer::Tokens { tokens } => print_tokens(&tokens),
        Answer::Token { token } => {
            println!("{} ({} of {}) is {}", token.prefix, visible(&token.name), token.user, token.status);
        }
        Answer::TokenMade { token, secret } => print_secret(&token, &secret),
        _ => anyhow::bail!("the gateway's answer is about something else"),
    }
    Ok(())
}

fn print_tokens(tokens: &[TokenLine]) {
    if tokens.is_empty() {
        println!("no tokens found");
        return;
    }
    let rows: Vec<[String; 7]> = tokens
        .iter()
        .map(|token| {
            [
                token.prefix.clone(),
                token.name.clone(),
                token.user.clone(),
                token.status.clone(),
                table::day(&token.expires_at).to_owned(),
                token.last_used_at.as_deref().map_or_else(|| "never".into(), table::minute),
                match &token.paused {
                    Some(paused) => format!("{}  {paused}", token.scopes.join(" ")),
                    None => token.scopes.join(" "),
                },
            ]
        })
        .collect();
    table::print(["TOKEN", "NAME", "USER", "STATUS", "EXPIRES", "LAST USED", "SCOPES"], &rows);
}

/// The secret stands alone on standard output, so that a script can keep it; the rest goes beside it.
fn print_secret(token: &TokenLine, secret: &str) {
    eprintln!(
        "{} of {}, valid until {}; it is not shown again:",
        visible(&token.name),
        token.user,
        table::day(&token.expires_at)
    );
    println!("{secret}");
}
