//! What a route of the pages is.

use actix_web::Route;

/// Who may see a page; its extractors enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    Anyone,
    /// Somebody with a session, also a restricted one.
    SignedIn,
    /// A person whose session is open.
    Member,
    Admin,
}

pub struct PageRoute {
    pub method: &'static str,
    pub path: &'static str,
    pub who: Audience,
    pub(crate) handler: fn() -> Route,
}

/// Makes the routes of a file of pages.
macro_rules! page_routes {
    ($($method:literal $path:literal $who:ident $handler:ident;)+) => {
        pub const ROUTES: &[$crate::http::pages::route::PageRoute] = &[
            $($crate::http::pages::route::PageRoute {
                method: $method,
                path: $path,
                who: $crate::http::pages::route::Audience::$who,
                handler: || actix_web::web::to($handler),
            },)+
        ];
    };
}
pub(crate) use page_routes;
