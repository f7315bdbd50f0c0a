//! `lan-gateway token …`: its arguments, and how answers look on a terminal.

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Subcommand};
use serde_json::{Map, Value, json};

use crate::base::likeness::did_you_mean;
use crate::base::text::visible;
use crate::cli::host::{HostApi, maybe, need};
use crate::cli::numbers::within;
use crate::cli::times::CommandTime;
use crate::cli::{print_json, table};
use crate::model::rights::REQUESTS_PER_MINUTE_MAX;
use crate::model::rights::quotas::{QUOTA_MAX, Quotas};
use crate::model::runaway::Runaway;
use crate::model::token::TokenStatus;

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Create a token for a machine of USER; it is printed once
    #[command(after_help = "Examples:\n  \
        lan-gateway token create ann@example.org n8n\n  \
        lan-gateway token create ann@example.org nightly --scope chat --model llama3.2 --quota tokens_per_day=100000 --days 30\n  \
        lan-gateway token create maria@example.org 'Open WebUI' --delegating --network 127.0.0.1")]
    Create {
        /// Name of the owner's account
        user: String,
        /// Says which machine or pipeline it is for
        name: String,
        /// What it may be used for; may be given several times [default: chat, models]
        #[arg(long = "scope", value_parser = ["chat", "embeddings", "models", "usage", "models:manage", "metrics"])]
        scopes: Vec<String>,
        /// A model that it may use; may be given several times [default: all]
        #[arg(long = "model")]
        models: Vec<String>,
        /// A network or address that it may be used from; may be given several times [default: all]
        #[arg(long = "network")]
        networks: Vec<String>,
        /// For a tool that people sign in to: it acts for the person whom the tool names; needs --network and an admin
        #[arg(long)]
        delegating: bool,
        /// A separate limit, in addition to its owner's
        #[arg(long, allow_negative_numbers = true, value_parser = within(1_u32, REQUESTS_PER_MINUTE_MAX))]
        requests_per_minute: Option<u32>,
        /// A separate quota, such as tokens_per_day=100000; may be given several times
        #[arg(long = "quota", value_name = "NAME=NUMBER", value_parser = quota)]
        quotas: Vec<(String, u64)>,
        /// batch takes what interactive requests leave [default: its owner's]
        #[arg(long, value_parser = ["interactive", "batch"])]
        class: Option<String>,
        /// Days until it expires [default: 90]
        #[arg(long, allow_negative_numbers = true, value_parser = within(1_u32, 365))]
        days: Option<u32>,
        /// Print one JSON object, with the token
        #[arg(long)]
        json: bool,
    },
    /// List tokens, of USER or of all people
    #[command(after_help = concat!(
        time_help!(),
        "\n\nExample:\n  lan-gateway token list ann@example.org --expiring-before +14d"
    ))]
    List {
        /// Name of the owner's account
        user: Option<String>,
        /// Only tokens with this status
        #[arg(long, value_parser = TokenStatus::ALL.map(TokenStatus::name))]
        status: Option<String>,
        /// Only those that expire before this time, or before this day begins
        #[arg(long, value_name = "TIME")]
        expiring_before: Option<CommandTime>,
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token at once
    Revoke {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
    },
    /// Give a token a new secret, printed once; the previous one stays valid for another hour
    Rotate {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// How long the previous secret stays valid; 0 ends it at once
        #[arg(long, allow_negative_numbers = true, value_parser = within(0_u32, 604_800))]
        grace_seconds: Option<u32>,
        /// Days from now until it expires
        #[arg(long, allow_negative_numbers = true, value_parser = within(1_u32, 365))]
        days: Option<u32>,
        /// Print one JSON object, with the token
        #[arg(long)]
        json: bool,
    },
    /// Resume a token that was paused because it ran away, or suspended with its owner
    Resume {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
    },
    /// Set a token's own limit of requests per minute, in addition to its owner's
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway token limit <TOKEN> <REQUESTS_PER_MINUTE|--none>")]
    Limit {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// The new limit
        #[arg(group = "what", allow_negative_numbers = true, value_parser = within(1_u32, REQUESTS_PER_MINUTE_MAX))]
        requests_per_minute: Option<u32>,
        /// Remove it: only its owner's limit applies
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Set a token's own quota, in addition to its owner's
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway token quota <TOKEN> <NAME> <MOST|--none>")]
    Quota {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// Name of the quota
        #[arg(value_parser = PossibleValuesParser::new(Quotas::NAMES))]
        name: String,
        /// The most that is allowed
        #[arg(group = "what", allow_negative_numbers = true, value_parser = within(1_u64, QUOTA_MAX))]
        most: Option<u64>,
        /// Remove it: only its owner's quota applies
        #[arg(long, group = "what")]
        none: bool,
    },
    /// Give a token another name
    Rename {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// The new name
        name: String,
    },
    /// Set the networks that a token may be used from
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway token networks <TOKEN> <NETWORKS...|--any>")]
    Networks {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// Networks or addresses
        #[arg(group = "what")]
        networks: Vec<String>,
        /// Remove the list: it may be used from every network that is served
        #[arg(long, group = "what")]
        any: bool,
    },
    /// Set a token's class: interactive, or batch, which takes what interactive requests leave
    #[command(group(ArgGroup::new("what").required(true)), override_usage = "lan-gateway token class <TOKEN> <CLASS|--none>")]
    Class {
        /// Its name, OWNER/NAME, or the beginning that `token list` shows
        token: String,
        /// The new class
        #[arg(group = "what", value_parser = ["interactive", "batch"])]
        class: Option<String>,
        /// Remove it: its owner's class applies
        #[arg(long, group = "what")]
        none: bool,
    },
}

pub async fn run(host: &HostApi, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create {
            user,
            name,
            scopes,
            models,
            networks,
            delegating,
            requests_per_minute,
            quotas,
            class,
            days,
            json,
        } => {
            let some = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
            let quotas: Map<String, Value> = quotas.into_iter().map(|(name, most)| (name, most.into())).collect();
            let wish = json!({
                "name": name,
                "scopes": some(scopes),
                "models": some(models),
                "networks": some(networks),
                "delegating": delegating,
                "requests_per_minute": requests_per_minute,
                "quotas": Some(quotas).filter(|quotas| !quotas.is_empty()),
                "class": class,
                "expires_in_days": days,
            });
            let path = format!("/host/users/{}/tokens", host.user_id(&user).await?);
            print_secret(&host.post(&path, &wish).await?, json)
        }
        TokenCommand::List { user, status, expiring_before, json } => {
            let user_id = match user {
                Some(user) => Some(host.user_id(&user).await?),
                None => None,
            };
            let expiring_before = host.times.from(expiring_before.as_ref());
            let which = [
                ("user_id", user_id.as_deref()),
                ("status", status.as_deref()),
                ("expiring_before", expiring_before.as_deref()),
            ];
            let tokens = host.list(PATH, &which, None).await?;
            if json { print_json(&tokens) } else { print_tokens(&tokens) }
        }
        TokenCommand::Revoke { token } => {
            let id = host.token_id(&token).await?;
            host.delete(&format!("{PATH}/{id}"), None).await?;
            let tokens = host.list(PATH, &[], None).await?;
            match tokens.iter().find(|token| token["id"] == id) {
                Some(token) => print_status(token)?,
                // The token is older than the list goes back.
                None => println!("{} is revoked", visible(&token)),
            }
            Ok(())
        }
        TokenCommand::Rotate { token, grace_seconds, days, json } => {
            let wish = json!({ "grace_seconds": grace_seconds, "expires_in_days": days });
            print_secret(&host.post(&format!("{PATH}/{}/rotate", host.token_id(&token).await?), &wish).await?, json)
        }
        TokenCommand::Resume { token } => {
            print_status(&host.post(&format!("{PATH}/{}/resume", host.token_id(&token).await?), &json!({})).await?)
        }
        TokenCommand::Limit { token, requests_per_minute, .. } => {
            change(host, &token, json!({ "requests_per_minute": requests_per_minute })).await
        }
        TokenCommand::Quota { token, name, most, .. } => {
            change(host, &token, json!({ "quotas": { name: most } })).await
        }
        TokenCommand::Rename { token, name } => change(host, &token, json!({ "name": name })).await,
        TokenCommand::Networks { token, networks, any } => {
            change(host, &token, json!({ "networks": Some(networks).filter(|_| !any) })).await
        }
        TokenCommand::Class { token, class, .. } => change(host, &token, json!({ "class": class })).await,
    }
}

