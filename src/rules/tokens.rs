//! The rules about API tokens: which ones can be made, how long they live, what is shown of them.
//!
//! API routes and command line call these verbs. The store checks who may change whose token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::api_token;
use crate::base::error::Error;
use crate::base::fields::Fields;
use crate::base::secret::Secret;
use crate::base::text::is_hidden;
use crate::config;
use crate::model::people::{Actor, User};
use crate::model::rights::quotas::{QuotaChanges, Quotas};
use crate::model::rights::{AllowedModels, Class, Scope, Scopes, check_requests_per_minute};
use crate::model::token::Token;
use crate::store::Store;
use crate::store::tokens::{NewToken, Rotation, TokenChanges, TokenFilter, check_tool_networks};

pub struct Tokens {
    store: Store,
    config: config::TokensSection,
}

/// Properties of a new token. An unknown field is refused: a token that allows more than its maker meant is dangerous.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Which machine or pipeline it is for. The record shows it.
    #[schema(example = "nightly docs build", min_length = 1, max_length = 100)]
    pub name: String,
    /// By default `chat` and `models`. `models:manage` and `metrics` are for admins.
    #[schema(value_type = Option<Vec<Scope>>)]
    pub scopes: Option<Vec<String>>,
    /// The models that it may use; by default all that you may.
    #[schema(example = json!(["llama3.2:latest"]))]
    pub models: Option<Vec<String>>,
    /// Addresses and networks that it may be used from; by default any.
    #[schema(example = json!(["192.168.1.0/24"]))]
    pub networks: Option<Vec<String>>,
    /// For a tool that people sign in to, such as Open WebUI: a request counts as the person's whose e-mail address it has in the
    /// header `delegating.email_header`. Only for admins, only with `networks`, and with no other scopes than `chat`,
    /// `embeddings` and `models`.
    #[serde(default)]
    #[schema(example = false)]
    pub delegating: bool,
    /// A separate limit, in addition to yours.
    #[schema(minimum = 1, maximum = 1_000_000, example = 5)]
    pub requests_per_minute: Option<u32>,
    /// Separate quotas, in addition to yours.
    #[schema(value_type = Option<Quotas>, example = json!({ "tokens_per_day": 100_000 }))]
    pub quotas: Option<Fields<Quotas>>,
    /// `batch` takes what interactive requests leave; by default your own class. A token never has a higher class than its
    /// owner.
    #[schema(value_type = Option<Class>)]
    pub class: Option<String>,
    /// 90 by default.
    #[schema(minimum = 1, maximum = 365, example = 90)]
    pub expires_in_days: Option<u32>,
}

/// Unchecked changes to a token; `None` keeps a value, `Some(None)` removes it.
#[derive(Debug, Default)]
pub struct TokenEdit {
    pub name: Option<String>,
    pub networks: Option<Option<Vec<String>>>,
    pub requests_per_minute: Option<Option<u32>>,
    /// By name; `None` removes a quota.
    pub quotas: BTreeMap<String, Option<u64>>,
    pub class: Option<Option<String>>,
}

/// Properties of a rotation.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWish {
    /// How long the previous secret is still accepted: by default an hour; 0 ends it at once.
    #[schema(maximum = 604_800, example = 3600)]
    pub grace_seconds: Option<u32>,
    /// From now; by default the expiry stays.
    #[schema(minimum = 1, maximum = 365)]
    pub expires_in_days: Option<u32>,
}

/// A token whose secret was just made, the only time that it can be shown.
pub struct Fresh {
    pub token: Token,
    pub secret: Secret<String>,
}

