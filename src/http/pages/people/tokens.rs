//! Access tokens as admins see them: of one person, and everybody's.

use actix_web::web;
use askama::Template;

use crate::base::error::Error;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::people::acts::SurePage;
use crate::http::pages::people::person::{PersonHead, Tab};
use crate::http::pages::posted::Posted;
use crate::http::pages::problem::{FormProblem, about};
use crate::http::pages::route::page_routes;
use crate::http::pages::tokens::form::{LimitField, TokenFields, edit_of, problem_of};
use crate::http::pages::tokens::shown::ShownToken;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::{counted, sentences, states};
use crate::model::people::User;
use crate::model::rights::Class;
use crate::model::token::{Token, TokenStatus};
use crate::rules::accounts::Accounts;
use crate::rules::tokens::Tokens;
use crate::store::Store;
use crate::store::tokens::TokenFilter;

page_routes! {
    "GET" "/admin/users/{id}/tokens" Admin of_person;
    "GET" "/admin/tokens" Admin of_everybody;
    "GET" "/admin/tokens/{id}" Admin token_page;
    "POST" "/admin/tokens/{id}" Admin change;
    "GET" "/admin/tokens/{id}/revoke" Admin revoke_page;
    "POST" "/admin/tokens/{id}/revoke" Admin revoke;
    "POST" "/admin/tokens/{id}/resume" Admin resume;
}

/// Rows of a page.
const ROWS: usize = 50;

/// An access token in a list.
struct TokenRow {
    shown: ShownToken,
    /// Name and page of its owner; on a person's own page it is left out.
    owner: Option<(String, String)>,
}

impl TokenRow {
    fn of(token: &Token, owner: Option<&User>, times: &PageTimes, with_owner: bool) -> TokenRow {
        let link = |owner: &User| (owner.name().to_owned(), format!("/admin/users/{}", owner.public_id));
        TokenRow { shown: ShownToken::of(token, times), owner: owner.filter(|_| with_owner).map(link) }
    }
}

/// A page of access tokens.
struct TokenList {
    rows: Vec<TokenRow>,
    count: String,
    newest: String,
    older: String,
}

impl TokenList {
    async fn find(visit: &AdminVisit, which: TokenFilter, home: &str) -> Result<TokenList, Fault> {
        let (tokens, times) = (visit.part::<Tokens>()?, visit.times()?);
        let cursor = visit.query("cursor");
        let found = tokens.list(which, cursor.clone(), ROWS + 1).await?;
        let next = found.get(ROWS - 1).filter(|_| found.len() > ROWS).map(|last| last.public_id.clone());
        let with_owner = which.user_id.is_none();
        let row = |token: &Token| TokenRow::of(token, tokens.owner(token).as_deref(), &times, with_owner);
        let rows: Vec<TokenRow> = found.iter().take(ROWS).map(row).collect();
        let link = |cursor: Option<String>| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(status) = which.status {
                query.append_pair("status", status.name());
            }
            if let Some(cursor) = cursor {
                query.append_pair("cursor", &cursor);
            }
            let query = query.finish();
            if query.is_empty() { home.to_owned() } else { format!("{home}?{query}") }
        };
        Ok(TokenList {
            count: format!("{}, newest first", counted(rows.len() as u64, "access token", "access tokens")),
            newest: cursor.map(|_| link(None)).unwrap_or_default(),
            older: next.map(|next| link(Some(next))).unwrap_or_default(),
            rows,
        })
    }
}

#[derive(Template)]
#[template(path = "people/tokens.html")]
struct PersonTokensPage {
    frame: Frame,
    head: PersonHead,
    list: TokenList,
}

async fn of_person(visit: AdminVisit, id: web::Path<String>, accounts: web::Data<Accounts>) -> PageResult {
    let (user, head) = PersonHead::find(&id, &accounts, &visit.times()?, Tab::Tokens).await?;
    let which = TokenFilter { user_id: Some(user.id), ..TokenFilter::default() };
    let list = TokenList::find(&visit, which, &format!("/admin/users/{id}/tokens")).await?;
    visit.page(&PersonTokensPage { frame: visit.frame(plain(user.name()), NavEntry::People), head, list })
}

#[derive(Template)]
#[template(path = "people/all_tokens.html")]
struct AllTokensPage {
    frame: Frame,
    tabs: Vec<(String, String, bool)>,
    states: Vec<(String, String, bool)>,
    list: TokenList,
}

async fn of_everybody(visit: AdminVisit) -> PageResult {
    const HOME: &str = "/admin/tokens";
    let status = visit.query("status").and_then(|word| TokenStatus::parse(&word).ok());
    let list = TokenList::find(&visit, TokenFilter { status, ..TokenFilter::default() }, HOME).await?;
    let one = |wanted: TokenStatus| {
        let word = crate::http::pages::words::capitalised(&states::token_state(wanted.name()).text);
        (format!("{HOME}?status={}", wanted.name()), word, status == Some(wanted))
    };
    let mut states = vec![(HOME.to_owned(), "All".to_owned(), status.is_none())];
    states.extend(TokenStatus::ALL.map(one));
    visit.page(&AllTokensPage {
        frame: visit.frame("Access tokens of everybody", NavEntry::People),
        tabs: people_tabs(true),
        states,
        list,
    })
}

