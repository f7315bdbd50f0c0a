//! `lan-gateway user …`: its arguments, and how answers look on a terminal.

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Subcommand};
use serde_json::{Value, json};

use crate::base::text::visible;
use crate::cli::host::{HostApi, maybe, need, unexpected};
use crate::cli::numbers::within;
use crate::cli::times::CommandTime;
use crate::cli::{passwords, print_json, table};
use crate::config::Config;
use crate::model::rights::quotas::{QUOTA_MAX, Quotas};
use crate::model::rights::{REQUESTS_PER_MINUTE_MAX, WEIGHT_MAX};
use crate::rules::accounts::WaitingWish;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Create an account that needs no approval; its owner sets another password at the first sign-in
    #[command(
        after_help = "The password is asked for twice, or read from standard input, as one line.\n\nExamples:\n  \
        lan-gateway user add ann@example.org\n  \
        pwgen -s 20 1 | lan-gateway user add ci@example.org --keep-password"
    )]
    Add {
        /// E-mail address, the name of the account
        email: String,
        /// The password stays: it need not be changed at the first sign-in
        #[arg(long)]
        keep_password: bool,
    },
    /// Set the password of an account; its sessions and JWTs end
    #[command(
        after_help = "The password is asked for twice, or read from standard input, as one line. The rules are those of \
        the API.\nTo hand an account over to somebody else, `lan-gateway user reset USER` makes a one-time code.\n\n\
        Examples:\n  lan-gateway user password admin\n  lan-gateway user password ann@example.org --must-change"
    )]
    Password {
        /// Name of the account
        user: String,
        /// It is valid for an hour and only allows setting another one
        #[arg(long)]
        must_change: bool,
    },
    /// List accounts
    List {
        /// Part of the name
        search: Option<String>,
        /// Only accounts with this status
        #[arg(long, value_parser = ["pending", "active", "disabled"])]
        status: Option<String>,
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Show an account in full
    Show {
        /// Name of the account
        user: String,
        /// Print one JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Approve a pending account
    Approve {
        /// Name of the account
        user: String,
    },
    /// Reject and remove pending registrations: those named, or all that meet the conditions
    #[command(
        group(ArgGroup::new("which").required(true).multiple(true)),
        override_usage = "lan-gateway user turn-down <USER>...\n       \
            lan-gateway user turn-down <--network <NETWORK>|--from <TIME>|--to <TIME>>",
        after_help = concat!(
            time_help!(),
            "\n\nExamples:\n  \
            lan-gateway user turn-down eve@example.org\n  \
            lan-gateway user turn-down --network 10.1.2.0/24 --from yesterday"
        )
    )]
    TurnDown {
        /// Names of accounts that wait for approval
        #[arg(group = "which", value_name = "USER", conflicts_with_all = ["network", "from", "to"])]
        users: Vec<String>,
        /// Those that came from this network or address
        #[arg(long, group = "which")]
        network: Option<String>,
        /// Registered at this time or later
        #[arg(long, group = "which", value_name = "TIME")]
        from: Option<CommandTime>,
        /// Registered before this time, or until the end of this day
        #[arg(long, group = "which", value_name = "TIME")]
        to: Option<CommandTime>,
    },
    /// Disable an account; its sessions and tokens stop working at once
    Disable {
        /// Name of the account
        user: String,
    },
    /// Enable a disabled account
    Enable {
        /// Name of the account
        user: String,
    },
    /// Forget the failed sign-ins on an account
    Unlock {
        /// Name of the account
        user: String,
    },
    /// Set a temporary password, valid for an hour, that only allows setting a new one
    Reset {
        /// Name of the account
        user: String,
        /// Set `admin123` instead of a random code
        #[arg(long)]
        initial: bool,
        /// Revoke the tokens of its machines, instead of suspending them until the new password is set
        #[arg(long)]
        revoke_tokens: bool,
        /// Print one JSON object, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Set the role of an account; the last admin keeps it
    Role {
        /// Name of the account
        user: String,
        /// Admins see and change everything
        #[arg(value_parser = ["admin", "user"])]
        role: String,
    },
    /// Set a person's own limit of requests per minute
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway user limit <USER> <REQUESTS_PER_MINUTE|--none>")]
    Limit {
        /// Name of the account
        user: String,
        /// The new limit
        #[arg(group = "what", allow_negative_numbers = true, value_parser = within(1_u32, REQUESTS_PER_MINUTE_MAX))]
        requests_per_minute: Option<u32>,
        /// Remove it: the gateway's limit applies
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Set a person's own quota
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway user quota <USER> <NAME> <MOST|--none>")]
    Quota {
        /// Name of the account
        user: String,
        /// Name of the quota
        #[arg(value_parser = PossibleValuesParser::new(Quotas::NAMES))]
        name: String,
        /// The most that is allowed
        #[arg(group = "what", allow_negative_numbers = true, value_parser = within(1_u64, QUOTA_MAX))]
        most: Option<u64>,
        /// Remove it: the gateway's quota applies
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Set the models that a person may use; others are not found for them
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway user models <USER> <MODEL...|--all>")]
    Models {
        /// Name of the account
        user: String,
        /// Names of models
        #[arg(group = "what", value_name = "MODEL")]
        models: Vec<String>,
        /// Remove the list: all models
        #[arg(long, group = "what")]
        all: bool,
    },
    /// Set a note that only admins see
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway user note <USER> <TEXT|--none>")]
    Note {
        /// Name of the account
        user: String,
        /// The note
        #[arg(group = "what")]
        text: Option<String>,
        /// Remove it
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Set a person's queue weight, 1 (default) to 100; a higher weight gets more GPU time while others wait
    Weight {
        /// Name of the account
        user: String,
        /// From 1 to 100
        #[arg(allow_negative_numbers = true, value_parser = within(1_u32, WEIGHT_MAX))]
        weight: u32,
    },
    /// Set a person's class; batch takes what interactive requests leave
    Class {
        /// Name of the account
        user: String,
        /// Batch runs when no interactive request waits
        #[arg(value_parser = ["interactive", "batch"])]
        class: String,
    },
    /// Delete an account for good, with all its prompts and answers
    #[command(
        override_usage = "lan-gateway user delete <USER> --receipt <CODE>",
        after_help = "It takes the receipt of a complete export of all that this person asked, made in the last 15 minutes:\n\n  \
        lan-gateway user disable USER\n  lan-gateway export USER --output FILE\n  \
        lan-gateway user delete USER --receipt CODE\n\nCODE stands in the last line of FILE. A disabled account asks \
        nothing more, so that the receipt stays good."
    )]
    Delete {
        /// Name of the account
        user: String,
        /// What the last line of that export holds
        #[arg(long, value_name = "CODE")]
        receipt: String,
    },
}

pub async fn run(host: &HostApi, config: &Config, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { email, keep_password } => {
            let password = passwords::read_new(&email)?;
            let new = json!({ "email": email, "password": password, "must_change": !keep_password });
            let made = host.post("/host/users", &new).await?;
            let (name, status) = (need(&made, "username")?, need(&made, "status")?);
            println!("{name} is {status}; {}", after_sign_in(&made, "at the first sign-in"));
            Ok(())
        }
        UserCommand::Password { user, must_change } => {
            let path = format!("/host/users/{}/password", host.user_id(&user).await?);
            let password = passwords::read_new(&user)?;
            let set = host.post(&path, &json!({ "password": password, "must_change": must_change })).await?;
            let within = format!("within {} minutes", config.accounts.reset_lifetime.as_secs() / 60);
            println!("the password of {} is set; {}", need(&set, "username")?, after_sign_in(&set, &within));
            Ok(())
        }
        UserCommand::List { search, status, json } => {
            let asked = [("search", search.as_deref()), ("status", status.as_deref())];
            let users = host.list("/api/v1/users", &asked, None).await?;
            if json { print_json(&users) } else { print_users(&users) }
        }
        UserCommand::Show { user, json } => {
            let user = host.user(&user).await?;
            if json { print_json(&user) } else { print_user(&user) }
        }
        UserCommand::Approve { user } => act(host, &user, "approve").await,
        UserCommand::Disable { user } => act(host, &user, "disable").await,
        UserCommand::Enable { user } => act(host, &user, "enable").await,
        UserCommand::Unlock { user } => {
            let id = host.user_id(&user).await?;
            print_status(&host.post(&format!("/host/users/{id}/unlock"), &json!({})).await?)
        }
        UserCommand::TurnDown { users, network, from, to } => {
            let count = match users.is_empty() {
                true => {
                    let (from, to) = (host.times.from(from.as_ref()), host.times.to(to.as_ref()));
                    turn_down_all(host, WaitingWish { ids: None, network, from, to }).await?
                }
                false => turn_down(host, &users).await?,
            };
            match count {
                1 => println!("1 registration turned down"),
                count => println!("{count} registrations turned down"),
            }
            Ok(())
        }
        UserCommand::Reset { user, initial, revoke_tokens, json } => {
            let path = format!("/api/v1/users/{}/reset-password", host.user_id(&user).await?);
            let mode = if initial { "initial" } else { "code" };
            let done = host.post(&path, &json!({ "mode": mode, "revoke_tokens": revoke_tokens })).await?;
            if json {
                return print_json(&done);
            }
            let password = maybe(&done, "one_time_code").unwrap_or_else(|| "admin123".into());
            let minutes = config.accounts.reset_lifetime.as_secs() / 60;
            let name = need(&done, "username")?;
            println!("{name}: password {password} , valid for {minutes} minutes and only to set a new one");
            Ok(())
        }
        UserCommand::Role { user, role } => change(host, &user, json!({ "role": role })).await,
        UserCommand::Limit { user, requests_per_minute, .. } => {
            change(host, &user, json!({ "requests_per_minute": requests_per_minute })).await
        }
        UserCommand::Quota { user, name, most, .. } => change(host, &user, json!({ "quotas": { name: most } })).await,
        UserCommand::Models { user, models, .. } => {
            let models = Some(models).filter(|models| !models.is_empty());
            change(host, &user, json!({ "models": models })).await
        }
        UserCommand::Note { user, text, .. } => change(host, &user, json!({ "note": text })).await,
        UserCommand::Weight { user, weight } => change(host, &user, json!({ "weight": weight })).await,
        UserCommand::Class { user, class } => change(host, &user, json!({ "class": class })).await,
        UserCommand::Delete { user, receipt } => {
            let path = format!("/api/v1/users/{}", host.user_id(&user).await?);
            host.delete(&path, Some(&json!({ "receipt": receipt }))).await?;
            host.erase().await?;
            println!("{} is deleted; prompts and answers are erased", visible(&user));
            Ok(())
        }
    }
}

