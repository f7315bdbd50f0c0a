//! A person's own access tokens: the list, and letting one go on that was paused.

use actix_web::web;
use askama::Template;

use crate::auth::Auth;
use crate::auth::own_acts::OwnAct;
use crate::base::error::Error;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::Member;
use crate::model::token::Token;
use crate::rules::tokens::Tokens;
use crate::store::tokens::TokenFilter;

pub mod change;
pub mod form;
pub mod make;
pub mod rotate;
pub mod shown;

use shown::ShownToken;

page_routes! {
    "GET" "/me/tokens" Member tokens_page;
    "POST" "/me/tokens/{id}/resume" Member resume;
}

/// Rows of a page.
const ROWS: usize = 50;

/// A page of the list.
pub struct TokenRows {
    pub rows: Vec<ShownToken>,
    /// Those that are paused, newest first.
    pub held: Vec<ShownToken>,
    pub older: String,
    pub is_first: bool,
    pub per_user_max: u32,
}

impl TokenRows {
    pub async fn of(visit: &Member) -> Result<TokenRows, Fault> {
        let (tokens, times) = (visit.part::<Tokens>()?, visit.times()?);
        let cursor = visit.query("cursor");
        let which = TokenFilter { user_id: Some(visit.who().user_id()), ..TokenFilter::default() };
        let found = tokens.list(which, cursor.clone(), ROWS + 1).await?;
        let last = found.get(ROWS - 1).filter(|_| found.len() > ROWS);
        let mut rows: Vec<ShownToken> = found.iter().take(ROWS).map(|token| ShownToken::of(token, &times)).collect();
        let held = rows.extract_if(.., |row| row.pause.is_some()).collect::<Vec<_>>();
        // Those that can be used come first.
        rows.sort_by_key(|row| row.is_over);
        Ok(TokenRows {
            older: last.map(|last| format!("/me/tokens?cursor={}", last.public_id)).unwrap_or_default(),
            is_first: cursor.is_none(),
            per_user_max: tokens.per_user_max(),
            rows,
            held,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.held.is_empty()
    }

    /// Returns all rows, those that are paused first.
    pub fn all(&self) -> impl Iterator<Item = &ShownToken> {
        self.held.iter().chain(&self.rows)
    }

    /// Returns what the list holds, in words.
    pub fn foot(&self) -> String {
        let open = self.all().filter(|row| !row.is_over).count();
        if self.is_first && self.older.is_empty() {
            format!("{open} of {} that one person may have", self.per_user_max)
        } else {
            "Newest first".to_owned()
        }
    }
}

#[derive(Template)]
#[template(path = "tokens/list.html")]
struct TokensPage {
    frame: Frame,
    tokens: TokenRows,
}

async fn tokens_page(visit: Member) -> PageResult {
    let tokens = TokenRows::of(&visit).await?;
    visit.page(&TokensPage { frame: visit.frame("Access tokens", NavEntry::MyTokens), tokens })
}

async fn resume(form: Posted<Member>, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let visit = &form.visit;
    own(visit, &tokens, &id).await?;
    count(visit)?;
    let token = tokens.resume(visit.actor(), &id).await?;
    let name = plain(&token.name);
    visit.done("/me/tokens", Flash::from(format!("{name} goes on. Its next request is answered.")))
}

/// Returns an own token. Another person's looks as if it did not exist, to admins as well.
pub async fn own(visit: &Member, tokens: &Tokens, id: &str) -> Result<Token, Fault> {
    Ok(tokens.one_of(visit.who().user_id(), id).await?)
}

/// Counts an own act, which leaves a row, or refuses it.
pub fn count(visit: &Member) -> Result<(), Error> {
    visit.part::<Auth>()?.own_acts.count(visit.who(), OwnAct::Change)
}
