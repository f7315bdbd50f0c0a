//! How this process serves, and the last look at its machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::base::clock::Timestamp;
use crate::host::backups::BackupWatch;
use crate::host::files::OpenFiles;
use crate::host::machine::Machine;

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
    last: Mutex<Option<(Instant, Arc<Machine>)>>,
}

/// How this process serves clients.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    pub since: Timestamp,
    pub listen: SocketAddr,
    pub files: OpenFiles,
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

    /// Returns what the machine looks like, at most some seconds ago. One caller at a time looks; when a look takes too long,
    /// nothing is known.
    pub async fn machine(&self, data_dir: &Path) -> Arc<Machine> {
        let mut last = self.last.lock().await;
        if let Some((at, machine)) = &*last
            && at.elapsed() < FRESH
        {
            return machine.clone();
        }
        let folder = data_dir.to_owned();
        let look = tokio::task::spawn_blocking(move || Machine::look(&folder));
        let machine = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(Ok(machine)) => Arc::new(machine),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        *last = Some((Instant::now(), machine.clone()));
        machine
    }
}
