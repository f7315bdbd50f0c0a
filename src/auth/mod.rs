//! Authentication: turns a credential into an identity, or refuses it.
//!
//! Only this folder can make an `Identity`. Each request looks its account up in the snapshot of accounts, so a disabled
//! account or a changed password has effect at once.

use std::net::IpAddr;
use std::sync::Arc;

use moka::future::Cache;
use ring::hmac;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, chain};
use crate::base::secret::{Secret, random_bytes};
use crate::config;
use crate::model::credential::{Credential, Username};
use crate::model::model_name::{ModelName, SameModel};
use crate::model::people::{Actor, User, UserStatus};
use crate::model::rights::{Class, Scope};
use crate::model::token::Token;
use crate::store::Store;

pub mod api_token;
pub mod behalf;
mod failures;
mod guessable;
pub mod jwt;
pub mod own_acts;
pub mod password;
pub mod running;
pub mod sessions;
pub mod throttle;

use api_token::ApiToken;
use behalf::{HeaderValues, Stranger, Via};
use failures::AuthFailures;
use jwt::{JwtKeys, OldKeys};
use own_acts::OwnActs;
use password::{Match, Passwords};
use running::Running;
use sessions::{OpenSession, SessionId, Sessions};
use throttle::{Throttle, Try};

/// An authenticated person or machine.
#[derive(Clone)]
pub struct Identity {
    user: Arc<User>,
    credential: &'static str,
    token: Option<Arc<Token>>,
    via: Via,
}

impl Identity {
    pub fn user_id(&self) -> i64 {
        self.user.id
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    /// Returns whether the caller has the rights of an admin. A delegating token never lends them.
    pub fn is_admin(&self) -> bool {
        matches!(self.via, Via::Own) && self.user.is_admin()
    }

    /// Returns the owner of the delegating token that the person's request came by.
    pub fn via_user_id(&self) -> Option<i64> {
        match &self.via {
            Via::Delegated { owner, .. } => Some(owner.id),
            Via::Own | Via::Unnamed(_) => None,
        }
    }

    /// Returns whether a tool sends the request by itself, and no person waits for it. It is a courtesy of the tool to say so, and
    /// no boundary: such requests are counted apart, and have the lowest class.
    pub fn is_background(&self) -> bool {
        matches!(self.via, Via::Delegated { is_background: true, .. })
    }

    /// Returns the API token, if one was used.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_deref()
    }

    pub fn token_id(&self) -> Option<i64> {
        self.token.as_ref().map(|token| token.id)
    }

    /// Returns the kind of credential for the record: `password`, `jwt`, `token` or `session`.
    pub fn credential(&self) -> &'static str {
        self.credential
    }

    /// Returns the identity of a person with a session of the pages.
    fn of_session(user: Arc<User>) -> Identity {
        Identity { user, credential: "session", token: None, via: Via::Own }
    }

    pub fn whose(&self) -> Whose {
        Whose {
            user_id: self.user_id(),
            via_user_id: self.via_user_id(),
            token_id: self.token_id(),
            credential: self.credential,
        }
    }

    /// Checks that one of `scopes` may be used from `source`. A person has all scopes; a token has those it was made for,
    /// within its owner's rights.
    pub fn check_use(&self, scopes: &[Scope], source: Option<IpAddr>) -> Result<(), Error> {
        let Some(token) = &self.token else { return Ok(()) };
        check_place(token, source)?;
        if let Via::Unnamed(header) = &self.via
            && !scopes.contains(&Scope::Models)
        {
            return Err(behalf::nobody_named(token, header));
        }
        let has = |scope: &Scope| token.scopes.include(*scope) && (!scope.needs_admin() || self.is_admin());
        if !scopes.iter().any(has) {
            let needed: Vec<_> = scopes.iter().map(|scope| format!("`{}`", scope.name())).collect();
            let needed = needed.join(" or ");
            return Err(Error::forbidden(format!("the token `{}` needs the scope {needed} for this", token.name)));
        }
        Ok(())
    }

    /// Checks that models may be changed from `source`: by an admin's token with the scope for it, and by nothing else. A JWT
    /// gives all rights of its person; a change of the model server for all users needs a token of its own.
    pub fn check_manages_models(&self, source: Option<IpAddr>) -> Result<(), Error> {
        let scope = Scope::ManageModels.name();
        let Some(token) = &self.token else {
            return Err(Error::forbidden(format!(
                "changing models needs a token of an admin with the scope `{scope}`; make one with POST /api/v1/tokens or on the \
                 page of access tokens"
            )));
        };
        if !self.is_admin() {
            let name = &token.name;
            return Err(Error::forbidden(format!(
                "changing models needs a token of an admin with the scope `{scope}`, and the owner of the token `{name}` is none"
            )));
        }
        self.check_use(&[Scope::ManageModels], source)
    }

    /// Returns the person's queue weight, at least 1; their tokens share it.
    pub fn weight(&self) -> u32 {
        u32::try_from(self.user.weight).unwrap_or(1).max(1)
    }

    /// Returns the lower of the person's class and the token's: a token never raises its owner's class. Background tasks are
    /// `batch`.
    pub fn class(&self) -> Class {
        let token = self.token.as_ref().and_then(|token| token.class);
        let own = token.map_or(self.user.class, |class| class.max(self.user.class));
        if self.is_background() { own.max(Class::Batch) } else { own }
    }

    /// Checks that `model` is visible: it is on the person's list and on the token's.
    pub fn may_name(&self, model: &ModelName, is_same: SameModel<'_>) -> bool {
        self.user.models.include(model, is_same)
            && self.token.as_ref().is_none_or(|token| token.models.include(model, is_same))
    }
}

