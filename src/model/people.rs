//! Users, and the snapshot of all of them with their tokens.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::model::rights::quotas::Quotas;
use crate::model::rights::{AllowedModels, Class};
use crate::model::token::Token;

pub const ROLE_ADMIN: &str = "admin";
pub const ROLE_USER: &str = "user";
pub const PENDING: &str = "pending";
pub const ACTIVE: &str = "active";
pub const DISABLED: &str = "disabled";
pub const DELETED: &str = "deleted";

/// The account that the first start creates.
pub const FIRST_ADMIN: &str = "admin";

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    pub id: i64,
    pub public_id: String,
    pub username: Option<String>,
    pub role: String,
    pub status: String,
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
    pub created_at_us: i64,
    pub approved_at_us: Option<i64>,
    pub deleted_at_us: Option<i64>,
}

impl User {
    pub fn name(&self) -> &str {
        self.username.as_deref().unwrap_or("(deleted)")
    }

    pub fn is_admin(&self) -> bool {
        self.role == ROLE_ADMIN
    }

    pub fn is_active(&self) -> bool {
        self.status == ACTIVE
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
