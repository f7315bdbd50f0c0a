//! Headers of rate limits, under OpenAI's names, and of the place in the queue.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::gateway::Stood;
use crate::rules::limits::Standing;

/// A header with its value.
pub type Named = (HeaderName, HeaderValue);

pub fn add_headers(response: &mut HttpResponseBuilder, headers: impl IntoIterator<Item = Named>) {
    for header in headers {
        response.insert_header(header);
    }
}

/// Returns the request's place in the queue and its waiting time.
pub fn queue_headers(stood: Stood) -> [Named; 2] {
    static POSITION: HeaderName = HeaderName::from_static("x-queue-position");
    static WAIT: HeaderName = HeaderName::from_static("x-queue-wait-ms");
    [(POSITION.clone(), stood.position.into()), (WAIT.clone(), (stood.wait.as_millis() as u64).into())]
}

/// Returns limit, remaining and reset, as OpenAI writes them.
fn standing_values(standing: &Standing) -> [HeaderValue; 3] {
    let reset = standing.reset.as_millis();
    let reset = if reset >= 1000 { format!("{}s", reset.div_ceil(1000)) } else { format!("{reset}ms") };
    let reset = HeaderValue::from_str(&reset).unwrap_or(HeaderValue::from_static("60s"));
    [standing.limit.into(), standing.remaining.into(), reset]
}

/// Returns the headers of the rate limits, under the names that OpenAI's SDKs read.
pub fn limit_headers(requests: Option<Standing>, tokens: Option<Standing>) -> impl Iterator<Item = Named> {
    static REQUESTS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ];
    static TOKENS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ];
    let headers =
        |names: &'static [HeaderName; 3], standing: Standing| names.iter().cloned().zip(standing_values(&standing));
    let requests = requests.map(|standing| headers(&REQUESTS, standing));
    let tokens = tokens.map(|standing| headers(&TOKENS, standing));
    requests.into_iter().flatten().chain(tokens.into_iter().flatten())
}
