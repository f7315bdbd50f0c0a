//! What was done about a person, and what they did as an admin or for themselves.

use actix_web::web;
use askama::Template;

use crate::http::pages::fault::PageResult;
use crate::http::pages::filters;
use crate::http::pages::format::Moment;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::people::person::{PersonHead, Tab};
use crate::http::pages::record_page::table::{act_sentence, at};
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::{ActSentence, counted};
use crate::http::record_items::{AuditItem, PageQuery, audit_page};
use crate::rules::accounts::Accounts;
use crate::rules::export::filter::Filter;
use crate::store::Store;

page_routes! {
    "GET" "/admin/users/{id}/history" Admin history_page;
}

#[derive(Template)]
#[template(path = "people/history.html")]
struct HistoryPage {
    frame: Frame,
    head: PersonHead,
    acts: Vec<ActLine>,
    count: String,
    newest: String,
    older: String,
}

/// An act in words.
struct ActLine {
    log_id: i64,
    at: Moment,
    said: ActSentence,
}

async fn history_page(
    visit: AdminVisit,
    id: web::Path<String>,
    accounts: web::Data<Accounts>,
    store: web::Data<Store>,
) -> PageResult {
    let times = visit.times()?;
    let (user, head) = PersonHead::find(&id, &accounts, &times, Tab::History).await?;
    let cursor = visit.query("cursor").and_then(|cursor| cursor.parse().ok());
    let filter = Filter { history_of: Some(user.public_id.clone()), ..Filter::default() };
    let place = PageQuery { cursor, ..PageQuery::default() };
    let page = audit_page(&store, filter.wanted(&store).await?, place).await?;
    let line = |item: &AuditItem| ActLine { log_id: item.log_id, at: times.second(at(item)), said: act_sentence(item) };
    let acts: Vec<ActLine> = page.items.iter().map(line).collect();
    let home = format!("/admin/users/{id}/history");
    visit.page(&HistoryPage {
        frame: visit.frame(plain(user.name()), NavEntry::People),
        head,
        acts,
        count: format!("{}, newest first", counted(page.items.len() as u64, "act", "acts")),
        newest: cursor.map(|_| home.clone()).unwrap_or_default(),
        older: page.next.map(|next| format!("{home}?cursor={next}")).unwrap_or_default(),
    })
}
