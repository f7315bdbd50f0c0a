//! The rules about people: who may register, how passwords change, who lets whom in.
//!
//! Every front (routes, pages, command line) calls these verbs; no rule stands anywhere else. What must be atomic is one
//! verb of the store.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Auth;
use crate::auth::password::{INITIAL_PASSWORD, one_time_code};
use crate::config;
use crate::credential::Username;
use crate::error::Error;
use crate::rights::quotas::QuotaChanges;
use crate::rights::{AllowedModels, Class, check_requests_per_minute, check_weight};
use crate::secret::Secret;
use crate::store::Store;
use crate::store::users::{ACTIVE, Actor, DISABLED, PENDING, ROLE_ADMIN, ROLE_USER, Reset, User, UserChanges};

pub struct Accounts {
    store: Store,
    auth: Arc<Auth>,
    reset_seconds: i64,
    pending_max: i64,
}

/// How a reset account gets its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMode {
    /// `admin123`, as the document has it.
    Initial,
    /// A random code, shown once to the admin.
    Code,
}

/// What an admin wants to change, not yet checked; `None` stays as it is, `Some(None)` takes it away.
#[derive(Debug, Default)]
pub struct Edit {
    pub role: Option<String>,
    pub note: Option<Option<String>>,
    pub requests_per_minute: Option<Option<u32>>,
    /// By name; `None` takes one away.
    pub quotas: BTreeMap<String, Option<u64>>,
    pub models: Option<Option<Vec<String>>>,
    pub weight: Option<u32>,
    pub class: Option<String>,
}

/// Answers are cut within a fraction of a second; a reader who takes nothing is given one.
const DRAIN_MAX: Duration = Duration::from_secs(5);

const NOTE_LETTERS_MAX: usize = 1000;

impl Accounts {
    pub fn new(store: Store, auth: Arc<Auth>, config: &config::Accounts) -> Self {
        Accounts {
            store,
            auth,
            reset_seconds: config.reset_lifetime.as_secs() as i64,
            pending_max: config.pending_max as i64,
        }
    }

    /// Makes `admin` with `admin123` when there is no account yet. `true`: it was made now.
    pub async fn ensure_first_admin(&self) -> Result<bool, Error> {
        if self.store.people().all().next().is_some() {
            return Ok(false);
        }
        let hash = self.auth.passwords.hash(Secret::new(INITIAL_PASSWORD.into())).await?;
        self.store.create_first_admin(hash).await
    }

    /// The first admin still has `admin123`, so nobody can be let in.
    pub fn first_admin_waits(&self) -> bool {
        let people = self.store.people();
        people.by_name("admin").is_some_and(|admin| is_first_password(admin))
    }

    /// A new account that waits for approval. Same answer and same cost whether the address is known or not.
    pub async fn register(&self, email: &str, password: Secret<String>) -> Result<(), Error> {
        let username = Username::parse_email(email)?;
        self.auth.passwords.check_new("password", password.expose(), &username)?;
        let hash = self.auth.passwords.hash(password).await?;
        self.store.register(username.as_str().to_owned(), hash, self.pending_max).await.map(drop)
    }

