//! `lan-gateway user …`: what is asked, and how answers look on a terminal.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use clap::{ArgGroup, Subcommand};

use crate::base::text::visible;
use crate::cli::{host, print_json, table};
use crate::config::Config;
use crate::control::users::{UserAsk, UserChange, UserLine};
use crate::control::{Answer, Ask};
use crate::rules::accounts::WaitingWish;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Make an account that needs no approval; the password is asked for, or read from standard input
    Add { email: String },
    /// List accounts
    List {
        /// Part of the name
        search: Option<String>,
        /// pending, active or disabled
        #[arg(long)]
        status: Option<String>,
        /// For scripts: one JSON list
        #[arg(long)]
        json: bool,
    },
    /// Show all of an account
    Show {
        user: String,
        /// For scripts: one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a pending account in
    Approve { user: String },
    /// Remove registrations that wait for approval: those named, or all that meet the conditions
    #[command(group(ArgGroup::new("which").required(true).multiple(true)))]
    TurnDown {
        #[arg(group = "which", value_name = "USER", conflicts_with_all = ["network", "from", "to"])]
        users: Vec<String>,
        /// Those that came from this network or address
        #[arg(long, group = "which")]
        network: Option<String>,
        /// Registered at this time or later, as in 2026-01-31T12:00:00Z
        #[arg(long, group = "which", value_name = "TIME")]
        from: Option<String>,
        /// Registered before this time
        #[arg(long, group = "which", value_name = "TIME")]
        to: Option<String>,
    },
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
        /// Revoke the tokens of its machines for good, instead of suspending them until the new password is set
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Make somebody an admin, or an ordinary user; the last admin stays one
    Role {
        user: String,
        /// admin or user
        role: String,
    },
    /// Give a person a limit of requests per minute of their own
    #[command(group(ArgGroup::new("what").required(true)))]
    Limit {
        user: String,
        #[arg(group = "what")]
        requests_per_minute: Option<u32>,
        /// Take it away: the gateway's limit holds
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Name the models that a person may use; the others don't exist for them
    #[command(group(ArgGroup::new("what").required(true)))]
    Models {
        user: String,
        #[arg(group = "what", value_name = "MODEL")]
        models: Vec<String>,
        /// Take the list away: all models
        #[arg(long, group = "what")]
        all: bool,
    },
    /// Leave a note on an account, for admins among themselves
    #[command(group(ArgGroup::new("what").required(true)))]
    Note {
        user: String,
        #[arg(group = "what")]
        text: Option<String>,
        /// Take it away
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Give a person a share of the host beside others who wait, from 1 (nearly everybody) to 100
    Weight { user: String, weight: u32 },
    /// Give a person a class: batch takes what interactive requests leave
    Class {
        user: String,
        /// interactive or batch
        class: String,
    },
    /// Delete an account for good, with all its prompts and answers
    #[command(
        after_help = "It takes the receipt of a complete export of all that this person asked, made in the last 15 minutes:\n\n  \
        lan-gateway user disable USER\n  lan-gateway export USER --output FILE\n  \
        lan-gateway user delete USER --receipt CODE\n\nCODE stands in the last line of FILE. A disabled account asks \
        nothing more, so that the receipt stays good."
    )]
    Delete {
        user: String,
        #[arg(long, value_name = "CODE")]
        receipt: String,
    },
}

