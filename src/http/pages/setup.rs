//! How clients are set up: with this host, an access token, and a model that it may use.

use askama::Template;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::Member;
use crate::model::catalog::ModelCard;
use crate::model::rights::Scope;
use crate::model::token::Token;

pub mod snippets;

use snippets::{Purpose, Snippet, TokenWord, snippets};

page_routes! {
    "GET" "/me/setup" Member setup_page;
}

#[derive(Template)]
#[template(path = "setup/page.html")]
struct SetupPage {
    frame: Frame,
    base_url: String,
    models: Vec<String>,
    snippets: Vec<Snippet>,
}

async fn setup_page(visit: Member) -> PageResult {
    let models = models(&visit, None).await?.into_iter().map(|card| card.name.as_str().to_owned()).collect();
    let model = model_for(&visit, None, Purpose::Chat).await?;
    visit.page(&SetupPage {
        frame: visit.frame("Set up a client", NavEntry::MySetup),
        snippets: snippets(&visit.base_url(), &TokenWord::Variable, model.as_deref(), Purpose::Chat),
        base_url: visit.base_url(),
        models,
    })
}

/// Returns the models that a person may use, or one of their tokens; none while no model server answers.
async fn models(visit: &Member, token: Option<&Token>) -> Result<Vec<ModelCard>, Fault> {
    let gateway = visit.part::<Gateway>()?;
    let served = gateway.models(Some(visit.who())).await.unwrap_or_default();
    Ok(match token {
        Some(token) => gateway.models_of_token(token, served),
        None => served,
    })
}

/// Returns a model that exists and may be used: the default model, else one whose name fits the purpose, else any.
pub async fn model_for(visit: &Member, token: Option<&Token>, purpose: Purpose) -> Result<Option<String>, Fault> {
    let models = models(visit, token).await?;
    let usual = visit.part::<Gateway>()?.model(Some(visit.who()), &visit.part::<Config>()?.default_model).await;
    let usual = usual.ok().flatten().map(|card| card.name.as_str().to_owned());
    let fits = |name: &str| name.contains("embed") == (purpose == Purpose::Embeddings);
    let names: Vec<&str> = models.iter().map(|card| card.name.as_str()).collect();
    let chosen = names.iter().find(|name| Some(**name) == usual.as_deref() && fits(name));
    let chosen = chosen.or_else(|| names.iter().find(|name| fits(name))).or(names.first());
    Ok(chosen.map(|name| (*name).to_owned()))
}

/// Returns what a token is mostly for.
pub fn purpose_of(token: &Token) -> Purpose {
    let uses = [
        (Scope::Chat, Purpose::Chat),
        (Scope::Embeddings, Purpose::Embeddings),
        (Scope::Models, Purpose::Models),
        (Scope::Usage, Purpose::Usage),
    ];
    uses.into_iter().find(|(scope, _)| token.scopes.include(*scope)).map_or(Purpose::Nothing, |(_, purpose)| purpose)
}
