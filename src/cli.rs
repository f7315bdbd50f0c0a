//! The command line: runs the gateway, or asks a running one over its control socket.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::app::{self, App, DataDir};
use crate::config::settings::Live;
use crate::config::{Config, Problem};
use crate::control::{self, Answer, Ask, UserLine, Verbs};
use crate::store::Store;
use crate::tokens::Tokens;
use crate::{http, server, telemetry};

mod token;

use token::TokenCommand;

#[derive(Parser)]
#[command(
    name = "lan-gateway",
    version,
    about = "Authenticated, audited, rate-limited access to a local Ollama for a team",
    after_help = "Start it with `lan-gateway serve`; defaults need no file. The first start makes the account `admin` with \
        the password `admin123`, which opens nothing but its own change:\n\n  \
        curl http://127.0.0.1:7000/api/v1/password -d '{\"username\":\"admin\",\"current_password\":\"admin123\",\
        \"new_password\":\"...\"}'\n\nThen people register, an admin approves them (`lan-gateway user approve`), and they \
        point their clients at http://HOST:7000. Swagger UI is at /docs/."
)]
pub struct Cli {
    /// Configuration file; without it lan-gateway.toml in this folder, if it is there
    #[arg(long, global = true, env = "LGW_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Serve,
    /// Accounts: add, list, approve, disable, enable, unlock, reset
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens for machines: create, list, revoke, rotate, resume
    #[command(subcommand)]
    Token(TokenCommand),
    /// The configuration: an example with every key, or a check of yours
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make an account that needs no approval; the password is asked for, or read from standard input
    Add { email: String },
    /// List accounts
    List {
        /// Part of the name
        search: Option<String>,
    },
    /// Let a pending account in
    Approve { user: String },
    /// Shut an account; its tokens end at once
    Disable { user: String },
    /// Open a disabled account again
    Enable { user: String },
    /// Forget the wrong passwords that were tried on an account
    Unlock { user: String },
    /// Give an account a password that only lets its owner set a new one, for an hour
    Reset {
        user: String,
        /// Set `admin123` instead of a random code
        #[arg(long)]
        initial: bool,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print a commented file with every key and its default
    Example,
    /// Report every problem of the configuration at once
    Check,
}

/// Exit codes: 0 done, 1 failed or refused, 2 wrong use or configuration.
const BAD_CONFIG: u8 = 2;

pub fn run(cli: Cli) -> ExitCode {
    // Whatever is made holds prompts or secrets: for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match cli.command {
        Command::Config(ConfigCommand::Example) => {
            print!("{}", Config::example());
            return ExitCode::SUCCESS;
        }
        Command::Openapi => {
            print!("{}", http::docs::document_json());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => return report(&problems),
    };
    let result = match cli.command {
        Command::Serve => telemetry::init(&config.log).and_then(|()| {
            actix_web::rt::System::new().block_on(async { server::run(App::build(config).await?).await })
        }),
        Command::User(command) => actix_web::rt::System::new().block_on(async { user(&config, command).await }),
        Command::Token(command) => {
            actix_web::rt::System::new().block_on(async { ask(&config, Ask::Token(command.into())).await })
        }
        _ => {
            println!("the configuration is good");
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("lan-gateway: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(problems: &[Problem]) -> ExitCode {
    eprintln!("lan-gateway: the configuration has {} problem(s):", problems.len());
    for problem in problems {
        eprintln!("  {problem}");
    }
    ExitCode::from(BAD_CONFIG)
}

async fn user(config: &Config, command: UserCommand) -> anyhow::Result<()> {
    let ask = match command {
        UserCommand::Add { email } => Ask::UserAdd { email, password: read_password()? },
        UserCommand::List { search } => Ask::UserList { search },
        UserCommand::Approve { user } => Ask::UserApprove { user },
        UserCommand::Disable { user } => Ask::UserDisable { user },
        UserCommand::Enable { user } => Ask::UserEnable { user },
        UserCommand::Unlock { user } => Ask::UserUnlock { user },
        UserCommand::Reset { user, initial } => Ask::UserReset { user, code: !initial },
    };
    self::ask(config, ask).await
}

/// Asks the running gateway, or acts on its file, and prints the answer.
async fn ask(config: &Config, ask: Ask) -> anyhow::Result<()> {
    let answer = match control::ask(&config.data_dir, &ask).await? {
        Some(answer) => answer,
        None => on_the_file(config, ask).await?,
    };
    match answer {
        Answer::Users { users } => print_users(&users),
        Answer::User { user } => println!("{} is {}", user.username, user.status),
        Answer::Reset { user, code, minutes } => {
            let password = code.unwrap_or_else(|| "admin123".into());
            println!("{}: password {password} , valid for {minutes} minutes and only to set a new one", user.username);
        }
        Answer::Tokens { tokens } => token::print_tokens(&tokens),
        Answer::Token { token } => token::print_token(&token),
        Answer::TokenMade { token, secret } => token::print_secret(&token, &secret),
        Answer::Refused { message, .. } => bail!("{message}"),
    }
    Ok(())
}

/// No gateway runs, so nobody else holds the file.
async fn on_the_file(config: &Config, ask: Ask) -> anyhow::Result<Answer> {
    let file = config.data_dir.join(crate::store::FILE);
    if !file.exists() {
        bail!(
            "there is no database at {}; start the gateway once, or name its configuration with --config",
            file.display()
        );
    }
    let _held = DataDir::open(config)?;
    let store = Store::open(&config.data_dir, Live::new(config.settings))?;
    let (_, accounts) = app::people(config, &store)?;
    let tokens = Arc::new(Tokens::new(store.clone(), &config.tokens));
    let answer = control::perform(&Verbs { accounts, tokens }, ask).await;
    store.close();
    Ok(answer)
}

/// Never from the command line, where others on the host could read it.
fn read_password() -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password for the new account: ").context("can't read the password");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("can't read the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn print_users(users: &[UserLine]) {
    if users.is_empty() {
        println!("no accounts found");
        return;
    }
    let width = users.iter().map(|user| user.username.len()).max().unwrap_or(0).max("USER".len());
    println!("{:width$}  {:8}  {:6}  {:24}", "USER", "STATUS", "ROLE", "CREATED");
    for user in users {
        let mark = if user.must_change_password { "  must change its password" } else { "" };
        let created = user.created_at.split('.').next().unwrap_or_default();
        println!("{:width$}  {:8}  {:6}  {created:24}{mark}", user.username, user.status, user.role);
    }
}