const PATH: &str = "/api/v1/tokens";

async fn change(host: &HostApi, token: &str, change: Value) -> anyhow::Result<()> {
    let token = host.patch(&format!("{PATH}/{}", host.token_id(token).await?), &change).await?;
    let mut parts: Vec<String> = limits(&token).iter().map(|limit| limit.replace('=', " ")).collect();
    parts.extend(maybe(&token, "networks").map(|networks| format!("networks {networks}")));
    parts.push(format!("class {}", maybe(&token, "class").unwrap_or_else(|| "its owner's".into())));
    println!(
        "{} ({} of {}): {}",
        need(&token, "prefix")?,
        visible(&need(&token, "name")?),
        need(&token, "user")?,
        parts.join(", ")
    );
    Ok(())
}

/// Returns a token's own limits, as in `tokens_per_day=1000`.
fn limits(token: &Value) -> Vec<String> {
    let quotas = token["quotas"].as_object().into_iter().flatten().filter(|(_, most)| !most.is_null());
    let quotas = quotas.map(|(name, most)| format!("{name}={most}"));
    quotas.chain(maybe(token, "requests_per_minute").map(|limit| format!("requests_per_minute={limit}"))).collect()
}

fn print_status(token: &Value) -> anyhow::Result<()> {
    let (prefix, name, user) = (need(token, "prefix")?, need(token, "name")?, need(token, "user")?);
    println!("{prefix} ({} of {user}) is {}", visible(&name), need(token, "status")?);
    Ok(())
}

