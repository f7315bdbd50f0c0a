//! What every person has: their page, usage, record and account.

use askama::Template;

use crate::http::pages::fault::PageResult;
use crate::http::pages::frame::{Frame, NavEntry};
use crate::http::pages::route::page_routes;
use crate::http::pages::visit::Member;

page_routes! {
    "GET" "/me" Member me_page;
}

#[derive(Template)]
#[template(path = "own.html")]
struct OwnPage {
    frame: Frame,
}

async fn me_page(visit: Member) -> PageResult {
    visit.page(&OwnPage { frame: visit.frame("My page", NavEntry::MyPage) })
}