/// Returns the tabs of the pages about everybody.
pub fn people_tabs(is_of_tokens: bool) -> Vec<(String, String, bool)> {
    vec![
        ("/admin/users".to_owned(), "People".to_owned(), !is_of_tokens),
        ("/admin/tokens".to_owned(), "Access tokens".to_owned(), is_of_tokens),
    ]
}

/// Finds an access token that admins may change, with its owner.
async fn find(store: &Store, tokens: &Tokens, id: &str) -> Result<(Token, std::sync::Arc<User>), Error> {
    let missing = || Error::NotFound { what: "such token".into() };
    let key = store.token_key(id.to_owned()).await?;
    let which = TokenFilter { user_id: Some(key.user_id), ..TokenFilter::default() };
    let mut before = None;
    // A person has few; those that have ended are among them.
    loop {
        let found = tokens.list(which, before, ROWS).await?;
        before = Some(found.last().ok_or_else(missing)?.public_id.clone());
        if let Some(token) = found.into_iter().find(|token| token.public_id == id) {
            let owner = tokens.owner(&token).ok_or_else(missing)?;
            return Ok((token, owner));
        }
    }
}

fn home_of(owner: &User) -> String {
    format!("/admin/users/{}/tokens", owner.public_id)
}

#[derive(Template)]
#[template(path = "people/token.html")]
struct TokenPage {
    frame: Frame,
    token: ShownToken,
    owner: String,
    owner_id: String,
    fields: TokenFields,
    limits: Vec<LimitField>,
    classes: Vec<(&'static str, String, bool)>,
    problem: Option<FormProblem>,
}

impl TokenPage {
    fn of(visit: &AdminVisit, token: &Token, owner: &User, sent: Option<TokenFields>) -> Result<TokenPage, Fault> {
        let fields = sent.unwrap_or_else(|| TokenFields::of(token));
        Ok(TokenPage {
            frame: visit.frame(format!("{} of {}", plain(&token.name), plain(owner.name())), NavEntry::People),
            token: ShownToken::of(token, &visit.times()?),
            owner: owner.name().to_owned(),
            owner_id: owner.public_id.clone(),
            limits: fields.limits(),
            classes: classes(owner.class, &fields.class),
            fields,
            problem: None,
        })
    }
}

/// Returns the classes to choose from: an access token never has a higher one than its owner.
fn classes(of_owner: Class, chosen: &str) -> Vec<(&'static str, String, bool)> {
    let mut all = vec![("", format!("as its owner: {}", states::class(of_owner)), chosen.is_empty())];
    for class in [Class::Interactive, Class::Batch].into_iter().filter(|class| *class >= of_owner) {
        let label = format!("{}, {}", states::class(class), states::about_class(class));
        all.push((class.name(), label, chosen == class.name()));
    }
    all
}

async fn token_page(
    visit: AdminVisit,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
    store: web::Data<Store>,
) -> PageResult {
    let (token, owner) = find(&store, &tokens, &id).await?;
    visit.page(&TokenPage::of(&visit, &token, &owner, None)?)
}

async fn change(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
    store: web::Data<Store>,
) -> PageResult {
    let visit = &form.visit;
    let (token, owner) = find(&store, &tokens, &id).await?;
    let changed = async { tokens.edit(visit.actor(), &id, edit_of(&form.fields)?).await };
    let Err(error) = changed.await else { return visit.done(home_of(&owner), sentences::SAVED) };
    let problem = problem_of(error)?;
    let mut page = TokenPage::of(visit, &token, &owner, Some(TokenFields::sent(&form.fields)))?;
    page.frame.title = format!("Problem: {}", page.frame.title);
    let status = problem.status();
    visit.page_as(status, &TokenPage { problem: Some(problem), ..page })
}

async fn revoke_page(
    visit: AdminVisit,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
    store: web::Data<Store>,
) -> PageResult {
    let (token, owner) = find(&store, &tokens, &id).await?;
    let person = (format!("/admin/users/{}", owner.public_id), plain(owner.name()).into_owned());
    visit.page(&SurePage {
        crumbs: vec![("/admin/users".into(), "People".into()), person],
        text: format!("{} {} makes a new one if it is needed again.", sentences::TOKEN_REVOKE, plain(owner.name())),
        action: format!("/admin/tokens/{id}/revoke"),
        button: "Revoke".into(),
        keep: home_of(&owner),
        frame: visit.frame(format!("Revoke {} of {}", plain(&token.name), plain(owner.name())), NavEntry::People),
    })
}

async fn revoke(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
    store: web::Data<Store>,
) -> PageResult {
    let (token, owner) = find(&store, &tokens, &id).await?;
    tokens.revoke(form.visit.actor(), &id).await?;
    form.visit.done(home_of(&owner), Flash::from(format!("{} has ended.", plain(&token.name))))
}

async fn resume(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    tokens: web::Data<Tokens>,
    store: web::Data<Store>,
) -> PageResult {
    let (token, owner) = find(&store, &tokens, &id).await?;
    tokens.resume(form.visit.actor(), &id).await?;
    let home = if form.fields.text("from") == "queue" { "/admin/queue".to_owned() } else { home_of(&owner) };
    form.visit.done(home, Flash::from(format!("{} may send again.", plain(&token.name))))
}
