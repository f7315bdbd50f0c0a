use actix_web::http::header::{HeaderName, HeaderValue};

use super::*;

/// Returns whom these headers name, from a peer. `10.0.0.0/24` is trusted.
fn named(peer: &str, is_tls: bool, headers: &[(&'static str, &'static str)]) -> Result<(String, bool), String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let trusted: Vec<IpNet> = vec!["10.0.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
    let ends = Ends { peer: peer.parse().unwrap(), local: None, is_tls };
    let found = Client::find(ends, &map, &trusted).map_err(|error| error.to_string())?;
    Ok((found.address.to_string(), found.is_https))
}

#[test]
fn from_a_peer_that_is_not_trusted_headers_change_nothing() {
    let headers = [
        (FORWARDED_FOR, "127.0.0.1"),
        (FORWARDED_FOR, "not an address"),
        (FORWARDED_PROTO, "https"),
        (FORWARDED, "for=127.0.0.1"),
    ];

    assert_eq!(named("10.0.1.1", false, &headers), Ok(("10.0.1.1".into(), false)));
    assert_eq!(named("10.0.1.1", true, &headers), Ok(("10.0.1.1".into(), true)));
}

#[test]
fn a_trusted_proxy_names_the_last_hop_that_is_no_proxy() {
    for (hops, client) in [
        ("192.168.1.7", "192.168.1.7"),
        (" 192.168.1.7 ", "192.168.1.7"),
        ("127.0.0.1, 192.168.1.7", "192.168.1.7"),
        ("192.168.1.7, 10.0.0.2", "192.168.1.7"),
        ("nonsense, 192.168.1.7,10.0.0.2,\t10.0.0.3", "192.168.1.7"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8::7, fd00::2", "2001:db8::7"),
    ] {
        assert_eq!(named("10.0.0.1", false, &[(FORWARDED_FOR, hops)]), Ok((client.into(), false)), "{hops}");
    }
    assert_eq!(named("10.0.0.1", true, &[]), Ok(("10.0.0.1".into(), false)), "it names nobody");
}

#[test]
fn a_trusted_proxy_tells_whether_its_client_speaks_https() {
    for (scheme, is_https) in [("https", true), ("HTTPS", true), ("http", false)] {
        let found = named("10.0.0.1", false, &[(FORWARDED_FOR, "192.168.1.7"), (FORWARDED_PROTO, scheme)]);
        assert_eq!(found, Ok(("192.168.1.7".into(), is_https)));
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for headers in [
        &[(FORWARDED_FOR, "192.168.1.7"), (FORWARDED_FOR, "192.168.1.7")][..],
        &[(FORWARDED_FOR, "192.168.1.7"), (FORWARDED, "for=192.168.1.7")],
        &[(FORWARDED, "for=192.168.1.7")],
        &[(FORWARDED_FOR, "")],
        &[(FORWARDED_FOR, "unknown")],
        &[(FORWARDED_FOR, "192.168.1.7,")],
        &[(FORWARDED_FOR, "192.168.1.7, 10.0.0.2:4711")],
        &[(FORWARDED_FOR, "192.168.1.0/24")],
        &[(FORWARDED_PROTO, "https"), (FORWARDED_PROTO, "http")],
        &[(FORWARDED_PROTO, "https, http")],
        &[(FORWARDED_PROTO, "wss")],
        &[(FORWARDED_PROTO, "")],
    ] {
        assert!(named("10.0.0.1", false, headers).is_err(), "{headers:?}");
    }
}
