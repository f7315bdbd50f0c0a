//! The queue: what runs, who waits, and what is held back.

mod held;
mod slots;

use actix_web::web;
use askama::Template;
use askama::filters::HtmlSafe;

use crate::base::error::Error;
use crate::gateway::Gateway;
use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::filters;
use crate::http::pages::format::PageTimes;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::in_queue::{self, WaitingLine};
use crate::http::pages::layout::window_title;
use crate::http::pages::live;
use crate::http::pages::posted::Posted;
use crate::http::pages::queue_page::held::{HeldRequest, HeldToken};
use crate::http::pages::queue_page::slots::SlotPanel;
use crate::http::pages::route::page_routes;
use crate::http::pages::visible::plain;
use crate::http::pages::visit::AdminVisit;
use crate::http::pages::words::sentences;
use crate::http::queue::{self, QueueItem, QueueView};
use crate::rules::tokens::Tokens;
use crate::store::Store;

page_routes! {
    "GET" "/admin/queue" Admin queue_page;
    "GET" "/live/queue" Admin queue_part;
    "GET" "/admin/queue/{request_id}/cancel" Admin cancel_page;
    "POST" "/admin/queue/{request_id}/cancel" Admin cancel;
    "POST" "/admin/queue/resume" Admin resume;
}

/// Rows of the table, at most: a longer queue is told by its length.
const ROWS_MAX: usize = 200;

const QUEUE: &str = "/admin/queue";

#[derive(Template)]
#[template(path = "queue/page.html")]
struct QueuePage {
    frame: Frame,
    part: QueuePart,
}

/// Everything on the page that changes by itself.
#[derive(Template)]
#[template(path = "queue/part.html")]
struct QueuePart {
    csrf: String,
    title: String,
    status: String,
    panels: Vec<SlotPanel>,
    rows: Vec<WaitingLine>,
    waiting: usize,
    waiting_max: usize,
    tokens: Vec<HeldToken>,
    slowed_seconds: u32,
    requests: Vec<HeldRequest>,
}

/// Its template escapes what needs it.
impl HtmlSafe for QueuePart {}

impl QueuePart {
    fn of(visit: &AdminVisit, gateway: &Gateway, store: &Store) -> Result<QueuePart, Error> {
        let (view, times) = (queue::view(Some(visit.who()), gateway, store), visit.times()?);
        let settings = store.settings().now();
        Ok(QueuePart {
            csrf: visit.open().form_token().to_owned(),
            title: window_title("Queue", view.waiting),
            status: sentences::queue_in_short(view.waiting as u64, view.running as u64),
            panels: slots::panels(&view, in_queue::running(&view, &times)),
            rows: rows(&view, &times),
            waiting: view.waiting,
            waiting_max: settings.waiting_max,
            tokens: held::tokens(&view, &times),
            slowed_seconds: settings.slowed_seconds,
            requests: held::requests(&view, &times),
        })
    }
}

fn rows(view: &QueueView, times: &PageTimes) -> Vec<WaitingLine> {
    let mut rows = in_queue::waiting(view, times);
    rows.truncate(ROWS_MAX);
    rows
}

async fn queue_page(visit: AdminVisit, gateway: web::Data<Gateway>, store: web::Data<Store>) -> PageResult {
    let part = QueuePart::of(&visit, &gateway, &store)?;
    visit.page(&QueuePage { frame: visit.frame("Queue", NavEntry::Queue), part })
}

async fn queue_part(visit: AdminVisit, gateway: web::Data<Gateway>, store: web::Data<Store>) -> PageResult {
    live::part(&visit, &QueuePart::of(&visit, &gateway, &store)?)
}

/// Asks whether a request is really to be cancelled.
#[derive(Template)]
#[template(path = "queue/cancel.html")]
struct CancelPage {
    frame: Frame,
    action: String,
    item: QueueItem,
}

const ENDED: &str = "That request has ended by itself meanwhile.";

async fn cancel_page(
    visit: AdminVisit,
    id: web::Path<String>,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
) -> PageResult {
    uuid::Uuid::parse_str(&id).map_err(|_| Fault::Missing)?;
    let items = queue::view(Some(visit.who()), &gateway, &store).items;
    let Some(item) = items.into_iter().find(|item| item.request_id == *id) else {
        return visit.done(QUEUE, ENDED);
    };
    let title = format!("Cancel the request of {}", plain(&item.user));
    let action = format!("{QUEUE}/{}/cancel", item.request_id);
    visit.page(&CancelPage { frame: visit.frame(title, NavEntry::Queue), action, item })
}

async fn cancel(
    form: Posted<AdminVisit>,
    id: web::Path<String>,
    gateway: web::Data<Gateway>,
    store: web::Data<Store>,
) -> PageResult {
    let visit = &form.visit;
    uuid::Uuid::parse_str(&id).map_err(|_| Fault::Missing)?;
    match queue::cancel_one(visit.actor(), &id, &gateway, &store).await {
        Ok(()) => visit.done(QUEUE, "The request was cancelled."),
        Err(Error::NotFound { .. }) => visit.done(QUEUE, ENDED),
        Err(error) => Err(error.into()),
    }
}

async fn resume(form: Posted<AdminVisit>, tokens: web::Data<Tokens>) -> PageResult {
    let resumed = tokens.resume(form.visit.actor(), form.fields.text("token")).await?;
    form.visit.done(QUEUE, format!("{} goes on.", plain(&resumed.name)))
}
