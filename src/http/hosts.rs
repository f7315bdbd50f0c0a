//! Checks the `Host` header against DNS rebinding.
//!
//! Any web page can point its own name at this machine and then read the gateway's answers as its own site; the `Host` header
//! shows that name. A page can also send a body blindly, as forms do. Both are refused.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, Version};

use crate::base::error::Error;
use crate::http::transport::Ends;

/// Longer names don't exist (RFC 1035); an error message repeats no more than this.
const NAME_CHARS_MAX: usize = 253;

/// The names of the gateway.
pub struct Hosts {
    /// In lower case.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Hosts {
    /// Returns the names of this machine, and those that the operator adds.
    pub fn of_this_machine(allowed: &[String]) -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // Without the file, no search domains are known.
        let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Hosts::of(&name, &resolver, allowed)
    }

    /// A machine has its bare name, that name with `.local` (multicast DNS), and with each search domain.
    fn of(machine: &str, resolver: &str, allowed: &[String]) -> Self {
        let machine = machine.to_ascii_lowercase();
        let bare = machine.split('.').next().unwrap_or_default();
        let searched = resolver.lines().filter_map(|line| match line.split_once(char::is_whitespace) {
            Some(("search" | "domain", domains)) => Some(domains.split_whitespace()),
            _ => None,
        });
        let mut names = vec!["localhost".to_owned()];
        if !bare.is_empty() {
            names.extend([machine.clone(), bare.to_owned()]);
            let domains = searched.flatten().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
            names.extend(domains.chain(["local".into()]).map(|domain| format!("{bare}.{domain}")));
        }
        let addresses = allowed.iter().filter_map(|host| host.parse().ok()).collect();
        names.extend(allowed.iter().cloned());
        Hosts { names, addresses }
    }

    /// Refuses a foreign `Host` name, and a body that a foreign page sends without a credential header.
    pub fn check(&self, request: &HttpRequest) -> Result<(), Error> {
        let came_to = request.conn_data::<Ends>().and_then(|ends| ends.local);
        let written = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        // A whole URL in the request line overrides `Host`.
        let asked = request.uri().authority().map(|authority| authority.as_str());
        // HTTP/1.0 has no `Host`, and no browser uses it. actix refuses HTTP/1.1 without one.
        let none = (request.version() >= Version::HTTP_11 && asked.is_none()).then_some("");
        for host in written.or(none).into_iter().chain(asked) {
            if !self.include(host, came_to) {
                return Err(Error::Misdirected { host: host.chars().take(NAME_CHARS_MAX).collect() });
            }
        }
        if may_be_a_form(request) && self.is_foreign_page(request.headers(), came_to) {
            return Err(Error::forbidden(
                "a page of another site may send nothing here; show a token in `Authorization`, or send it from a program",
            ));
        }
        Ok(())
    }

    /// Returns whether `host`, with or without a port, is this machine. Proxies change ports, so these don't matter.
    fn include(&self, host: &str, came_to: Option<IpAddr>) -> bool {
        let Some(host) = without_port(host) else { return false };
        let address = host.split('%').next().and_then(|address| address.parse::<IpAddr>().ok());
        match address.map(|address| address.to_canonical()) {
            Some(address) => address.is_loopback() || Some(address) == came_to || self.addresses.contains(&address),
            None => {
                let host = host.strip_suffix('.').unwrap_or(host);
                self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }

    fn is_foreign_page(&self, headers: &HeaderMap, came_to: Option<IpAddr>) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        match text("origin") {
            Some(origin) => !origin.split_once("://").is_some_and(|(_, host)| self.include(host, came_to)),
            None => text("sec-fetch-site") == Some("cross-site"),
        }
    }
}

/// Returns whether a browser could have sent the request for a foreign page. Browsers send a page's forms anywhere, but such a
/// header only where the server has agreed (CORS), which the gateway never does.
fn may_be_a_form(request: &HttpRequest) -> bool {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    !reads && !request.headers().contains_key(header::AUTHORIZATION) && !request.headers().contains_key("x-api-key")
}

/// Returns the host in `host`, `host:port`, `[address]` and `[address]:port`.
pub fn without_port(host: &str) -> Option<&str> {
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address, if port.is_empty() { "" } else { port.strip_prefix(':')? })
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_to(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn a_machine_is_called_by_its_names_and_by_the_address_that_was_reached() {
        let resolver = "# made by hand\nnameserver 10.0.0.1\nsearch lan Example.ORG.\noptions edns0\n";
        let hosts = Hosts::of("Deep.thought.example", resolver, &["ai.example.org".into(), "192.0.2.7".into()]);

        for ours in [
            "localhost",
            "localhost:7000",
            "LocalHost.",
            "deep",
            "deep.thought.example:80",
            "deep.local",
            "deep.lan",
            "deep.example.org",
            "DEEP.example.org:7000",
            "ai.example.org",
            "127.0.0.1:7000",
            "127.9.9.9",
            "[::1]:7000",
            "[::1]",
            "10.0.0.5:7000",
            "[::ffff:10.0.0.5]",
            "192.0.2.7:1",
        ] {
            assert!(hosts.include(ours, came_to("10.0.0.5")), "{ours}");
        }
        for foreign in [
            "",
            ":7000",
            "evil.example",
            "evil.example:7000",
            "thought.example",
            "deep.evil.example",
            "localhost.evil.example",
            "ai.example.org.evil.example",
            "xlocalhost",
            "localhost/x",
            "localhost:7000/x",
            "localhost:x",
            "user@localhost",
            "localhost:7000@evil.example",
            "localhost, evil.example",
            "10.0.0.6:7000",
            "0.0.0.0:7000",
            "[::]:7000",
            "[10.0.0.5",
            "[::1]x",
            "2130706433",
            "127.1",
        ] {
            assert!(!hosts.include(foreign, came_to("10.0.0.5")), "{foreign}");
        }
        assert!(hosts.include("[fe80::1%25eth0]:7000", came_to("fe80::1")));
        assert!(!hosts.include("10.0.0.5", None));
    }

    #[test]
    fn a_machine_without_a_name_has_only_those_that_it_is_given() {
        let hosts = Hosts::of("", "search lan", &[]);

        assert!(hosts.include("localhost", None));
        assert!(!hosts.include(".lan", None) && !hosts.include("", None) && !hosts.include(".local", None));
    }
}