/// Calls a verb that needs nothing but an account.
async fn act(host: &HostApi, user: &str, verb: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/users/{}/{verb}", host.user_id(user).await?);
    print_status(&host.post(&path, &json!({})).await?)
}

async fn change(host: &HostApi, user: &str, change: Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/users/{}", host.user_id(user).await?);
    print_user(&host.patch(&path, &change).await?)
}

async fn turn_down_all(host: &HostApi, which: WaitingWish) -> anyhow::Result<u64> {
    let done = host.post("/api/v1/users/turn-down", &serde_json::to_value(which)?).await?;
    done["turned_down"].as_u64().ok_or_else(unexpected)
}

/// Rejects the named registrations; none if one can't be found.
async fn turn_down(host: &HostApi, users: &[String]) -> anyhow::Result<u64> {
    let mut ids = Vec::new();
    for user in users {
        ids.push(host.user_id(user).await?);
    }
    for id in &ids {
        host.post(&format!("/api/v1/users/{id}/turn-down"), &json!({})).await?;
    }
    Ok(ids.len() as u64)
}

fn print_status(user: &Value) -> anyhow::Result<()> {
    println!("{} is {}", need(user, "username")?, need(user, "status")?);
    Ok(())
}

/// Returns whether the password that was set has to be changed, in words.
fn after_sign_in(user: &Value, when: &str) -> String {
    match must_change(user) {
        true => format!("the password must be changed {when}"),
        false => "the password need not be changed".to_owned(),
    }
}

