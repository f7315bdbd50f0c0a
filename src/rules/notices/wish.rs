//! What an admin asks of a channel, checked: its name, where it leads, and its secrets, which are sealed here.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::base::error::Error;
use crate::base::sealing::MasterKey;
use crate::base::secret::Secret;
use crate::base::text::is_hidden;
use crate::model::notice::{ChannelKind, ChannelWay, MailTls, NoticeChannel, NoticeKind};
use crate::upstream::mail::check_address;
use crate::upstream::webhook::{WebhookKey, WebhookUrl};

const NAME_LETTERS_MAX: usize = 100;
const RECIPIENTS_MAX: usize = 10;
const HOST_BYTES_MAX: usize = 253;
const USERNAME_BYTES_MAX: usize = 254;
const PASSWORD_BYTES_MAX: usize = 1000;

/// Properties of a new channel. Those of the other kind are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoticeChannelWish {
    /// Names it in lists, in the record and in notices.
    #[schema(example = "the admins", min_length = 1, max_length = 100)]
    pub name: String,
    #[schema(value_type = ChannelKind)]
    pub kind: String,
    /// Whether notices are sent; true by default.
    pub on: Option<bool>,
    /// Which notices it gets; by default all.
    #[schema(value_type = Option<Vec<NoticeKind>>)]
    pub notices: Option<Vec<String>>,
    /// For a webhook: where notices are posted. It is kept as a secret and never shown; only its scheme, host and port are.
    #[schema(value_type = Option<String>, write_only, max_length = 2000, example = "https://n8n.example.org/webhook/4f1b")]
    pub url: Option<Secret<String>>,
    /// For a webhook: what signs the requests, 24 to 64 bytes in base64, with or without `whsec_` in front. Without one they are
    /// not signed.
    #[schema(value_type = Option<String>, write_only, example = json!(null))]
    pub secret: Option<Secret<String>>,
    /// For mail: the name or address of the server.
    #[schema(max_length = 253, example = json!(null))]
    pub host: Option<String>,
    /// For mail: by default the usual one for `tls` (25, 587 or 465).
    #[schema(minimum = 1, maximum = 65_535, example = json!(null))]
    pub port: Option<u32>,
    /// For mail: `starttls` by default.
    #[schema(value_type = Option<MailTls>, example = json!(null))]
    pub tls: Option<String>,
    /// For mail: the user name for authentication at the server; by default none.
    #[schema(max_length = 254, example = json!(null))]
    pub username: Option<String>,
    /// For mail: never shown. Needs TLS.
    #[schema(value_type = Option<String>, write_only, max_length = 1000, example = json!(null))]
    pub password: Option<Secret<String>>,
    /// For mail: the sender's address.
    #[schema(max_length = 254, example = json!(null))]
    pub from: Option<String>,
    /// For mail: who gets it, 10 addresses at most.
    #[schema(max_items = 10, example = json!(null))]
    pub to: Option<Vec<String>>,
}

/// Unchecked changes of a channel; `None` keeps a value, `Some(None)` removes it.
#[derive(Debug, Default)]
pub struct NoticeChannelEdit {
    pub name: Option<String>,
    pub on: Option<bool>,
    pub notices: Option<Vec<String>>,
    pub url: Option<Secret<String>>,
    pub secret: Option<Option<Secret<String>>>,
    pub host: Option<String>,
    pub port: Option<u32>,
    pub tls: Option<String>,
    pub username: Option<Option<String>>,
    pub password: Option<Option<Secret<String>>>,
    pub from: Option<String>,
    pub to: Option<Vec<String>>,
}

impl From<NoticeChannelWish> for NoticeChannelEdit {
    fn from(wish: NoticeChannelWish) -> Self {
        NoticeChannelEdit {
            name: Some(wish.name),
            on: wish.on,
            notices: wish.notices,
            url: wish.url,
            secret: wish.secret.map(Some),
            host: wish.host,
            port: wish.port,
            tls: wish.tls,
            username: wish.username.map(Some),
            password: wish.password.map(Some),
            from: wish.from,
            to: wish.to,
        }
    }
}

/// Seals the secrets of one channel. Each is bound to its channel and its use, and a password to the server that it is for.
pub struct Sealer<'a> {
    key: &'a MasterKey,
    public_id: &'a str,
}

