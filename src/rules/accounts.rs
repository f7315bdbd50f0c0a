//! The rules about users: who may register, how passwords change, who approves whom.
//!
//! API routes, pages and command line all call these verbs; no such rule is anywhere else. What must be atomic is one verb of
//! the store.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Auth;
use crate::auth::behalf::Stranger;
use crate::auth::own_acts::OwnAct;
use crate::auth::password::{INITIAL_PASSWORD, composed, one_time_code};
use crate::auth::sessions::{OpenSession, SessionStanding};
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::base::text::is_hidden;
use crate::config;
use crate::model::credential::Username;
use crate::model::people::{Actor, FIRST_ADMIN, User, UserRole, UserStatus};
use crate::model::rights::quotas::QuotaChanges;
use crate::model::rights::{AllowedModels, Class, check_requests_per_minute, check_weight};
use crate::store::Store;
use crate::store::users::{PasswordReset, Pending, UserChanges};

mod by_host;
pub mod lists;

pub struct Accounts {
    store: Store,
    auth: Arc<Auth>,
    reset_seconds: i64,
    pending: Pending,
}

/// How a reset account gets its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMode {
    /// The documented initial password, `admin123`.
    Initial,
    /// A random code, shown once to the admin.
    Code,
}

/// An admin's unchecked changes to an account: `None` keeps a value, `Some(None)` removes it.
#[derive(Debug, Default)]
pub struct UserEdit {
    pub role: Option<String>,
    pub note: Option<Option<String>>,
    pub requests_per_minute: Option<Option<u32>>,
    /// By name; `None` removes a quota.
    pub quotas: BTreeMap<String, Option<u64>>,
    pub models: Option<Option<Vec<String>>>,
    pub weight: Option<u32>,
    pub class: Option<String>,
    /// What was seen of the account when the changes were made; they are refused if it is no longer so.
    pub made_from: Option<serde_json::Value>,
}

/// Pending registrations to be rejected at once: those that meet every given condition.
#[derive(Debug, Default)]
pub struct Waiting {
    ids: Option<HashSet<String>>,
    network: Option<IpNet>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// Conditions for pending accounts. All given ones must match; at least one is needed.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitingWish {
    /// At most 1,000 ids.
    #[schema(example = json!(["0b7c9a52-3f0e-4a53-9a3e-6f1d3f8c2b11"]))]
    pub ids: Option<Vec<String>>,
    /// Those that came from this network or address.
    #[schema(example = "192.168.1.77")]
    pub network: Option<String>,
    /// RFC 3339: registered at this time or later.
    #[schema(format = DateTime)]
    pub from: Option<String>,
    /// RFC 3339: registered before this time.
    #[schema(format = DateTime)]
    pub to: Option<String>,
}

const IDS_MAX: usize = 1000;

/// Registrations that are rejected in one transaction; other writes wait for it.
const TURNED_DOWN_AT_ONCE: usize = 250;

impl Waiting {
    /// Checks the conditions. At least one is required, so that an empty body rejects no one.
    pub fn parse(wish: WaitingWish) -> Result<Waiting, Error> {
        let WaitingWish { ids, network, from, to } = wish;
        if ids.is_none() && network.is_none() && from.is_none() && to.is_none() {
            return Err(Error::invalid("ids", "one of `ids`, `network`, `from` and `to` is needed"));
        }
        if ids.as_ref().is_some_and(|ids| ids.len() > IDS_MAX) {
            return Err(Error::invalid("ids", format!("`ids` may hold at most {IDS_MAX}")));
        }
        let time = |field, text: Option<String>| text.map(|text| Timestamp::parse_field(field, &text)).transpose();
        Ok(Waiting {
            ids: ids.map(|ids| ids.into_iter().collect()),
            network: network.as_deref().map(parse_network).transpose()?,
            from: time("from", from)?,
            to: time("to", to)?,
        })
    }

