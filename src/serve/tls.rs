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

/// The certificate that new connections get. It can be read again.
pub struct Certificates {
    files: TlsFiles,
    now: Arc<Shown>,
}

/// Shows each new client the certificate of now.
struct Shown(RwLock<OwnCertificate>);

impl Certificates {
    /// Reads the files. Blocks.
    pub fn read(files: TlsFiles) -> anyhow::Result<Certificates> {
        let own = OwnCertificate::read(&files)?;
        Ok(Certificates { files, now: Arc::new(Shown(RwLock::new(own))) })
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
                info!(serial = facts.serial, valid_until = facts.valid_until.rfc3339(), "read the certificate again");
            }
            Err(cause) => warn!("the certificate was not changed: {cause:#}; the one of before is still in use"),
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