const NAME_LETTERS_MAX: usize = 100;
const NETWORKS_MAX: usize = 32;
const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Tokens {
    pub fn new(store: Store, config: &config::TokensSection) -> Self {
        Tokens { store, config: config.clone() }
    }

    /// Creates a token for the user with the public id `owner`.
    pub async fn create(&self, by: Actor, owner: &str, wish: Wish) -> Result<Fresh, Error> {
        let scopes = match &wish.scopes {
            Some(words) => Scopes::parse(words)?,
            None => Scopes::parse(&["chat", "models"])?,
        };
        let networks = networks(wish.networks.as_deref())?;
        if wish.delegating {
            check_delegating(&scopes, networks.as_deref())?;
        }
        let public_id = api_token::new_public_id();
        let minted = api_token::mint(&public_id);
        let new = NewToken {
            public_id,
            secret_sha256: minted.secret_sha256,
            name: name(&wish.name)?,
            scopes,
            delegating: wish.delegating,
            models: models(wish.models.as_deref())?,
            networks,
            requests_per_minute: wish.requests_per_minute.map(check_requests_per_minute).transpose()?,
            quotas: wish.quotas.map(|Fields(quotas)| quotas).unwrap_or_default().check()?,
            class: wish.class.as_deref().map(Class::parse).transpose()?,
            lifetime_seconds: self.lifetime_seconds(wish.expires_in_days.unwrap_or(self.config.lifetime_days))?,
        };
        let token = self.store.create_token(by, owner, new, i64::from(self.config.per_user_max)).await?;
        Ok(Fresh { token, secret: minted.text })
    }

    /// Changes a token, for its owner or an admin. The owner's own limits apply, too.
    pub async fn edit(&self, by: Actor, id: &str, edit: TokenEdit) -> Result<Token, Error> {
        let limit = |limit: Option<u32>| limit.map(check_requests_per_minute).transpose();
        let class = |word: Option<String>| word.as_deref().map(Class::parse).transpose();
        let changes = TokenChanges {
            name: edit.name.as_deref().map(name).transpose()?,
            networks: edit.networks.map(|list| networks(list.as_deref())).transpose()?,
            requests_per_minute: edit.requests_per_minute.map(limit).transpose()?,
            quotas: QuotaChanges::parse(&edit.quotas)?,
            class: edit.class.map(class).transpose()?,
        };
        self.store.edit_token(by, id, changes).await
    }

    /// Gives a token a new secret. The previous one is accepted for a while, so that the machine can be switched without haste.
    pub async fn rotate(&self, by: Actor, id: &str, wish: RotateWish) -> Result<Fresh, Error> {
        let grace = wish.grace_seconds.unwrap_or(self.config.grace_seconds);
        if grace > self.config.grace_seconds_max {
            let message = format!("`grace_seconds` must be at most {}", self.config.grace_seconds_max);
            return Err(Error::invalid("grace_seconds", message));
        }
        let minted = api_token::mint(id);
        let rotation = Rotation {
            secret_sha256: minted.secret_sha256,
            grace_seconds: i64::from(grace),
            lifetime_seconds: wish.expires_in_days.map(|days| self.lifetime_seconds(days)).transpose()?,
        };
        let token = self.store.rotate_token(by, id, rotation).await?;
        Ok(Fresh { token, secret: minted.text })
    }

    /// Revokes a token at once, for its owner or an admin.
    pub async fn revoke(&self, by: Actor, id: &str) -> Result<Token, Error> {
        self.store.revoke_token(by, id).await
    }

    /// Resumes a token that was paused by the breaker, or suspended with its owner.
    pub async fn resume(&self, by: Actor, id: &str) -> Result<Token, Error> {
        self.store.resume_token(by, id).await
    }

    /// Returns a page of tokens, newest first; `before` is the id with which the last page ended.
    pub async fn list(&self, which: TokenFilter, before: Option<String>, limit: usize) -> Result<Vec<Token>, Error> {
        self.store.tokens_page(which, before, limit as i64).await
    }

    /// Returns a token of a user, also one that has ended. Another user's looks as if it did not exist.
    pub async fn one_of(&self, user_id: i64, id: &str) -> Result<Token, Error> {
        self.store.token_of(user_id, id.to_owned()).await
    }

    /// Returns for how many days a token may be made, and for how many it is by default.
    pub fn lifetime_days(&self) -> (u32, u32) {
        (self.config.lifetime_days_max, self.config.lifetime_days)
    }

    /// Returns how long the secret before a rotation is accepted by default.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.grace_seconds))
    }

    /// Returns how many tokens that have not ended one user may have.
    pub fn per_user_max(&self) -> u32 {
        self.config.per_user_max
    }

    /// Returns a token's owner.
    pub fn owner(&self, token: &Token) -> Option<Arc<User>> {
        self.store.people().by_id(token.user_id).cloned()
    }

    fn lifetime_seconds(&self, days: u32) -> Result<i64, Error> {
        let most = self.config.lifetime_days_max;
        if !(1..=most).contains(&days) {
            let message = format!("`expires_in_days` must be from 1 to {most}");
            return Err(Error::invalid("expires_in_days", message));
        }
        Ok(i64::from(days) * DAY_SECONDS)
    }
}