    pub async fn change_password(
        &self,
        username: &str,
        current: Secret<String>,
        new: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<(), Error> {
        let username = Username::of(username);
        self.auth.passwords.check_new("new_password", new.expose(), &username)?;
        if current == new {
            return Err(Error::invalid("new_password", "`new_password` must differ from the current one"));
        }
        let proof = self.auth.prove(&username, current, source).await?;
        if is_first_password(&proof.user) && !source.is_none_or(is_near) {
            let message = "the first password of `admin` is changed on this host or from a private network alone";
            return Err(Error::forbidden(message));
        }
        let old_hash = proof.user.password_hash.clone().unwrap_or_default();
        let new_hash = self.auth.passwords.hash(new).await?;
        self.store.change_password(proof.user.id, old_hash, new_hash).await
    }

    /// Changes role, limits, quotas, models, share or note of an account.
    pub async fn edit(&self, by: Actor, id: &str, edit: Edit) -> Result<User, Error> {
        let changes = UserChanges {
            role: edit.role.as_deref().map(role).transpose()?,
            note: edit.note.map(note).transpose()?,
            requests_per_minute: edit.requests_per_minute.map(requests_per_minute).transpose()?,
            quotas: QuotaChanges::parse(&edit.quotas)?,
            models: edit.models.map(models).transpose()?,
            weight: edit.weight.map(check_weight).transpose()?,
            class: edit.class.as_deref().map(Class::parse).transpose()?,
        };
        self.store.edit_user(by, id, changes).await
    }

    pub async fn approve(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.store.approve(by, id).await
    }

    /// Shuts an account. Its running answers are cut, and returned from this their results are handed to the record.
    pub async fn disable(&self, by: Actor, id: &str) -> Result<User, Error> {
        let user = self.store.disable(by, id).await?;
        self.auth.running.drained(user.id, DRAIN_MAX).await;
        Ok(user)
    }

    pub async fn enable(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.store.enable(by, id).await
    }

    /// Deletes an account for good, its contents with it, when `receipt` shows that all of it was exported just now.
    ///
    /// Whoever is still inside is shut out and drained first. What they leave is in no export, so it voids the receipt, but
    /// nothing can come after the next one.
    pub async fn delete(&self, by: Actor, id: &str, receipt: &str) -> Result<(), Error> {
        // As it stands in the first column of a CSV, or alone.
        let receipt = receipt.trim().trim_start_matches("receipt:");
        let user = self.by_id(id)?;
        if self.auth.running.has(user.id) {
            self.store.check_receipt(by, id, receipt).await?;
            self.disable(by, id).await?;
        }
        self.store.delete_user_after_export(by, id, receipt).await
    }

    /// Gives the account a password that opens nothing but its own change, for an hour. Returns the code, when it is one.
    /// Its tokens sleep until then, or end for good.
    pub async fn reset_password(
        &self,
        by: Actor,
        id: &str,
        mode: ResetMode,
        revoke_tokens: bool,
    ) -> Result<(User, Option<String>), Error> {
        let code = (mode == ResetMode::Code).then(one_time_code);
        let password = code.clone().unwrap_or_else(|| INITIAL_PASSWORD.into());
        let hash = self.auth.passwords.hash(Secret::new(password)).await?;
        let reset = Reset { hash, lifetime_seconds: self.reset_seconds, with_code: code.is_some(), revoke_tokens };
        let user = self.store.reset_password(by, id, reset).await?;
        Ok((user, code))
    }

    /// Forgets the wrong passwords that were tried on an account, so that its owner may try at once.
    pub fn unlock(&self, name: &str) -> Result<Arc<User>, Error> {
        let user = self.find(name)?;
        self.auth.throttle.unlock(&Username::of(name));
        Ok(user)
    }

    pub fn reset_minutes(&self) -> i64 {
        self.reset_seconds / 60
    }

    /// An account by its name, for the command line.
    pub fn find(&self, name: &str) -> Result<Arc<User>, Error> {
        let people = self.store.people();
        let found = people.by_name(Username::of(name).as_str());
        found.cloned().ok_or_else(|| Error::NotFound { what: format!("user `{name}`") })
    }

    pub fn by_id(&self, public_id: &str) -> Result<Arc<User>, Error> {
        let people = self.store.people();
        people.by_public_id(public_id).cloned().ok_or_else(|| Error::NotFound { what: "such user".into() })
    }

    /// A page of accounts, newest first, whose name holds `search`; `after` is the id with which the last page ended.
    pub async fn list(
        &self,
        search: Option<&str>,
        status: Option<&str>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Arc<User>>, Error> {
        if status.is_some_and(|status| ![PENDING, ACTIVE, DISABLED].contains(&status)) {
            return Err(Error::invalid("status", "`status` must be pending, active or disabled"));
        }
        let before = match after {
            // The page goes on, also when that account has been deleted meanwhile.
            Some(id) => {
                let key = self.store.user_key(id).await;
                Some(key.map_err(|_| Error::invalid("cursor", "`cursor` is not the `next` of a page"))?)
            }
            None => None,
        };
        let search = search.map(Username::of);
        let people = self.store.people();
        let mut found: Vec<_> = people
            .all()
            .filter(|user| search.as_ref().is_none_or(|text| user.name().contains(text.as_str())))
            .filter(|user| status.is_none_or(|status| user.status == status))
            .filter(|user| before.is_none_or(|before| user.id < before))
            .cloned()
            .collect();
        found.sort_by_key(|user| std::cmp::Reverse(user.id));
        found.truncate(limit);
        Ok(found)
    }
}

/// Everybody knows it.
fn is_first_password(user: &User) -> bool {
    user.must_change && user.reset_until_us.is_none()
}

/// On this host, or on a network that the public does not reach, whatever `allow_networks` says.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn role(name: &str) -> Result<&'static str, Error> {
    [ROLE_ADMIN, ROLE_USER]
        .into_iter()
        .find(|role| *role == name)
        .ok_or_else(|| Error::invalid("role", "`role` must be admin or user"))
}

fn note(text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(text) if text.chars().count() > NOTE_LETTERS_MAX => {
            Err(Error::invalid("note", format!("`note` may have at most {NOTE_LETTERS_MAX} characters")))
        }
        text => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

fn requests_per_minute(limit: Option<u32>) -> Result<Option<i64>, Error> {
    limit.map(check_requests_per_minute).transpose()
}

fn models(names: Option<Vec<String>>) -> Result<AllowedModels, Error> {
    names.map_or_else(|| Ok(AllowedModels::default()), |names| AllowedModels::parse(&names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::throttle::Throttle;
    use crate::auth::token::JwtKeys;
    use crate::config::Config;
    use crate::config::settings::Live;

    #[tokio::test]
    async fn the_first_password_is_changed_from_near_alone() {
        let folder = tempfile::tempdir().unwrap();
        let Config { accounts: config, settings, .. } = Config::resolve("", []).unwrap();
        let store = Store::open(folder.path(), Live::new(settings)).unwrap();
        let throttle = Throttle::open(folder.path()).unwrap();
        let keys = JwtKeys::load(&folder.path().join("secrets"), &config).unwrap();
        let auth = Arc::new(Auth::new(store.clone(), keys, throttle, &config));
        let accounts = Accounts::new(store, auth, &config);
        accounts.ensure_first_admin().await.unwrap();
        let change = async |from: &str, old: &str, new: &str| {
            let (old, new) = (Secret::new(old.to_owned()), Secret::new(new.to_owned()));
            accounts.change_password("admin", old, new, Some(from.parse().unwrap())).await.map_err(|error| error.code())
        };

        for far in ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", "172.32.0.1"] {
            let refused = change(far, INITIAL_PASSWORD, "a password from afar").await;
            assert_eq!(refused, Err("permission_denied"), "{far}");
        }
        assert_eq!(change("172.31.0.1", INITIAL_PASSWORD, "a password from near").await, Ok(()));
        assert_eq!(change("203.0.113.7", "a password from near", "another one from afar").await, Ok(()));
    }
}