    fn finds(&self, user: &User) -> bool {
        let (at, network) = (Timestamp(user.created_at_us), user.registered_from.as_deref().and_then(net));
        self.ids.as_ref().is_none_or(|ids| ids.contains(&user.public_id))
            && self.network.is_none_or(|wanted| network.is_some_and(|network| wanted.contains(&network)))
            && self.from.is_none_or(|from| from <= at)
            && self.to.is_none_or(|to| at < to)
    }
}

fn parse_network(text: &str) -> Result<IpNet, Error> {
    let message = "`network` must be a network, as in 192.168.1.0/24, or an address";
    net(text).ok_or_else(|| Error::invalid("network", message))
}

/// Parses a network, or an address as a network of one.
fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| address.into()))
}

/// Returns the network that one household or machine controls: a whole IPv4 address, or an IPv6 /64.
fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Running answers are cut within a fraction of a second, but a client that doesn't read takes longer.
const DRAIN_MAX: Duration = Duration::from_secs(5);

const NOTE_LETTERS_MAX: usize = 1000;

impl Accounts {
    pub fn new(store: Store, auth: Arc<Auth>, config: &config::AccountsSection) -> Self {
        Accounts {
            store,
            auth,
            reset_seconds: config.reset_lifetime.as_secs() as i64,
            pending: Pending { max: config.pending_max as i64, of_network_max: config.pending_per_address_max as i64 },
        }
    }

    /// Creates `admin` with the initial password when there is no account yet; returns whether it did.
    pub async fn ensure_first_admin(&self) -> Result<bool, Error> {
        if self.store.people().all().next().is_some() {
            return Ok(false);
        }
        let hash = self.auth.passwords.hash(Secret::new(INITIAL_PASSWORD.into())).await?;
        self.store.create_first_admin(hash).await
    }

    /// Returns whether the first admin still has the initial password, so no account can be approved yet.
    pub fn first_admin_waits(&self) -> bool {
        let people = self.store.people();
        people.by_name(FIRST_ADMIN).is_some_and(|admin| admin.has_first_password())
    }

    /// Creates an account that waits for approval. The answer and the time are the same whether the e-mail address is known or
    /// not. `source` is the client's address; a registration on the host itself has none.
    pub async fn register(&self, email: &str, password: Secret<String>, source: Option<IpAddr>) -> Result<(), Error> {
        let username = Username::parse_email(email)?;
        self.auth.passwords.check_new("password", password.expose(), &username)?;
        let from = source.map(network_of);
        self.check_room(from.as_deref())?;
        let hash = self.auth.passwords.hash(password).await?;
        self.store.register(username.as_str().to_owned(), hash, from, self.pending).await.map(drop)
    }

    /// Creates an account, without a password, for a person whom a tool named. It waits for approval, within the same bounds as
    /// other registrations.
    pub async fn register_by_token(&self, stranger: &Stranger, source: Option<IpAddr>) -> Result<(), Error> {
        let from = source.map(network_of);
        self.check_room(from.as_deref())?;
        let Stranger { name, token } = stranger;
        self.store.register_by_token(name.as_str().to_owned(), from, token.clone(), self.pending).await.map(drop)
    }

    /// Checks quickly whether one more may wait who came `from` a network, so that a refused registration costs neither a hash nor
    /// a transaction. The store checks again, reliably.
    fn check_room(&self, from: Option<&str>) -> Result<(), Error> {
        let of_network = self.waiting(|user| from.is_some() && user.registered_from.as_deref() == from);
        self.pending.check(self.waiting(|_| true), of_network)
    }

    /// Counts the pending accounts that `are` accepts.
    fn waiting(&self, are: impl Fn(&User) -> bool) -> i64 {
        let people = self.store.people();
        people.all().filter(|user| user.status == UserStatus::Pending && are(user)).count() as i64
    }

