//! Parts of pages that renew themselves: fragments of HTML that the script asks for again and again.
//!
//! A part is asked for with the tag of the last one, and most answers are a 304 without a body. Asking keeps no session alive.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use ring::digest;

use crate::http::pages::fault::PageResult;
use crate::http::pages::visit::{Visit, html, render};

/// Returns a part, or that it is still as it was.
pub fn part(visit: &Visit, part: &impl Template) -> PageResult {
    let text = render(part)?;
    let tag = tag_of(&text);
    if asked_for(visit.request(), &tag) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish());
    }
    let mut response = html(StatusCode::OK, text);
    if let Ok(tag) = header::HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Returns that nothing has changed.
pub fn nothing() -> PageResult {
    Ok(HttpResponse::NotModified().finish())
}

fn tag_of(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn asked_for(request: &HttpRequest, tag: &str) -> bool {
    request.headers().get(header::IF_NONE_MATCH).is_some_and(|asked| asked.as_bytes() == tag.as_bytes())
}
