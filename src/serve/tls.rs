//! TLS for clients: which versions and protocols are spoken, and a certificate that can be changed while connections are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tracing::{info, warn};

use crate::base::clock::Timestamp;
use crate::config::TlsFiles;
use crate::host::certificate::OwnCertificate;
use crate::host::watch::HostWatch;

/// The certificate that new connections get. It can be read again.
pub struct Certificates {
    files: TlsFiles,
    now: Arc<Shown>,
    watch: Arc<HostWatch>,
}

/// Shows each new client the certificate of now.
struct Shown(RwLock<OwnCertificate>);

impl Certificates {
    /// Reads the files, and tells `watch` what is in them. Blocks.
    pub fn read(files: TlsFiles, watch: Arc<HostWatch>) -> anyhow::Result<Certificates> {
        let own = OwnCertificate::read(&files)?;
        watch.shows(own.facts.clone());
        Ok(Certificates { files, now: Arc::new(Shown(RwLock::new(own))), watch })
    }

    /// Returns when the certificate ends that new connections get.
    pub fn valid_until(&self) -> Timestamp {
        self.now.0.read().unwrap_or_else(PoisonError::into_inner).facts.valid_until
    }

    /// Returns how connections are accepted. HTTP/1.1 alone: closing an HTTP/2 stream does not end its request.
    pub fn server_config(&self) -> anyhow::Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .context("TLS can't be set up")?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.now.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would go on with the certificate of its first connection.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Reads the files again. New connections get what is in them; if they can't be used, the certificate of before.
    pub async fn read_again(&self) {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || OwnCertificate::read(&files)).await;
        match read.map_err(anyhow::Error::from).flatten() {
            Ok(own) => {
                let facts = own.facts.clone();
                *self.now.0.write().unwrap_or_else(PoisonError::into_inner) = own;
                info!(
                    serial = facts.serial,
                    valid_until = facts.valid_until.rfc3339(),
                    "the certificate was read again"
                );
                self.watch.shows(facts);
            }
            Err(cause) => warn!("the certificate can't be read again: {cause:#}; the previous one stays in use"),
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).pair.clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    use super::*;

    fn put(files: &TlsFiles, serial: u64, key_of_another: bool) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, if key_of_another { other } else { key }.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[actix_web::test]
    async fn files_that_can_t_be_used_leave_the_certificate_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("own.pem"), key: folder.path().join("own.key") };
        put(&files, 1, false);
        let (watch, serial) = (Arc::new(HostWatch::default()), |watch: &HostWatch| watch.certificate().unwrap().serial);
        let certificates = Certificates::read(files.clone(), watch.clone()).unwrap();
        let pair = || certificates.now.0.read().unwrap().pair.clone();
        let first = pair();

        put(&files, 2, true);
        certificates.read_again().await;

        assert_eq!(serial(&watch), "01");
        assert!(Arc::ptr_eq(&first, &pair()));
        put(&files, 3, false);
        certificates.read_again().await;
        assert_eq!(serial(&watch), "03");
        assert!(!Arc::ptr_eq(&first, &pair()));
    }
}
