//! The URL of an upstream, checked when the configuration is read.

use std::fmt;
use std::net::IpAddr;

/// `http://HOST:PORT` or `https://HOST:PORT`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    text: String,
    is_https: bool,
    /// A name or an address; an IPv6 address has its brackets.
    host: String,
    port: u16,
}

const SCHEMES: [(&str, bool, u16); 2] = [("http://", false, 80), ("https://", true, 443)];

impl UpstreamUrl {
    /// Reads a URL. Prompts leave this host only when the operator says so, so a URL elsewhere needs `allow_remote`.
    pub fn parse(url: &str, allow_remote: bool) -> Result<Self, String> {
        let scheme = SCHEMES.into_iter().find_map(|(scheme, is_https, port)| {
            let (begin, rest) = url.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then_some((scheme, is_https, port, rest))
        });
        let Some((scheme, is_https, default_port, rest)) = scheme else {
            return Err(format!("`{url}` must begin with http:// or https://"));
        };
        let authority = rest.trim_end_matches('/');
        let well_formed = !authority.is_empty()
            && !authority.contains(['/', '?', '#', '@'])
            && !authority.contains(char::is_whitespace);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
            _ => (authority, Some(default_port)),
        };
        let Some(port) = port.filter(|_| well_formed && !host.is_empty()) else {
            return Err(format!("`{url}` must be {scheme}HOST:PORT, without a path"));
        };
        // The HTTP client would look for a certificate for the address with its brackets, which there can't be.
        if is_https && host.starts_with('[') {
            return Err(format!("`{url}` must name its host, since certificates for IPv6 addresses can't be checked"));
        }
        let url = UpstreamUrl { text: format!("{scheme}{authority}"), is_https, host: host.to_owned(), port };
        if !url.is_loopback() && !allow_remote {
            return Err(format!(
                "`{url}` is not on this host; prompts would leave it. Use a loopback address, or set allow_remote_upstream = true"
            ));
        }
        Ok(url)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn is_https(&self) -> bool {
        self.is_https
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether a listener on this address would receive what is sent to the URL, if the ports are the same.
    pub fn may_be_at(&self, address: IpAddr) -> bool {
        match self.address() {
            Some(named) if named == address => true,
            _ => self.is_loopback() && (address.is_unspecified() || (self.is_localhost() && address.is_loopback())),
        }
    }

    /// Returns whether the upstream runs on this host.
    pub fn is_loopback(&self) -> bool {
        self.is_localhost() || self.address().is_some_and(|address| address.is_loopback())
    }

    fn is_localhost(&self) -> bool {
        self.host == "localhost"
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<UpstreamUrl, String> {
        UpstreamUrl::parse(url, false)
    }

    #[test]
    fn a_url_is_kept_as_it_was_written_and_has_a_port() {
        for (url, text, port, is_https) in [
            ("HTTP://localhost:1/", "http://localhost:1", 1, false),
            ("http://127.0.0.1", "http://127.0.0.1", 80, false),
            ("http://[::1]", "http://[::1]", 80, false),
            ("http://[::1]:11434", "http://[::1]:11434", 11434, false),
            ("Https://localhost", "https://localhost", 443, true),
            ("https://127.0.0.1:8443/", "https://127.0.0.1:8443", 8443, true),
        ] {
            let read = parsed(url).unwrap();

            assert_eq!((read.as_str(), read.port(), read.is_https()), (text, port, is_https), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_an_upstream_is_refused() {
        for url in [
            "",
            "localhost:1",
            "ftp://localhost:1",
            "http://",
            "https://",
            "https://:1",
            "http://localhost:x",
            "https://localhost:65536",
            "https://localhost/v1",
            "https://u@localhost",
            "https://local host",
            "https://[::1]:1",
        ] {
            assert!(parsed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_url_of_another_host_needs_leave_with_and_without_tls() {
        for url in ["http://192.168.1.5:11434", "https://gpu.example.org", "https://localhost.example.org"] {
            assert!(parsed(url).unwrap_err().contains("allow_remote_upstream"), "{url}");
            assert!(UpstreamUrl::parse(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_listener_at_the_same_address_is_seen() {
        let may_be_at = |url: &str, address: &str| parsed(url).unwrap().may_be_at(address.parse().unwrap());

        assert!(may_be_at("http://127.0.0.1:1", "127.0.0.1") && may_be_at("http://127.0.0.1:1", "0.0.0.0"));
        assert!(may_be_at("https://localhost:1", "::1") && may_be_at("http://[::1]:1", "::1"));
        assert!(!may_be_at("http://127.0.0.1:1", "127.0.0.2") && !may_be_at("http://[::1]:1", "127.0.0.1"));
    }
}
