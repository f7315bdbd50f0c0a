//! The verbs that change accounts.
//!
//! Each verb is one transaction that also writes its act to the record.

use std::sync::Arc;
use std::time::Duration;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::public_id;
use crate::model::people::{Actor, FIRST_ADMIN, User, UserRole, UserStatus};
use crate::model::record::Act;
use crate::model::rights::quotas::QuotaChanges;
use crate::model::rights::{AllowedModels, Class};
use crate::model::token::Token;
use crate::store::people::{check_acting_admin, find};
use crate::store::quotas::OfUser;
use crate::store::schema::{record, users};
use crate::store::{Store, Tx, WriteFailure, audit, tokens};

pub mod by_host;
mod last_requests;

pub use last_requests::LastLooks;

/// What an admin changes in an account; `None`: it stays as it is.
#[derive(Debug, Default)]
pub struct UserChanges {
    pub role: Option<UserRole>,
    pub note: Option<Option<String>>,
    pub requests_per_minute: Option<Option<i64>>,
    pub quotas: QuotaChanges,
    pub models: Option<AllowedModels>,
    pub weight: Option<i64>,
    pub class: Option<Class>,
    /// What was seen when the changes were made, as `governed` tells it: they are refused if it is no longer so.
    pub made_from: Option<serde_json::Value>,
}

/// How many registrations may wait for approval.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    pub max: i64,
    /// The most pending accounts from one network: an IPv4 address, or an IPv6 /64.
    pub of_network_max: i64,
}

/// When to register again. It is unknown when an admin will look at the registrations that wait.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

impl Pending {
    /// Whether there is room for one more beside those that wait.
    pub fn check(&self, all: i64, of_network: i64) -> Result<(), Error> {
        if of_network >= self.of_network_max {
            let message = "too many registrations from your address wait for approval; ask an admin to look at them";
            return Err(Error::RateLimited { message: message.into(), retry_after: LOOK_AGAIN });
        }
        if all >= self.max {
            let message = "too many registrations wait for approval; ask an admin to look at them";
            return Err(Error::Unavailable { message: message.into(), retry_after: LOOK_AGAIN });
        }
        Ok(())
    }
}

/// A new password that only allows changing it.
pub struct PasswordReset {
    pub hash: String,
    pub lifetime_seconds: i64,
    /// The password is a one-time code, and not the documented initial password.
    pub with_code: bool,
    /// Tokens are revoked, instead of being suspended until the new password is set.
    pub revoke_tokens: bool,
}

/// A change of an account that an admin makes.
enum Change {
    Approve,
    Disable,
    Enable,
    PasswordReset(PasswordReset),
}

impl Change {
    fn act(&self) -> Act {
        match self {
            Change::Approve => Act::UserApproved,
            Change::Disable => Act::UserDisabled,
            Change::Enable => Act::UserEnabled,
            Change::PasswordReset(PasswordReset { with_code: false, .. }) => Act::PasswordReset,
            Change::PasswordReset(PasswordReset { with_code: true, .. }) => Act::PasswordResetWithCode,
        }
    }
}

impl Store {
    /// Returns the key of an account; of a deleted one, too, because its record stays under that key.
    pub async fn user_key(&self, public_id: String) -> Result<i64, Error> {
        let found: Option<i64> = self
            .read(move |connection| {
                users::table.filter(users::public_id.eq(public_id)).select(users::id).first(connection).optional()
            })
            .await?;
        found.ok_or_else(|| Error::NotFound { what: "such user".into() })
    }

    /// Creates the first admin when there are no accounts.
    pub async fn create_first_admin(&self, password_hash: String) -> Result<bool, Error> {
        self.write(move |tx| {
            let any: Option<i64> = users::table.select(users::id).first(tx.connection).optional()?;
            if any.is_some() {
                return Ok(false);
            }
            let first = NewUser {
                username: FIRST_ADMIN,
                role: UserRole::Admin,
                status: UserStatus::Active,
                password_hash: Some(&password_hash),
                must_change: true,
                by: Actor(None),
                token_id: None,
            };
            insert(tx, first)?;
            Ok(true)
        })
        .await
    }

