//! The verbs that change tokens of machines.
//!
//! Each verb is one transaction that also writes its act to the record. The snapshot of users holds the tokens that can be used,
//! and many that have ended. A use is noted there at once, and on disk in steps.
//!
//! Lifetimes are computed and checked with the host's clock, not with the time of the record's rows, which never goes back: a
//! clock that was set back would prolong them.

use std::collections::HashMap;

use diesel::prelude::*;
use ipnet::IpNet;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::{Actor, User};
use crate::model::record::Act;
use crate::model::rights::quotas::{QuotaChanges, Quotas};
use crate::model::rights::{AllowedModels, Class, Scopes};
use crate::model::runaway::{Runaway, RunawayEvidence};
use crate::model::token::Token;
use crate::store::audit::TokenAct;
use crate::store::people::{TokenRow, check_acting_admin, find as find_user, find_by_id};
use crate::store::quotas::OfToken;
use crate::store::schema::tokens;
use crate::store::{Store, Tx, WriteFailure, audit};

mod pages;

pub use pages::TokenFilter;

#[derive(Debug, Clone, Copy, Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct TokenKey {
    pub id: i64,
    pub user_id: i64,
}

/// The name of a token, and whose it is.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct Label {
    pub public_id: String,
    pub user_id: i64,
    /// Whether it brings requests of other people.
    pub delegating: bool,
    /// None when its owner was deleted.
    name: Option<String>,
}

impl Label {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("(deleted)")
    }
}

/// A token to be written, checked.
pub struct NewToken {
    pub public_id: String,
    pub secret_sha256: Vec<u8>,
    pub name: String,
    pub scopes: Scopes,
    /// Only for an admin; it then has networks.
    pub delegating: bool,
    pub models: AllowedModels,
    pub networks: Option<Vec<IpNet>>,
    pub requests_per_minute: Option<i64>,
    pub quotas: Quotas,
    pub class: Option<Class>,
    pub lifetime_seconds: i64,
}

#[cfg(test)]
impl NewToken {
    /// Returns a token of tests: `0123456789`, for chats, for an hour.
    pub fn for_test() -> Self {
        NewToken {
            public_id: "0123456789".into(),
            secret_sha256: vec![0; 32],
            name: "ci".into(),
            scopes: Scopes::parse(&["chat"]).unwrap(),
            delegating: false,
            models: AllowedModels::default(),
            networks: None,
            requests_per_minute: None,
            quotas: Quotas::default(),
            class: None,
            lifetime_seconds: 3600,
        }
    }
}

/// What is changed in a token; `None`: it stays as it is. Its scopes and models can't be changed.
#[derive(Debug, Default)]
pub struct TokenChanges {
    pub name: Option<String>,
    pub networks: Option<Option<Vec<IpNet>>>,
    pub requests_per_minute: Option<Option<i64>>,
    pub quotas: QuotaChanges,
    pub class: Option<Option<Class>>,
}

/// A new secret for a token.
pub struct Rotation {
    pub secret_sha256: Vec<u8>,
    /// How long the old secret is accepted, too.
    pub grace_seconds: i64,
    /// From now; `None`: the token expires when it would have.
    pub lifetime_seconds: Option<i64>,
}

/// Who may change a token besides the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Owner,
    OwnerOrAdmin,
}

impl Store {
    /// Creates a token of the user with the public id `owner`, unless they have `per_user_max` usable ones.
    pub async fn create_token(&self, by: Actor, owner: &str, new: NewToken, per_user_max: i64) -> Result<Token, Error> {
        let owner = owner.to_owned();
        self.write(move |tx| {
            let owner = find_user(tx, &owner)?;
            if by.0.is_some_and(|acting| acting != owner.id) {
                return Err(Error::forbidden("a token is made by its owner").into());
            }
            check_may_own(&owner, &new)?;
            let now = Timestamp::now();
            let live: i64 = tokens::table
                .filter(tokens::user_id.eq(owner.id))
                .filter(tokens::revoked_at_us.is_null())
                .filter(tokens::expires_at_us.gt(now.0))
                .count()
                .get_result(tx.connection)?;
            if live >= per_user_max {
                return Err(Error::conflict(format!(
                    "there are {live} tokens already, which is the most; revoke one that is not needed"
                ))
                .into());
            }
            let row: TokenRow = diesel::insert_into(tokens::table)
                .values((
                    tokens::public_id.eq(&new.public_id),
                    tokens::user_id.eq(owner.id),
                    tokens::name.eq(&new.name),
                    tokens::scopes.eq(new.scopes.words().join(" ")),
                    tokens::delegating.eq(new.delegating),
                    tokens::models.eq(new.models.text()),
                    tokens::networks.eq(new.networks.as_deref().map(words_of)),
                    tokens::requests_per_minute.eq(new.requests_per_minute),
                    OfToken::from(new.quotas),
                    tokens::class.eq(new.class.map(Class::name)),
                    tokens::secret_sha256.eq(&new.secret_sha256),
                    tokens::created_at_us.eq(tx.now.0),
                    tokens::expires_at_us.eq(now.plus_seconds(new.lifetime_seconds).0),
                ))
                .returning(TokenRow::as_returning())
                .get_result(tx.connection)?;
            let token = Token::from(row);
            let detail = serde_json::json!({
                "name": new.name,
                "scopes": new.scopes.words(),
                "delegating": new.delegating,
                "models": new.models.words(),
                "networks": new.networks.as_deref().map(words_of),
                "requests_per_minute": new.requests_per_minute,
                "quotas": new.quotas,
                "class": new.class.map(Class::name),
                "expires_at": Timestamp(token.expires_at_us).rfc3339(),
            });
            done(tx, Act::TokenCreated, by, &token, Some(detail))?;
            Ok(token)
        })
        .await
    }