/// Checks that a token is not paused and may be used from `source`.
fn check_place(token: &Token, source: Option<IpAddr>) -> Result<(), Error> {
    if let Some(way) = token.paused {
        return Err(token.paused_error(way));
    }
    if !token.may_come_from(source) {
        return Err(Error::forbidden(format!("the token `{}` may not be used from this address", token.name)));
    }
    Ok(())
}

/// The owner of a credential, for the record only; grants no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    pub user_id: i64,
    /// The owner of the delegating token that the person's request came by.
    pub via_user_id: Option<i64>,
    pub token_id: Option<i64>,
    pub credential: &'static str,
}

/// A failed authentication. `whose` is known when the secret was right but is no longer accepted: the record names the owner,
/// so that an admin can find the machine that still uses an ended token. The response never shows it.
#[derive(Debug)]
pub struct Denied {
    pub error: Error,
    whose: Option<Box<Whose>>,
    /// The person who is to be registered.
    pub stranger: Option<Box<Stranger>>,
}

impl Denied {
    pub fn of(whose: Whose, error: Error) -> Self {
        Denied { error, whose: Some(Box::new(whose)), stranger: None }
    }

    pub fn whose(&self) -> Option<Whose> {
        self.whose.as_deref().copied()
    }
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Denied { error, whose: None, stranger: None }
    }
}

/// An account whose password was just verified. The password may have to be changed before it gives access.
pub struct Proof {
    pub user: Arc<User>,
}

impl Proof {
    /// Turns the proof into an identity, unless the password must be changed first.
    fn into_identity(self) -> Result<Identity, Error> {
        if self.user.must_change {
            return Err(Error::password_change_required());
        }
        Ok(Identity { user: self.user, credential: "password", token: None, via: Via::Own })
    }
}

pub struct Auth {
    store: Store,
    pub passwords: Passwords,
    pub throttle: Throttle,
    pub running: Arc<Running>,
    pub own_acts: OwnActs,
    pub sessions: Sessions,
    pub failures: AuthFailures,
    keys: Arc<JwtKeys>,
    /// Cache of verified passwords for `/chat`: a keyed digest of everything that was verified, and the account's id.
    verified: Cache<[u8; 32], i64>,
    cache_key: hmac::Key,
    delegating: config::DelegatingSection,
    delegating_unknown: config::UnknownPerson,
}

