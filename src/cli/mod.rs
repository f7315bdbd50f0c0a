//! The command line: runs the gateway, or calls its API over the control socket.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::base::text::{is_hidden, visible};
use crate::config::{Config, ConfigFlags};
use crate::http;
use crate::serve::app::App;
use crate::serve::greeting;
use crate::serve::server;
use crate::serve::telemetry;

// Their macros are used by the others.
#[macro_use]
mod output;
#[macro_use]
mod times;

mod backup;
mod check;
mod checkpoints;
mod completions;
mod doctor;
mod export;
mod host;
mod incident;
mod keys;
mod metrics;
mod models;
mod notices;
mod numbers;
mod passwords;
mod queue;
mod record;
mod settings;
mod socket;
mod status;
mod table;
mod token;
mod token_names;
mod usage;
mod user;
mod verify;

use backup::{BackupCommand, RestoreCommand};
use checkpoints::CheckpointsCommand;
use completions::CompletionsCommand;
use doctor::DoctorCommand;
use export::ExportCommand;
use host::HostApi;
use incident::IncidentCommand;
use keys::KeysCommand;
use models::ModelsCommand;
use notices::NoticesCommand;
use numbers::within;
use queue::QueueCommand;
use record::RecordCommand;
use settings::SettingsCommand;
use status::StatusCommand;
use token::TokenCommand;
use usage::UsageCommand;
use user::UserCommand;
use verify::VerifyCommand;

#[derive(Parser)]
#[command(
    name = "lan-gateway",
    version,
    about = "Authenticated, audited, rate-limited access to a local Ollama for a team",
    after_help = "Start it with `lan-gateway serve`; defaults need no file. The first start makes the account `admin` with the \
        password\n`admin123`, which only allows changing it. On this host:\n\n  \
        lan-gateway user password admin               choose the password of `admin`\n  \
        lan-gateway user add ann@example.org          make an account, or let people register and:\n  \
        lan-gateway user approve ann@example.org\n  \
        lan-gateway token create ann@example.org n8n  make a token for a machine\n  \
        lan-gateway doctor                            what is wrong, and what to do\n\n\
        Clients are pointed at http://HOST:7000, OpenAI's at http://HOST:7000/v1. Swagger UI is at /docs/.\n\n\
        Exit codes: 0 success, 1 refused or failed, 2 wrong use or configuration, 141 the reader of the output left."
)]
pub struct Cli {
    /// Configuration file [default: that of the installation, as in /opt/lan-gateway/lan-gateway.toml, or else
    /// lan-gateway.toml in this folder, if it exists]
    #[arg(long, global = true, env = "LGW_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database, the secrets and the control socket [default: LGW_DATA_DIR, or else `data_dir` of the file]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    #[command(
        after_help = "A flag overrides the environment (LGW_LISTEN, LGW_DATA_DIR, ...), which overrides the file, which \
        overrides the default.\n`lan-gateway config check` takes the same flags and says where each value comes from.\n\n\
        Example:\n  lan-gateway serve --port 7001 --data-dir /srv/lan-gateway"
    )]
    Serve {
        /// Port of `listen`; its address stays. 0 takes a free one and prints it
        #[arg(long, value_parser = within(0_u16, u16::MAX))]
        port: Option<u16>,
    },
    /// Accounts: add, list, approve, set passwords and limits, disable, delete …
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens: create, list, change, revoke, rotate, resume
    #[command(subcommand)]
    Token(TokenCommand),
    /// Settings that can be changed at run time: list, set, unset
    Settings {
        #[command(subcommand)]
        command: Option<SettingsCommand>,
    },
    /// Notices by webhook and mail: the channels by which admins are told
    #[command(subcommand)]
    Notices(NoticesCommand),
    /// Usage, by person, token, model or hour
    Usage(UsageCommand),
    /// The record: list it, or show one request in full
    #[command(subcommand, visible_alias = "audit")]
    Record(RecordCommand),
    /// Running and waiting requests; one can be cancelled
    Queue {
        #[command(subcommand)]
        command: Option<QueueCommand>,
    },
    /// The models that the upstreams (Ollama) offer
    Models(ModelsCommand),
    /// Export the record of one person, or what a filter finds, as CSV or JSON Lines
    Export(ExportCommand),
    /// Find out what happened in a time: write a report as one HTML file
    Incident(IncidentCommand),
    /// The keys that sign JWTs: change them
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print signed notes about the record, to be kept on another machine
    Checkpoints(CheckpointsCommand),
    /// Whether the gateway runs, since when, what it can do, and what is wrong; fails unless it answers requests
    Status(StatusCommand),
    /// Back up accounts, settings and the record to one file, while the gateway runs or not
    Backup(BackupCommand),
    /// Put a backup in the place of the database, or check one
    Restore(RestoreCommand),
    /// Whether the record is as it was written: its chain, signatures and contents; also of a copy or a backup
    Verify(VerifyCommand),
    /// The configuration: an example with every key, or a check of yours
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what monitoring reads at /metrics
    Metrics,
    /// Check the configuration, the data folder and each upstream, and explain its slots; fails if something must be mended
    Doctor(DoctorCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Print a script with which a shell completes commands, options and their values
    Completions(CompletionsCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print a commented file with every key and its default
    Example,
    /// Report every problem of the configuration at once, and where it was read from
    #[command(
        after_help = "A flag overrides the environment (LGW_LISTEN, LGW_DATA_DIR, ...), which overrides the file, which \
        overrides the default.\n\nExample:\n  lan-gateway config check --config /etc/lan-gateway.toml --port 7001"
    )]
    Check {
        /// As for `serve`
        #[arg(long, value_parser = within(0_u16, u16::MAX))]
        port: Option<u16>,
        /// Print one JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
}

