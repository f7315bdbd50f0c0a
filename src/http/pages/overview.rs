//! The first page of admins: who uses the GPU now, what needs them, how today was.

use askama::Template;

use crate::http::pages::fault::PageResult;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::AdminVisit;

page_routes! {
    "GET" "/admin" Admin overview_page;
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
}

async fn overview_page(visit: AdminVisit) -> PageResult {
    visit.page(&OverviewPage { frame: visit.frame("Overview", NavEntry::Overview) })
}
