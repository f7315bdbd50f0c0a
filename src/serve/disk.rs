//! Looks at the free space on the data disk, so that requests are refused before it is full.

use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::config::Config;
use crate::host::findings::describe_room;
use crate::host::machine::Disk;
use crate::host::room::{DiskGuard, DiskMarks, Room};
use crate::store::Store;

/// How long a look is waited for: a disk that hangs must not hold up this loop.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Looks at the disk, one at a time.
#[derive(Default)]
pub struct Looks {
    /// A look that has not come back.
    running: Option<JoinHandle<Option<Disk>>>,
}

impl Looks {
    /// Looks, and tells the guard. When nothing comes back, the guard stays as it is.
    pub async fn look(&mut self, config: &Config, store: &Store, guard: &DiskGuard) {
        let Some(disk) = self.disk(config, store).await else { return };
        let marks = DiskMarks::of(&config.disk, disk);
        let mut room = Room { disk, reusable: 0 };
        if room.is_full(marks)
            && let Ok(reusable) = store.reusable_bytes().await
        {
            room.reusable = reusable;
        }
        if !guard.saw(&room, marks) {
            return;
        }
        let room = describe_room(&room, &config.data_dir);
        match guard.is_full() {
            true => error!(free_bytes_min = marks.min, "requests to models are refused: {room}"),
            false => info!("requests to models are answered again: {room}"),
        }
    }

    /// Returns the disk, without the space that the pages in the WAL take once they are moved to the database file.
    async fn disk(&mut self, config: &Config, store: &Store) -> Option<Disk> {
        let (folder, store) = (config.data_dir.clone(), store.clone());
        let look = move || {
            let (_, wal) = store.file_sizes();
            let disk = Disk::of(&folder)?;
            Some(Disk { free: disk.free.saturating_sub(wal.unwrap_or(0)), ..disk })
        };
        let look = self.running.get_or_insert_with(|| tokio::task::spawn_blocking(look));
        let looked = tokio::time::timeout(LOOK_MAX, look).await.ok()?;
        self.running = None;
        looked.ok().flatten()
    }
}
