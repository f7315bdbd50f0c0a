//! All pages. `http::mount` mounts what stands here, and `tests/pages/matrix.txt` says who gets what.

use crate::http::pages;
use crate::http::pages::route::PageRoute;

/// The routes of all files of pages.
const ALL: &[&[PageRoute]] = &[
    pages::door::ROUTES,
    pages::own::ROUTES,
    pages::own::account::ROUTES,
    pages::own::export::ROUTES,
    pages::tokens::ROUTES,
    pages::tokens::make::ROUTES,
    pages::tokens::change::ROUTES,
    pages::tokens::rotate::ROUTES,
    pages::setup::ROUTES,
    pages::overview::ROUTES,
    pages::models_page::ROUTES,
    pages::check::ROUTES,
    pages::queue_page::ROUTES,
    pages::record_page::list::ROUTES,
    pages::record_page::story::ROUTES,
    pages::record_page::story_files::ROUTES,
    pages::incident_page::ROUTES,
    pages::people::list::ROUTES,
    pages::people::acts::ROUTES,
    pages::people::person::ROUTES,
    pages::people::limits::ROUTES,
    pages::people::reset::ROUTES,
    pages::people::history::ROUTES,
    pages::people::tokens::ROUTES,
    pages::people::exports::ROUTES,
    pages::people::deletion::ROUTES,
    pages::settings_page::channels::ROUTES,
    pages::settings_page::ROUTES,
    pages::usage_page::ROUTES,
    pages::assets::ROUTES,
];

/// Returns every route of the pages.
pub fn all() -> impl Iterator<Item = &'static PageRoute> {
    ALL.iter().copied().flatten()
}