    /// Creates an account that waits for approval. `false`: the name is taken, and nothing changed.
    pub async fn register(
        &self,
        username: String,
        password_hash: String,
        from: Option<String>,
        most: Pending,
    ) -> Result<bool, Error> {
        self.register_pending(username, Some(password_hash), from, None, most).await
    }

    /// Creates an account for a person who came by a delegating token. It waits for approval and has no password.
    pub async fn register_by_token(
        &self,
        username: String,
        from: Option<String>,
        token: Arc<Token>,
        most: Pending,
    ) -> Result<bool, Error> {
        self.register_pending(username, None, from, Some(token), most).await
    }

    async fn register_pending(
        &self,
        username: String,
        password_hash: Option<String>,
        from: Option<String>,
        token: Option<Arc<Token>>,
        most: Pending,
    ) -> Result<bool, Error> {
        self.write(move |tx| {
            // Written out, because SQLite uses the partial index only for this text.
            let pending = || users::table.filter(sql::<Bool>("status = 'pending'"));
            let all: i64 = pending().count().get_result(tx.connection)?;
            let of_network: i64 = match &from {
                Some(from) => pending().filter(users::registered_from.eq(from)).count().get_result(tx.connection)?,
                None => 0,
            };
            most.check(all, of_network)?;
            let taken: Option<i64> =
                users::table.filter(users::username.eq(&username)).select(users::id).first(tx.connection).optional()?;
            if taken.is_some() {
                return Ok(false);
            }
            let registered = NewUser {
                username: &username,
                role: UserRole::User,
                status: UserStatus::Pending,
                password_hash: password_hash.as_deref(),
                must_change: false,
                by: Actor(token.as_ref().map(|token| token.user_id)),
                token_id: token.as_ref().map(|token| token.id),
            };
            let id = insert(tx, registered)?;
            let by = token.as_ref().map(|token| &token.name);
            diesel::update(users::table.find(id))
                .set((users::registered_from.eq(from), users::registered_by.eq(by)))
                .execute(tx.connection)?;
            Ok(true)
        })
        .await
    }