fn print_tokens(tokens: &[Value]) -> anyhow::Result<()> {
    if tokens.is_empty() {
        println!("no tokens found");
        return Ok(());
    }
    let row = |token: &Value| {
        let mut scopes = need(token, "scopes")?;
        if token["delegating"] == true {
            scopes.push_str("  delegating");
        }
        Ok([
            need(token, "prefix")?,
            need(token, "name")?,
            need(token, "user")?,
            need(token, "status")?,
            table::day(&need(token, "expires_at")?).to_owned(),
            maybe(token, "last_used_at").as_deref().map_or_else(|| "never".into(), table::minute),
            limits(token).join(" "),
            match paused(token) {
                Some(paused) => format!("{scopes}  {paused}"),
                None => scopes,
            },
        ])
    };
    let rows = tokens.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["TOKEN", "NAME", "USER", "STATUS", "EXPIRES", "LAST USED", "OWN LIMITS", "SCOPES"], &rows);
    Ok(())
}

/// Returns why a token is paused, and since when.
fn paused(token: &Value) -> Option<String> {
    let since = table::minute(&maybe(token, "suspended_at")?);
    Some(format!("paused since {since}, because {}", Runaway::from(maybe(token, "pause_reason")?).words()))
}

/// Prints the secret alone to standard output, so that a script can keep it; the rest goes to standard error.
fn print_secret(fresh: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(fresh);
    }
    let (name, user, expires_at) = (need(fresh, "name")?, need(fresh, "user")?, need(fresh, "expires_at")?);
    eprintln!("{} of {user}, valid until {}; it is not shown again:", visible(&name), table::day(&expires_at));
    println!("{}", need(fresh, "token")?);
    Ok(())
}

/// Parses `NAME=NUMBER`.
fn quota(text: &str) -> Result<(String, u64), String> {
    let (name, most) = text.split_once('=').ok_or("it must be NAME=NUMBER, as in tokens_per_day=100000")?;
    if !Quotas::NAMES.contains(&name) {
        let hint = did_you_mean(name, Quotas::NAMES.iter().copied());
        let hint = if hint.is_empty() { format!("; there are {}", Quotas::NAMES.join(", ")) } else { hint };
        return Err(format!("`{name}` is no quota{hint}"));
    }
    let most = most.parse().ok().filter(|most| (1..=QUOTA_MAX).contains(most));
    let most = most.ok_or_else(|| format!("`{name}` must be from 1 to {QUOTA_MAX}"))?;
    Ok((name.to_owned(), most))
}
