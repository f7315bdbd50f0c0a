//! A new access token: its form, and its secret, which is shown once.

use actix_web::web;
use askama::Template;

use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::setup::snippets::{Snippet, TokenWord, snippets, tool_snippets};
use crate::http::pages::setup::{model_for, purpose_of};
use crate::http::pages::tokens::form::{LimitField, TokenFields, problem_of, wish_of};
use crate::http::pages::tokens::shown::ShownToken;
use crate::http::pages::tokens::{TokenRows, count, own};
use crate::http::pages::visible::plain;
use crate::http::pages::visit::Member;
use crate::http::pages::words::{sentences, states};
use crate::model::rights::{Class, Scope};
use crate::rules::tokens::{Fresh, Tokens};

page_routes! {
    "GET" "/me/tokens/new" Member new_page;
    "POST" "/me/tokens/new" Member make;
    "GET" "/me/tokens/{id}/created" Member created_page;
}

/// Lifetimes to choose from, in days.
const LIFETIMES: [u32; 3] = [30, 90, 365];

/// Scopes of a token whose form was not touched.
const SCOPES: [Scope; 2] = [Scope::Chat, Scope::Models];

/// A checkbox: value, label, is checked.
type Choice = (String, String, bool);

#[derive(Template)]
#[template(path = "tokens/new.html")]
struct NewTokenPage {
    frame: Frame,
    fields: TokenFields,
    limits: Vec<LimitField>,
    scopes: Vec<Choice>,
    /// Admins may make tokens that act for others.
    may_delegate: bool,
    is_delegating: bool,
    models: Vec<Choice>,
    classes: Vec<(&'static str, String, bool)>,
    /// Days, label, is chosen.
    lifetimes: Vec<Choice>,
    is_date: bool,
    ends_on: String,
    problem: Option<FormProblem>,
}

impl NewTokenPage {
    async fn of(visit: &Member, sent: Option<&Posted<Member>>) -> Result<NewTokenPage, Fault> {
        let fields = sent.map(|form| &form.fields);
        let is_chosen =
            |name: &str, value: &str| fields.is_some_and(|fields| fields.values(name).any(|one| one == value));
        let scopes = Scope::ALL.into_iter().filter(|scope| !scope.needs_admin() || visit.who().is_admin());
        let scope = |scope: Scope| {
            let is_checked = if fields.is_some() { is_chosen("scopes", scope.name()) } else { SCOPES.contains(&scope) };
            (scope.name().to_owned(), states::scope(scope).to_owned(), is_checked)
        };
        // Without a model server there is none to choose, and the token is for all.
        let served = visit.part::<Gateway>()?.models(Some(visit.who())).await.unwrap_or_default();
        let model = |name: String| (name.clone(), name.clone(), is_chosen("models", &name));
        let (most, usual) = visit.part::<Tokens>()?.lifetime_days();
        let mut days: Vec<u32> = LIFETIMES.into_iter().chain([usual]).filter(|days| *days <= most).collect();
        days.sort_unstable();
        days.dedup();
        let ends = fields.map(|fields| fields.text("ends").to_owned()).unwrap_or_default();
        let chosen = if ends.is_empty() { usual.to_string() } else { ends };
        let token = fields.map(TokenFields::sent).unwrap_or_default();
        Ok(NewTokenPage {
            frame: visit.frame("New access token", NavEntry::MyTokens),
            limits: token.limits(),
            classes: classes(visit, &token.class),
            scopes: scopes.map(scope).collect(),
            may_delegate: visit.who().is_admin(),
            is_delegating: is_chosen("delegating", "yes"),
            models: served.into_iter().map(|card| model(card.name.as_str().to_owned())).collect(),
            lifetimes: days
                .into_iter()
                .map(|days| (days.to_string(), format!("in {days} days"), days.to_string() == chosen))
                .collect(),
            is_date: chosen == "date",
            ends_on: fields.map(|fields| fields.text("ends_on").to_owned()).unwrap_or_default(),
            fields: token,
            problem: None,
        })
    }
}

/// Returns the classes to choose from. A token never has a higher one than its owner.
pub fn classes(visit: &Member, chosen: &str) -> Vec<(&'static str, String, bool)> {
    let own = visit.who().user().class;
    let mut all =
        vec![("", format!("as yours: {}, {}", states::class(own), states::about_class(own)), chosen.is_empty())];
    for class in [Class::Interactive, Class::Batch].into_iter().filter(|class| *class >= own) {
        let label = format!("{}, {}", states::class(class), states::about_class(class));
        all.push((class.name(), label, chosen == class.name()));
    }
    all
}

async fn new_page(visit: Member) -> PageResult {
    visit.page(&NewTokenPage::of(&visit, None).await?)
}

async fn make(form: Posted<Member>, tokens: web::Data<Tokens>) -> PageResult {
    let visit = &form.visit;
    let made = async {
        let wish = wish_of(&form.fields, &visit.times()?)?;
        form.needs_password(format!("make the access token {}", plain(wish.name.trim())))?;
        count(visit)?;
        Ok::<_, Fault>(tokens.create(visit.actor(), &visit.who().user().public_id, wish).await?)
    };
    match made.await {
        Ok(fresh) => show_once(visit, &fresh),
        Err(Fault::Refused(error)) => {
            let problem = problem_of(error)?;
            let mut page = NewTokenPage::of(visit, Some(&form)).await?;
            page.frame.title = format!("Problem: {}", page.frame.title);
            let status = problem.status();
            page.problem = Some(problem);
            visit.page_as(status, &page)
        }
        Err(fault) => Err(fault),
    }
}

/// Leads to the page that shows a secret once.
pub fn show_once(visit: &Member, fresh: &Fresh) -> PageResult {
    let id = &fresh.token.public_id;
    visit.open().keep(&kept_name(id), fresh.secret.expose().clone());
    visit.to(format!("/me/tokens/{id}/created"))
}

/// Returns the name under which the session keeps a token's secret for its page.
fn kept_name(id: &str) -> String {
    format!("secret of {id}")
}

#[derive(Template)]
#[template(path = "tokens/created.html")]
struct CreatedPage {
    frame: Frame,
    tokens: TokenRows,
    token: ShownToken,
    title: String,
    secret: String,
    snippets: Vec<Snippet>,
}

#[derive(Template)]
#[template(path = "tokens/shown_before.html")]
struct ShownBeforePage {
    frame: Frame,
    token: ShownToken,
}

async fn created_page(visit: Member, id: web::Path<String>, tokens: web::Data<Tokens>) -> PageResult {
    let token = own(&visit, &tokens, &id).await?;
    let shown = ShownToken::of(&token, &visit.times()?);
    let frame = visit.frame("Access tokens", NavEntry::MyTokens);
    let Some(secret) = visit.open().take(&kept_name(&id)) else {
        let frame = Frame { title: plain(&token.name).into_owned(), ..frame };
        return visit.page(&ShownBeforePage { frame, token: shown });
    };
    let purpose = purpose_of(&token);
    let model = model_for(&visit, Some(&token), purpose).await?;
    let is_rotated = shown.old_secret_until.is_some();
    let title = if is_rotated { "The new secret of" } else { "Your new access token:" };
    let page = CreatedPage {
        frame,
        tokens: TokenRows::of(&visit).await?,
        title: format!("{title} {}", plain(&token.name)),
        snippets: match (&visit.base_url(), TokenWord::Secret(secret.expose())) {
            (base, word) if token.delegating => tool_snippets(base, &word),
            (base, word) => snippets(base, &word, model.as_deref(), purpose),
        },
        secret: secret.expose().clone(),
        token: shown,
    };
    visit.page(&page)
}