    /// Removes accounts that wait for approval, and returns how many. One that doesn't wait any more stays as it is.
    pub async fn turn_down(&self, by: Actor, ids: Vec<String>) -> Result<usize, Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            let mut count = 0;
            for id in &ids {
                let pending =
                    users::table.filter(users::public_id.eq(id)).filter(users::status.eq(UserStatus::Pending.name()));
                let Some(id) = pending.select(users::id).first::<i64>(tx.connection).optional()? else { continue };
                // An account with rows in the record can only be deleted after an export.
                let asked = record::table.filter(record::user_id.eq(id)).select(record::log_id);
                if asked.first::<i64>(tx.connection).optional()?.is_some() {
                    continue;
                }
                bury(tx, id)?;
                audit::insert_act(tx.connection, tx.now, Act::UserTurnedDown, by.0, Some(id), None)?;
                count += 1;
            }
            Ok(count)
        })
        .await
    }

    /// Sets the new password of a user who proved to know the old one. If `old_hash` changed meanwhile, nothing happens.
    pub async fn change_password(&self, user_id: i64, old_hash: String, new_hash: String) -> Result<(), Error> {
        self.write(move |tx| {
            let target = users::table.filter(users::id.eq(user_id)).filter(users::password_hash.eq(&old_hash));
            let changed = diesel::update(target)
                .set((
                    users::password_hash.eq(&new_hash),
                    users::version.eq(users::version + 1),
                    users::must_change.eq(false),
                    users::reset_until_us.eq(None::<i64>),
                ))
                .execute(tx.connection)?;
            if changed == 0 {
                return Err(Error::bad_credentials().into());
            }
            tokens::resume_all(tx, user_id)?;
            tx.people_changed();
            audit::insert_act(tx.connection, tx.now, Act::PasswordChanged, Some(user_id), Some(user_id), None)?;
            Ok(())
        })
        .await
    }

    /// Replaces the hash of a password by a new one of the same password. Sessions and tokens go on.
    pub async fn renew_hash(&self, user_id: i64, old_hash: String, new_hash: String) -> Result<(), Error> {
        self.write(move |tx| {
            let target = users::table.filter(users::id.eq(user_id)).filter(users::password_hash.eq(&old_hash));
            diesel::update(target).set(users::password_hash.eq(&new_hash)).execute(tx.connection)?;
            tx.people_changed();
            Ok(())
        })
        .await
    }

    pub async fn approve(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.change(by, id, Change::Approve).await
    }

    pub async fn disable(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.change(by, id, Change::Disable).await
    }

    pub async fn enable(&self, by: Actor, id: &str) -> Result<User, Error> {
        self.change(by, id, Change::Enable).await
    }

    pub async fn reset_password(&self, by: Actor, id: &str, reset: PasswordReset) -> Result<User, Error> {
        self.change(by, id, Change::PasswordReset(reset)).await
    }

    /// Changes an account; the act has the values before and after.
    pub async fn edit_user(&self, by: Actor, id: &str, changes: UserChanges) -> Result<User, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let old = find(tx, &id)?;
            check_acting_admin(tx, by)?;
            if changes.made_from.as_ref().is_some_and(|seen| *seen != governed(&old)) {
                return Err(Error::conflict("somebody changed this account meanwhile").into());
            }
            if changes.role.is_some_and(|role| role != UserRole::Admin) {
                check_not_last_admin(tx, &old, "made an ordinary user")?;
            }
            diesel::update(users::table.find(old.id))
                .set((
                    users::role.eq(changes.role.unwrap_or(old.role).name()),
                    users::note.eq(changes.note.as_ref().unwrap_or(&old.note)),
                    users::requests_per_minute.eq(changes.requests_per_minute.unwrap_or(old.requests_per_minute)),
                    OfUser::from(changes.quotas.apply(old.quotas)),
                    users::models.eq(changes.models.as_ref().unwrap_or(&old.models).text()),
                    users::weight.eq(changes.weight.unwrap_or(old.weight)),
                    users::class.eq(changes.class.unwrap_or(old.class).name()),
                ))
                .execute(tx.connection)?;
            tx.people_changed();
            let new = find(tx, &id)?;
            let detail = serde_json::json!({ "old": governed(&old), "new": governed(&new) }).to_string();
            audit::insert_act(tx.connection, tx.now, Act::UserChanged, by.0, Some(old.id), Some(detail))?;
            Ok(new)
        })
        .await
    }

    async fn change(&self, by: Actor, id: &str, change: Change) -> Result<User, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let user = find(tx, &id)?;
            check_acting_admin(tx, by)?;
            let target = users::table.find(user.id);
            match &change {
                Change::Approve => {
                    check_first_admin_changed(tx)?;
                    match user.status {
                        UserStatus::Pending => {}
                        UserStatus::Active => return Ok(user),
                        UserStatus::Disabled | UserStatus::Deleted => {
                            return Err(Error::conflict(format!(
                                "{} is {}; enable it instead",
                                user.name(),
                                user.status.name()
                            ))
                            .into());
                        }
                    }
                    diesel::update(target)
                        .set((
                            users::status.eq(UserStatus::Active.name()),
                            users::approved_at_us.eq(tx.now.0),
                            users::approved_by.eq(by.0),
                            users::registered_from.eq(None::<String>),
                            users::registered_by.eq(None::<String>),
                        ))
                        .execute(tx.connection)?
                }
                Change::Disable => {
                    if user.status == UserStatus::Disabled {
                        return Ok(user);
                    }
                    check_not_last_admin(tx, &user, "disabled")?;
                    tokens::suspend_all(tx, user.id)?;
                    diesel::update(target)
                        .set((
                            users::status.eq(UserStatus::Disabled.name()),
                            users::version.eq(users::version + 1),
                            users::registered_from.eq(None::<String>),
                            users::registered_by.eq(None::<String>),
                        ))
                        .execute(tx.connection)?
                }
                Change::Enable => {
                    check_first_admin_changed(tx)?;
                    match user.status {
                        UserStatus::Disabled => {}
                        UserStatus::Active => return Ok(user),
                        UserStatus::Pending | UserStatus::Deleted => {
                            return Err(Error::conflict(format!(
                                "{} is {}; approve it instead",
                                user.name(),
                                user.status.name()
                            ))
                            .into());
                        }
                    }
                    diesel::update(target).set(users::status.eq(UserStatus::Active.name())).execute(tx.connection)?
                }
                Change::PasswordReset(reset) => {
                    tokens::suspend_all(tx, user.id)?;
                    if reset.revoke_tokens {
                        tokens::revoke_all(tx, user.id, by)?;
                    }
                    diesel::update(target)
                        .set((
                            users::password_hash.eq(&reset.hash),
                            users::must_change.eq(true),
                            // By the host's clock; the time of the record's rows never goes back.
                            users::reset_until_us.eq(Timestamp::now().plus_seconds(reset.lifetime_seconds).0),
                            users::version.eq(users::version + 1),
                        ))
                        .execute(tx.connection)?
                }
            };
            tx.people_changed();
            audit::insert_act(tx.connection, tx.now, change.act(), by.0, Some(user.id), None)?;
            find(tx, &id)
        })
        .await
    }
}