pub async fn run(config: &Config, command: UserCommand) -> anyhow::Result<()> {
    let whole = matches!(command, UserCommand::Show { .. });
    let json = matches!(command, UserCommand::Show { json: true, .. } | UserCommand::List { json: true, .. });
    let ask = asked(command)?;
    let edited = matches!(ask, UserAsk::Edit { .. });
    match host::ask(config, Ask::User(ask)).await? {
        Answer::Users { users } if json => print_json(&users)?,
        Answer::Users { users } => print_users(&users),
        Answer::User { user } if json => print_json(&user)?,
        Answer::User { user } if whole || edited => print_user(&user),
        Answer::User { user } => println!("{} is {}", user.username, user.status),
        Answer::Reset { user, code, minutes } => {
            let password = code.unwrap_or_else(|| "admin123".into());
            println!("{}: password {password} , valid for {minutes} minutes and only to set a new one", user.username);
        }
        Answer::Deleting { user } => println!("{} is deleted; prompts and answers are erased", visible(&user)),
        Answer::TurnedDown { count: 1 } => println!("1 registration turned down"),
        Answer::TurnedDown { count } => println!("{count} registrations turned down"),
        _ => anyhow::bail!("the gateway's answer is about something else"),
    }
    Ok(())
}

fn asked(command: UserCommand) -> anyhow::Result<UserAsk> {
    let edit = |user, change| UserAsk::Edit { user, change };
    Ok(match command {
        UserCommand::Add { email } => UserAsk::Add { email, password: read_password()? },
        UserCommand::List { search, status, .. } => UserAsk::List { search, status },
        UserCommand::Show { user, .. } => UserAsk::Show { user },
        UserCommand::Approve { user } => UserAsk::Approve { user },
        UserCommand::TurnDown { users, network, from, to } => {
            UserAsk::TurnDown { users, which: WaitingWish { ids: None, network, from, to } }
        }
        UserCommand::Disable { user } => UserAsk::Disable { user },
        UserCommand::Enable { user } => UserAsk::Enable { user },
        UserCommand::Unlock { user } => UserAsk::Unlock { user },
        UserCommand::Reset { user, initial, revoke_tokens } => UserAsk::Reset { user, code: !initial, revoke_tokens },
        UserCommand::Role { user, role } => edit(user, UserChange::Role(role)),
        UserCommand::Limit { user, requests_per_minute, .. } => {
            edit(user, UserChange::RequestsPerMinute(requests_per_minute))
        }
        UserCommand::Models { user, models, .. } => {
            edit(user, UserChange::Models(Some(models).filter(|models| !models.is_empty())))
        }
        UserCommand::Note { user, text, .. } => edit(user, UserChange::Note(text)),
        UserCommand::Weight { user, weight } => edit(user, UserChange::Weight(weight)),
        UserCommand::Class { user, class } => edit(user, UserChange::Class(class)),
        UserCommand::Delete { user, receipt } => UserAsk::Delete { user, receipt },
    })
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
    let rows: Vec<[String; 6]> = users
        .iter()
        .map(|user| {
            let mark = if user.must_change_password { "must change its password" } else { "" };
            let from = user.registered_from.as_deref().unwrap_or_default();
            [&user.username, &user.status, &user.role, &table::minute(&user.created_at), from, mark].map(Into::into)
        })
        .collect();
    table::print(["USER", "STATUS", "ROLE", "CREATED", "REGISTERED FROM", ""], &rows);
}

fn print_user(user: &UserLine) {
    let or = |word: Option<String>, none: &str| word.unwrap_or_else(|| none.to_owned());
    let password = if user.must_change_password { "must be changed before anything else" } else { "set by its owner" };
    let limit = user.requests_per_minute.map(|limit| limit.to_string());
    for (name, value) in [
        ("user", user.username.clone()),
        ("id", user.id.clone()),
        ("role", user.role.clone()),
        ("status", user.status.clone()),
        ("password", password.to_owned()),
        ("requests per minute", or(limit, "the gateway's")),
        ("models", or(user.models.as_ref().map(|models| models.join(", ")), "all")),
        ("weight", user.weight.to_string()),
        ("class", user.class.clone()),
        ("note", or(user.note.clone(), "")),
        ("registered from", or(user.registered_from.clone(), "")),
        ("created", table::minute(&user.created_at)),
        ("approved", user.approved_at.as_deref().map(table::minute).unwrap_or_default()),
    ] {
        println!("{}", format!("{name:19}  {}", visible(&value)).trim_end());
    }
}
