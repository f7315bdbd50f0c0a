//! The self-check: everything that the gateway looks at, what is wrong and what to do about it.

mod looked_at;

use actix_web::web;
use askama::Template;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::host::watch::HostWatch;
use crate::http::host_view::{HostView, HostWarning};
use crate::http::pages::check::looked_at::{CheckFact, facts, fine};
use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::markup::Markup;
use crate::http::pages::problem::sentence;
use crate::http::pages::route::page_routes;
use crate::http::pages::settings_page::tabs::{CHECK, SettingsTabs, settings_tabs};
use crate::http::pages::visible::with_code;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::states::{finding, look_of_warning, warning};
use crate::rules::accounts::Accounts;
use crate::store::Store;

page_routes! {
    "GET" "/admin/settings/check" Admin check_page;
}

/// Something that is wrong.
struct WrongLine {
    icon: &'static str,
    colour: &'static str,
    title: Markup,
    text: Markup,
    remedy: Markup,
}

#[derive(Template)]
#[template(path = "settings/check.html")]
struct CheckPage {
    frame: Frame,
    tabs: SettingsTabs,
    wrong: Vec<WrongLine>,
    fine: Vec<String>,
    facts: Vec<CheckFact>,
}

async fn check_page(
    visit: AdminVisit,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
    accounts: web::Data<Accounts>,
    config: web::Data<Config>,
    watch: web::Data<HostWatch>,
) -> PageResult {
    let view = HostView::look(&gateway, &store, &accounts, &config, &watch).await;
    visit.page(&CheckPage {
        frame: visit.frame("Settings", NavEntry::Settings),
        tabs: settings_tabs(CHECK),
        wrong: view.warnings.iter().map(wrong).collect(),
        fine: fine(&view, &config),
        facts: facts(&view, &config, &visit.times()?),
    })
}

fn wrong(found: &HostWarning) -> WrongLine {
    let (icon, colour) = look_of_warning(found.code);
    WrongLine {
        icon,
        colour,
        title: with_code(&warning(found.code).text),
        text: with_code(&sentence(&finding(&found.message))),
        remedy: with_code(&sentence(&found.remedy)),
    }
}