impl<'a> Sealer<'a> {
    pub fn new(key: &'a MasterKey, public_id: &'a str) -> Sealer<'a> {
        Sealer { key, public_id }
    }

    fn purpose(&self, what: &str) -> String {
        format!("notice channel {}: {what}", self.public_id)
    }

    fn seal(&self, what: &str, secret: &Secret<String>) -> Vec<u8> {
        self.key.seal(&self.purpose(what), secret)
    }

    fn open(&self, what: &str, sealed: &[u8]) -> Option<Secret<String>> {
        self.key.open(&self.purpose(what), sealed)
    }

    pub fn url(&self, sealed: &[u8]) -> Option<Secret<String>> {
        self.open(URL, sealed)
    }

    pub fn signing_secret(&self, sealed: &[u8]) -> Option<Secret<String>> {
        self.open(SIGNING, sealed)
    }

    pub fn password(&self, host: &str, sealed: &[u8]) -> Option<Secret<String>> {
        self.open(&password_for(host), sealed)
    }

    /// Returns whether every secret of a channel can be opened.
    pub fn opens(&self, way: &ChannelWay) -> bool {
        match way {
            ChannelWay::Webhook { url, secret, .. } => {
                self.url(url).is_some() && secret.as_ref().is_none_or(|secret| self.signing_secret(secret).is_some())
            }
            ChannelWay::Mail { host, password, .. } => {
                password.as_ref().is_none_or(|password| self.password(host, password).is_some())
            }
        }
    }
}

const URL: &str = "url";
const SIGNING: &str = "signing secret";

fn password_for(host: &str) -> String {
    format!("password for {host}")
}

/// Returns a channel's way without anything in it, for a new one.
pub fn blank(kind: ChannelKind) -> ChannelWay {
    match kind {
        ChannelKind::Webhook => ChannelWay::Webhook { place: String::new(), url: Vec::new(), secret: None },
        ChannelKind::Mail => ChannelWay::Mail {
            host: String::new(),
            port: 0,
            tls: MailTls::Starttls,
            username: None,
            password: None,
            from: String::new(),
            to: Vec::new(),
        },
    }
}

/// Returns a channel with changes, checked.
pub fn changed(mut channel: NoticeChannel, edit: &NoticeChannelEdit, key: &MasterKey) -> Result<NoticeChannel, Error> {
    if let Some(text) = &edit.name {
        channel.name = name(text)?;
    }
    if let Some(words) = &edit.notices {
        channel.kinds = kinds(words)?;
    }
    channel.is_on = edit.on.unwrap_or(channel.is_on);
    channel.way = way(channel.way, edit, &Sealer::new(key, &channel.public_id))?;
    Ok(channel)
}

/// Returns a way with changes, checked.
pub fn way(way: ChannelWay, edit: &NoticeChannelEdit, sealer: &Sealer<'_>) -> Result<ChannelWay, Error> {
    match way {
        ChannelWay::Webhook { mut place, mut url, mut secret } => {
            refuse_fields_of("mail", edit.of_mail())?;
            if let Some(text) = &edit.url {
                let text = Secret::new(text.expose().trim().to_owned());
                let parsed = WebhookUrl::parse(text.expose()).map_err(|wrong| named("url", wrong))?;
                (place, url) = (parsed.place(), sealer.seal(URL, &text));
            }
            if let Some(new) = &edit.secret {
                secret = match new {
                    Some(text) => {
                        let text = Secret::new(text.expose().trim().to_owned());
                        WebhookKey::parse(text.expose()).map_err(|wrong| named("secret", wrong))?;
                        Some(sealer.seal(SIGNING, &text))
                    }
                    None => None,
                };
            }
            if url.is_empty() {
                return Err(Error::invalid("url", "`url` is missing: where are notices posted?"));
            }
            Ok(ChannelWay::Webhook { place, url, secret })
        }
        ChannelWay::Mail { .. } => {
            refuse_fields_of("webhooks", edit.of_webhook())?;
            mail(way, edit, sealer)
        }
    }
}

