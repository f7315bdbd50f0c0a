//! What only the operator of the host does to accounts: an account without a registration, and a password.

use diesel::prelude::*;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::people::{Actor, User, UserRole, UserStatus};
use crate::model::record::Act;
use crate::store::people::{check_acting_admin, find};
use crate::store::schema::users;
use crate::store::users::{NewUser, check_first_admin_changed, insert};
use crate::store::{Store, audit, tokens};

/// A password that an operator chose.
pub struct ChosenPassword {
    pub hash: String,
    /// For how long it may be used, and only to set another one; `None`: it stays.
    pub lifetime_seconds: Option<i64>,
}

impl Store {
    /// Creates an account that needs no approval. A password that must be changed stays good for that until it is used.
    pub async fn add_user(&self, by: Actor, username: String, hash: String, must_change: bool) -> Result<User, Error> {
        self.write(move |tx| {
            check_acting_admin(tx, by)?;
            check_first_admin_changed(tx)?;
            let named = users::table.filter(users::username.eq(&username));
            if named.select(users::id).first::<i64>(tx.connection).optional()?.is_some() {
                return Err(Error::conflict(format!("there is an account `{username}` already")).into());
            }
            let id = insert(
                tx,
                NewUser {
                    username: &username,
                    role: UserRole::User,
                    status: UserStatus::Active,
                    password_hash: Some(&hash),
                    must_change,
                    by,
                    token_id: None,
                },
            )?;
            diesel::update(users::table.find(id))
                .set((users::approved_at_us.eq(tx.now.0), users::approved_by.eq(by.0)))
                .execute(tx.connection)?;
            audit::insert_act(tx.connection, tx.now, Act::UserApproved, by.0, Some(id), None)?;
            let public_id: String = users::table.find(id).select(users::public_id).first(tx.connection)?;
            find(tx, &public_id)
        })
        .await
    }

    /// Sets a password. Sessions and JWTs end; tokens are suspended until a password that must be changed was changed, and resume
    /// with one that stays.
    pub async fn set_password(&self, by: Actor, id: &str, chosen: ChosenPassword) -> Result<User, Error> {
        let id = id.to_owned();
        self.write(move |tx| {
            let user = find(tx, &id)?;
            check_acting_admin(tx, by)?;
            let must_change = chosen.lifetime_seconds.is_some();
            match must_change {
                true => tokens::suspend_all(tx, user.id)?,
                // As after a reset that is over.
                false if user.must_change && user.is_active() => tokens::resume_all(tx, user.id)?,
                false => {}
            }
            // By the host's clock; the time of the record's rows never goes back.
            let until = chosen.lifetime_seconds.map(|seconds| Timestamp::now().plus_seconds(seconds).0);
            diesel::update(users::table.find(user.id))
                .set((
                    users::password_hash.eq(&chosen.hash),
                    users::must_change.eq(must_change),
                    users::reset_until_us.eq(until),
                    users::version.eq(users::version + 1),
                ))
                .execute(tx.connection)?;
            tx.people_changed();
            audit::insert_act(tx.connection, tx.now, Act::PasswordChanged, by.0, Some(user.id), None)?;
            find(tx, &id)
        })
        .await
    }
}
