//! Parts of pages that renew themselves: fragments of HTML that the script asks for again and again.
//!
//! A part is asked for with the tag of the last one, and most answers are a 304 without a body. Asking keeps no session alive.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use ring::digest;

use crate::base::error::Error;
use crate::http::pages::fault::PageResult;
use crate::http::pages::visit::{Visit, html, render};

/// How long a page waits for one of its parts. What takes longer is left to a request of its own.
const PART_WAIT_MAX: Duration = Duration::from_millis(250);

/// Returns a part of a page if it is ready soon.
pub async fn soon<T>(part: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    tokio::time::timeout(PART_WAIT_MAX, part).await.ok().transpose()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_page_does_not_wait_long_for_its_parts() {
        assert_eq!(soon(async { Ok(1) }).await.unwrap(), Some(1));
        assert_eq!(soon(std::future::pending::<Result<u8, Error>>()).await.unwrap(), None);
        assert!(soon(async { Err::<u8, _>(Error::forbidden("no")) }).await.is_err());
    }
}
