//! Users, and the snapshot of all of them with their tokens.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::rights::quotas::Quotas;
use crate::model::rights::{AllowedModels, Class};
use crate::model::token::Token;
use crate::model::words::words_schema;

/// The account that the first start creates.
pub const FIRST_ADMIN: &str = "admin";

/// What a user may do besides using models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserRole {
    Admin,
    User,
}

impl UserRole {
    /// Returns the word under which the role is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            UserRole::Admin => "admin",
            UserRole::User => "user",
        }
    }

    pub fn parse(word: &str) -> Result<UserRole, Error> {
        [UserRole::Admin, UserRole::User]
            .into_iter()
            .find(|role| role.name() == word)
            .ok_or_else(|| Error::invalid("role", "`role` must be admin or user"))
    }
}

words_schema!(impl UserRole, "What an account may do.", [UserRole::Admin, UserRole::User].map(UserRole::name));

/// Reads a stored word. One that can't be read gives no rights.
impl From<String> for UserRole {
    fn from(word: String) -> Self {
        UserRole::parse(&word).unwrap_or(UserRole::User)
    }
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStatus {
    /// Registered, and not approved yet.
    Pending,
    Active,
    Disabled,
    /// Only its ids are left, so that they are not given again.
    Deleted,
}

impl UserStatus {
    /// Returns the word under which the status is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            UserStatus::Pending => "pending",
            UserStatus::Active => "active",
            UserStatus::Disabled => "disabled",
            UserStatus::Deleted => "deleted",
        }
    }

    /// Reads a status by which accounts can be looked for. Deleted ones are not found.
    pub fn parse(word: &str) -> Result<UserStatus, Error> {
        [UserStatus::Pending, UserStatus::Active, UserStatus::Disabled]
            .into_iter()
            .find(|status| status.name() == word)
            .ok_or_else(|| Error::invalid("status", "`status` must be pending, active or disabled"))
    }
}

words_schema!(
    impl UserStatus,
    "Whether an account may be used.",
    [UserStatus::Pending, UserStatus::Active, UserStatus::Disabled].map(UserStatus::name)
);

/// Reads a stored word. With one that can't be read, the account can't be used.
impl From<String> for UserStatus {
    fn from(word: String) -> Self {
        if word == UserStatus::Deleted.name() {
            return UserStatus::Deleted;
        }
        UserStatus::parse(&word).unwrap_or(UserStatus::Disabled)
    }
}

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    pub id: i64,
    pub public_id: String,
    pub username: Option<String>,
    pub role: UserRole,
    pub status: UserStatus,
    pub password_hash: Option<String>,
    pub version: i64,
    pub must_change: bool,
    pub reset_until_us: Option<i64>,
    pub requests_per_minute: Option<i64>,
    /// The user's own quotas; for missing ones, the settings apply.
    pub quotas: Quotas,
    pub models: AllowedModels,
    pub note: Option<String>,
    /// Queue weight: a higher one gets more GPU time while others wait.
    pub weight: i64,
    pub class: Class,
    /// The network that a registration came from, while it waits for approval.
    pub registered_from: Option<String>,
    /// The name of the delegating token by which the person came, while they wait for approval.
    pub registered_by: Option<String>,
    pub created_at_us: i64,
    pub approved_at_us: Option<i64>,
    /// `None` on an approved account: it was approved on the host.
    pub approved_by: Option<i64>,
    pub deleted_at_us: Option<i64>,
}

impl User {
    pub fn name(&self) -> &str {
        self.username.as_deref().unwrap_or("(deleted)")
    }

    pub fn is_admin(&self) -> bool {
        self.role == UserRole::Admin
    }

    pub fn is_active(&self) -> bool {
        self.status == UserStatus::Active
    }

    /// Returns whether it is the first admin with the documented initial password. A reset one expires.
    pub fn has_first_password(&self) -> bool {
        self.must_change && self.reset_until_us.is_none() && self.username.as_deref() == Some(FIRST_ADMIN)
    }

    /// Returns whether a reset password has expired; it then doesn't even allow its own change.
    pub fn reset_is_over(&self, now: Timestamp) -> bool {
        self.reset_until_us.is_some_and(|until| now.0 >= until)
    }
}

/// All users with an account, and their tokens. Some of the tokens have ended.
#[derive(Default)]
pub struct People {
    by_name: HashMap<String, Arc<User>>,
    by_id: HashMap<i64, Arc<User>>,
    by_public_id: HashMap<String, Arc<User>>,
    tokens: HashMap<String, Arc<Token>>,
}

impl People {
    pub fn new(users: Vec<User>, tokens: impl Iterator<Item = Token>) -> People {
        let mut people = People::default();
        for user in users.into_iter().map(Arc::new) {
            people.by_id.insert(user.id, user.clone());
            people.by_public_id.insert(user.public_id.clone(), user.clone());
            people.by_name.insert(user.name().to_owned(), user);
        }
        people.tokens = tokens.map(|token| (token.public_id.clone(), Arc::new(token))).collect();
        people
    }

    pub fn by_name(&self, username: &str) -> Option<&Arc<User>> {
        self.by_name.get(username)
    }

    pub fn by_id(&self, id: i64) -> Option<&Arc<User>> {
        self.by_id.get(&id)
    }

    /// Returns the name of a user; of one who was deleted, a placeholder with their id.
    pub fn name_of(&self, id: i64) -> String {
        self.by_id(id).map_or_else(|| format!("(deleted {id})"), |user| user.name().to_owned())
    }

    pub fn by_public_id(&self, id: &str) -> Option<&Arc<User>> {
        self.by_public_id.get(id)
    }

    /// Returns a token by its public id. It may have ended.
    pub fn token(&self, public_id: &str) -> Option<&Arc<Token>> {
        self.tokens.get(public_id)
    }

    /// Returns every token that is known, those that have ended included.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_id.values()
    }
}

/// Who acts: a user by id, or `None` for the operator of the host.
#[derive(Debug, Clone, Copy)]
pub struct Actor(pub Option<i64>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_survives_its_stored_form_and_one_that_cannot_be_read_gives_no_rights() {
        for role in [UserRole::Admin, UserRole::User] {
            assert_eq!(UserRole::parse(role.name()).unwrap(), role);
            assert_eq!(UserRole::from(role.name().to_owned()), role);
        }
        assert_eq!(UserRole::parse("Admin").unwrap_err().field(), Some("role"));
        assert_eq!(UserRole::from("owner".to_owned()), UserRole::User);
    }

    #[test]
    fn a_status_survives_its_stored_form_and_one_that_cannot_be_read_opens_nothing() {
        use UserStatus::{Active, Deleted, Disabled, Pending};

        for status in [Pending, Active, Disabled, Deleted] {
            assert_eq!(UserStatus::from(status.name().to_owned()), status);
        }
        assert_eq!(
            ["pending", "active", "disabled"].map(|word| UserStatus::parse(word).unwrap()),
            [Pending, Active, Disabled]
        );
        for bad in ["deleted", "Active", ""] {
            assert_eq!(UserStatus::parse(bad).unwrap_err().field(), Some("status"), "{bad}");
        }
        assert_eq!(UserStatus::from("Active".to_owned()), Disabled);
    }
}