fn print_users(users: &[Value]) -> anyhow::Result<()> {
    if users.is_empty() {
        println!("no accounts found");
        return Ok(());
    }
    let row = |user: &Value| {
        Ok([
            need(user, "username")?,
            need(user, "status")?,
            need(user, "role")?,
            table::minute(&need(user, "created_at")?),
            registered_from(user),
            if must_change(user) { "must change its password".to_owned() } else { String::new() },
        ])
    };
    let rows = users.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["USER", "STATUS", "ROLE", "CREATED", "REGISTERED FROM", ""], &rows);
    Ok(())
}

/// Returns where a pending user came from, as in `192.168.1.7, by Open WebUI`.
fn registered_from(user: &Value) -> String {
    let by = maybe(user, "registered_by").map(|token| format!("by {}", visible(&token)));
    maybe(user, "registered_from").into_iter().chain(by).collect::<Vec<_>>().join(", ")
}

fn must_change(user: &Value) -> bool {
    user["must_change_password"] == true
}

fn print_user(user: &Value) -> anyhow::Result<()> {
    let or = |field: &str, none: &str| maybe(user, field).unwrap_or_else(|| none.to_owned());
    let time = |field: &str| maybe(user, field).as_deref().map(table::minute).unwrap_or_default();
    let password = if must_change(user) { "must be changed before anything else" } else { "set" };
    let models = user["models"].as_array().map(|models| models.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let mut lines = vec![
        ("user".to_owned(), need(user, "username")?),
        ("id".into(), need(user, "id")?),
        ("role".into(), need(user, "role")?),
        ("status".into(), need(user, "status")?),
        ("password".into(), password.to_owned()),
        ("requests per minute".into(), or("requests_per_minute", "the gateway's")),
        ("models".into(), models.map_or_else(|| "all".to_owned(), |models| models.join(", "))),
        ("weight".into(), need(user, "weight")?),
        ("class".into(), need(user, "class")?),
        ("note".into(), or("note", "")),
        ("registered from".into(), registered_from(user)),
        ("created".into(), time("created_at")),
        ("approved".into(), time("approved_at")),
    ];
    for name in Quotas::NAMES {
        let own = maybe(&user["quotas"], name).map(|own| format!("{own}, their own"));
        let left = &user["left"][*name];
        let limit = own.or_else(|| maybe(left, "limit"));
        // What was used in a minute is gone a minute later.
        match (maybe(left, "used").filter(|_| name.ends_with("_per_day")), limit) {
            (Some(used), Some(limit)) => lines.push((name.replace('_', " "), format!("{used} used of {limit}"))),
            (Some(used), None) => lines.push((name.replace('_', " "), format!("{used} used"))),
            (None, Some(limit)) => lines.push((name.replace('_', " "), limit)),
            (None, None) => {}
        }
    }
    for (name, value) in lines {
        println!("{}", format!("{name:19}  {}", visible(&value)).trim_end());
    }
    Ok(())
}
