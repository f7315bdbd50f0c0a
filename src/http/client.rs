//! Who sent a request, and whether over https: the peer of its connection, or whom a trusted proxy names.
//!
//! `X-Forwarded-For` and `X-Forwarded-Proto` are read from trusted proxies only; from all other clients they are ignored.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;
use actix_web::{HttpMessage, HttpRequest};
use ipnet::IpNet;

use crate::base::error::Error;
use crate::http::transport::Ends;

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// Whether the client speaks https, to the gateway or to a trusted proxy.
    pub is_https: bool,
}

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";

impl Client {
    /// Finds the client of a request that came over a connection with these ends.
    pub fn find(ends: Ends, headers: &HeaderMap, trusted: &[IpNet]) -> Result<Client, Error> {
        if !is_trusted(ends.peer, trusted) {
            return Ok(Client { address: ends.peer, is_https: ends.is_tls });
        }
        if headers.contains_key(FORWARDED) {
            return Err(wrong(
                "the proxy passed a `Forwarded` header on, which is not read here; let it remove that header",
            ));
        }
        let address = match only(headers, FORWARDED_FOR)? {
            Some(hops) => first_untrusted(hops, trusted)?,
            None => ends.peer,
        };
        let is_https = match only(headers, FORWARDED_PROTO)? {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(_) => return Err(wrong("`X-Forwarded-Proto` must be http or https")),
            None => false,
        };
        Ok(Client { address, is_https })
    }

    /// Returns whether others on the network can read what the client sends.
    pub fn is_readable(self) -> bool {
        !self.is_https && !self.address.is_loopback()
    }

    /// Keeps the client with its request.
    pub fn keep(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }

    /// Returns the client of a request; before one was found, the peer of its connection. `None`: it came over the control socket.
    pub fn of(request: &HttpRequest) -> Option<Client> {
        let kept = request.extensions().get::<Client>().copied();
        let peer = || request.conn_data::<Ends>().map(|ends| Client { address: ends.peer, is_https: ends.is_tls });
        kept.or_else(peer)
    }
}

/// Returns whether an address is that of a trusted proxy.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Returns the last hop that is no trusted proxy, or else the first of all. What stands left of it may be the client's own words.
fn first_untrusted(hops: &str, trusted: &[IpNet]) -> Result<IpAddr, Error> {
    let mut farthest = None;
    for hop in hops.rsplit(',') {
        let address =
            hop.trim().parse::<IpAddr>().map_err(|_| wrong("`X-Forwarded-For` must be a list of addresses"))?;
        let address = address.to_canonical();
        farthest = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    farthest.ok_or_else(|| wrong("`X-Forwarded-For` is empty"))
}

/// Returns the value of a header that may be sent once.
fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(format!("the proxy sent `{name}` twice; let it set the header, not add one")));
    }
    value.to_str().map(Some).map_err(|_| wrong(format!("`{name}` must be text")))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::invalid("headers", message)
}

#[cfg(test)]
mod tests;
