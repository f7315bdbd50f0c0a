//! All pages. `http::mount` mounts what stands here, and `tests/api/page_matrix.txt` says who gets what.

use crate::http::pages::route::PageRoute;
use crate::http::pages::{assets, door, overview, own, settings_page};

/// The routes of all files of pages.
const ALL: &[&[PageRoute]] = &[door::ROUTES, own::ROUTES, overview::ROUTES, settings_page::ROUTES, assets::ROUTES];

/// Returns every route of the pages.
pub fn all() -> impl Iterator<Item = &'static PageRoute> {
    ALL.iter().copied().flatten()
}
