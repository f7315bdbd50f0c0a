//! Accounts and tokens as their tables have them, read as the model's types; and who may act.

use std::collections::HashSet;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::RequestId;
use crate::model::people::{Actor, People, User, UserStatus};
use crate::model::rights::{Class, Scopes};
use crate::model::runaway::{Runaway, RunawayEvidence};
use crate::model::token::{LastUse, Token};
use crate::store::quotas::{OfToken, OfUser};
use crate::store::schema::{tokens, users};
use crate::store::{Tx, WriteFailure};

/// Tokens that have ended and are still known by name when they are shown.
const ENDED_KEPT: i64 = 1_000;

/// An account as its table has it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct UserRow {
    id: i64,
    public_id: String,
    username: Option<String>,
    role: String,
    status: String,
    password_hash: Option<String>,
    version: i64,
    must_change: bool,
    reset_until_us: Option<i64>,
    requests_per_minute: Option<i64>,
    #[diesel(embed)]
    quotas: OfUser,
    models: Option<String>,
    note: Option<String>,
    weight: i64,
    class: String,
    registered_from: Option<String>,
    created_at_us: i64,
    approved_at_us: Option<i64>,
    deleted_at_us: Option<i64>,
    approved_by: Option<i64>,
    registered_by: Option<String>,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        User {
            id: row.id,
            public_id: row.public_id,
            username: row.username,
            role: row.role.into(),
            status: row.status.into(),
            password_hash: row.password_hash,
            version: row.version,
            must_change: row.must_change,
            reset_until_us: row.reset_until_us,
            requests_per_minute: row.requests_per_minute,
            quotas: row.quotas.into(),
            models: row.models.into(),
            note: row.note,
            weight: row.weight,
            class: row.class.into(),
            registered_from: row.registered_from,
            registered_by: row.registered_by,
            created_at_us: row.created_at_us,
            approved_at_us: row.approved_at_us,
            deleted_at_us: row.deleted_at_us,
            approved_by: row.approved_by,
        }
    }
}

/// A token as its table has it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
pub struct TokenRow {
    id: i64,
    public_id: String,
    user_id: i64,
    name: Option<String>,
    scopes: String,
    models: Option<String>,
    networks: Option<String>,
    requests_per_minute: Option<i64>,
    #[diesel(embed)]
    quotas: OfToken,
    class: Option<String>,
    secret_sha256: Vec<u8>,
    old_secret_sha256: Option<Vec<u8>>,
    old_until_us: Option<i64>,
    created_at_us: i64,
    expires_at_us: i64,
    last_used_at_us: Option<i64>,
    suspended_at_us: Option<i64>,
    pause_reason: Option<String>,
    revoked_at_us: Option<i64>,
    pause_count: Option<i64>,
    pause_seconds: Option<i64>,
    pause_example: Option<Vec<u8>>,
    delegating: bool,
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        // A network that can't be read is none, so a damaged list allows less, never more.
        let networks = |text: String| text.split(' ').filter_map(|network| network.parse().ok()).collect();
        let evidence = || {
            Some(RunawayEvidence {
                count: usize::try_from(row.pause_count?).ok()?,
                window_seconds: u32::try_from(row.pause_seconds?).ok()?,
                example: row.pause_example.and_then(|id| uuid::Uuid::from_slice(&id).ok()).map(RequestId),
            })
        };
        let evidence = evidence();
        Token {
            id: row.id,
            public_id: row.public_id,
            user_id: row.user_id,
            name: row.name.unwrap_or_default(),
            scopes: Scopes::stored(&row.scopes),
            delegating: row.delegating,
            models: row.models.into(),
            networks: row.networks.map(networks),
            requests_per_minute: row.requests_per_minute,
            quotas: row.quotas.into(),
            class: row.class.map(Class::from),
            secret_sha256: row.secret_sha256,
            old_secret: row.old_secret_sha256.zip(row.old_until_us.map(Timestamp)),
            created_at_us: row.created_at_us,
            expires_at_us: row.expires_at_us,
            used_at: LastUse::new(row.last_used_at_us.map(Timestamp)),
            suspended_at_us: row.suspended_at_us,
            evidence: evidence.filter(|_| row.pause_reason.is_some()),
            paused: row.pause_reason.map(Runaway::from),
            revoked_at_us: row.revoked_at_us,
        }
    }
}

