//! Tokens of machines from the host: anybody's, since whoever may open the socket governs them all.

use serde::{Deserialize, Serialize};

use crate::auth::api_key;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::control::{Answer, HOST, LIST_MAX};
use crate::model::token::Token;
use crate::rules::accounts::Accounts;
use crate::rules::tokens::{Fresh, RotateWish, Tokens, Wish};

#[derive(Serialize, Deserialize)]
#[serde(tag = "token", rename_all = "snake_case")]
pub enum TokenAsk {
    Create { user: String, wish: Box<Wish> },
    List { user: Option<String> },
    Revoke { id: String },
    Rotate { id: String, wish: RotateWish },
    Resume { id: String },
}

#[derive(Serialize, Deserialize)]
pub struct TokenLine {
    pub prefix: String,
    pub name: String,
    pub user: String,
    pub status: String,
    /// Why it is paused, and since when.
    pub paused: Option<String>,
    pub scopes: Vec<String>,
    pub expires_at: String,
    pub last_used_at: Option<String>,
}

impl TokenLine {
    fn of(token: &Token, user: String) -> Self {
        TokenLine {
            prefix: api_key::prefix_of(&token.public_id),
            name: token.name.clone(),
            user,
            status: token.status(Timestamp::now()).to_owned(),
            paused: paused(token),
            scopes: token.scopes.words().into_iter().map(str::to_owned).collect(),
            expires_at: Timestamp(token.expires_at_us).rfc3339(),
            last_used_at: token.last_used_at().map(Timestamp::rfc3339),
        }
    }
}

fn paused(token: &Token) -> Option<String> {
    let since = Timestamp(token.suspended_at_us?).rfc3339();
    Some(format!("paused since {}, because {}", since[..16].replace('T', " "), token.paused?.words()))
}

pub async fn perform(accounts: &Accounts, tokens: &Tokens, ask: TokenAsk) -> Result<Answer, Error> {
    let line = |token: &Token| TokenLine::of(token, tokens.owner(token));
    let fresh = |fresh: Fresh| Answer::TokenMade { token: line(&fresh.token), secret: fresh.secret.expose().clone() };
    match ask {
        TokenAsk::Create { user, wish } => {
            tokens.create(HOST, &accounts.find(&user)?.public_id, *wish).await.map(fresh)
        }
        TokenAsk::List { user } => {
            let user_id = user.map(|name| accounts.find(&name)).transpose()?.map(|user| user.id);
            let found = tokens.list(user_id, None, LIST_MAX).await?;
            Ok(Answer::Tokens { tokens: found.iter().map(line).collect() })
        }
        TokenAsk::Revoke { id } => {
            let token = tokens.revoke(HOST, named(&id)).await?;
            Ok(Answer::Token { token: line(&token) })
        }
        TokenAsk::Rotate { id, wish } => tokens.rotate(HOST, named(&id), wish).await.map(fresh),
        TokenAsk::Resume { id } => {
            let token = tokens.resume(HOST, named(&id)).await?;
            Ok(Answer::Token { token: line(&token) })
        }
    }
}

/// The id in what a list shows as the beginning of a token.
pub fn named(prefix: &str) -> &str {
    prefix.rsplit('_').next().unwrap_or(prefix)
}
