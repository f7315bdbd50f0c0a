//! Style, script and icon: in the binary, under paths that change with their content, so that browsers keep them for ever.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use ring::digest;

use crate::http::pages::fault::{Fault, PageResult};
use crate::http::pages::route::page_routes;

page_routes! {
    "GET" "/assets/{hash}/{name}" Anyone asset;
}

struct Asset {
    name: &'static str,
    kind: &'static str,
    body: &'static [u8],
    hash: String,
    path: String,
}

impl Asset {
    fn of(name: &'static str, kind: &'static str, body: &'static [u8]) -> Asset {
        let digest = digest::digest(&digest::SHA256, body);
        let hash: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("/assets/{hash}/{name}");
        Asset { name, kind, body, hash, path }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::of("style.css", "text/css; charset=utf-8", include_bytes!("../../../assets/style.css")),
        Asset::of("app.js", "text/javascript; charset=utf-8", include_bytes!("../../../assets/app.js")),
        Asset::of("icon.svg", "image/svg+xml", include_bytes!("../../../assets/icon.svg")),
    ]
});

/// Returns the path of an asset by its name; empty when there is none of that name.
pub fn path(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.path)
}

/// Serves an asset. One of another version is not there any more.
async fn asset(parts: web::Path<(String, String)>) -> PageResult {
    let (hash, name) = parts.into_inner();
    let asset = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash).ok_or(Fault::Missing)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.kind))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.body))
}
