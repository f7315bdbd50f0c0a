//! The models: how large they are, whether they are loaded, what they can do, who uses them and who may.

mod rows;

use std::time::Duration;

use actix_web::web;
use askama::Template;

use crate::base::error::Error;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::models_page::rows::{ModelFacts, ModelRow};
use crate::http::pages::problem::sentence;
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::AdminVisit;
use crate::model::catalog::ModelCard;
use crate::rules::usage::{Question, lines};
use crate::store::Store;

page_routes! {
    "GET" "/admin/models" Admin models_page;
}

/// Days of usage that are told.
const DAYS: i64 = 7;

#[derive(Template)]
#[template(path = "models/page.html")]
struct ModelsPage {
    frame: Frame,
    rows: Vec<ModelRow>,
    /// Why there is no list.
    problem: Option<String>,
}

/// How long the page waits for what models can do. What was told is kept, so the next look knows more.
const SKILLS_WAIT_MAX: Duration = Duration::from_secs(2);

/// Asks what models can do where nobody has asked yet, one after the other.
async fn with_skills(gateway: &Gateway, mut cards: Vec<ModelCard>) -> Vec<ModelCard> {
    let asks = async {
        for card in cards.iter_mut().filter(|card| card.skills.is_none()) {
            card.skills = gateway.skills(&card.name).await;
        }
    };
    // Those that were not asked in time have not told.
    let _ = tokio::time::timeout(SKILLS_WAIT_MAX, asks).await;
    cards
}

async fn models_page(
    visit: AdminVisit,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
    config: web::Data<Config>,
) -> PageResult {
    let times = visit.times()?;
    let question = Question {
        from: Some(times.now().plus_seconds(-DAYS * 24 * 3600).rfc3339()),
        by: Some("model".to_owned()),
        ..Question::default()
    };
    let (cards, loaded, used) =
        tokio::join!(gateway.models(None), gateway.loaded(), lines(&store, times.zone(), question));
    let (cards, problem) = match cards {
        Ok(cards) => (cards, None),
        // The page says so; what is used and loaded stays for when it answers again.
        Err(error @ (Error::Internal { .. } | Error::AuditUnavailable { .. })) => return Err(error.into()),
        Err(error) => (Vec::new(), Some(sentence(&error.to_string()))),
    };
    let cards = with_skills(&gateway, cards).await;
    let kinds = config.upstreams.iter().map(|upstream| upstream.kind()).collect();
    let loaded = loaded.into_iter().flatten().flatten().collect();
    let facts = ModelFacts { kinds, loaded, used: used?, people: &store.people() };
    let rows = facts.rows(cards, &times);
    visit.page(&ModelsPage { frame: visit.frame("Models", NavEntry::Models), rows, problem })
}
