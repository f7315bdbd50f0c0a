//! The head of an HTTP request, as dialects see it.

use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest};

use crate::base::clock::Timestamp;
use crate::base::ids::RequestId;
use crate::dialect::Head;
use crate::http::client::Client;

pub struct RequestHead<'a> {
    request: &'a HttpRequest,
    id: RequestId,
    received_at: Timestamp,
    default_model: &'a str,
}

impl<'a> RequestHead<'a> {
    pub fn of(request: &'a HttpRequest, default_model: &'a str) -> Self {
        RequestHead { request, id: request_id(request), received_at: Timestamp::now(), default_model }
    }
}

impl Head for RequestHead<'_> {
    fn path(&self) -> &str {
        self.request.path()
    }

    fn query(&self) -> &str {
        self.request.query_string()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.request.headers().get_all(name);
        let only = values.next()?;
        if values.next().is_some() {
            return None;
        }
        // Accepts what `HeaderValue::to_str` does, but checks many bytes at a time: a JWT has hundreds.
        std::str::from_utf8(only.as_bytes()).ok().filter(|text| text.is_ascii())
    }

    fn request_id(&self) -> RequestId {
        self.id
    }

    fn received_at(&self) -> Timestamp {
        self.received_at
    }

    fn default_model(&self) -> &str {
        self.default_model
    }
}

/// Returns what reads all values of a header by its name, as they were sent.
pub fn values_of(request: &HttpRequest) -> impl Fn(&str) -> Vec<Vec<u8>> {
    |name| request.headers().get_all(name).map(|value| value.as_bytes().to_vec()).collect()
}

/// Returns the id of this request. The outermost layer calls this first and so creates it.
pub fn request_id(request: &HttpRequest) -> RequestId {
    *request.extensions_mut().get_or_insert_with(RequestId::fresh)
}

/// Returns the client's address, an IPv4-mapped one as IPv4.
pub fn address(request: &HttpRequest) -> Option<IpAddr> {
    Client::of(request).map(|client| client.address)
}
