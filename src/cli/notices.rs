//! `lan-gateway notices …`: the channels by which admins are told. Secrets are read from the terminal or from standard input.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::base::likeness::nearest;
use crate::base::text::visible;
use crate::cli::host::{HostApi, maybe, need, unexpected};
use crate::cli::numbers::within;
use crate::cli::{passwords, print_json, table};
use crate::model::notice::{ChannelKind, MailTls, NoticeKind};

#[derive(Subcommand)]
pub enum NoticesCommand {
    /// List the channels with their last delivery
    List {
        /// Print one JSON list, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Add a channel. The URL of a webhook and the password of mail are asked for, or read from standard input, a line each
    #[command(after_help = "Examples:\n  \
        lan-gateway notices add n8n webhook < url.txt\n  \
        lan-gateway notices add admins mail --host mail.example.org --username gateway --from gateway@example.org \\\n    \
        --to ann@example.org --to ben@example.org --notice disk_low --notice record_unwritable")]
    Add {
        /// Its name, for lists and the record
        name: String,
        /// How it reaches people
        #[arg(value_parser = ChannelKind::ALL.map(ChannelKind::name))]
        kind: String,
        #[command(flatten)]
        fields: ChannelOptions,
        /// For a webhook: ask for a secret, too, that signs the requests
        #[arg(long)]
        sign: bool,
        /// Print the channel as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change a channel
    #[command(after_help = "Examples:\n  \
        lan-gateway notices change n8n --off\n  \
        lan-gateway notices change admins --password < password.txt")]
    Change {
        /// Its name or id
        channel: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Send notices
        #[arg(long, conflicts_with = "off")]
        on: bool,
        /// Send none
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        fields: ChannelOptions,
        /// For a webhook: ask for a new URL
        #[arg(long)]
        url: bool,
        /// For a webhook: ask for a new secret that signs the requests
        #[arg(long, conflicts_with = "no_secret")]
        secret: bool,
        /// For a webhook: sign no requests
        #[arg(long)]
        no_secret: bool,
        /// For mail: ask for a new password
        #[arg(long, conflicts_with = "no_password")]
        password: bool,
        /// For mail: use the server without authentication
        #[arg(long, conflicts_with = "username")]
        no_password: bool,
        /// Print the channel as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove a channel; what is still to be sent to it is dropped
    Remove {
        /// Its name or id
        channel: String,
    },
    /// Send a notice by a channel to try it; fails unless it was delivered
    Test {
        /// Its name or id
        channel: String,
    },
}

/// What is not secret in a channel.
#[derive(Args)]
pub struct ChannelOptions {
    /// A kind of notice that it gets; may be given several times [default: all]
    #[arg(long = "notice", value_name = "KIND", value_parser = NoticeKind::ALL.map(NoticeKind::name))]
    notices: Vec<String>,
    /// For mail: the server
    #[arg(long)]
    host: Option<String>,
    /// For mail: its port [default: 587, 465 or 25, as TLS has it]
    #[arg(long, allow_negative_numbers = true, value_parser = within(1_u32, 65_535))]
    port: Option<u32>,
    /// For mail: how the connection is encrypted [default: starttls]
    #[arg(long, value_parser = MailTls::ALL.map(MailTls::name))]
    tls: Option<String>,
    /// For mail: who signs in at the server; the password is asked for
    #[arg(long)]
    username: Option<String>,
    /// For mail: the address of the sender
    #[arg(long)]
    from: Option<String>,
    /// For mail: the address of a receiver; may be given several times
    #[arg(long)]
    to: Vec<String>,
}

impl ChannelOptions {
    /// Returns the fields that were given.
    fn given(self) -> Map<String, Value> {
        let list = |items: Vec<String>| if items.is_empty() { Value::Null } else { items.into() };
        let all = [
            ("notices", list(self.notices)),
            ("host", json!(self.host)),
            ("port", json!(self.port)),
            ("tls", json!(self.tls)),
            ("username", json!(self.username)),
            ("from", json!(self.from)),
            ("to", list(self.to)),
        ];
        all.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

const PATH: &str = "/api/v1/notice-channels";

pub async fn run(host: &HostApi, command: NoticesCommand) -> anyhow::Result<()> {
    match command {
        NoticesCommand::List { json } => {
            let channels = channels(host).await?;
            if json { print_json(&channels) } else { print_channels(&channels) }
        }
        NoticesCommand::Add { name, kind, fields, sign, json } => {
            let asks_for_password = fields.username.is_some();
            let mut wish = fields.given();
            if kind == ChannelKind::Webhook.name() {
                wish.insert("url".into(), passwords::read_secret("URL of the webhook: ")?.into());
            }
            if sign {
                wish.insert("secret".into(), passwords::read_secret("Secret that signs the requests: ")?.into());
            }
            if asks_for_password {
                wish.insert("password".into(), passwords::read_secret("Password for the mail server: ")?.into());
            }
            wish.insert("name".into(), name.into());
            wish.insert("kind".into(), kind.into());
            print_channel(&host.post(PATH, &Value::Object(wish)).await?, json)
        }
        NoticesCommand::Change {
            channel,
            name,
            on,
            off,
            fields,
            url,
            secret,
            no_secret,
            password,
            no_password,
            json,
        } => {
            let id = id_of(host, &channel).await?;
            let mut edit = fields.given();
            if let Some(name) = name {
                edit.insert("name".into(), name.into());
            }
            if on || off {
                edit.insert("on".into(), on.into());
            }
            if url {
                edit.insert("url".into(), passwords::read_secret("URL of the webhook: ")?.into());
            }
            if secret {
                edit.insert("secret".into(), passwords::read_secret("Secret that signs the requests: ")?.into());
            }
            if no_secret {
                edit.insert("secret".into(), Value::Null);
            }
            if password {
                edit.insert("password".into(), passwords::read_secret("Password for the mail server: ")?.into());
            }
            if no_password {
                edit.insert("username".into(), Value::Null);
                edit.insert("password".into(), Value::Null);
            }
            print_channel(&host.patch(&format!("{PATH}/{id}"), &Value::Object(edit)).await?, json)
        }
        NoticesCommand::Remove { channel } => {
            let id = id_of(host, &channel).await?;
            host.delete(&format!("{PATH}/{id}"), None).await?;
            println!("{} is removed", visible(&channel));
            Ok(())
        }
        NoticesCommand::Test { channel } => {
            let id = id_of(host, &channel).await?;
            let tested = host.post(&format!("{PATH}/{id}/test"), &json!({})).await?;
            match maybe(&tested, "failure") {
                None => println!("the test was delivered by {}", visible(&channel)),
                Some(failure) => bail!("the test was not delivered: {failure}"),
            }
            Ok(())
        }
    }
}

async fn channels(host: &HostApi) -> anyhow::Result<Vec<Value>> {
    match host.get(PATH).await?["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

/// Returns the id of the channel with this name or id.
async fn id_of(host: &HostApi, named: &str) -> anyhow::Result<String> {
    let channels = channels(host).await?;
    if let Some(found) = channels.iter().find(|channel| channel["name"] == named || channel["id"] == named) {
        return need(found, "id");
    }
    match nearest(named, channels.iter().filter_map(|channel| channel["name"].as_str())) {
        Some(near) => bail!("there is no notice channel `{named}`; did you mean `{near}`?"),
        None => bail!("there is no notice channel `{named}`; `lan-gateway notices list` shows all"),
    }
}

fn print_channel(channel: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(channel);
    }
    let (name, place) = (need(channel, "name")?, need(channel, "place")?);
    println!("{}: {} to {}, {}", visible(&name), need(channel, "kind")?, visible(&place), state(channel));
    Ok(())
}

/// Returns whether a channel is on, and whether something is wrong with it.
fn state(channel: &Value) -> &'static str {
    match (channel["secret_lost"] == true, channel["on"] == true) {
        (true, _) => "its secret must be set again",
        (false, true) => "on",
        (false, false) => "off",
    }
}

fn print_channels(channels: &[Value]) -> anyhow::Result<()> {
    if channels.is_empty() {
        println!("no channels; `lan-gateway notices add --help` says how to add one");
        return Ok(());
    }
    let row = |channel: &Value| {
        let delivered = maybe(channel, "delivered_at").as_deref().map_or_else(|| "never".into(), table::minute);
        Ok([
            need(channel, "name")?,
            need(channel, "kind")?,
            need(channel, "place")?,
            state(channel).to_owned(),
            delivered,
            maybe(channel, "failure").unwrap_or_default(),
        ])
    };
    let rows = channels.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    table::print(["NAME", "KIND", "TO", "STATE", "DELIVERED", "FAILURE"], &rows);
    Ok(())
}
