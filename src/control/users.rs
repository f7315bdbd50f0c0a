//! People from the host: everything that an admin may do, and what only the host may.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::secret::Secret;
use crate::control::{Answer, HOST, LIST_MAX};
use crate::model::people::User;
use crate::rules::accounts::{Accounts, Edit, ResetMode, Waiting, WaitingWish};

#[derive(Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum UserAsk {
    /// The name, and the password that an account made on the host begins with.
    Add {
        email: String,
        password: String,
    },
    List {
        search: Option<String>,
        status: Option<String>,
    },
    Show {
        user: String,
    },
    Approve {
        user: String,
    },
    Disable {
        user: String,
    },
    Enable {
        user: String,
    },
    Unlock {
        user: String,
    },
    Reset {
        user: String,
        code: bool,
        revoke_tokens: bool,
    },
    Edit {
        user: String,
        change: UserChange,
    },
    Delete {
        user: String,
        receipt: String,
    },
    /// The names of accounts, or what they have in common.
    TurnDown {
        users: Vec<String>,
        which: WaitingWish,
    },
}

/// One thing to change in an account; `None` takes it away.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    Role(String),
    RequestsPerMinute(Option<u32>),
    Models(Option<Vec<String>>),
    Note(Option<String>),
    Weight(u32),
    Class(String),
}

impl From<UserChange> for Edit {
    fn from(change: UserChange) -> Self {
        let mut edit = Edit::default();
        match change {
            UserChange::Role(role) => edit.role = Some(role),
            UserChange::RequestsPerMinute(limit) => edit.requests_per_minute = Some(limit),
            UserChange::Models(models) => edit.models = Some(models),
            UserChange::Note(note) => edit.note = Some(note),
            UserChange::Weight(weight) => edit.weight = Some(weight),
            UserChange::Class(class) => edit.class = Some(class),
        }
        edit
    }
}

#[derive(Serialize, Deserialize)]
pub struct UserLine {
    pub id: String,
    pub username: String,
    pub role: String,
    pub status: String,
    pub must_change_password: bool,
    /// `None`: the gateway's.
    pub requests_per_minute: Option<i64>,
    /// `None`: all.
    pub models: Option<Vec<String>>,
    pub weight: i64,
    pub class: String,
    pub note: Option<String>,
    /// The network that a waiting registration came from.
    pub registered_from: Option<String>,
    pub created_at: String,
    pub approved_at: Option<String>,
}

impl From<&User> for UserLine {
    fn from(user: &User) -> Self {
        UserLine {
            id: user.public_id.clone(),
            username: user.name().to_owned(),
            role: user.role.clone(),
            status: user.status.clone(),
            must_change_password: user.must_change,
            requests_per_minute: user.requests_per_minute,
            models: user.models.words(),
            weight: user.weight,
            class: user.class.name().to_owned(),
            note: user.note.clone(),
            registered_from: user.registered_from.clone(),
            created_at: Timestamp(user.created_at_us).rfc3339(),
            approved_at: user.approved_at_us.map(|at| Timestamp(at).rfc3339()),
        }
    }
}

pub async fn perform(accounts: &Accounts, ask: UserAsk) -> Result<Answer, Error> {
    let one = |user: User| Answer::User { user: UserLine::from(&user) };
    let id = |name: &str| accounts.find(name).map(|user| user.public_id.clone());
    match ask {
        UserAsk::Add { email, password } => {
            if accounts.first_admin_waits() {
                return Err(Error::conflict("nobody can be let in before the password of `admin` has been changed"));
            }
            if accounts.find(&email).is_ok() {
                return Err(Error::conflict(format!("there is an account `{email}` already")));
            }
            accounts.register(&email, Secret::new(password), None).await?;
            accounts.approve(HOST, &id(&email)?).await.map(one)
        }
        UserAsk::List { search, status } => {
            let users = accounts.list(search.as_deref(), status.as_deref(), None, LIST_MAX).await?;
            Ok(Answer::Users { users: users.iter().map(|user| UserLine::from(&**user)).collect() })
        }
        UserAsk::Show { user } => accounts.find(&user).map(|user| one(User::clone(&user))),
        UserAsk::Approve { user } => accounts.approve(HOST, &id(&user)?).await.map(one),
        UserAsk::Disable { user } => accounts.disable(HOST, &id(&user)?).await.map(one),
        UserAsk::Enable { user } => accounts.enable(HOST, &id(&user)?).await.map(one),
        UserAsk::Unlock { user } => accounts.unlock(&user).map(|user| one(User::clone(&user))),
        UserAsk::Reset { user, code, revoke_tokens } => {
            let mode = if code { ResetMode::Code } else { ResetMode::Initial };
            let (user, code) = accounts.reset_password(HOST, &id(&user)?, mode, revoke_tokens).await?;
            Ok(Answer::Reset { user: UserLine::from(&user), code, minutes: accounts.reset_minutes() })
        }
        UserAsk::Edit { user, change } => accounts.edit(HOST, &id(&user)?, change.into()).await.map(one),
        UserAsk::TurnDown { users, which } if users.is_empty() => {
            let count = accounts.turn_down_all(HOST, &Waiting::parse(which)?).await?;
            Ok(Answer::TurnedDown { count })
        }
        UserAsk::TurnDown { users, .. } => {
            // None of them when one can't be found.
            let ids: Vec<String> = users.iter().map(|user| id(user)).collect::<Result<_, _>>()?;
            for id in &ids {
                accounts.turn_down(HOST, id).await?;
            }
            Ok(Answer::TurnedDown { count: ids.len() })
        }
        UserAsk::Delete { user, receipt } => {
            accounts.delete(HOST, &id(&user)?, &receipt).await?;
            Ok(Answer::Deleting { user })
        }
    }
}
