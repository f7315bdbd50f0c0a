//! One access token: what it may, what is left of its limits, and what can be changed.

use actix_web::web;
use askama::Template;

use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::people::left::{LeftLine, left_lines};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::tokens::form::{LimitField, TokenFields, edit_of, problem_of};
use crate::http::pages::tokens::make::classes;
use crate::http::pages::tokens::shown::ShownToken;
use crate::http::pages::tokens::{count, own};
use crate::http::pages::visible::plain;
use crate::http::pages::visit::Member;
use crate::http::pages::words::sentences;
use crate::model::token::Token;
use crate::rules::tokens::Tokens;

page_routes! {
    "GET" "/me/tokens/{id}" Member token_page;
    "POST" "/me/tokens/{id}" Member change;
}

#[derive(Template)]
#[template(path = "tokens/one.html")]
struct TokenPage {
    frame: Frame,
    token: ShownToken,
    fields: TokenFields,
    limits: Vec<LimitField>,
    classes: Vec<(&'static str, String, bool)>,
    left: Vec<LeftLine>,
    problem: Option<FormProblem>,
}

impl TokenPage {
    fn of(visit: &Member, token: &Token, sent: Option<TokenFields>) -> Result<TokenPage, Fault> {
        let fields = sent.unwrap_or_else(|| TokenFields::of(token));
        let account = visit.part::<Gateway>()?.limits().account_of_token(token);
        let mut left = left_lines(&account);
        // What it has no limit for is counted with its owner.
        left.retain(|line| line.meter.is_some());
        Ok(TokenPage {
            frame: visit.frame(plain(&token.name), NavEntry::MyTokens),
            token: ShownToken::of(token, &visit.times()?),
            limits: fields.limits(),
            classes: classes(visit, &fields.class),
            fields,
            left,
            problem: None,
        })
    }
}

async fn token_page(visit: Member, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let token = own(&visit, &tokens, &id).await?;
    visit.page(&TokenPage::of(&visit, &token, None)?)
}

async fn change(form: Posted<Member>, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let visit = &form.visit;
    let token = own(visit, &tokens, &id).await?;
    let changed = async {
        let edit = edit_of(&form.fields)?;
        count(visit)?;
        tokens.edit(visit.actor(), &id, edit).await
    };
    if let Err(error) = changed.await {
        let problem = problem_of(error)?;
        let mut page = TokenPage::of(visit, &token, Some(TokenFields::sent(&form.fields)))?;
        page.frame.title = format!("Problem: {}", page.frame.title);
        let status = problem.status();
        page.problem = Some(problem);
        return visit.page_as(status, &page);
    }
    visit.done(format!("/me/tokens/{id}"), sentences::SAVED)
}