    /// Removes a pending account. It has no requests, so no export is needed.
    pub async fn turn_down(&self, by: Actor, id: &str) -> Result<(), Error> {
        let user = self.by_id(id)?;
        if self.store.turn_down(by, vec![id.to_owned()]).await? == 0 {
            let message = format!("{} does not wait for approval any more; disable it instead", user.name());
            return Err(Error::conflict(message));
        }
        Ok(())
    }

    /// Removes all pending accounts that match `which`, and returns how many there were.
    pub async fn turn_down_all(&self, by: Actor, which: &Waiting) -> Result<usize, Error> {
        let people = self.store.people();
        let found = people.all().filter(|user| user.status == UserStatus::Pending && which.finds(user));
        let found: Vec<String> = found.map(|user| user.public_id.clone()).collect();
        let mut count = 0;
        for some in found.chunks(TURNED_DOWN_AT_ONCE) {
            count += self.store.turn_down(by, some.to_vec()).await?;
        }
        Ok(count)
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
        if is_same(&current, &new) {
            return Err(Error::invalid("new_password", "`new_password` must differ from the current one"));
        }
        let proof = self.auth.prove(&username, current, source).await?;
        self.replace_password(&proof.user, new, source).await
    }

    /// Sets a new password in place of one that must be changed. The session was opened with that one.
    pub async fn choose_password(
        &self,
        session: &OpenSession,
        new: Secret<String>,
        source: Option<IpAddr>,
    ) -> Result<(), Error> {
        let user = session.user();
        if session.standing() != SessionStanding::MustChange {
            return Err(Error::conflict("this password need not be changed; give the current one to change it"));
        }
        self.auth.passwords.check_new("new_password", new.expose(), &Username::of(user.name()))?;
        self.replace_password(user, new, source).await
    }

    async fn replace_password(&self, user: &User, new: Secret<String>, source: Option<IpAddr>) -> Result<(), Error> {
        if source.is_some() {
            self.auth.own_acts.count_proven(user, OwnAct::Password)?;
        }
        if user.has_first_password() && !source.is_none_or(is_near) {
            let message = "the first password of `admin` is changed on this host or from a private network alone";
            return Err(Error::forbidden(message));
        }
        let old_hash = user.password_hash.clone().unwrap_or_default();
        let new_hash = self.auth.passwords.hash(new).await?;
        self.store.change_password(user.id, old_hash, new_hash).await
    }

    /// Changes role, limits, quotas, models, weight or note of an account.
    pub async fn edit(&self, by: Actor, id: &str, edit: UserEdit) -> Result<User, Error> {
        let changes = UserChanges {
            role: edit.role.as_deref().map(UserRole::parse).transpose()?,
            note: edit.note.map(note).transpose()?,
            requests_per_minute: edit.requests_per_minute.map(requests_per_minute).transpose()?,
            quotas: QuotaChanges::parse(&edit.quotas)?,
            models: edit.models.map(models).transpose()?,
            weight: edit.weight.map(check_weight).transpose()?,
            class: edit.class.as_deref().map(Class::parse).transpose()?,
            made_from: edit.made_from,
        };
        self.store.edit_user(by, id, changes).await
    }

    pub async fn approve(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.store.approve(by, id).await
    }

    /// Disables an account. Its running answers are cut, and their results are handed to the record before this returns.
    pub async fn disable(&self, by: Actor, id: &str) -> Result<User, Error> {
        let user = self.store.disable(by, id).await?;
        self.auth.running.drained(user.id, DRAIN_MAX).await;
        Ok(user)
    }

    pub async fn enable(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.store.enable(by, id).await
    }

    /// Deletes an account and its contents for good, if `receipt` proves that everything was exported just now.
    ///
    /// Running requests are cut and finished first. Their rows are in no export, so they void the receipt, but nothing can
    /// follow the next one.
    pub async fn delete(&self, by: Actor, id: &str, receipt: &str) -> Result<(), Error> {
        // The receipt may be copied with the label of its CSV column.
        let receipt = receipt.trim().trim_start_matches("receipt:");
        let user = self.by_id(id)?;
        if self.auth.running.has(user.id) {
            self.store.check_receipt(by, id, receipt).await?;
            self.disable(by, id).await?;
        }
        self.store.delete_user_after_export(by, id, receipt).await
    }