fn mail(way: ChannelWay, edit: &NoticeChannelEdit, sealer: &Sealer<'_>) -> Result<ChannelWay, Error> {
    let ChannelWay::Mail { host: old_host, port: old_port, tls: old_tls, mut username, mut password, mut from, mut to } =
        way
    else {
        return Ok(way);
    };
    let host = edit.host.as_deref().map_or(Ok(old_host.clone()), host)?;
    let tls = edit.tls.as_deref().map_or(Ok(old_tls), MailTls::parse)?;
    let port = match edit.port {
        Some(port) => u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Error::invalid("port", "`port` must be a whole number from 1 to 65535"))?,
        None if old_port == 0 => tls.usual_port(),
        None => old_port,
    };
    if let Some(new) = &edit.username {
        username = new.as_deref().map(login).transpose()?;
    }
    match &edit.password {
        Some(Some(new)) => {
            if new.expose().is_empty() || new.expose().len() > PASSWORD_BYTES_MAX || new.expose().contains('\0') {
                return Err(Error::invalid("password", "`password` must have from 1 to 1,000 bytes"));
            }
            password = Some(sealer.seal(&password_for(&host), new));
        }
        Some(None) => password = None,
        None if password.is_some() && host != old_host => {
            let message = "`password` must be given again: the one that is known is for the server of before";
            return Err(Error::invalid("password", message));
        }
        None => {}
    }
    if let Some(text) = &edit.from {
        from = address("from", text)?;
    }
    if let Some(list) = &edit.to {
        if list.is_empty() || list.len() > RECIPIENTS_MAX {
            return Err(Error::invalid("to", format!("`to` must hold from 1 to {RECIPIENTS_MAX} addresses")));
        }
        to = list.iter().map(|text| address("to", text)).collect::<Result<_, _>>()?;
    }
    for (field, is_missing) in [("host", host.is_empty()), ("from", from.is_empty()), ("to", to.is_empty())] {
        if is_missing {
            return Err(Error::invalid(field, format!("`{field}` is missing")));
        }
    }
    match (&username, &password) {
        (None, Some(_)) => Err(Error::invalid("username", "`username` is missing: whose password is it?")),
        (Some(_), None) => Err(Error::invalid("password", "`password` is missing: a user name alone opens nothing")),
        (Some(_), Some(_)) if tls == MailTls::None => {
            Err(Error::invalid("tls", "`tls` must be starttls or implicit, since no password is sent without TLS"))
        }
        _ => Ok(ChannelWay::Mail { host, port, tls, username, password, from, to }),
    }
}

impl NoticeChannelEdit {
    fn of_mail(&self) -> [(&'static str, bool); 7] {
        [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("tls", self.tls.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
        ]
    }

    fn of_webhook(&self) -> [(&'static str, bool); 2] {
        [("url", self.url.is_some()), ("secret", self.secret.is_some())]
    }
}

fn refuse_fields_of(kind: &str, fields: impl IntoIterator<Item = (&'static str, bool)>) -> Result<(), Error> {
    match fields.into_iter().find(|(_, is_sent)| *is_sent) {
        None => Ok(()),
        Some((field, _)) => Err(Error::invalid(field, format!("`{field}` is for {kind}, which this channel is not"))),
    }
}

fn named(field: &'static str, wrong: &str) -> Error {
    Error::invalid(field, format!("`{field}` {wrong}"))
}

/// Checks the name of a channel.
pub fn name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    let letters = name.chars().count();
    if letters == 0 || letters > NAME_LETTERS_MAX || name.chars().any(is_hidden) {
        let message = format!("`name` must have from 1 to {NAME_LETTERS_MAX} characters, all of them visible");
        return Err(Error::invalid("name", message));
    }
    Ok(name.to_owned())
}

/// Checks kinds of notices, and returns each once.
pub fn kinds(words: &[String]) -> Result<Vec<NoticeKind>, Error> {
    let mut kinds = words.iter().map(|word| NoticeKind::parse(word)).collect::<Result<Vec<_>, _>>()?;
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        let message = "`notices` must name one kind at least; to send none, turn the channel off";
        return Err(Error::invalid("notices", message));
    }
    Ok(kinds)
}

fn host(text: &str) -> Result<String, Error> {
    let host = text.trim().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let is_good =
        !host.is_empty() && host.len() <= HOST_BYTES_MAX && (is_name || host.parse::<std::net::IpAddr>().is_ok());
    match is_good {
        true => Ok(host),
        false => Err(Error::invalid("host", "`host` must be the name or address of a mail server, without a port")),
    }
}

fn login(text: &str) -> Result<String, Error> {
    let name = text.trim();
    match name.is_empty() || name.len() > USERNAME_BYTES_MAX || name.chars().any(is_hidden) {
        false => Ok(name.to_owned()),
        true => Err(Error::invalid("username", "`username` must have from 1 to 254 bytes, all of them visible")),
    }
}

fn address(field: &'static str, text: &str) -> Result<String, Error> {
    let address = text.trim();
    check_address(address).map_err(|wrong| named(field, wrong))?;
    Ok(address.to_owned())
}

#[cfg(test)]
mod tests;
