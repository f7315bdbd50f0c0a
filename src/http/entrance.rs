//! The first check of every request: its network, its `Host` name, that no foreign page sent it, and that it may be unencrypted.

use std::net::IpAddr;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use crate::base::error::Error;
use crate::config::{Config, PlainHttp};
use crate::http::access::explain;
use crate::http::callers::is_from_the_host;
use crate::http::client::Client;
use crate::http::hosts::{Hosts, without_port};
use crate::http::refusals::note_refusal;
use crate::http::transport::Ends;

/// Who is let in.
pub struct Entrance {
    /// Networks whose clients are served.
    networks: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
    plain_http: PlainHttp,
    hosts: Hosts,
    /// Where https is served, if the gateway serves it itself.
    https_port: Option<u16>,
}

impl Entrance {
    pub fn new(config: &Config, https_port: Option<u16>) -> Entrance {
        Entrance {
            networks: config.allow_networks.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            plain_http: config.plain_http,
            hosts: Hosts::of_this_machine(&config.allowed_hosts),
            https_port,
        }
    }

    fn serves(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns what a client is told that may not speak plain HTTP, in place of a redirect: its secret would have been read by then.
    fn only_encrypted(&self, request: &HttpRequest) -> Error {
        let host = request.headers().get(header::HOST).and_then(|host| without_port(host.to_str().ok()?));
        let at = match (self.https_port, host) {
            (Some(443), Some(host)) => format!("use https://{}", bracketed(host)),
            (Some(port), Some(host)) => format!("use https://{}:{port}", bracketed(host)),
            _ => "use the https address of this gateway".to_owned(),
        };
        Error::forbidden(format!(
            "plain HTTP is served to this host alone, so that nobody reads passwords and prompts; {at}"
        ))
    }
}

/// Writes the host of a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Finds the client of a request. Refuses it from a foreign network, with a foreign `Host` name, from a foreign page, or
/// unencrypted where that is not allowed, before anything of it is read.
pub fn check_entrance(request: &HttpRequest) -> Result<(), Error> {
    // The control socket has neither networks nor names; the rights of its file protect it.
    if is_from_the_host(request) {
        return Ok(());
    }
    let entrance = request.app_data::<web::Data<Entrance>>();
    let entrance = entrance.ok_or_else(|| Error::internal(anyhow::anyhow!("no Entrance among the parts")))?;
    let client = match request.conn_data::<Ends>() {
        Some(ends) => Some(Client::find(*ends, request.headers(), &entrance.trusted_proxies)?),
        None => None,
    };
    // Kept in any case: the log tells whom it refused.
    client.iter().for_each(|client| client.keep(request));
    let Some(client) = client.filter(|client| entrance.serves(client.address)) else {
        explain(
            request,
            "its address is in none of `allow_networks`",
            Some("add its network to `allow_networks`, if it may use the gateway"),
        );
        let message = "this gateway serves its own network alone; an admin can add yours to `allow_networks`";
        return Err(Error::forbidden(message));
    };
    // A client in an allowed network was led here by another site, or `allowed_hosts` lacks a name: admins should see either.
    entrance.hosts.check(request).inspect_err(|error| {
        match error {
            Error::Misdirected { .. } => explain(
                request,
                "the `Host` header is no name of this gateway",
                Some("add the name to `allowed_hosts`, if clients or a proxy may use it"),
            ),
            _ => explain(request, "a page of another site sent it", None),
        }
        note_refusal(request, None, error);
    })?;
    if entrance.plain_http != PlainHttp::On && client.is_readable() {
        explain(request, "it is not encrypted, and `plain_http` does not allow that", None);
        let error = entrance.only_encrypted(request);
        note_refusal(request, None, &error);
        return Err(error);
    }
    Ok(())
}
