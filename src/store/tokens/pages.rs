//! Pages of tokens, of one person or of everybody.

use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::model::token::{Token, TokenStatus};
use crate::store::Store;
use crate::store::people::TokenRow;
use crate::store::schema::tokens;

/// Which tokens are listed; `None`: all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenFilter {
    pub user_id: Option<i64>,
    pub status: Option<TokenStatus>,
    /// Those that have not ended yet and expire before it.
    pub expiring_before: Option<Timestamp>,
}

impl Store {
    /// Returns a token of a user, also one that has ended. Another user's looks as if it did not exist.
    pub async fn token_of(&self, user_id: i64, public_id: String) -> Result<Token, Error> {
        let row = self
            .read(move |connection| {
                let own = tokens::table.filter(tokens::public_id.eq(public_id)).filter(tokens::user_id.eq(user_id));
                let own = own.filter(tokens::name.is_not_null());
                own.select(TokenRow::as_select()).first::<TokenRow>(connection).optional()
            })
            .await?;
        row.map(Token::from).ok_or_else(|| Error::NotFound { what: "such token".into() })
    }

    /// Returns tokens, newest first, before the one with the id `before`.
    pub async fn tokens_page(
        &self,
        which: TokenFilter,
        before: Option<String>,
        limit: i64,
    ) -> Result<Vec<Token>, Error> {
        let now = Timestamp::now();
        let rows = self
            .read(move |connection| {
                let mut query = tokens::table
                    .filter(tokens::name.is_not_null())
                    .order(tokens::id.desc())
                    .limit(limit)
                    .select(TokenRow::as_select())
                    .into_boxed();
                if let Some(user_id) = which.user_id {
                    query = query.filter(tokens::user_id.eq(user_id));
                }
                if let Some(status) = which.status {
                    query = query.filter(has(status, now));
                }
                if let Some(before) = which.expiring_before {
                    let goes_on = tokens::revoked_at_us.is_null().and(tokens::expires_at_us.gt(now.0));
                    query = query.filter(goes_on).filter(tokens::expires_at_us.lt(before.0));
                }
                if let Some(before) = before {
                    let last = tokens::table.filter(tokens::public_id.eq(before)).select(tokens::id);
                    // A cursor that names no token ends the list.
                    let last: i64 = last.first(connection).optional()?.unwrap_or(0);
                    query = query.filter(tokens::id.lt(last));
                }
                query.load::<TokenRow>(connection)
            })
            .await?;
        Ok(rows.into_iter().map(Token::from).collect())
    }
}

/// Returns the condition of a status: the same as `Token::status`, which a test compares.
fn has(status: TokenStatus, now: Timestamp) -> Box<dyn BoxableExpression<tokens::table, Sqlite, SqlType = Bool>> {
    let revoked = tokens::revoked_at_us.is_not_null();
    let kept = tokens::revoked_at_us.is_null();
    let live = kept.and(tokens::expires_at_us.gt(now.0));
    match status {
        TokenStatus::Revoked => Box::new(revoked),
        TokenStatus::Expired => Box::new(kept.and(tokens::expires_at_us.le(now.0))),
        TokenStatus::Paused => Box::new(live.and(tokens::pause_reason.is_not_null())),
        TokenStatus::Suspended => {
            Box::new(live.and(tokens::pause_reason.is_null()).and(tokens::suspended_at_us.is_not_null()))
        }
        TokenStatus::Active => {
            Box::new(live.and(tokens::pause_reason.is_null()).and(tokens::suspended_at_us.is_null()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Live, Settings};

    #[tokio::test]
    async fn each_token_is_found_by_the_status_that_it_shows_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Live::new(Settings::default())).unwrap();
        let now = Timestamp::now();
        let (past, ahead) = (now.0 - 1_000_000_000, now.0 + 3_600_000_000);
        let choices = [None, Some(past)];
        let mut count = 0;
        for (revoked, suspended, paused, expires) in choices.into_iter().flat_map(|revoked| {
            choices.into_iter().flat_map(move |suspended| {
                [None, Some("repeats")].into_iter().flat_map(move |paused| {
                    [past, ahead].into_iter().map(move |expires| (revoked, suspended, paused, expires))
                })
            })
        }) {
            count += 1;
            let row = (
                tokens::public_id.eq(format!("{count:010}")),
                tokens::user_id.eq(1_i64),
                tokens::name.eq("ci"),
                tokens::scopes.eq("chat"),
                tokens::secret_sha256.eq(vec![0; 32]),
                tokens::created_at_us.eq(past),
                tokens::expires_at_us.eq(expires),
                tokens::revoked_at_us.eq(revoked),
                tokens::suspended_at_us.eq(suspended),
                tokens::pause_reason.eq(paused),
            );
            let write = move |tx: &mut crate::store::Tx<'_>| {
                Ok(diesel::insert_into(tokens::table).values(row).execute(tx.connection)?)
            };
            store.write(write).await.unwrap();
        }

        let page = async |which| store.tokens_page(which, None, 100).await.unwrap();
        let all = page(TokenFilter::default()).await;
        assert_eq!(all.len(), 16);
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.public_id.clone()).collect::<Vec<_>>();
        for status in TokenStatus::ALL {
            let found = page(TokenFilter { status: Some(status), ..TokenFilter::default() }).await;
            let shown = all.iter().filter(|token| token.status(Timestamp::now()) == status);
            assert_eq!(ids(&found), shown.map(|token| token.public_id.clone()).collect::<Vec<_>>(), "{status:?}");
            assert!(!found.is_empty(), "{status:?}");
        }
        let expiring = |at| TokenFilter { expiring_before: Some(Timestamp(at)), ..TokenFilter::default() };
        assert_eq!(page(expiring(ahead)).await.len(), 0);
        assert_eq!(page(expiring(ahead + 1)).await.len(), 4, "those that have ended expire no more");
        assert_eq!(page(TokenFilter { user_id: Some(2), ..TokenFilter::default() }).await.len(), 0);
        for token in &all {
            let id = token.public_id.clone();
            assert_eq!(store.token_of(1, id.clone()).await.unwrap().public_id, id);
            assert!(matches!(store.token_of(2, id).await, Err(Error::NotFound { .. })), "of somebody else");
        }
    }
}
