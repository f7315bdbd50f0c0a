//! TLS to `https` upstreams: which certificates are trusted, and what is wrong with one that is not.

use crate::base::error::chain;
use std::io;
use std::sync::{Arc, LazyLock};

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// Made at the first use, once for all workers: the host may have hundreds of certificates.
static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| make().map(Arc::new));

/// Returns how connections are made: with the certificates that this host trusts, or those that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name.
pub fn config() -> Result<Arc<ClientConfig>, Error> {
    CONFIG.clone()
}

fn make() -> Result<ClientConfig, Error> {
    let found = rustls_native_certs::load_native_certs();
    for cause in &found.errors {
        tracing::warn!(cause = chain(cause), "some certificates that this host trusts can't be read");
    }
    let mut trusted = RootCertStore::empty();
    let (added, _) = trusted.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("this host trusts no certificate, so no https upstream can be reached; install ca-certificates");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config =
        config.with_safe_default_protocol_versions()?.with_root_certificates(trusted).with_no_client_auth();
    // Over HTTP/2 requests share a connection, so closing it would not end one generation alone.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Returns the same for an error that may have TLS among its causes.
pub fn failure_in(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.find_map(|cause| failure(cause.downcast_ref::<io::Error>()?))
}

/// Returns what is wrong with a connection in words for the operator, if TLS is the reason.
pub fn failure(cause: &io::Error) -> Option<String> {
    let error = cause.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(why) => format!("its TLS certificate {}", about_certificate(why)),
        Error::InvalidMessage(_) => format!("it does not speak TLS ({error}); does its URL begin with http://?"),
        other => format!("TLS failed: {other}"),
    })
}

fn about_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "is not trusted: no certificate of its authority is on this host; add that one \
             to the certificates of the system, or name its file in SSL_CERT_FILE"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is the clock of this host right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is for another name than its URL has: {why}")
        }
        other => format!("can't be accepted: {other}"),
    }
}
