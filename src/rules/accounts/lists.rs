//! Lists of accounts, with what an admin wants to know of each.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::credential::Username;
use crate::model::people::{People, User, UserStatus};
use crate::model::token::TokenStatus;
use crate::model::words::words_schema;
use crate::rules::accounts::Accounts;

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserSort {
    /// Newest first.
    #[default]
    Created,
    Name,
    /// Who sent a request last comes first; who never did comes last.
    LastRequest,
}

words_schema!(impl UserSort, "The order of accounts.", ["created", "name", "last_request"]);

impl UserSort {
    pub fn parse(word: &str) -> Result<UserSort, Error> {
        match word {
            "created" => Ok(UserSort::Created),
            "name" => Ok(UserSort::Name),
            "last_request" => Ok(UserSort::LastRequest),
            _ => Err(Error::invalid("sort", "`sort` must be created, name or last_request")),
        }
    }
}

/// Which accounts are listed, and in which order.
#[derive(Debug, Default)]
pub struct UsersWanted<'a> {
    /// Part of the name.
    pub search: Option<&'a str>,
    pub status: Option<UserStatus>,
    pub sort: UserSort,
    /// `next` of the previous page.
    pub cursor: Option<&'a str>,
}

/// A page of accounts.
pub struct UsersFound {
    pub users: Vec<UserFound>,
    /// Counts the accounts whose name matches, in every status.
    pub counts: UserCounts,
    /// The cursor of the next page.
    pub next: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserCounts {
    pub pending: usize,
    pub active: usize,
    pub disabled: usize,
}

pub struct UserFound {
    pub user: Arc<User>,
    pub facts: UserFacts,
}

/// What is known of a person beside their account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFacts {
    /// Refused requests included.
    pub last_request_at: Option<Timestamp>,
    /// Tokens that can be used now.
    pub open_tokens: usize,
    /// The name of who approved the account; `None`: somebody on the host, or nobody.
    pub approved_by: Option<String>,
}

/// Where a list goes on: after the account with this place.
type Place<'a> = (Reverse<i64>, &'a str, Reverse<i64>);

impl Accounts {
    /// Returns a page of accounts.
    pub async fn list(&self, wanted: UsersWanted<'_>, limit: usize) -> Result<UsersFound, Error> {
        let (mut found, counts) = self.named(wanted.search);
        found.retain(|user| wanted.status.is_none_or(|status| user.status == status));
        let mut last = HashMap::new();
        if wanted.sort == UserSort::LastRequest {
            last = self.store.last_requests(found.iter().map(|user| user.id).collect()).await?;
        }
        if let Some(cursor) = wanted.cursor {
            let (at, name, id) = self.parse_cursor(wanted.sort, cursor).await?;
            let after: Place<'_> = (Reverse(at), name, Reverse(id));
            found.retain(|user| place_of(wanted.sort, user, &last) > after);
        }
        found.sort_by(|one, other| place_of(wanted.sort, one, &last).cmp(&place_of(wanted.sort, other, &last)));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|user| cursor_of(wanted.sort, user, last.get(&user.id).copied()));
        if wanted.sort != UserSort::LastRequest {
            last = self.store.last_requests(found.iter().map(|user| user.id).collect()).await?;
        }
        let people = self.store.people();
        let open = open_tokens(&people);
        let users =
            found.into_iter().map(|user| UserFound { facts: facts(&user, &people, &last, &open), user }).collect();
        Ok(UsersFound { users, counts, next })
    }

    /// Returns the accounts whose name has `search` in it, in no order, and how many there are.
    pub fn named(&self, search: Option<&str>) -> (Vec<Arc<User>>, UserCounts) {
        let search = search.map(Username::of);
        let is_named = |user: &&Arc<User>| search.as_ref().is_none_or(|text| user.name().contains(text.as_str()));
        let found: Vec<Arc<User>> = self.store.people().all().filter(is_named).cloned().collect();
        let mut counts = UserCounts::default();
        found.iter().for_each(|user| counts.add(user.status));
        (found, counts)
    }

    /// Returns some accounts with what is known of each.
    pub async fn with_facts(&self, users: Vec<Arc<User>>) -> Result<Vec<UserFound>, Error> {
        let last = self.store.last_requests(users.iter().map(|user| user.id).collect()).await?;
        let people = self.store.people();
        let open = open_tokens(&people);
        Ok(users.into_iter().map(|user| UserFound { facts: facts(&user, &people, &last, &open), user }).collect())
    }

    /// Returns what is known of one person beside their account.
    pub async fn facts(&self, user: &User) -> Result<UserFacts, Error> {
        let last = self.store.last_requests(vec![user.id]).await?;
        let people = self.store.people();
        Ok(facts(user, &people, &last, &open_tokens(&people)))
    }

    /// Returns how many accounts wait, are active, or are disabled.
    pub fn counts(&self) -> UserCounts {
        let mut counts = UserCounts::default();
        self.store.people().all().for_each(|user| counts.add(user.status));
        counts
    }

    /// Reads a cursor; that account may have been deleted meanwhile.
    async fn parse_cursor<'a>(&self, sort: UserSort, cursor: &'a str) -> Result<(i64, &'a str, i64), Error> {
        let wrong = || Error::invalid("cursor", "`cursor` is not the `next` of a page of this order");
        let key = async |id: &str| self.store.user_key(id.to_owned()).await.map_err(|_| wrong());
        match sort {
            UserSort::Created => Ok((0, "", key(cursor).await?)),
            UserSort::Name => Ok((0, cursor, 0)),
            UserSort::LastRequest => {
                let (at, id) = cursor.split_once('.').ok_or_else(wrong)?;
                Ok((at.parse().map_err(|_| wrong())?, "", key(id).await?))
            }
        }
    }
}

impl UserCounts {
    fn add(&mut self, status: UserStatus) {
        match status {
            UserStatus::Pending => self.pending += 1,
            UserStatus::Active => self.active += 1,
            UserStatus::Disabled => self.disabled += 1,
            UserStatus::Deleted => {}
        }
    }
}

fn place_of<'a>(sort: UserSort, user: &'a User, last: &HashMap<i64, Timestamp>) -> Place<'a> {
    match sort {
        UserSort::Created => (Reverse(0), "", Reverse(user.id)),
        // Names are unique.
        UserSort::Name => (Reverse(0), user.name(), Reverse(0)),
        UserSort::LastRequest => (Reverse(last.get(&user.id).map_or(0, |at| at.0)), "", Reverse(user.id)),
    }
}

fn cursor_of(sort: UserSort, user: &User, last: Option<Timestamp>) -> String {
    match sort {
        UserSort::Created => user.public_id.clone(),
        UserSort::Name => user.name().to_owned(),
        UserSort::LastRequest => format!("{}.{}", last.map_or(0, |at| at.0), user.public_id),
    }
}

fn open_tokens(people: &People) -> HashMap<i64, usize> {
    let now = Timestamp::now();
    let mut open = HashMap::new();
    for token in people.tokens().filter(|token| token.status(now) == TokenStatus::Active) {
        *open.entry(token.user_id).or_default() += 1;
    }
    open
}

fn facts(user: &User, people: &People, last: &HashMap<i64, Timestamp>, open_tokens: &HashMap<i64, usize>) -> UserFacts {
    UserFacts {
        last_request_at: last.get(&user.id).copied(),
        open_tokens: open_tokens.get(&user.id).copied().unwrap_or(0),
        approved_by: user.approved_by.map(|id| people.name_of(id)),
    }
}
