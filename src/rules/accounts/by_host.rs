//! Rules about accounts that only the operator of the host has.

use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::model::credential::Username;
use crate::model::people::{Actor, User};
use crate::rules::accounts::Accounts;
use crate::store::users::by_host::ChosenPassword;

impl Accounts {
    /// Creates an account that needs no approval. `must_change`: its owner has to set another password first.
    pub async fn add(
        &self,
        by: Actor,
        email: &str,
        password: Secret<String>,
        must_change: bool,
    ) -> Result<User, Error> {
        let username = Username::parse_email(email)?;
        if self.find(email).is_ok() {
            return Err(Error::conflict(format!("there is an account `{}` already", username.as_str())));
        }
        self.auth.passwords.check_new("password", password.expose(), &username)?;
        let hash = self.auth.passwords.hash(password).await?;
        self.store.add_user(by, username.as_str().to_owned(), hash, must_change).await
    }

    /// Sets a password, and forgets the failed sign-ins on the account. `must_change`: it is valid for an hour and only allows
    /// its own change.
    pub async fn set_password(
        &self,
        by: Actor,
        id: &str,
        password: Secret<String>,
        must_change: bool,
    ) -> Result<User, Error> {
        let user = self.by_id(id)?;
        let username = Username::of(user.name());
        self.auth.passwords.check_new("password", password.expose(), &username)?;
        let hash = self.auth.passwords.hash(password).await?;
        let lifetime_seconds = must_change.then_some(self.reset_seconds);
        let user = self.store.set_password(by, id, ChosenPassword { hash, lifetime_seconds }).await?;
        self.auth.throttle.unlock(&username);
        Ok(user)
    }
}