    /// Changes a token; the act has the values before and after.
    pub async fn edit_token(&self, by: Actor, id: &str, changes: TokenChanges) -> Result<Token, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let old = find(tx, &id, by, Reach::OwnerOrAdmin)?;
            check_alive(&old)?;
            if old.delegating
                && let Some(networks) = &changes.networks
            {
                check_tool_networks(networks.as_deref())?;
            }
            diesel::update(tokens::table.find(old.id))
                .set((
                    tokens::name.eq(changes.name.as_ref().unwrap_or(&old.name)),
                    tokens::networks.eq(changes.networks.as_ref().unwrap_or(&old.networks).as_deref().map(words_of)),
                    tokens::requests_per_minute.eq(changes.requests_per_minute.unwrap_or(old.requests_per_minute)),
                    OfToken::from(changes.quotas.apply(old.quotas)),
                    tokens::class.eq(changes.class.unwrap_or(old.class).map(Class::name)),
                ))
                .execute(tx.connection)?;
            let new = find(tx, &id, by, Reach::OwnerOrAdmin)?;
            let detail = serde_json::json!({ "old": governed(&old), "new": governed(&new) });
            done(tx, Act::TokenChanged, by, &new, Some(detail))?;
            Ok(new)
        })
        .await
    }

    /// Revokes a token at once. Revoking it again changes nothing.
    pub async fn revoke_token(&self, by: Actor, id: &str) -> Result<Token, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let token = find(tx, &id, by, Reach::OwnerOrAdmin)?;
            if token.revoked_at_us.is_some() {
                return Ok(token);
            }
            diesel::update(tokens::table.find(token.id))
                .set(tokens::revoked_at_us.eq(tx.now.0))
                .execute(tx.connection)?;
            done(tx, Act::TokenRevoked, by, &token, None)?;
            find(tx, &id, by, Reach::OwnerOrAdmin)
        })
        .await
    }

    pub async fn rotate_token(&self, by: Actor, id: &str, rotation: Rotation) -> Result<Token, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let token = find(tx, &id, by, Reach::Owner)?;
            check_alive(&token)?;
            let now = Timestamp::now();
            let until = now.plus_seconds(rotation.grace_seconds).min(Timestamp(token.expires_at_us));
            let expires = rotation.lifetime_seconds.map(|seconds| now.plus_seconds(seconds).0);
            // A secret that ends at once is not kept: a clock that is set back would revive it.
            let old = (rotation.grace_seconds > 0).then(|| token.secret_sha256.clone());
            diesel::update(tokens::table.find(token.id))
                .set((
                    tokens::old_until_us.eq(until.0),
                    tokens::old_secret_sha256.eq(old),
                    tokens::secret_sha256.eq(&rotation.secret_sha256),
                    tokens::expires_at_us.eq(expires.unwrap_or(token.expires_at_us)),
                ))
                .execute(tx.connection)?;
            let detail = serde_json::json!({ "old_secret_until": until.rfc3339() });
            done(tx, Act::TokenRotated, by, &token, Some(detail))?;
            find(tx, &id, by, Reach::Owner)
        })
        .await
    }

    /// Pauses a token that ran away, until it is resumed. One that is suspended or has ended stays as it is.
    pub async fn pause_token(&self, id: i64, way: Runaway, seen: RunawayEvidence) -> Result<(), Error> {
        self.write(move |tx| {
            let row: TokenRow = tokens::table.find(id).select(TokenRow::as_select()).first(tx.connection)?;
            let token = Token::from(row);
            if token.suspended_at_us.is_some() || token.revoked_at_us.is_some() {
                return Ok(());
            }
            diesel::update(tokens::table.find(id))
                .set((
                    tokens::suspended_at_us.eq(tx.now.0),
                    tokens::pause_reason.eq(way.name()),
                    tokens::pause_count.eq(i64::try_from(seen.count).unwrap_or(i64::MAX)),
                    tokens::pause_seconds.eq(i64::from(seen.window_seconds)),
                    tokens::pause_example.eq(seen.example.map(|id| id.0.as_bytes().to_vec())),
                ))
                .execute(tx.connection)?;
            let detail =
                serde_json::json!({ "reason": way.name(), "count": seen.count, "within_seconds": seen.window_seconds });
            // The gateway itself acts.
            let act = TokenAct { act: Act::TokenPaused, by: None, reason: Some(way.name()), detail: Some(detail) };
            Ok(enact(tx, &token, act)?)
        })
        .await
    }

    /// Resumes a suspended or paused token.
    pub async fn resume_token(&self, by: Actor, id: &str) -> Result<Token, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let token = find(tx, &id, by, Reach::OwnerOrAdmin)?;
            check_alive(&token)?;
            if token.suspended_at_us.is_none() {
                return Ok(token);
            }
            let owner = owner_of(tx, token.user_id)?;
            if !owner.is_active() || owner.must_change {
                return Err(Error::conflict(format!(
                    "{} must be active and have changed a password that was reset",
                    owner.name()
                ))
                .into());
            }
            diesel::update(tokens::table.find(token.id))
                .set((
                    tokens::suspended_at_us.eq(None::<i64>),
                    tokens::pause_reason.eq(None::<String>),
                    tokens::pause_count.eq(None::<i64>),
                    tokens::pause_seconds.eq(None::<i64>),
                    tokens::pause_example.eq(None::<Vec<u8>>),
                ))
                .execute(tx.connection)?;
            done(tx, Act::TokenResumed, by, &token, None)?;
            find(tx, &id, by, Reach::OwnerOrAdmin)
        })
        .await
    }

    /// Returns the names of tokens, also of those that have ended.
    pub async fn token_labels(&self, mut ids: Vec<i64>) -> Result<HashMap<i64, Label>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        ids.sort_unstable();
        ids.dedup();
        let labels: Vec<(i64, Label)> = self
            .read(move |connection| {
                tokens::table.filter(tokens::id.eq_any(ids)).select((tokens::id, Label::as_select())).load(connection)
            })
            .await?;
        Ok(labels.into_iter().collect())
    }

    /// Returns the key of a token and of its owner, also of one that has ended.
    pub async fn token_key(&self, public_id: String) -> Result<TokenKey, Error> {
        let found: Option<TokenKey> = self
            .read(move |connection| {
                let token = tokens::table.filter(tokens::public_id.eq(public_id));
                token.select(TokenKey::as_select()).first(connection).optional()
            })
            .await?;
        found.ok_or_else(|| Error::NotFound { what: "such token".into() })
    }

    /// Notes a use of a token from the snapshot. It reaches the disk with other rows, and is not waited for.
    pub fn note_token_use(&self, token: &Token, now: Timestamp) {
        if !token.used_at.note(now) {
            return;
        }
        let id = token.id;
        let note = move |tx: &mut Tx<'_>| {
            let target = tokens::table.find(id);
            Ok(diesel::update(target).set(tokens::last_used_at_us.eq(now.0)).execute(tx.connection)?)
        };
        self.write_soon(note);
    }
}