/// Returns what an act says about an account. The note is left out, because acts are kept for ever.
pub fn governed(user: &User) -> serde_json::Value {
    serde_json::json!({
        "role": user.role.name(),
        "requests_per_minute": user.requests_per_minute,
        "quotas": user.quotas,
        "models": user.models.words(),
        "weight": user.weight,
        "class": user.class.name(),
    })
}

/// Turns an account into a tombstone, which keeps its ids from being given again.
pub fn bury(tx: &mut Tx<'_>, id: i64) -> QueryResult<()> {
    tx.people_changed();
    diesel::update(users::table.find(id))
        .set((
            users::status.eq(UserStatus::Deleted.name()),
            users::username.eq(None::<String>),
            users::password_hash.eq(None::<String>),
            users::note.eq(None::<String>),
            users::registered_from.eq(None::<String>),
            users::registered_by.eq(None::<String>),
            users::version.eq(users::version + 1),
            users::deleted_at_us.eq(tx.now.0),
        ))
        .execute(tx.connection)
        .map(drop)
}

/// An account to be inserted.
struct NewUser<'a> {
    username: &'a str,
    role: UserRole,
    status: UserStatus,
    /// `None`: the person can't sign in with a password.
    password_hash: Option<&'a str>,
    must_change: bool,
    by: Actor,
    /// The delegating token by which the person came.
    token_id: Option<i64>,
}

fn insert(tx: &mut Tx<'_>, new: NewUser<'_>) -> Result<i64, WriteFailure> {
    let id: i64 = diesel::insert_into(users::table)
        .values((
            users::public_id.eq(public_id()),
            users::username.eq(new.username),
            users::role.eq(new.role.name()),
            users::status.eq(new.status.name()),
            users::password_hash.eq(new.password_hash),
            users::must_change.eq(new.must_change),
            users::created_at_us.eq(tx.now.0),
        ))
        .returning(users::id)
        .get_result(tx.connection)?;
    tx.people_changed();
    audit::insert_act_by_token(tx.connection, tx.now, Act::UserRegistered, new.by.0, Some(id), new.token_id)?;
    Ok(id)
}

/// Refuses approvals while the first account still has the documented initial password.
fn check_first_admin_changed(tx: &mut Tx<'_>) -> Result<(), WriteFailure> {
    let waiting: Option<i64> = users::table
        .filter(users::username.eq(FIRST_ADMIN))
        .filter(users::must_change.eq(true))
        .filter(users::reset_until_us.is_null())
        .select(users::id)
        .first(tx.connection)
        .optional()?;
    match waiting {
        None => Ok(()),
        Some(_) => {
            Err(Error::conflict("no account can be approved before the password of `admin` has been changed").into())
        }
    }
}

pub fn check_not_last_admin(tx: &mut Tx<'_>, user: &User, what: &str) -> Result<(), WriteFailure> {
    if !user.is_admin() {
        return Ok(());
    }
    // An admin who must change a password can't act before that.
    let others: i64 = users::table
        .filter(users::role.eq(UserRole::Admin.name()))
        .filter(users::status.eq(UserStatus::Active.name()))
        .filter(users::must_change.eq(false))
        .filter(users::id.ne(user.id))
        .count()
        .get_result(tx.connection)?;
    if others == 0 {
        let message = format!("{} is the last admin who can act, and can't be {what}", user.name());
        return Err(Error::conflict(message).into());
    }
    Ok(())
}