/// Reads the snapshot of all users and their tokens.
pub fn load(connection: &mut SqliteConnection) -> QueryResult<People> {
    let rows = users::table
        .filter(users::status.ne(UserStatus::Deleted.name()))
        .select(UserRow::as_select())
        .load(connection)?;
    Ok(People::new(rows.into_iter().map(User::from).collect(), load_tokens(connection)?))
}

/// Returns the tokens that may still be used, and those that ended last.
fn load_tokens(connection: &mut SqliteConnection) -> QueryResult<impl Iterator<Item = Token> + use<>> {
    let now = Timestamp::now().0;
    let live = tokens::revoked_at_us.is_null().and(tokens::expires_at_us.gt(now));
    let ended = tokens::revoked_at_us.is_not_null().or(tokens::expires_at_us.le(now));
    let mut rows: Vec<TokenRow> = tokens::table.filter(live).select(TokenRow::as_select()).load(connection)?;
    let last_ended = sql::<BigInt>("coalesce(revoked_at_us, expires_at_us)").desc();
    let last_ended = tokens::table.filter(ended).filter(tokens::name.is_not_null()).order(last_ended);
    rows.extend(last_ended.limit(ENDED_KEPT).select(TokenRow::as_select()).load::<TokenRow>(connection)?);
    Ok(rows.into_iter().map(Token::from))
}

/// Finds a user by their key; one who was deleted, too.
pub fn find_by_id(tx: &mut Tx<'_>, id: i64) -> QueryResult<Option<User>> {
    let found: Option<UserRow> = users::table.find(id).select(UserRow::as_select()).first(tx.connection).optional()?;
    Ok(found.map(User::from))
}

/// Finds a user who was not deleted by their public id.
pub fn find(tx: &mut Tx<'_>, id: &str) -> Result<User, WriteFailure> {
    let found: Option<UserRow> = users::table
        .filter(users::public_id.eq(id))
        .filter(users::status.ne(UserStatus::Deleted.name()))
        .select(UserRow::as_select())
        .first(tx.connection)
        .optional()?;
    found.map(User::from).ok_or_else(|| Error::NotFound { what: "such user".into() }.into())
}

/// Checks that `by` is an admin now: they may have been disabled since their credential was checked.
pub fn check_acting_admin(tx: &mut Tx<'_>, by: Actor) -> Result<(), WriteFailure> {
    let Some(id) = by.0 else { return Ok(()) };
    let acting = find_by_id(tx, id)?;
    match acting {
        Some(user) if user.is_admin() && user.is_active() && !user.must_change => Ok(()),
        _ => Err(Error::forbidden("only an admin may do this").into()),
    }
}

/// Returns the keys of all users who were deleted. Their contents are erased then or soon after, and nothing else in the record
/// is. Another way to erase must end running exports, too.
pub fn deleted(connection: &mut SqliteConnection) -> QueryResult<HashSet<i64>> {
    Ok(deleted_among(connection, None)?.into_iter().collect())
}

/// Returns which of these users were deleted; `None`: all who were.
pub fn deleted_among(connection: &mut SqliteConnection, people: Option<Vec<i64>>) -> QueryResult<Vec<i64>> {
    let mut deleted = users::table.filter(users::status.eq(UserStatus::Deleted.name())).select(users::id).into_boxed();
    if let Some(people) = people {
        deleted = deleted.filter(users::id.eq_any(people));
    }
    deleted.load(connection)
}
