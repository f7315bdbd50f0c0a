//! A new secret for an access token, and its end; each asks first.

use actix_web::web;
use askama::Template;

use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::format;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::tokens::form::{days_of, problem_of};
use crate::http::pages::tokens::make::show_once;
use crate::http::pages::tokens::{count, own};
use crate::http::pages::visible::plain;
use crate::http::pages::visit::Member;
use crate::http::pages::words::sentences;
use crate::model::token::Token;
use crate::rules::tokens::{RotateWish, Tokens};

page_routes! {
    "GET" "/me/tokens/{id}/rotate" Member rotate_page;
    "POST" "/me/tokens/{id}/rotate" Member rotate;
    "GET" "/me/tokens/{id}/revoke" Member revoke_page;
    "POST" "/me/tokens/{id}/revoke" Member revoke;
}

#[derive(Template)]
#[template(path = "tokens/rotate.html")]
struct RotatePage {
    frame: Frame,
    id: String,
    name: String,
    /// How long the secret before works, in a sentence.
    grace: String,
    is_now: bool,
    ends: format::Moment,
    ends_on: String,
    is_date: bool,
    problem: Option<FormProblem>,
}

impl RotatePage {
    fn of(visit: &Member, tokens: &Tokens, token: &Token, sent: Option<&Posted<Member>>) -> Result<RotatePage, Fault> {
        let text = |name: &str| sent.map(|form| form.fields.text(name).to_owned()).unwrap_or_default();
        let name = plain(&token.name).into_owned();
        Ok(RotatePage {
            frame: visit.frame(format!("Rotate {name}"), NavEntry::MyTokens),
            id: token.public_id.clone(),
            name,
            grace: sentences::rotated(&format::coarse(tokens.grace())),
            is_now: text("old") == "now",
            ends: visit.times()?.date_in_full(crate::base::clock::Timestamp(token.expires_at_us)),
            ends_on: text("ends_on"),
            is_date: text("ends") == "date",
            problem: None,
        })
    }
}

async fn rotate_page(visit: Member, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let token = alive(&visit, &tokens, &id).await?;
    visit.page(&RotatePage::of(&visit, &tokens, &token, None)?)
}

async fn rotate(form: Posted<Member>, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let (visit, fields) = (&form.visit, &form.fields);
    let token = alive(visit, &tokens, &id).await?;
    let rotated = async {
        let grace_seconds = (fields.text("old") == "now").then_some(0);
        let wish = RotateWish { grace_seconds, expires_in_days: days_of(fields, &visit.times()?)? };
        form.needs_password(format!("give {} a new secret", plain(&token.name)))?;
        count(visit)?;
        Ok::<_, Fault>(tokens.rotate(visit.actor(), &id, wish).await?)
    };
    match rotated.await {
        Ok(fresh) => show_once(visit, &fresh),
        Err(Fault::Refused(error)) => {
            let problem = problem_of(error)?;
            let mut page = RotatePage::of(visit, &tokens, &token, Some(&form))?;
            page.frame.title = format!("Problem: {}", page.frame.title);
            let status = problem.status();
            page.problem = Some(problem);
            visit.page_as(status, &page)
        }
        Err(fault) => Err(fault),
    }
}

#[derive(Template)]
#[template(path = "tokens/revoke.html")]
struct RevokePage {
    frame: Frame,
    id: String,
    name: String,
}

async fn revoke_page(visit: Member, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let token = alive(&visit, &tokens, &id).await?;
    let name = plain(&token.name).into_owned();
    let frame = visit.frame(format!("Revoke {name}"), NavEntry::MyTokens);
    visit.page(&RevokePage { frame, id: token.public_id, name })
}

async fn revoke(form: Posted<Member>, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let visit = &form.visit;
    let token = own(visit, &tokens, &id).await?;
    count(visit)?;
    tokens.revoke(visit.actor(), &id).await?;
    visit.done("/me/tokens", format!("{} was revoked.", plain(&token.name)))
}

/// Returns an own token that has not ended; the page of one that has says so.
async fn alive(visit: &Member, tokens: &Tokens, id: &str) -> Result<Token, Fault> {
    let token = own(visit, tokens, id).await?;
    if token.has_ended(visit.times()?.now()) {
        return Err(Fault::Away(format!("/me/tokens/{id}")));
    }
    Ok(token)
}