impl Auth {
    pub fn new(
        store: Store,
        keys: JwtKeys,
        throttle: Throttle,
        config: &config::AccountsSection,
        delegating: &config::DelegatingSection,
    ) -> anyhow::Result<Self> {
        let verified = Cache::builder()
            .max_capacity(config.credential_cache_max)
            .time_to_live(config.credential_cache_lifetime)
            .build();
        let cache_key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>());
        let running = Running::new(store.clone());
        let own_acts = OwnActs::new(store.settings().clone());
        let sessions = Sessions::new(store.clone(), config);
        let passwords = Passwords::new(config)?;
        Ok(Auth {
            store,
            passwords,
            throttle,
            running,
            own_acts,
            sessions,
            failures: AuthFailures::default(),
            keys: Arc::new(keys),
            verified,
            cache_key,
            delegating: delegating.clone(),
            delegating_unknown: config.delegating_unknown,
        })
    }

    /// Authenticates a credential. `source` is the client's address; a password from the host itself has none and is not slowed
    /// down. `headers` are read only if the credential is a delegating token, which needs a person there.
    pub async fn identify(
        &self,
        credential: Credential,
        source: Option<IpAddr>,
        headers: HeaderValues<'_>,
    ) -> Result<Identity, Denied> {
        match credential {
            Credential::Bearer(text) if text.expose().starts_with(api_token::PREFIX) => {
                let machine = self.machine(&text).inspect_err(|_| self.failures.token.add())?;
                self.on_behalf(machine, source, headers)
            }
            Credential::Bearer(jwt) => self.bearer(&jwt).inspect_err(|_| self.failures.jwt.add()),
            Credential::Password { username, password } => Ok(self.known_password(&username, password, source).await?),
        }
    }

    /// Verifies credentials and returns a JWT and its lifetime in seconds.
    pub async fn issue_token(
        &self,
        username: &Username,
        password: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<(String, u64), Error> {
        let identity = self.prove(username, password, source).await?.into_identity()?;
        self.keys.issue(&identity.user.public_id, identity.user.version, Timestamp::now())
    }

    /// Signs JWTs with a new key from now on. The act is on record first: no record, no rotation.
    pub async fn rotate_keys(&self, by: Actor, old: OldKeys) -> Result<(), Error> {
        self.store.note_key_rotation(by, old == OldKeys::Drop).await?;
        let keys = self.keys.clone();
        let rotated = tokio::task::spawn_blocking(move || keys.rotate(old)).await;
        rotated.map_err(anyhow::Error::from).flatten().map_err(Error::internal)
    }

    /// Verifies credentials and opens a session of the pages, also for an account that waits for approval or has to change its
    /// password: such a session opens nothing else.
    pub async fn sign_in(
        &self,
        username: &Username,
        password: Secret<String>,
        source: Option<IpAddr>,
        browser: Option<&str>,
    ) -> Result<SessionId, Error> {
        let user = self.prove_for(username, password, source, may_open_session).await?.user;
        if self.sessions.reset_was_used(&user) {
            let message = "this password was good for one sign-in and has been used; if that was not you, tell an admin, who \
                can reset it again";
            return Err(Error::forbidden(message));
        }
        self.sessions.open(&user, source.map(|source| source.to_string()), browser).await
    }

    /// Verifies the password of a session again. Returns the session's new id. The third wrong password ends the session.
    pub async fn prove_again(
        &self,
        session: &OpenSession,
        password: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<SessionId, Error> {
        let username = Username::of(session.user().name());
        match self.prove(&username, password, source).await {
            Ok(proof) if proof.user.version == session.user().version => self.sessions.renew(session).await,
            Ok(_) => Err(Error::bad_credentials()),
            Err(error) => {
                if matches!(error, Error::Unauthenticated { .. }) && self.sessions.was_wrong(session) {
                    self.sessions.sign_out(session).await?;
                }
                Err(error)
            }
        }
    }

    fn bearer(&self, token: &Secret<String>) -> Result<Identity, Denied> {
        let claims = self.keys.verify(token.expose(), Timestamp::now())?;
        let ended = || Error::bad_token("it is no longer valid; get a new one from POST /auth/token");
        let people = self.store.people();
        let user = people.by_public_id(&claims.sub).ok_or_else(ended)?;
        let error = if !user.is_active() || user.version != claims.ver {
            ended()
        } else if user.must_change {
            Error::password_change_required()
        } else {
            return Ok(Identity { user: user.clone(), credential: "jwt", token: None, via: Via::Own });
        };
        let whose = Whose { user_id: user.id, via_user_id: None, token_id: None, credential: "jwt" };
        Err(Denied::of(whose, error))
    }

    /// Authenticates an API token. Its scopes are checked later, by `Identity::check_use`.
    fn machine(&self, text: &Secret<String>) -> Result<Identity, Denied> {
        let damaged = || Error::bad_token("it is damaged; was it cut or mistyped when it was copied?");
        // One error for all three, so that a stranger learns nothing.
        let ended = || Error::bad_token("it is unknown, revoked or expired; its owner can make a new one");
        let key = ApiToken::parse(text.expose()).ok_or_else(damaged)?;
        let (people, now) = (self.store.people(), Timestamp::now());
        let shown = people.token(key.public_id).filter(|token| token.secrets(now).any(|sha256| key.opens(sha256)));
        let token = shown.ok_or_else(ended)?;
        let whose = Whose { user_id: token.user_id, via_user_id: None, token_id: Some(token.id), credential: "token" };
        let denied = |error| Denied::of(whose, error);
        if token.has_ended(now) {
            return Err(denied(ended()));
        }
        let owner = people.by_id(token.user_id).filter(|owner| owner.is_active());
        let Some(owner) = owner else {
            return Err(denied(Error::bad_token("its owner's account is not active")));
        };
        if token.sleeps_with_its_owner() || owner.must_change {
            return Err(denied(Error::bad_token("it is suspended; its owner can resume it after signing in")));
        }
        self.store.note_token_use(token, now);
        Ok(Identity { user: owner.clone(), credential: "token", token: Some(token.clone()), via: Via::Own })
    }

    /// Verifies a password. The number of hashes depends neither on the name nor on the state of the account.
    pub async fn prove(
        &self,
        username: &Username,
        password: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<Proof, Error> {
        self.prove_for(username, password, source, may_enter).await
    }

    /// Verifies a password of an account that `may` be entered.
    async fn prove_for(
        &self,
        username: &Username,
        password: Secret<String>,
        source: Option<IpAddr>,
        may: fn(&User) -> bool,
    ) -> Result<Proof, Error> {
        let pass = match source {
            Some(source) => Some(self.throttle.enter(source, username).await?),
            None => None,
        };
        let user = self.store.people().by_name(username.as_str()).cloned();
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let found = match self.passwords.verify(password.clone(), hash.clone()).await {
            Ok(found) => found,
            Err(error) => {
                pass.into_iter().for_each(Try::undone);
                return Err(error);
            }
        };
        let proof = user.filter(|user| found != Match::Wrong && may(user)).map(|user| Proof { user });
        if let Some(pass) = pass {
            pass.ended(proof.is_some());
        }
        let proof = proof.ok_or_else(Error::bad_credentials).inspect_err(|_| self.failures.password.add())?;
        match (found, hash) {
            (Match::RightAsTyped, Some(old)) => Ok(self.renew_hash(proof, password, old).await),
            _ => Ok(proof),
        }
    }

    /// Replaces a hash of a password as typed by a hash of its composed form, so that it works on every keyboard. Only
    /// successful sign-ins take this longer path, so its timing tells an attacker nothing.
    async fn renew_hash(&self, proof: Proof, password: Secret<String>, old: String) -> Proof {
        let renewed = async {
            let new = self.passwords.hash(password).await?;
            self.store.renew_hash(proof.user.id, old, new).await
        };
        if let Err(error) = renewed.await {
            tracing::warn!(cause = chain(&error), "a password's hash is renewed at a later sign-in");
            return proof;
        }
        let people = self.store.people();
        people.by_id(proof.user.id).map_or(proof, |user| Proof { user: user.clone() })
    }

    /// Verifies a password like `prove`, but caches a success for some minutes and never hashes the same pair twice at once, so
    /// that a CI job doesn't pay for a hash per request. The stored hash is part of the cache key, so a changed password never
    /// matches.
    async fn known_password(
        &self,
        username: &Username,
        password: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<Identity, Error> {
        let user = self.store.people().by_name(username.as_str()).cloned();
        let Some((user, hash)) = user.and_then(|user| user.password_hash.clone().map(|hash| (user, hash))) else {
            return self.prove(username, password, source).await?.into_identity();
        };
        let key = self.cache_key_of(user.id, password.expose(), &hash);
        let prove = async { self.prove(username, password, source).await.map(|proof| proof.user.id) };
        let verified = self.verified.try_get_with(key, prove).await;
        match verified {
            Ok(id) if id == user.id && may_enter(&user) => Proof { user }.into_identity(),
            Ok(_) => Err(Error::bad_credentials()),
            Err(error) => Err(again(&error)),
        }
    }

    fn cache_key_of(&self, user_id: i64, password: &str, hash: &str) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.cache_key);
        mac.update(&user_id.to_be_bytes());
        mac.update(&(password.len() as u64).to_be_bytes());
        mac.update(password.as_bytes());
        mac.update(hash.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(mac.sign().as_ref());
        key
    }
}

fn may_enter(user: &User) -> bool {
    user.is_active() && !user.reset_is_over(Timestamp::now())
}

fn may_open_session(user: &User) -> bool {
    may_enter(user) || user.status == UserStatus::Pending
}

/// Copies the error of a verification that several requests shared.
fn again(shared: &Error) -> Error {
    match shared {
        Error::Unavailable { message, retry_after } => {
            Error::Unavailable { message: message.clone(), retry_after: *retry_after }
        }
        Error::RateLimited { message, retry_after } => {
            Error::RateLimited { message: message.clone(), retry_after: *retry_after }
        }
        _ => Error::bad_credentials(),
    }
}

#[cfg(test)]
mod tests;
