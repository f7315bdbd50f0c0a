//! Access tokens as admins see them: of one person, and everybody's.

use actix_web::web;
use askama::Template;

use crate::auth::api_token;
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::{Moment, PageTimes};
use crate::http::pages::frame::{Flash, Frame, NavEntry};
use crate::http::pages::people::acts::SurePage;
use crate::http::pages::people::person::{PersonHead, Tab};
use crate::http::pages::people::shown::limits;
use crate::http::pages::posted::Posted;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::{Word, counted, sentences, states};
use crate::model::people::User;
use crate::model::rights::Scope;
use crate::model::token::{Token, TokenStatus};
use crate::rules::accounts::Accounts;
use crate::rules::tokens::Tokens;
use crate::store::Store;
use crate::store::tokens::TokenFilter;

page_routes! {
    "GET" "/admin/users/{id}/tokens" Admin of_person;
    "GET" "/admin/tokens" Admin of_everybody;
    "GET" "/admin/tokens/{id}/revoke" Admin revoke_page;
    "POST" "/admin/tokens/{id}/revoke" Admin revoke;
    "POST" "/admin/tokens/{id}/resume" Admin resume;
}

/// Rows of a page.
const ROWS: usize = 50;

/// From here on an access token says that it ends soon.
const SOON_DAYS: i64 = 14;

/// An access token in a list.
struct TokenRow {
    id: String,
    name: String,
    prefix: String,
    /// Name and page of its owner; on a person's own page it is left out.
    owner: Option<(String, String)>,
    state: Word,
    kind: &'static str,
    /// Why it is paused, or that it ends soon.
    about: String,
    may: String,
    limits: String,
    used: Option<Moment>,
    ends: Moment,
    is_over: bool,
    /// Whether somebody can resume it.
    sleeps: bool,
}

impl TokenRow {
    fn of(token: &Token, owner: Option<&User>, times: &PageTimes, with_owner: bool) -> TokenRow {
        let status = token.status(times.now());
        let (limits, about) = (own_limits(token), about(token, status, times));
        TokenRow {
            id: token.public_id.clone(),
            name: token.name.clone(),
            prefix: api_token::prefix_of(&token.public_id),
            owner: owner
                .filter(|_| with_owner)
                .map(|owner| (owner.name().to_owned(), format!("/admin/users/{}", owner.public_id))),
            state: states::token_state(status.name()),
            kind: match status {
                TokenStatus::Active => "ok",
                TokenStatus::Paused => "bad",
                TokenStatus::Suspended => "warn",
                TokenStatus::Expired | TokenStatus::Revoked => "",
            },
            about,
            may: scopes(token),
            limits,
            used: token.last_used_at().map(|at| times.minute(at)),
            ends: times.date(Timestamp(token.revoked_at_us.unwrap_or(token.expires_at_us))),
            is_over: status.is_over(),
            sleeps: matches!(status, TokenStatus::Paused | TokenStatus::Suspended),
        }
    }
}

fn about(token: &Token, status: TokenStatus, times: &PageTimes) -> String {
    match status {
        TokenStatus::Paused => token.paused.map(states::runaway).unwrap_or_default().to_owned(),
        TokenStatus::Suspended => "with its owner".to_owned(),
        TokenStatus::Active if token.expires_at_us < times.now().plus_seconds(SOON_DAYS * 24 * 3600).0 => {
            format!("ends {}", times.until(Timestamp(token.expires_at_us)).text)
        }
        _ => String::new(),
    }
}

fn scopes(token: &Token) -> String {
    let all = [Scope::Chat, Scope::Embeddings, Scope::Models, Scope::Usage, Scope::ManageModels];
    let words: Vec<&str> = all.into_iter().filter(|scope| token.scopes.include(*scope)).map(states::scope).collect();
    words.join(", ")
}

fn own_limits(token: &Token) -> String {
    let mut said = limits(token.requests_per_minute, &token.quotas);
    said.extend(token.models.words().map(|models| counted(models.len() as u64, "model", "models")));
    said.extend(token.networks.as_ref().map(|networks| counted(networks.len() as u64, "network", "networks")));
    said.extend(token.class.map(|class| states::class(class).to_owned()));
    said.join(", ")
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
