//! How this process serves, and the last look at its machine.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::base::clock::Timestamp;
use crate::config::Config;
use crate::host::backups::BackupWatch;
use crate::host::certificate::CertificateFacts;
use crate::host::files::OpenFiles;
use crate::host::machine::{HostPlaces, Machine};

/// A look younger than this is not repeated.
const FRESH: Duration = Duration::from_secs(3);

/// How long a look may take: a disk that hangs must not keep callers waiting.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What this process knows of itself and of its machine; shared by all workers.
#[derive(Default)]
pub struct HostWatch {
    /// The scheduled backups.
    pub backups: BackupWatch,
    served: OnceLock<Served>,
    certificate: RwLock<Option<CertificateFacts>>,
    last: Mutex<Option<(Instant, Arc<Machine>)>>,
}

/// How this process serves clients.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub since: Timestamp,
    /// Where plain HTTP is served.
    pub plain: Option<SocketAddr>,
    /// Where https is served.
    pub tls: Option<SocketAddr>,
    pub files: OpenFiles,
}

impl Served {
    /// Returns every address that clients are served at.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.plain.into_iter().chain(self.tls).collect()
    }

    /// Returns the URL of every address.
    pub fn urls(&self) -> Vec<String> {
        let plain = self.plain.map(|address| format!("http://{address}"));
        plain.into_iter().chain(self.tls.map(|address| format!("https://{address}"))).collect()
    }
}

impl HostWatch {
    /// Records that the process listens. Only the first call counts.
    pub fn serves(&self, served: Served) {
        let _ = self.served.set(served);
    }

    /// Returns how the process serves. `None`: it does not, as in a command that opens the data folder itself.
    pub fn served(&self) -> Option<Served> {
        self.served.get().copied()
    }

    /// Records the certificate that new clients get.
    pub fn shows(&self, certificate: CertificateFacts) {
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    /// Returns the certificate that new clients get. `None`: there is none, or the process does not serve.
    pub fn certificate(&self) -> Option<CertificateFacts> {
        self.certificate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what the machine looks like, at most some seconds ago. One caller at a time looks; when a look takes too long,
    /// nothing is known.
    pub async fn machine(&self, config: &Config) -> Arc<Machine> {
        let mut last = self.last.lock().await;
        if let Some((at, machine)) = &*last
            && at.elapsed() < FRESH
        {
            return machine.clone();
        }
        let places = HostPlaces::of(config);
        let look = tokio::task::spawn_blocking(move || Machine::look(&places));
        let machine = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(Ok(machine)) => Arc::new(machine),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        *last = Some((Instant::now(), machine.clone()));
        machine
    }
}