/// Suspends every token of a user, until its owner or an admin resumes it.
pub fn suspend_all(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<()> {
    let live = tokens::table
        .filter(tokens::user_id.eq(user_id))
        .filter(tokens::revoked_at_us.is_null())
        .filter(tokens::suspended_at_us.is_null());
    diesel::update(live).set(tokens::suspended_at_us.eq(tx.now.0)).execute(tx.connection).map(drop)
}

/// Revokes every token of a user, each with its act.
pub fn revoke_all(tx: &mut Tx<'_>, user_id: i64, by: Actor) -> QueryResult<()> {
    let live = tokens::table.filter(tokens::user_id.eq(user_id)).filter(tokens::revoked_at_us.is_null());
    for row in live.select(TokenRow::as_select()).load::<TokenRow>(tx.connection)? {
        let token = Token::from(row);
        diesel::update(tokens::table.find(token.id)).set(tokens::revoked_at_us.eq(tx.now.0)).execute(tx.connection)?;
        done(tx, Act::TokenRevoked, by, &token, None)?;
    }
    Ok(())
}

/// Resumes the tokens of a user who has set a new password, except those that had been paused.
pub fn resume_all(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<()> {
    let own = tokens::table.filter(tokens::user_id.eq(user_id)).filter(tokens::pause_reason.is_null());
    diesel::update(own).set(tokens::suspended_at_us.eq(None::<i64>)).execute(tx.connection).map(drop)
}

/// Turns the tokens of a deleted user into tombstones: they keep when they were made, and for what.
pub fn bury_all(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<()> {
    let own = tokens::table.filter(tokens::user_id.eq(user_id));
    diesel::update(own)
        .set((
            tokens::name.eq(None::<String>),
            tokens::secret_sha256.eq(vec![0; 32]),
            tokens::old_secret_sha256.eq(None::<Vec<u8>>),
            tokens::networks.eq(None::<String>),
            tokens::revoked_at_us.eq(tx.now.0),
        ))
        .execute(tx.connection)
        .map(drop)
}

fn words_of(networks: &[IpNet]) -> String {
    networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(" ")
}

/// Checks that a user may own a new token: they may have been disabled since their credential was checked.
fn check_may_own(owner: &User, new: &NewToken) -> Result<(), WriteFailure> {
    if !owner.is_active() || owner.must_change {
        return Err(Error::conflict(format!(
            "{} can't have tokens before the account is active and its first password changed",
            owner.name()
        ))
        .into());
    }
    if let Some(scope) = new.scopes.iter().find(|scope| scope.needs_admin() && !owner.is_admin()) {
        return Err(Error::forbidden(format!("only an admin's token may have the scope `{}`", scope.name())).into());
    }
    if new.delegating && !owner.is_admin() {
        return Err(Error::forbidden("only an admin's token may act for other people").into());
    }
    Ok(())
}

/// Checks that a delegating token can't be used from everywhere: with it, a program can act for each person.
pub fn check_tool_networks(networks: Option<&[IpNet]>) -> Result<(), Error> {
    if networks.is_some_and(|networks| networks.iter().all(|network| network.prefix_len() > 0)) {
        return Ok(());
    }
    let message =
        "a token that acts for other people needs `networks`: the addresses of the tool that it is for, and not all";
    Err(Error::invalid("networks", message))
}

fn owner_of(tx: &mut Tx<'_>, user_id: i64) -> QueryResult<User> {
    find_by_id(tx, user_id)?.ok_or(diesel::result::Error::NotFound)
}

/// Returns what an act says about what can be changed in a token.
fn governed(token: &Token) -> serde_json::Value {
    serde_json::json!({
        "name": token.name,
        "networks": token.networks.as_deref().map(words_of),
        "requests_per_minute": token.requests_per_minute,
        "quotas": token.quotas,
        "class": token.class.map(Class::name),
    })
}

fn check_alive(token: &Token) -> Result<(), WriteFailure> {
    let status = token.status(Timestamp::now());
    if status.is_over() {
        let message = format!("the token `{}` is {}; make a new one", token.name, status.name());
        return Err(Error::conflict(message).into());
    }
    Ok(())
}

/// Finds a token that `by` may change; for others it doesn't exist.
fn find(tx: &mut Tx<'_>, id: &str, by: Actor, reach: Reach) -> Result<Token, WriteFailure> {
    let missing = || WriteFailure::from(Error::NotFound { what: "such token".into() });
    let row: Option<TokenRow> = tokens::table
        .filter(tokens::public_id.eq(id))
        .filter(tokens::name.is_not_null())
        .select(TokenRow::as_select())
        .first(tx.connection)
        .optional()?;
    let token = row.map(Token::from).ok_or_else(missing)?;
    let Some(acting) = by.0 else { return Ok(token) };
    if acting == token.user_id {
        let owner = owner_of(tx, acting)?;
        return if owner.is_active() && !owner.must_change { Ok(token) } else { Err(missing()) };
    }
    if reach == Reach::Owner {
        return Err(missing());
    }
    match check_acting_admin(tx, by) {
        Ok(()) => Ok(token),
        Err(WriteFailure::Rule(_)) => Err(missing()),
        Err(failure) => Err(failure),
    }
}

fn done(tx: &mut Tx<'_>, act: Act, by: Actor, token: &Token, detail: Option<serde_json::Value>) -> QueryResult<()> {
    enact(tx, token, TokenAct { act, by: by.0, reason: None, detail })
}

fn enact(tx: &mut Tx<'_>, token: &Token, act: TokenAct) -> QueryResult<()> {
    tx.people_changed();
    audit::insert_token_act(tx.connection, tx.now, token, act)
}

#[cfg(test)]
mod tests;