    /// Sets a password that is valid for an hour and only allows its own change. Returns the code, if it is one. The account's
    /// tokens are suspended until then, or revoked.
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
        let reset =
            PasswordReset { hash, lifetime_seconds: self.reset_seconds, with_code: code.is_some(), revoke_tokens };
        let user = self.store.reset_password(by, id, reset).await?;
        Ok((user, code))
    }

    /// Forgets the failed sign-ins on an account, so that its owner may try at once.
    pub fn unlock(&self, name: &str) -> Result<Arc<User>, Error> {
        let user = self.find(name)?;
        self.auth.throttle.unlock(&Username::of(name));
        Ok(user)
    }

    /// Finds an account by name, for the command line.
    pub fn find(&self, name: &str) -> Result<Arc<User>, Error> {
        let people = self.store.people();
        let found = people.by_name(Username::of(name).as_str());
        found.cloned().ok_or_else(|| Error::NotFound { what: format!("user `{name}`") })
    }

    pub fn by_id(&self, public_id: &str) -> Result<Arc<User>, Error> {
        let people = self.store.people();
        people.by_public_id(public_id).cloned().ok_or_else(|| Error::NotFound { what: "such user".into() })
    }
}

/// Compares two passwords by their composed forms.
fn is_same(one: &Secret<String>, other: &Secret<String>) -> bool {
    composed(one.expose()) == composed(other.expose())
}

/// Returns whether an address is this host or in a private network, whatever `allow_networks` says.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Checks a note: it may have several lines, but no other invisible characters.
fn note(text: Option<String>) -> Result<Option<String>, Error> {
    let text = text.map(|text| text.replace("\r\n", "\n"));
    if text.iter().flat_map(|text| text.chars()).any(|letter| is_hidden(letter) && !['\n', '\t'].contains(&letter)) {
        let message =
            "`note` may hold no control character, none without width and none that turns the direction of writing";
        return Err(Error::invalid("note", message));
    }
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
    use crate::auth::jwt::JwtKeys;
    use crate::auth::throttle::Throttle;
    use crate::config::Config;
    use crate::config::settings::Live;

    #[test]
    fn a_note_has_lines_and_nothing_that_is_hidden() {
        let given = |text: &str| note(Some(text.to_owned())).map_err(|error| error.code());

        assert_eq!(given("calls from\r\nthe lab\t(ß)"), Ok(Some("calls from\nthe lab\t(ß)".into())));
        assert_eq!(given(" "), Ok(None));
        for bad in ["a\u{1b}[31m", "a\u{202e}", "a\u{200b}", "a\rb", "\0"] {
            assert_eq!(given(bad), Err("invalid_request"), "{bad:?}");
        }
    }

    #[test]
    fn an_address_is_its_host_or_its_household() {
        let of = |text: &str| network_of(text.parse().unwrap());

        assert_eq!((of("192.168.1.7"), of("::ffff:192.168.1.7")), ("192.168.1.7".into(), "192.168.1.7".into()));
        assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
    }

    #[tokio::test]
    async fn the_first_password_is_changed_from_near_alone() {
        let folder = tempfile::tempdir().unwrap();
        let Config { accounts: config, delegating, settings, .. } = Config::resolve("", []).unwrap();
        let store = Store::open(folder.path(), Live::new(settings)).unwrap();
        let throttle = Throttle::open(folder.path()).unwrap();
        let keys = JwtKeys::load(&folder.path().join("secrets"), &config).unwrap();
        let auth = Arc::new(Auth::new(store.clone(), keys, throttle, &config, &delegating).unwrap());
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
