//! Where notices may go: a name is resolved once, its addresses are checked, and the connection goes to one of these.
//!
//! An admin types where a notice goes, so it must not become a way to services that listen for this host alone, nor to what a
//! cloud tells its machines at 169.254.169.254.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// More addresses of one name are not tried.
const ADDRESSES_MAX: usize = 4;

/// How long one try may take, and where it may go.
#[derive(Debug, Clone, Copy)]
pub struct NoticeBounds {
    pub connect_timeout: Duration,
    pub time_max: Duration,
    pub allow_this_host: bool,
}

/// Why a notice was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// For the admin: a sentence without a capital letter and a full stop.
    pub words: String,
    /// Whether a further try may help, and does not deliver it twice unnoticed.
    pub may_retry: bool,
}

impl Undelivered {
    pub fn later(words: impl Into<String>) -> Undelivered {
        Undelivered { words: words.into(), may_retry: true }
    }

    pub fn for_good(words: impl Into<String>) -> Undelivered {
        Undelivered { words: words.into(), may_retry: false }
    }
}

/// Returns what went wrong without the secrets in it: a server may repeat what it was sent.
pub fn without<'a>(secrets: impl IntoIterator<Item = &'a String>, text: &str) -> String {
    let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
}

/// Returns the addresses of a host that notices may go to, or why there is none.
pub async fn addresses(
    host: &str,
    port: u16,
    allow_this_host: bool,
    timeout: Duration,
) -> Result<Vec<SocketAddr>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match tokio::time::timeout(timeout, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
            Ok(Err(_)) => Vec::new(),
            Err(_) => return Err(format!("the name `{host}` was not resolved within {} s", timeout.as_secs())),
        },
    };
    if found.is_empty() {
        return Err(format!("the name `{host}` is not known: no address was found for it"));
    }
    match found.iter().find_map(|address| refusal(address.ip(), allow_this_host)) {
        None => Ok(found),
        Some(why) => Err(format!("`{host}` {why}")),
    }
}

/// Returns why notices may not go to an address.
fn refusal(address: IpAddr, allow_this_host: bool) -> Option<&'static str> {
    let inner = embedded(address);
    if is_special(inner) {
        return Some("is an address that notices never go to: link-local, unspecified or for many");
    }
    if !allow_this_host && (inner.is_loopback() || is_own(address) || is_own(inner)) {
        return Some(
            "is this host itself, where notices may not go unless `notices.allow_this_host` is set in the configuration",
        );
    }
    None
}

/// Returns whether an address is none of one machine on the network. Link-local ones include 169.254.169.254.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0 || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] >= 240
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local() || v6 == METADATA_V6,
    }
}

/// What a cloud tells its machines, over IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Returns the IPv4 address inside an IPv6 one that leads to it: mapped, compatible, NAT64 or 6to4.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let octets = v6.octets();
    let v4_at = |at: usize| IpAddr::V4(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] => v4_at(12),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => v4_at(12),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4_at(12),
        [0x2002, ..] => v4_at(2),
        _ => address,
    }
}

/// Returns whether an address is one of this host: only these can be bound.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address.to_canonical(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str, allow_this_host: bool) -> bool {
        refusal(address.parse().unwrap(), allow_this_host).is_some()
    }

    #[test]
    fn a_failure_never_repeats_a_secret() {
        let secrets = ["aHVudGVyMg==", "hunter2", ""].map(str::to_owned);
        assert_eq!(without(&secrets, "535 no: hunter2, aHVudGVyMg==, hunter2"), "535 no: (secret), (secret), (secret)");
    }

    #[test]
    fn this_host_is_refused_in_every_notation_unless_it_is_allowed() {
        for own in
            ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
        {
            assert!(refused(own, false), "{own}");
            assert!(!refused(own, true), "{own}");
        }
    }

    #[test]
    fn the_address_of_this_host_on_its_network_is_refused_in_every_notation() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Nothing is sent: this chooses the address from which it would be. A host without a network has none.
        let Ok(own) = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()) else { return };
        let IpAddr::V4(own) = own.ip() else { return };
        for notation in [own.to_string(), format!("::ffff:{own}"), format!("::{own}"), format!("64:ff9b::{own}")] {
            assert!(refused(&notation, false), "{notation}");
            assert!(!refused(&notation, true), "{notation}");
        }
    }

    #[test]
    fn addresses_that_are_of_no_machine_are_refused_always() {
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "::",
            "fe80::1",
            "ff02::1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "fd00:ec2::254",
        ] {
            assert!(refused(special, false) && refused(special, true), "{special}");
        }
    }

    #[test]
    fn other_machines_are_not_refused() {
        for other in [
            "192.0.2.7",
            "10.254.254.3",
            "2001:db8::7",
            "::ffff:192.0.2.7",
            "169.253.255.255",
            "169.255.0.0",
            "1.0.0.0",
            "223.255.255.255",
        ] {
            assert!(!refused(other, false), "{other}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_its_addresses_are_checked() {
        let second = Duration::from_secs(10);
        for own in ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]"] {
            let refusal = addresses(own, 25, false, second).await.unwrap_err();
            assert!(refusal.contains("this host itself") || refusal.contains("is not known"), "{own}: {refusal}");
        }
        assert_eq!(addresses("127.0.0.1", 25, true, second).await.unwrap(), ["127.0.0.1:25".parse().unwrap()]);
        assert!(!addresses("localhost", 25, true, second).await.unwrap().is_empty());
        let unknown = addresses("no-such-host.invalid", 25, false, second).await.unwrap_err();
        assert!(unknown.contains("no-such-host.invalid"), "{unknown}");
    }
}
