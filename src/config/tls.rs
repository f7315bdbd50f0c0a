//! `[tls]`: a second listener, for https; and who may use the first, without encryption.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::reader::Reader;
use crate::config::values::{network, optional_path, parsed};

#[derive(Debug, Clone)]
pub struct TlsSection {
    pub listen: SocketAddr,
    /// `None`: there is no https.
    pub files: Option<TlsFiles>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Who may use plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    On,
    Loopback,
    Off,
}

pub const PLAIN_HTTP: &[(&str, PlainHttp)] =
    &[("on", PlainHttp::On), ("loopback", PlainHttp::Loopback), ("off", PlainHttp::Off)];

/// Parses a network of proxies. Whoever is trusted may say that it is anybody.
pub fn proxies(item: &str) -> Result<IpNet, String> {
    let found = network(item)?;
    if found.prefix_len() == 0 {
        return Err(format!("`{item}` trusts everybody; name the proxy alone, as in \"192.168.1.9/32\""));
    }
    Ok(found)
}

impl TlsSection {
    pub fn read(reader: &mut Reader) -> Self {
        let listen = reader.key(
            "tls.listen",
            "\"0.0.0.0:7443\"",
            "Address and port for https, once `certificate` and `key` are set.",
            parsed("an address and port, as in \"0.0.0.0:7443\""),
        );
        let certificate = reader.key(
            "tls.certificate",
            "\"\"",
            "A PEM file: the certificate of this host first, then those between it and its authority. Empty: no https.\n\
             After a change of both files: `systemctl reload lan-gateway`, or SIGHUP; no connection is dropped.",
            optional_path,
        );
        let key = reader.key(
            "tls.key",
            "\"\"",
            "A PEM file with the certificate's key (PKCS#8, PKCS#1 or SEC1), without a password. No other users may read it.",
            optional_path,
        );
        let files = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                reader.problem("tls.key", "is missing: `tls.certificate` needs its key");
                None
            }
            (None, Some(_)) => {
                reader.problem("tls.certificate", "is missing: `tls.key` needs its certificate");
                None
            }
        };
        TlsSection { listen, files }
    }

    /// Returns where https is served.
    pub fn served(&self) -> Option<SocketAddr> {
        self.files.as_ref().map(|_| self.listen)
    }
}