/// Exit codes: 0 success, 1 failed or refused, 2 wrong use or configuration.
const BAD_CONFIG: u8 = 2;

/// Parses the command line and runs it.
pub fn run() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => output::end(run_command(cli)),
        Err(said) => said_by_clap(&said),
    }
}

/// Prints a help text, the version or what is wrong with the command line.
fn said_by_clap(said: &clap::Error) -> ExitCode {
    match said.print() {
        Err(cause) if !said.use_stderr() => output::exit_code_of(&cause),
        // An error that nobody reads is still one.
        _ => u8::try_from(said.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

fn run_command(cli: Cli) -> ExitCode {
    // Every file that is created holds prompts or secrets, so only this user may read it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match &cli.command {
        Command::Config(ConfigCommand::Example) => {
            print!("{}", Config::example());
            return ExitCode::SUCCESS;
        }
        Command::Openapi => {
            print!("{}", http::docs::DOCUMENT);
            return ExitCode::SUCCESS;
        }
        Command::Completions(command) => {
            completions::run(command);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let port = match cli.command {
        Command::Serve { port } | Command::Config(ConfigCommand::Check { port, .. }) => port,
        _ => None,
    };
    let (origin, config) = Config::load(cli.config.as_deref(), &ConfigFlags { data_dir: cli.data_dir, port });
    if let Command::Config(ConfigCommand::Check { json, .. }) = cli.command {
        return check::report(&config, &origin, json);
    }
    if let Command::Verify(command) = &cli.command
        && (config.is_ok() || command.needs_no_config())
    {
        return verify::run(config.as_ref().ok(), command);
    }
    let config = match config {
        Ok(config) => config,
        Err(problems) => return check::problems(&problems, &origin),
    };
    let result = match cli.command {
        Command::Serve { .. } => telemetry::init(&config.log).and_then(|log| {
            actix_web::rt::System::new().block_on(async {
                greeting::starts(&config);
                let app = App::build(config).await?;
                app.metrics.count_dropped_lines(log.dropped());
                server::run(app).await
            })
        }),
        Command::Doctor(command) => {
            match actix_web::rt::System::new().block_on(doctor::run(&config, &origin, &command)) {
                Ok(true) => Ok(()),
                Ok(false) => Err(anyhow::anyhow!("something must be mended")),
                Err(cause) => Err(cause),
            }
        }
        Command::Status(command) => actix_web::rt::System::new().block_on(status::run(&config, &command)),
        Command::Backup(command) => actix_web::rt::System::new().block_on(backup::make(&config, command)),
        Command::Restore(command) => actix_web::rt::System::new().block_on(backup::bring_back(&config, command)),
        command => actix_web::rt::System::new().block_on(govern(&config, command)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A copy that ended because its reader has gone is no failure of its own.
        Err(_) if !output::is_open() => ExitCode::FAILURE,
        Err(cause) => {
            // The message may contain a name that a user chose.
            eprintln!("lan-gateway: {}", visible(&format!("{cause:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Calls the running gateway, or opens its data folder for as long as the command takes.
async fn govern(config: &Config, command: Command) -> anyhow::Result<()> {
    let host = HostApi::open(config).await?;
    let done = match command {
        Command::User(command) => user::run(&host, config, command).await,
        Command::Token(command) => token::run(&host, command).await,
        Command::Settings { command } => settings::run(&host, command).await,
        Command::Notices(command) => notices::run(&host, command).await,
        Command::Usage(command) => usage::run(&host, command).await,
        Command::Record(command) => record::run(&host, command).await,
        Command::Queue { command } => queue::run(&host, config, command).await,
        Command::Models(command) => models::run(&host, config, command).await,
        Command::Metrics => metrics::run(&host, config).await,
        Command::Export(command) => export::run(&host, command).await,
        Command::Incident(command) => incident::run(&host, command).await,
        Command::Keys(command) => keys::run(&host, &command).await,
        Command::Checkpoints(command) => checkpoints::run(&host, &command).await,
        Command::Serve { .. }
        | Command::Doctor(_)
        | Command::Status(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Verify(_)
        | Command::Config(_)
        | Command::Openapi
        | Command::Completions(_) => Ok(()),
    };
    let closed = host.close().await;
    done.and(closed)
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", escaped(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Escapes characters in JSON strings that a terminal would obey. serde_json escapes ASCII ones itself; line ends of the layout
/// stay.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_hidden(character) {
            out.push(character);
        } else {
            out.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests;
