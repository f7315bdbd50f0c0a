//! The form of a channel for notices: what is filled in, and what it asks for.

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::http::pages::form_fields::FormFields;
use crate::model::notice::{ChannelKind, ChannelWay, NoticeChannel};
use crate::rules::notices::{NoticeChannelEdit, NoticeChannelWish};

/// The texts in the fields. Secrets are never filled in.
#[derive(Debug, Default)]
pub struct ChannelFields {
    pub name: String,
    pub host: String,
    pub port: String,
    pub username: String,
    pub from: String,
    pub to: String,
}

impl ChannelFields {
    pub fn of(channel: &NoticeChannel) -> ChannelFields {
        let name = channel.name.clone();
        match channel.way.clone() {
            ChannelWay::Webhook { .. } => ChannelFields { name, ..ChannelFields::default() },
            ChannelWay::Mail { host, port, username, from, to, .. } => ChannelFields {
                name,
                host,
                port: port.to_string(),
                username: username.unwrap_or_default(),
                from,
                to: to.join("\n"),
            },
        }
    }

    pub fn sent(fields: &FormFields) -> ChannelFields {
        let text = |name: &str| fields.text(name).to_owned();
        ChannelFields {
            name: text("name"),
            host: text("host"),
            port: text("port"),
            username: text("username"),
            from: text("from"),
            to: text("to"),
        }
    }
}

/// Returns the channel that a form asks for.
pub fn wish_of(kind: ChannelKind, fields: &FormFields) -> Result<NoticeChannelWish, Error> {
    let edit = edit_of(kind, fields)?;
    Ok(NoticeChannelWish {
        name: edit.name.unwrap_or_default(),
        kind: kind.name().to_owned(),
        on: edit.on,
        notices: edit.notices,
        url: edit.url,
        secret: edit.secret.flatten(),
        host: edit.host,
        port: edit.port,
        tls: edit.tls,
        username: edit.username.flatten(),
        password: edit.password.flatten(),
        from: edit.from,
        to: edit.to,
    })
}

/// Returns the changes that a form asks for. An empty field for a secret keeps the one that is set.
pub fn edit_of(kind: ChannelKind, fields: &FormFields) -> Result<NoticeChannelEdit, Error> {
    let secret = |name: &str| fields.filled(name).map(|_| fields.secret(name));
    let edit = NoticeChannelEdit {
        name: Some(fields.text("name").to_owned()),
        on: Some(fields.has("on")),
        notices: Some(fields.values("notices").map(str::to_owned).collect()),
        ..NoticeChannelEdit::default()
    };
    if kind == ChannelKind::Webhook {
        let signs = secret("secret").map(Some);
        return Ok(NoticeChannelEdit {
            url: secret("url"),
            secret: if fields.has("remove_secret") { signs.or(Some(None)) } else { signs },
            ..edit
        });
    }
    let port = fields.number("port")?;
    let too_large = |_| Error::invalid("port", "`port` must be a whole number from 1 to 65535");
    let username = fields.filled("username").map(str::to_owned);
    let password: Option<Secret<String>> = secret("password");
    Ok(NoticeChannelEdit {
        host: Some(fields.text("host").to_owned()),
        port: port.map(u32::try_from).transpose().map_err(too_large)?,
        tls: Some(fields.text("tls").to_owned()),
        // Without a user name there is no password.
        password: if username.is_none() { Some(password) } else { password.map(Some) },
        username: Some(username),
        from: Some(fields.text("from").to_owned()),
        to: Some(fields.text("to").split_whitespace().map(str::to_owned).collect()),
        ..edit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(kind: ChannelKind, form: &str) -> NoticeChannelEdit {
        edit_of(kind, &FormFields::parse(form.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_secret_keeps_the_one_that_is_set_and_a_removed_name_its_password() {
        let kept = edit(ChannelKind::Mail, "username=gateway&password=");
        assert_eq!((kept.username.unwrap().unwrap().as_str(), kept.password.is_none()), ("gateway", true));
        let removed = edit(ChannelKind::Mail, "username=+&password=");
        assert!(removed.username == Some(None) && removed.password == Some(None));
        let new = edit(ChannelKind::Mail, "username=gateway&password=+x+");
        assert_eq!(new.password.unwrap().unwrap().expose(), " x ");
        let webhook = edit(ChannelKind::Webhook, "url=&secret=");
        assert!(webhook.url.is_none() && webhook.secret.is_none());
        assert!(edit(ChannelKind::Webhook, "secret=&remove_secret=yes").secret == Some(None));
    }

    #[test]
    fn receivers_stand_one_in_a_line_or_with_spaces_between_them() {
        let to = edit(ChannelKind::Mail, "to=a%40x.org%0D%0A+b%40x.org+c%40x.org%0A").to.unwrap();
        assert_eq!(to, ["a@x.org", "b@x.org", "c@x.org"]);
    }
}