/// Checks what a delegating token may be made for: what other people may use of models, from named networks.
fn check_delegating(scopes: &Scopes, networks: Option<&[IpNet]>) -> Result<(), Error> {
    let lends = |scope: &Scope| !matches!(scope, Scope::Chat | Scope::Embeddings | Scope::Models);
    if let Some(scope) = scopes.iter().find(lends) {
        let message = format!(
            "a token that acts for other people may have the scopes chat, embeddings and models, not {}",
            scope.name()
        );
        return Err(Error::invalid("scopes", message));
    }
    check_tool_networks(networks)
}

fn name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    let letters = name.chars().count();
    if letters == 0 || letters > NAME_LETTERS_MAX || name.chars().any(is_hidden) {
        let message = format!(
            "`name` must have from 1 to {NAME_LETTERS_MAX} characters, none of them a control character, one without \
             width, or one that turns the direction of writing"
        );
        return Err(Error::invalid("name", message));
    }
    Ok(name.to_owned())
}

fn models(names: Option<&[String]>) -> Result<AllowedModels, Error> {
    match names {
        None => Ok(AllowedModels::default()),
        Some(names) => AllowedModels::parse(names),
    }
}

fn networks(texts: Option<&[String]>) -> Result<Option<Vec<IpNet>>, Error> {
    let Some(texts) = texts else { return Ok(None) };
    if texts.is_empty() || texts.len() > NETWORKS_MAX {
        let message = format!("`networks` must hold from 1 to {NETWORKS_MAX} networks; leave it out to allow all");
        return Err(Error::invalid("networks", message));
    }
    let parse = |(at, text): (usize, &String)| {
        let network: Option<IpNet> = text.parse().or_else(|_| text.parse().map(|address: IpAddr| address.into())).ok();
        network.map(|network| network.trunc()).ok_or_else(|| {
            let field = format!("networks[{at}]");
            let message = format!("`{field}` must be a network, as in 192.168.1.0/24, or an address");
            Error::invalid(field, message)
        })
    };
    texts.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_range() {
        let read = |texts: &[&str]| networks(Some(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()));

        let read_back: Vec<String> =
            read(&["192.168.1.7/24", "10.0.0.1", "fe80::/10"]).unwrap().unwrap().iter().map(IpNet::to_string).collect();
        assert_eq!(read_back, ["192.168.1.0/24", "10.0.0.1/32", "fe80::/10"]);
        assert_eq!(read(&["10.0.0.0/8", "everywhere"]).unwrap_err().field(), Some("networks[1]"));
        assert_eq!(read(&[]).unwrap_err().field(), Some("networks"));
        assert!(networks(None).unwrap().is_none());
    }

    #[test]
    fn a_name_can_be_read_in_a_list() {
        assert_eq!(name("  nightly build ").unwrap(), "nightly build");
        assert!(name(&"x".repeat(100)).is_ok() && name(&"x".repeat(101)).is_err());
        for bad in
            [" ", "a\nb", "a\tb", "\u{1b}[31mred", "a\u{202e}b", "a\u{200b}b", "\u{feff}", "a\u{9b}b", "a\u{2028}b"]
        {
            assert_eq!(name(bad).unwrap_err().field(), Some("name"), "{bad:?}");
        }
        assert!(name("größer, 日本 🛠\u{fe0f}").is_ok());
    }
}
